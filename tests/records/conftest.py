"""Records on both databases: SQLite always, PostgreSQL where a server answers."""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from records import RecordingRow, Records
from records.database import migrate, open_engine
from records.models import Base
from settings import Settings
from tests.records.mould import mould
from tests.records.site import make_session

__all__ = ["mould"]

POSTGRES = os.environ.get("TEST_DATABASE_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


@contextlib.contextmanager
def fresh_postgres() -> Iterator[str]:
    """An empty database that nobody else uses."""
    name = f"redys_test_{uuid.uuid4().hex[:12]}"
    server = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError:
        pytest.skip("no PostgreSQL server answers at TEST_DATABASE_URL")
    try:
        yield POSTGRES.rpartition("/")[0] + f"/{name}"
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with fresh_postgres() as url:
        migrate(open_engine(url))
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with empty tables: PostgreSQL's is made once, since that takes a second."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'test.sqlite3'}"
    url: str = request.getfixturevalue("empty_postgres")
    return url


@pytest.fixture
def empty_postgres(postgres_url: str) -> str:
    """PostgreSQL with the tables made and nothing in them.

    Rows are deleted, without what the database does at that: emptying a table by TRUNCATE makes a new file
    for it and for each of its indexes, and waits for the disk.
    """
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("; ".join(f"DELETE FROM {name}" for name in Base.metadata.tables)))
        used = text("SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL")
        for name in connection.scalars(used).all():
            connection.execute(text(f"ALTER SEQUENCE {name} RESTART"))
    engine.dispose()
    return postgres_url


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(data_dir=tmp_path / "data", DATABASE_URL=database_url, _env_file=None)  # type: ignore[call-arg]


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    opened = Records(settings)
    yield opened
    opened.close()


@pytest.fixture
def add(records: Records, tmp_path: Path) -> Callable[..., RecordingRow]:
    """Adds a recording: ``add("one", 'subject = "P-1"')``."""

    def make(name: str, toml: str = "") -> RecordingRow:
        return records.add_recording(make_session(tmp_path / "sessions" / name, toml))

    return make
