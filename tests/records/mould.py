"""A database with its tables made once a process, for tests that each want one of their own.

What migrations do is held by `tests/records/test_database.py`, which opens its databases itself.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from records import service
from records.database import migrate, open_engine


@pytest.fixture(scope="session", autouse=True)
def mould(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """New databases of SQLite begin as copies of one that was migrated: that takes a tenth of the time."""
    path = tmp_path_factory.mktemp("mould") / "migrated.sqlite3"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()

    def begin(engine: Engine) -> None:
        name = engine.url.database
        wanted = engine.url.get_backend_name() == "sqlite" and name not in (None, "", ":memory:")
        place = Path(str(name))
        if not wanted or place.exists() or not place.parent.is_dir():
            migrate(engine)
            return
        copy = place.with_name(f"{place.name}.{secrets.token_hex(4)}")
        shutil.copyfile(path, copy)
        try:
            os.link(copy, place)  # whole, and by one of several at once
        except FileExistsError:
            migrate(engine)
        finally:
            copy.unlink()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "migrate", begin)
        yield path
