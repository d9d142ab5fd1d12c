"""Opening and migrating."""

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from records import Records, models, service
from records.database import MIGRATIONS, migrate, open_engine
from records.errors import DatabaseError
from settings import ROOT, Settings
from tests.records.conftest import fresh_postgres


@pytest.fixture(scope="module")
def bare_postgres() -> Iterator[str]:
    with fresh_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, each time."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'test.sqlite3'}"
    url: str = request.getfixturevalue("bare_postgres")
    engine = open_engine(url)
    with engine.begin() as connection:  # making and dropping a database each time waits for the disk
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def records(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    """Opened by the migrations themselves, not as a copy of a database that was made by them."""
    monkeypatch.setattr(service, "migrate", migrate)
    opened = Records(settings)
    yield opened
    opened.close()


def test_the_migrations_make_what_the_models_say(records: Records) -> None:
    with records.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, models.Base.metadata) == []


def test_the_migrations_go_back_to_nothing(records: Records) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with records.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]


def test_what_was_recorded_before_rigs_were_kept_stays_through_the_migration_and_back(
    settings: Settings,
) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = open_engine(settings.effective_database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    moment = "2026-01-02 03:04:05+00:00"
    rows = (
        f"INSERT INTO subject VALUES ('s', 'P-1', '{moment}')",
        "INSERT INTO visit (id, subject_id) VALUES ('v', 's')",
        "INSERT INTO recording (id, visit_id, title, task, side, folder, created) "
        f"VALUES ('r', 'v', 'One', 'piano', 'left', 'one', '{moment}')",
        "INSERT INTO run (id, recording_id, state, folder, settings_hash, attempts, stage, fraction, "
        "message, warnings, error_what, error_advice, cancel_requested, created, queued) VALUES "
        f"('n', 'r', 'done', 'f', '', 1, '', 1.0, '', 0, '', '', false, '{moment}', '{moment}')",
    )
    query = text(
        "SELECT recording.title, recording.side, run.state FROM recording JOIN run ON recording_id = 'r'"
    )
    for version, move in (("0001", command.upgrade), ("0002", command.upgrade), ("0001", command.downgrade)):
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            move(config, version)
            if move is command.upgrade and version == "0001":
                for row in rows:
                    connection.execute(text(row))
            assert connection.execute(query).all() == [("One", "left", "done")]
            columns = {column["name"] for column in inspect(connection).get_columns("recording")}
            assert ("rig_id" in columns) == (version == "0002")
    engine.dispose()


def test_going_back_before_roles_lets_nobody_see_more(settings: Settings) -> None:
    engine = open_engine(settings.effective_database_url)
    migrate(engine)
    config = Config()
    config.set_main_option("script_location", MIGRATIONS.as_posix())
    with engine.begin() as connection:
        for role in ("administrator", "clinician", "researcher", "viewer"):
            connection.execute(
                text(
                    "INSERT INTO user_account (id, name, password_hash, epoch, disabled, role, created) "
                    f"VALUES ('{role}', '{role}', 'x', 0, false, '{role}', '2026-03-02 12:00:00+00:00')"
                )
            )
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
        able = connection.execute(text("SELECT name FROM user_account WHERE NOT disabled")).scalars().all()
        assert able == ["clinician"]
    migrate(engine)
    with engine.begin() as connection:
        able = connection.execute(text("SELECT name FROM user_account WHERE NOT disabled")).scalars().all()
    assert able == ["clinician"]
    engine.dispose()


def migrate_and_count(url: str) -> int:
    """The tables of a database after its migration."""
    engine = open_engine(url)
    migrate(engine)
    with engine.connect() as connection:
        count = len(inspect(connection).get_table_names())
    engine.dispose()
    return count


def test_many_that_start_together_migrate_once(settings: Settings) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(migrate_and_count, 4 * [settings.effective_database_url]))) == 1


def test_two_databases_that_are_migrated_in_one_process_are_not_mixed_up(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / name}" for name in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(migrate_and_count, urls))) == 1


def test_four_programs_that_start_together_migrate_once(settings: Settings) -> None:
    said = {"REDYS_DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.effective_database_url}
    command = [sys.executable, "-m", "records", "migrate"]
    started = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **said}, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    engine = open_engine(settings.effective_database_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), models.Base.metadata) == []
    engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "mysql://a/b", "mssql+pyodbc://a", "http://example.org"])
def test_another_database_is_refused_in_words(url: str) -> None:
    with pytest.raises(DatabaseError, match="DATABASE_URL"):
        open_engine(url)


def test_a_server_that_is_away_is_said_without_its_password() -> None:
    engine = open_engine("postgresql://somebody:secret@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:1") as raised:
        migrate(engine)
    assert "secret" not in str(raised.value)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = open_engine(f"sqlite:///{tmp_path / 'file' / 'x' / 'db.sqlite3'}")
    with pytest.raises(DatabaseError, match="REDYS_DATA_DIR"):
        migrate(engine)


def test_times_come_back_in_utc_whatever_zone_they_were_given_in(records: Records) -> None:
    tokyo = datetime.timezone(datetime.timedelta(hours=9))
    moment = datetime.datetime(2028, 2, 29, 3, 4, 5, 678901, tokyo)
    with records.writing() as database:
        database.add(models.Subject(id=models.new_id(), pseudonym="P-1", created=moment))
    with records.reading() as database:
        back = database.scalars(select(models.Subject.created)).one()
    assert back == moment
    assert back.utcoffset() == datetime.timedelta(0)


def test_a_time_without_a_zone_is_refused(records: Records) -> None:
    naive = datetime.datetime(2026, 1, 1)
    with pytest.raises(StatementError, match="zone"), records.writing() as database:
        database.add(models.Subject(id=models.new_id(), pseudonym="P-1", created=naive))


def test_a_run_of_no_recording_is_refused(records: Records) -> None:
    with pytest.raises(IntegrityError), records.writing() as database:
        database.add(models.Run(id=models.new_id(), recording_id="0" * 32, folder="x"))
