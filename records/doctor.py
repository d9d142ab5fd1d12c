"""What an installation lacks, in words; looks at everything and changes nothing."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import RedysError
from pipeline.measures.baseline import read_baseline
from pipeline.measures.reliability_types import read_reliability
from pipeline.pose.registry import list_models
from records.backup import ASIDE, STAGED, find_backup, list_left
from records.broker import WORK_QUEUES, count_offers, find_need
from records.database import MIGRATIONS, open_engine
from records.erasure import list_backup_places
from records.errors import MaintenanceError
from records.maintenance import check_restored, is_half_restored
from records.room import is_disk_full, read_limits
from settings import ROOT, Settings

if TYPE_CHECKING:
    from records.service import Records

PYTHONS: Final = ((3, 11), (3, 12))
LEAST_FREE_BYTES: Final = 10 * 2**30
"""Three cameras of one visit and what is made of them, with room for the database."""

BACKUP_HOURS: Final = 26
"""A daily backup that was late by an hour is no reason to worry."""

_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


@dataclass(frozen=True)
class Finding:
    """What was found of one part.

    Attributes
    ----------
    level : "ok" | "note" | "missing"
        note: it works, and something about it should be known. missing: it does not work.
    part, what, advice : str
    """

    level: Literal["ok", "note", "missing"]
    part: str
    what: str
    advice: str = ""


def examine(records: Records) -> tuple[Finding, ...]:
    """Look at every part; one that cannot be looked at is missing, and keeps no other from it."""
    settings = records.settings
    parts: dict[str, Callable[[], Iterator[Finding]]] = {
        "Python": lambda: _look_at_python(),
        "Packages": lambda: _look_at_packages(ROOT / "requirements.txt"),
        "Browser modules": lambda: _look_at_modules(settings.node_modules),
        "Hand model": lambda: _look_at_hand(settings),
        "Networks": lambda: _look_at_networks(settings),
        "Data folder": lambda: _look_at_data(settings),
        "Restore": lambda: _look_at_restore(settings.data_dir),
        "Database": lambda: _look_at_database(settings),
        "Queue": lambda: _look_at_queue(settings),
        "Store": lambda: _look_at_store(records),
        "Reference": lambda: _look_at_reference(settings),
        "Measurement error": lambda: _look_at_reliability(settings),
        "Secret key": lambda: _look_at_key(settings),
        "Clock": lambda: _look_at_clock(settings),
        "Backup": lambda: _look_at_backup(settings.data_dir),
    }
    found: list[Finding] = []
    for part, look in parts.items():
        try:
            found += look()
        except RedysError as error:
            found.append(Finding("missing", part, error.what, error.advice))
        except OSError as error:
            found.append(
                Finding("missing", part, f"{error.filename}: {error.strerror}.", "Check the folder.")
            )
    return tuple(found)


def _look_at_python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in PYTHONS:
        yield Finding("ok", "Python", f"{version}.")
    else:
        yield Finding(
            "missing",
            "Python",
            f"{version} is not one that the packages are pinned for.",
            "Use 3.11 or 3.12.",
        )


def _look_at_packages(requirements: Path) -> Iterator[Finding]:
    wrong = []
    pins = _PIN.findall(requirements.read_text(encoding="utf-8"))
    for name, wanted in pins:
        try:
            version = importlib.metadata.version(name).partition("+")[0]  # torch says for what it was built
        except importlib.metadata.PackageNotFoundError:
            version = "not there"
        if version != wanted:
            wrong.append(f"{name} is {version} and should be {wanted}")
    if wrong:
        yield Finding("missing", "Packages", f"{'; '.join(wrong[:5])}.", "Run `make setup`.")
    else:
        yield Finding("ok", "Packages", f"{len(pins)}, all as pinned.")


def _look_at_modules(folder: Path) -> Iterator[Finding]:
    wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["dependencies"]
    missing = []
    for name, version in wanted.items():
        try:
            found = json.loads((folder / name / "package.json").read_text(encoding="utf-8"))["version"]
        except (OSError, ValueError, KeyError):
            found = ""
        if found != version:
            missing.append(f"{name} {version}")
    if missing:
        yield Finding(
            "missing", "Browser modules", f"{', '.join(missing)} not in {folder}.", "Run `make setup`."
        )
    else:
        yield Finding("ok", "Browser modules", f"{len(wanted)}, all as pinned.")


def _look_at_hand(settings: Settings) -> Iterator[Finding]:
    from pipeline.hand.model import load_hand_model  # loads torch, which the web process must not

    model = load_hand_model(settings.models_dir)
    if (settings.models_dir / "mano" / "MANO_RIGHT.pkl").is_file():
        yield Finding("ok", "Hand model", f"{model.name}.")
    else:
        yield Finding(
            "note",
            "Hand model",
            f"{model.name}: the built-in hand stands in for MANO, and every report says so.",
            f"With a licence, put MANO_RIGHT.pkl into {settings.models_dir / 'mano'}.",
        )


def _look_at_networks(settings: Settings) -> Iterator[Finding]:
    models = list_models(read_files=False)
    for role, chosen in (("detector", settings.detector), ("estimator", settings.estimator)):
        found = [model for model in models if (model["role"], model["name"]) == (role, chosen)]
        if not found:
            names = ", ".join(model["name"] for model in models if model["role"] == role)
            yield Finding("missing", "Networks", f"There is no {role} {chosen}.", f"There are {names}.")
        elif not found[0]["ready"]:
            yield Finding(
                "missing", "Networks", f"The files of the {role} {chosen} are not there.", found[0]["place"]
            )
        else:
            yield Finding("ok", "Networks", f"The {role} {chosen} is ready.")


def _look_at_data(settings: Settings) -> Iterator[Finding]:
    data = settings.data_dir
    if not data.is_dir():
        yield Finding(
            "note", "Data folder", f"{data} is not there yet; it is made at the first start.",
            "If there should be one, check REDYS_DATA_DIR.",
        )  # fmt: skip
        return
    try:
        with tempfile.NamedTemporaryFile(dir=data, prefix=".unfinished-"):
            pass
    except OSError as error:
        yield Finding(
            "missing", "Data folder", f"{data} cannot be written to ({error.strerror}).",
            "Give it to the user that this program runs as.",
        )  # fmt: skip
        return
    free = shutil.disk_usage(data).free
    words = f"{data}, {free / 1e9:.0f} GB free."
    limits = read_limits(settings)
    if is_disk_full(data, limits):
        yield Finding(
            "missing", "Data folder", f"{words} Uploads are refused below {limits.keep_free_share:.0%}.",
            "Free some space, or lower REDYS_KEEP_FREE_SHARE.",
        )  # fmt: skip
    elif free < LEAST_FREE_BYTES:
        yield Finding("missing", "Data folder", words, "Free some space: a visit takes several GB.")
    elif stat.S_IMODE(data.stat().st_mode) & 0o007:
        yield Finding(
            "note", "Data folder", f"{words} Everybody on this machine can read it.", f"chmod 700 {data}"
        )
    else:
        yield Finding("ok", "Data folder", words)


def _look_at_restore(data: Path) -> Iterator[Finding]:
    """What a restore that was broken off has left; nothing is said where there is nothing."""
    for path in list_left(data, STAGED):
        yield Finding(
            "note",
            "Restore",
            f"{path} was copied out of a backup by a restore that was broken off, or is still at work.",
            "The next restore removes it. If there shall be none and none is at work, delete it.",
        )
    half = is_half_restored(data)
    for path in list_left(data, ASIDE):
        yield Finding(
            "note",
            "Restore",
            f"{path} has what was in the data folder before a restore, with people who may be erased by now.",
            "It goes when the restore is done."
            if half
            else "Look whether the data folder has all that it should, then delete it.",
        )
    try:
        check_restored(data)
    except MaintenanceError as error:
        yield Finding("missing", "Restore", error.what, error.advice)


def _look_at_database(settings: Settings) -> Iterator[Finding]:
    engine = open_engine(settings.effective_database_url)
    place = engine.url.render_as_string(hide_password=True)
    config = Config()
    config.set_main_option("script_location", MIGRATIONS.as_posix().replace("%", "%%"))
    newest = ScriptDirectory.from_config(config).get_current_head()
    if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
        yield Finding("note", "Database", f"{place} is not there yet; it is made at the first start.")
        return
    try:
        with engine.execution_options(read_only=True).connect() as connection:
            version = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).splitlines()[0]
        yield Finding(
            "missing", "Database", f"{place} does not answer ({said}).", "Start it, or check DATABASE_URL."
        )
        return
    finally:
        engine.dispose()
    if version != newest:
        words = f"{place} has the tables of version {version or 'none'}, and {newest} is the newest."
        yield Finding("note", "Database", words, "The next start brings it up to date. Make a backup before.")
    else:
        yield Finding("ok", "Database", f"{place}, tables of version {newest}.")


def _look_at_queue(settings: Settings) -> Iterator[Finding]:
    if not settings.redis_url:
        yield Finding("ok", "Queue", "This machine works its runs itself (no REDIS_URL).")
        return
    check_redis(settings.redis_url)
    offers = count_offers(settings.redis_url)
    words = f"Redis answers, and so do {offers['cpu']} workers, and {offers['gpu']} for work on a GPU."
    wants = find_need(settings.detector, settings.estimator)
    if offers[wants]:
        yield Finding("ok", "Queue", words)
    else:
        advice = f"Start one: celery -A records.worker:celery_app worker --queues {WORK_QUEUES[wants]}"
        yield Finding(
            "missing", "Queue", f"{words} Runs wait until one is there.", f"{advice} (docs/scaling.md)"
        )


def _look_at_store(records: Records) -> Iterator[Finding]:
    store = records.store
    if not store.is_on:
        yield Finding("ok", "Store", "The data folder itself (no REDYS_STORE_URL).")
        return
    store.check()
    yield Finding("ok", "Store", "It answers, and can be written to.")
    if store.objects.keeps_old_versions():
        yield Finding(
            "note",
            "Store",
            "The bucket keeps older versions of what is removed: what was erased is still in it.",
            "Switch versioning off, or let older versions expire within 30 days.",
        )
    with contextlib.suppress(SQLAlchemyError):  # the database has a line of its own
        if waiting := store.count_waiting():
            yield Finding(
                "note",
                "Store",
                f"{waiting} folders are newer than what the store has.",
                "That is so for minutes after uploads. If it stays so, a machine is off or cannot reach it.",
            )


def check_redis(url: str) -> None:
    """Ask Redis whether it is there.

    Raises
    ------
    RedysError
        It does not answer within three seconds.
    """
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as store:
            store.ping()
    except redis.RedisError as error:
        raise RedysError("Redis does not answer.", "Start it, or check REDIS_URL.") from error


def _look_at_reference(settings: Settings) -> Iterator[Finding]:
    baseline = read_baseline(settings.baseline)
    if baseline.simulated:
        yield Finding(
            "note",
            "Reference",
            "The built-in reference is simulated: good for trying the program, for no statement on anybody.",
            "Build one from healthy people (`python -m pipeline baseline build`) and name it in "
            "REDYS_BASELINE.",
        )
    else:
        yield Finding("ok", "Reference", f"{settings.baseline}.")


def _look_at_reliability(settings: Settings) -> Iterator[Finding]:
    if settings.reliability is None:
        yield Finding(
            "note",
            "Measurement error",
            "No study of this clinic's own: no change between visits is called better or worse.",
            "Film people twice (`python -m pipeline reliability`) and name the result in REDYS_RELIABILITY.",
        )
        return
    read_reliability(settings.reliability)
    yield Finding("ok", "Measurement error", f"{settings.reliability}.")


def _look_at_key(settings: Settings) -> Iterator[Finding]:
    if settings.secret_key is not None:
        if len(settings.secret_key.get_secret_value()) < 32:
            yield Finding("missing", "Secret key", "SECRET_KEY is short.", "Make one: openssl rand -hex 48")
        else:
            yield Finding("ok", "Secret key", "From SECRET_KEY.")
        return
    path = settings.data_dir / "secret_key"
    if not path.is_file():
        yield Finding("ok", "Secret key", "Made in the data folder at the first start.")
    elif stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("missing", "Secret key", f"Others can read {path}.", f"chmod 600 {path}")
    else:
        yield Finding("ok", "Secret key", f"{path}, which this user alone can read.")


def _look_at_clock(settings: Settings) -> Iterator[Finding]:
    """What was written down already cannot lie ahead of a clock that is right."""
    moment = datetime.datetime.now(datetime.UTC)
    newest = max((path.stat().st_mtime for path in (ROOT / "settings.py", *_logged(settings))), default=0.0)
    ahead_s = newest - moment.timestamp()
    for said in _newest_event(settings):
        ahead_s = max(ahead_s, (said - moment).total_seconds())
    words = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    if ahead_s > 60.0:
        yield Finding(
            "missing", "Clock", f"It says {words}, and something was written {ahead_s:.0f} s after that.",
            "Set the clock by NTP: share links and dates of retention go by it.",
        )  # fmt: skip
    else:
        yield Finding("ok", "Clock", f"{words}.")


def _logged(settings: Settings) -> list[Path]:
    path = settings.data_dir / ".health"
    return [path] if path.is_file() else []


def _newest_event(settings: Settings) -> Iterator[datetime.datetime]:
    engine = open_engine(settings.effective_database_url)
    if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
        return
    with contextlib.suppress(SQLAlchemyError, ValueError):  # the database has a line of its own
        with engine.execution_options(read_only=True).connect() as connection:
            at = connection.execute(text("SELECT max(at) FROM audit_event")).scalar()
        if at is not None:
            moment = at if isinstance(at, datetime.datetime) else datetime.datetime.fromisoformat(at)
            yield moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    engine.dispose()


def _look_at_backup(data: Path) -> Iterator[Finding]:
    advice = "Run `python -m records backup FOLDER` each day, onto another disk."
    newest = ""
    for place in list_backup_places(data):
        with contextlib.suppress(RedysError, OSError):
            newest = max(newest, find_backup(place).name)
    if not newest:
        yield Finding("note", "Backup", "None that can be found.", advice)
        return
    moment = datetime.datetime.strptime(newest, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    hours = (datetime.datetime.now(datetime.UTC) - moment).total_seconds() / 3600
    level: Literal["ok", "note"] = "ok" if hours < BACKUP_HOURS else "note"
    yield Finding(
        level, "Backup", f"The last is of {moment:%Y-%m-%d %H:%M} UTC.", "" if level == "ok" else advice
    )
