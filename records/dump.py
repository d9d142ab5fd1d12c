"""A database as one file, taken at one moment while it is in use, and put back."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, text
from sqlalchemy.exc import SQLAlchemyError

from records.database import MIGRATIONS, open_engine
from records.errors import DatabaseError, MaintenanceError

_HEAD: Final = "SELECT digest FROM audit_event ORDER BY id DESC LIMIT 1"
_COUNT: Final = "SELECT count(*) FROM audit_event"
_NOBODY: Final = "0" * 64
_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class Dump:
    """A database in a file.

    Attributes
    ----------
    kind : str
        "sqlite" (a database file) or "postgresql" (JSON lines: a table's name and columns, then its rows).
    file : Path
    revision : str
        Of the migrations.
    audit_head : str
        "COUNT:DIGEST", which the audit must have when it is put back.
    """

    kind: str
    file: Path
    revision: str
    audit_head: str


def dump_database(engine: Engine, folder: Path) -> Dump:
    """Write the database as it is at this moment into a folder.

    Raises
    ------
    MaintenanceError
        What was written is not a whole database.
    """
    if engine.dialect.name == "sqlite":
        return _dump_sqlite(engine, folder / "database.sqlite3")
    return _dump_tables(engine, folder / "database.jsonl")


def load_database(url: str, kind: str, file: Path) -> None:
    """Put a dump in the place of a database.

    Raises
    ------
    MaintenanceError
        The database refuses it (PostgreSQL is as before then).
    """
    engine = open_engine(url)
    try:
        if kind == "sqlite":
            _load_sqlite(Path(str(engine.url.database)), file)
        else:
            _load_tables(engine, file)
    except SQLAlchemyError as error:
        raise MaintenanceError(
            f"The database could not be restored ({getattr(error, 'orig', error)}).",
            "Check that it may be written to. The backup is whole; restore again.",
        ) from error
    finally:
        engine.dispose()


def check_kind(url: str, kind: str) -> None:
    """Raise `MaintenanceError` where a dump is of the other kind of database."""
    name = open_engine(url).dialect.name
    if name != kind:
        raise MaintenanceError(
            f"The backup is of {kind}, and DATABASE_URL names {name}.",
            "Set DATABASE_URL to a database of the same kind.",
        )


def is_database_empty(url: str) -> bool:
    """Whether a database has no table, or is not there.

    Raises
    ------
    records.errors.DatabaseError
        It does not answer.
    """
    engine = open_engine(url)
    try:
        if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
            return True
        return not sa.inspect(engine).get_table_names()
    except SQLAlchemyError as error:
        raise DatabaseError(
            f"The database {engine.url.render_as_string(hide_password=True)} does not answer.",
            "Check that it is there, and DATABASE_URL.",
        ) from error
    finally:
        engine.dispose()


# --- SQLite --------------------------------------------------------------------------------------


def _dump_sqlite(engine: Engine, file: Path) -> Dump:
    file.touch(mode=0o600)
    pooled = engine.raw_connection()
    try:
        with contextlib.closing(sqlite3.connect(file)) as copy:
            pooled.driver_connection.backup(copy)  # type: ignore[union-attr]  # its own pages, at one moment
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            said = copy.execute("PRAGMA integrity_check").fetchone()[0]
            if said != "ok":
                raise MaintenanceError(
                    f"The database is damaged ({said}).", "Restore the last backup that could be made."
                )
            revision = copy.execute("SELECT version_num FROM alembic_version").fetchone()[0]
            last = (copy.execute(_HEAD).fetchone() or (_NOBODY,))[0]
            count = copy.execute(_COUNT).fetchone()[0]
    finally:
        pooled.close()
    _sync(file)
    return Dump("sqlite", file, revision, f"{count}:{last}")


def _load_sqlite(target: Path, file: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for suffix in ("-wal", "-shm"):  # of the database that was there; they would be played into this one
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    fresh = target.with_name(f".restoring-{target.name}")
    shutil.copyfile(file, fresh)
    fresh.chmod(0o600)
    _sync(fresh)
    os.replace(fresh, target)


def _sync(path: Path) -> None:
    with open(path, "rb+") as written:
        os.fsync(written.fileno())


# --- PostgreSQL ----------------------------------------------------------------------------------


def _dump_tables(engine: Engine, file: Path) -> Dump:
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    file.touch(mode=0o600)
    with (
        engine.connect().execution_options(**options) as connection,
        connection.begin(),
        open(file, "w", encoding="utf-8") as out,
    ):
        tables = MetaData()
        tables.reflect(connection)
        for table in tables.tables.values():
            columns = list(table.columns)
            out.write(_line({"table": table.name, "columns": [each.name for each in columns]}))
            order = [*table.primary_key.columns] or columns
            query = sa.select(*columns).order_by(*order).execution_options(yield_per=_AT_ONCE)
            for row in connection.execute(query):
                out.write(_line([_pack(value) for value in row]))
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        last = connection.execute(text(_HEAD)).scalar() or _NOBODY
        count = connection.execute(text(_COUNT)).scalar_one()
        out.write(_line({"end": True}))
        out.flush()
        os.fsync(out.fileno())
    return Dump("postgresql", file, revision, f"{count}:{last}")


def _load_tables(engine: Engine, file: Path) -> None:
    """Everything in one transaction: the tables as they were then, or the database as it was before."""
    with engine.begin() as connection:
        for (name,) in connection.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        ).all():
            connection.execute(text(f'DROP TABLE "{name}" CASCADE'))
        revision = next(rows[0][0] for table, _, rows in _read(file) if table == "alembic_version")
        config = Config()
        config.set_main_option("script_location", MIGRATIONS.as_posix().replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables = MetaData()
        tables.reflect(connection)
        with _without_references(connection):
            for name, columns, rows in _read(file):
                if name != "alembic_version":
                    _fill(connection, tables.tables[name], columns, rows)


def _fill(connection: Connection, table: sa.Table, columns: list[str], rows: list[list[Any]]) -> None:
    if rows:
        values = [dict(zip(columns, map(_unpack, row), strict=True)) for row in rows]
        connection.execute(table.insert(), values)
    for column in table.primary_key.columns:
        if isinstance(column.type, sa.Integer):  # counted by the database, which goes on where it was
            counter = "pg_get_serial_sequence(:table, :column)"
            top = f'(SELECT max("{column.name}") FROM "{table.name}")'
            connection.execute(
                text(f"SELECT setval({counter}, {top}) WHERE {top} IS NOT NULL"),
                {"table": f'"{table.name}"', "column": column.name},
            )


@contextlib.contextmanager
def _without_references(connection: Connection) -> Iterator[None]:
    """Foreign keys away and back, each checked then: rows point at each other in a circle."""
    found = connection.execute(
        text(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'f' AND connamespace = current_schema()::regnamespace"
        )
    ).all()
    for table, name, _ in found:
        connection.execute(text(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'))
    yield
    for table, name, definition in found:
        connection.execute(text(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}'))


def _read(file: Path) -> Iterator[tuple[str, list[str], list[list[Any]]]]:
    """A dump's tables: name, columns, rows, some at a time."""
    name = ""
    columns: list[str] = []
    rows: list[list[Any]] = []
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            value = json.loads(line)
            if isinstance(value, list):
                rows.append(value)
            if name and (isinstance(value, dict) or len(rows) >= _AT_ONCE):
                yield name, columns, rows
                rows = []
            if isinstance(value, dict):
                if value.get("end"):
                    return
                name, columns = value["table"], value["columns"]
    raise MaintenanceError(f"{file} ends in the middle.", "Restore an earlier backup: --backup NAME.")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=True) + "\n"


def _pack(value: Any) -> Any:
    """A value as JSON that tells its type."""
    if isinstance(value, datetime.datetime):
        return {"moment": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"day": value.isoformat()}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, decimal.Decimal):
        return float(value)
    raise MaintenanceError(
        f"The database holds a value of a kind that a backup cannot take ({type(value).__name__}).",
        "Back it up with pg_dump, and report this.",
    )


def _unpack(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "moment" in value:
        return datetime.datetime.fromisoformat(value["moment"])
    return datetime.date.fromisoformat(value["day"])
