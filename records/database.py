"""Opening the database: SQLite or PostgreSQL, brought to the newest tables before use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from records.errors import DatabaseError

MIGRATIONS = Path(__file__).resolve().parent / "migrations"

_MIGRATION_LOCK = 0x52654479
"""Number of the PostgreSQL advisory lock that lets one process at a time migrate ("ReDy")."""

_migrating = threading.Lock()
"""Alembic keeps what it works on in globals: two migrations in one process would write into one database."""

PATIENCE_S = 5
"""How long a page waits for a PostgreSQL that does not answer, or for one of its connections."""


def open_engine(url: str) -> Engine:
    """An engine for ``url``; nothing is connected yet.

    SQLite: WAL, so that readers and the writer do not wait for each other; synchronous FULL, so that a
    commit lasts through a power cut; foreign keys, which SQLite ignores unless asked; 30 s of patience.

    Raises
    ------
    DatabaseError
        The URL is not one of SQLite's or PostgreSQL's.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseError("DATABASE_URL is not a database address.", _URL_ADVICE) from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")  # hosting services leave the driver out
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseError(f"DATABASE_URL names {parsed.get_backend_name()}.", _URL_ADVICE)
    try:
        if parsed.get_backend_name() == "sqlite":
            engine = create_engine(parsed, connect_args={"timeout": 30})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_immediately)
        else:
            engine = create_engine(
                parsed,
                pool_pre_ping=True,
                pool_size=10,
                max_overflow=20,
                pool_timeout=PATIENCE_S,
                connect_args=_patience_of(parsed),
            )
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise DatabaseError(f"No driver for {parsed.drivername}.", _URL_ADVICE) from error
    # A connection must not be shared with a process forked from this one (Celery's pool forks).
    os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
    return engine


def _patience_of(url: URL) -> dict[str, Any]:
    """What libpq is told, so that a silent server is taken for gone; the URL's own word wins."""
    said = {
        "connect_timeout": PATIENCE_S,
        "keepalives_idle": PATIENCE_S,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 1000 * PATIENCE_S,
    }
    return {name: value for name, value in said.items() if name not in url.query}


_URL_ADVICE = "Use sqlite:///path or postgresql://user:password@host/name."


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own habit of opening transactions late is switched off: `_begin_immediately` does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediately(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another wrote between
    # (SQLITE_BUSY_SNAPSHOT ignores the timeout); readers say so by the option `read_only`.
    reading = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest version; processes that start together do it one after another.

    Raises
    ------
    DatabaseError
        The server does not answer, or the file cannot be opened.
    """
    config = Config()
    config.set_main_option("script_location", MIGRATIONS.as_posix().replace("%", "%%"))
    try:
        if engine.url.get_backend_name() == "sqlite" and engine.url.database not in (None, "", ":memory:"):
            Path(str(engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
        with _migrating, _one_at_a_time(engine), engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        place = engine.url.render_as_string(hide_password=True)
        raise DatabaseError(
            f"The database {place} cannot be opened ({error.orig}).",
            "Check that it is there, that it may be written to, and DATABASE_URL.",
        ) from error
    except OSError as error:
        raise DatabaseError(
            f"{engine.url.database} cannot be made ({error.strerror}).",
            "Choose a data folder that can be written to: REDYS_DATA_DIR.",
        ) from error


@contextlib.contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    if engine.url.get_backend_name() == "postgresql":
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK})
        return
    if engine.url.database in (None, "", ":memory:"):
        yield
        return
    with open(f"{engine.url.database}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
