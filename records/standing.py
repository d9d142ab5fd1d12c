"""Who may sign in and as what, written down beside the database: a restored backup must let nobody in again.

The list (``standing.jsonl``) holds identifiers, roles and whether somebody is disabled; the last line of each
wins. As the list of the erased (`records.erasure`) it stands in the data folder and in each folder that
backups were made in. It is replayed after a restore.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from records import models
from records.erasure import list_backup_places
from records.errors import MaintenanceError
from records.lists import append_entries
from records.models import now

if TYPE_CHECKING:
    from records.service import Records

STANDING: Final = "standing.jsonl"

_IDENTIFIER = re.compile(r"[0-9a-f]{32}")


def note_standing(records: Records, user_id: str) -> None:
    """Write down how somebody stands now; on the disk when this returns."""
    data = records.settings.data_dir.resolve()
    with records.reading() as database:
        user = database.get(models.User, user_id)
        if user is None:
            return
        entry = {"at": now().isoformat(), "user": user.id, "role": user.role, "disabled": user.disabled}
    for folder in (data, *list_backup_places(data)):
        with contextlib.suppress(FileNotFoundError):  # a disk that is put away; the next backup merges
            append_standing(folder / STANDING, [entry])


def append_standing(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Add what is not in a list yet."""
    append_entries(path, entries, read_standing)


def read_standing(path: Path) -> list[dict[str, Any]]:
    """The list; empty where there is none. A last line that a power cut left unfinished does not count.

    Raises
    ------
    MaintenanceError
        It is no such list.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines(keepends=True)
        return [_read_entry(line) for line in lines if line.endswith("\n")]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MaintenanceError(
            f"{path} cannot be read as a list of who may sign in.",
            "Put back a copy of it: one stands in each folder that backups were made in.",
        ) from error


def _read_entry(line: str) -> dict[str, Any]:
    value = json.loads(line)
    datetime.datetime.fromisoformat(value["at"])
    if not (_IDENTIFIER.fullmatch(value["user"]) and isinstance(value["disabled"], bool)):
        raise ValueError(line)
    return {key: value[key] for key in ("at", "user", "role", "disabled")}


def replay_standing(records: Records, entries: Iterable[dict[str, Any]]) -> int:
    """Give everybody their last standing again; how many stood otherwise in the database."""
    last = {entry["user"]: entry for entry in sorted(entries, key=lambda entry: entry["at"])}
    changed = 0
    with records.writing() as database:
        for user in database.scalars(select(models.User).where(models.User.id.in_(last))):
            entry = last[user.id]
            if (user.role, user.disabled) != (entry["role"], entry["disabled"]):
                user.role, user.disabled = entry["role"], entry["disabled"]
                user.epoch += 1
                database.add(models.AuditEvent(actor="system", action="user.replay", object=user.id))
                changed += 1
    return changed
