"""The tables. Nothing outside `records` sees these classes: callers get the rows of `records.rows`.

Identifiers are 128 random bits as hexadecimal: they stand in addresses and folder names, and say nothing
about a person.
"""

from __future__ import annotations

import datetime
import re
import uuid
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

LIVE_STATES = ("queued", "running")
"""A recording has at most one run in these."""

FINAL_STATES = ("done", "failed", "cancelled", "lost")

RUN_STATES = (*LIVE_STATES, *FINAL_STATES)


def new_id() -> str:
    """A fresh identifier: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def now() -> datetime.datetime:
    """The moment, in UTC."""
    return datetime.datetime.now(datetime.UTC)


class UtcDateTime(TypeDecorator[datetime.datetime]):
    """Times kept in UTC and handed out aware of it: SQLite forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Dialect) -> Any:
        """Refuse a time without a zone: which one it meant could only be guessed."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a zone cannot be stored.")
        return value.astimezone(datetime.UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime.datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)


_NOWHERE: Final = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL, or any file in UTF-8, cannot hold: a person cannot type it, and a request may send it."""


def make_storable(words: str) -> str:
    """A text as a database can hold it, with U+FFFD for what none can."""
    return _NOWHERE.sub("\ufffd", words)


class Words(TypeDecorator[str]):
    """Text of any length; what is put in and what is asked for is made storable the same way."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Replace what cannot be stored."""
        return make_storable(value) if isinstance(value, str) else value


class Base(DeclarativeBase):
    """Names of constraints are fixed, so that migrations can speak of them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime.datetime: UtcDateTime, str: Words}  # noqa: RUF012 - SQLAlchemy's own form


class Subject(Base):
    """A person, by pseudonym."""

    __tablename__ = "subject"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    pseudonym: Mapped[str] = mapped_column(unique=True)
    created: Mapped[datetime.datetime] = mapped_column(default=now)

    visits: Mapped[list[Visit]] = relationship(back_populates="subject", order_by="Visit.date")


class Visit(Base):
    """A day on which a person was recorded. ``date`` is null where nobody said."""

    __tablename__ = "visit"
    __table_args__ = (UniqueConstraint("subject_id", "date"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    subject_id: Mapped[str] = mapped_column(ForeignKey("subject.id"), index=True)
    date: Mapped[datetime.date | None]

    subject: Mapped[Subject] = relationship(back_populates="visits")
    recordings: Mapped[list[Recording]] = relationship(back_populates="visit")


class Recording(Base):
    """One session folder: one task, filmed once, or a set of still pictures (``kind``).

    ``folder`` is relative to the data folder, so that a backup can be restored elsewhere; a folder
    that lies outside it is absolute. ``trashed`` hides it everywhere until it is brought back or purged;
    ``retention_noticed`` is when it was said that ``retain_until`` has passed (`records.retention`).
    """

    __tablename__ = "recording"
    __table_args__ = (
        CheckConstraint("side IN ('right', 'left', 'both')", name="side"),
        CheckConstraint("kind IN ('video', 'photos')", name="kind"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(default="video", server_default="video")
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    title: Mapped[str] = mapped_column(default="")
    task: Mapped[str]
    side: Mapped[str]
    folder: Mapped[str] = mapped_column(unique=True)
    rig_id: Mapped[str | None] = mapped_column(ForeignKey("rig.id"), index=True)
    created: Mapped[datetime.datetime] = mapped_column(default=now)
    trashed: Mapped[datetime.datetime | None] = mapped_column(index=True)
    trashed_by: Mapped[str | None]
    retain_until: Mapped[datetime.date | None] = mapped_column(index=True)
    retention_noticed: Mapped[datetime.datetime | None]

    visit: Mapped[Visit] = relationship(back_populates="recordings")
    runs: Mapped[list[Run]] = relationship(back_populates="recording", order_by="Run.created")


class Run(Base):
    """One working of a recording. The truth about it: pages and supervisors read and write only here.

    ``quality`` is the verdict of the report ("passed", "limited", "failed"), so that the worklist can be
    searched by it; empty where there is no report or nobody has looked yet. ``needs`` is the kind of worker
    that may take it ("cpu", "gpu").
    """

    __tablename__ = "run"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled', 'lost')", name="state"
        ),
        # The database itself refuses a second live run of a recording and a second run at work for one
        # worker of a machine: two people, two tabs or two workers cannot get past each other.
        Index(
            "uq_run_live_recording",
            "recording_id",
            unique=True,
            sqlite_where=text("state IN ('queued', 'running')"),
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index(
            "uq_run_running_worker",
            "host",
            "worker",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index("ix_run_state_queued", "state", "queued"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id"), index=True)
    state: Mapped[str] = mapped_column(default="queued")
    folder: Mapped[str]
    settings_hash: Mapped[str] = mapped_column(default="")
    needs: Mapped[str] = mapped_column(default="cpu", server_default="cpu")
    attempts: Mapped[int] = mapped_column(default=0)

    stage: Mapped[str] = mapped_column(default="")
    fraction: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(default="")
    eta_s: Mapped[float | None]
    warnings: Mapped[int] = mapped_column(default=0)
    error_what: Mapped[str] = mapped_column(default="")
    error_advice: Mapped[str] = mapped_column(default="")
    exit_code: Mapped[int | None]
    quality: Mapped[str] = mapped_column(default="", server_default="")
    cancel_requested: Mapped[bool] = mapped_column(default=False)

    created: Mapped[datetime.datetime] = mapped_column(default=now)
    queued: Mapped[datetime.datetime] = mapped_column(default=now)
    summoned: Mapped[datetime.datetime | None]
    started: Mapped[datetime.datetime | None]
    finished: Mapped[datetime.datetime | None]
    heartbeat: Mapped[datetime.datetime | None]

    # A process is its number and its start: numbers are used again.
    # ``worker`` is empty where a machine works alone.
    host: Mapped[str | None]
    worker: Mapped[str] = mapped_column(default="", server_default="")
    supervisor_pid: Mapped[int | None] = mapped_column(BigInteger)
    supervisor_started: Mapped[float | None]
    child_pid: Mapped[int | None] = mapped_column(BigInteger)
    child_started: Mapped[float | None]

    recording: Mapped[Recording] = relationship(back_populates="runs")


class RunPart(Base):
    """A stage of a run at work that another worker may do meanwhile (`records.parts`).

    States: "offered", "taken", "done"; one that failed, or that the run begins itself, is "closed".
    ``beats`` counts while somebody is at it.
    """

    __tablename__ = "run_part"
    __table_args__ = (
        CheckConstraint("state IN ('offered', 'taken', 'done', 'closed')", name="state"),
        UniqueConstraint("run_id", "stage"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    stage: Mapped[str]
    state: Mapped[str] = mapped_column(default="offered")
    needs: Mapped[str] = mapped_column(default="cpu")
    host: Mapped[str] = mapped_column(default="")
    worker: Mapped[str] = mapped_column(default="")
    beats: Mapped[int] = mapped_column(default=0)


class Rig(Base):
    """Calibrated cameras that are kept to be used again; ``file`` is relative to the data folder.

    ``digest`` is that of the cameras without the name: the same calibration is kept once, and is known again
    in a session folder. ``cameras`` is a JSON list of names.
    """

    __tablename__ = "rig"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    from_run_id: Mapped[str | None] = mapped_column(
        ForeignKey("run.id", use_alter=True)
    )  # run, recording, rig
    file: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    cameras: Mapped[str]
    verdict: Mapped[str]
    source: Mapped[str]
    retired: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime.datetime] = mapped_column(default=now)


class StoredFolder(Base):
    """What the store has of a folder or file of the data folder (`records.store`).

    ``id`` is the hash of ``key``, its path in the data folder. ``digest`` names the manifest that holds
    (empty = nothing is kept yet). ``machine`` has something newer that is not kept, ``changed`` since when.
    ``dropped`` is when it was taken away for good: the row stays without its key, so that other machines'
    copies go.
    """

    __tablename__ = "stored_folder"

    id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(default="")
    digest: Mapped[str] = mapped_column(default="")
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    machine: Mapped[str | None] = mapped_column(index=True)
    changed: Mapped[datetime.datetime | None]
    kept: Mapped[datetime.datetime | None]
    lease: Mapped[str | None]
    leased_until: Mapped[datetime.datetime | None]
    dropped: Mapped[datetime.datetime | None] = mapped_column(index=True)


class ClinicalScore(Base):
    """A clinical scale as a rater gave it, beside what is measured and never merged into it.

    ``items`` is a JSON object of the scale's items where they were given one by one. A score is never
    changed or deleted: a wrong one is withdrawn.
    """

    __tablename__ = "clinical_score"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    subject_id: Mapped[str] = mapped_column(ForeignKey("subject.id"), index=True)
    date: Mapped[datetime.date]
    scale: Mapped[str]
    value: Mapped[float]
    items: Mapped[str] = mapped_column(default="")
    rater: Mapped[str]
    version: Mapped[str] = mapped_column(default="")
    blinded: Mapped[bool | None]
    note: Mapped[str] = mapped_column(default="")
    author: Mapped[str]
    created: Mapped[datetime.datetime] = mapped_column(default=now)
    withdrawn: Mapped[datetime.datetime | None]
    withdrawn_by: Mapped[str | None]


class Mark(Base):
    """What a person set on a recording's timeline: a note, a tag, or a rater's mark of a movement.

    Times are seconds of the reference camera's clock; ``end_s`` is null for a moment. A mark is never
    changed or deleted: it is withdrawn, and can be brought back.
    """

    __tablename__ = "mark"
    __table_args__ = (
        CheckConstraint("kind IN ('note', 'tag', 'abnormal movement')", name="kind"),
        CheckConstraint("end_s IS NULL OR end_s >= start_s", name="order"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id"), index=True)
    kind: Mapped[str]
    start_s: Mapped[float]
    end_s: Mapped[float | None]
    side: Mapped[str | None]
    joint: Mapped[str | None]
    text: Mapped[str] = mapped_column(default="")
    rater: Mapped[str] = mapped_column(default="")
    blinded: Mapped[bool | None]
    author: Mapped[str]
    created: Mapped[datetime.datetime] = mapped_column(default=now)
    withdrawn: Mapped[datetime.datetime | None]
    withdrawn_by: Mapped[str | None]


class Correction(Base):
    """A person's change of what the pipeline works with: kept with who, when, what it was and what it became.

    ``before`` and ``after`` are JSON; what is in force stands in the session folder's ``session.toml``.
    """

    __tablename__ = "correction"
    __table_args__ = (CheckConstraint("kind IN ('offset', 'cameras', 'side', 'exclusions')", name="kind"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id"), index=True)
    kind: Mapped[str]
    before: Mapped[str]
    after: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    author: Mapped[str]
    created: Mapped[datetime.datetime] = mapped_column(default=now, index=True)
    undone: Mapped[datetime.datetime | None]
    undone_by: Mapped[str | None]


class ShareLink(Base):
    """A link by which somebody without an account looks at what was taken out of one or two recordings.

    Of token and password only hashes are kept (``password_hash`` empty = none). ``choices`` is a JSON list of
    what the owner let through. ``latest`` is the latest moment that the link has seen, and ``ended`` when it
    was first found past its end: a clock that is set back brings nothing to life again.
    """

    __tablename__ = "share_link"
    __table_args__ = (CheckConstraint("max_views IS NULL OR used <= max_views", name="views"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    token_hash: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str] = mapped_column(default="")
    owner: Mapped[str] = mapped_column(index=True)
    code: Mapped[str]
    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id", ondelete="CASCADE"), index=True)
    recording_b_id: Mapped[str | None] = mapped_column(
        ForeignKey("recording.id", ondelete="CASCADE"), index=True
    )
    choices: Mapped[str] = mapped_column(default="[]")
    created: Mapped[datetime.datetime] = mapped_column(default=now)
    expires: Mapped[datetime.datetime]
    max_views: Mapped[int | None]
    used: Mapped[int] = mapped_column(default=0)
    latest: Mapped[datetime.datetime] = mapped_column(default=now)
    revoked: Mapped[datetime.datetime | None]
    ended: Mapped[datetime.datetime | None]


class ShareOpening(Base):
    """One time that a link was opened: the key of its cookie as a hash, and the address cut short."""

    __tablename__ = "share_opening"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    link_id: Mapped[str] = mapped_column(ForeignKey("share_link.id", ondelete="CASCADE"), index=True)
    key_hash: Mapped[str] = mapped_column(unique=True)
    address: Mapped[str] = mapped_column(default="")
    opened: Mapped[datetime.datetime] = mapped_column(default=now)
    expires: Mapped[datetime.datetime]
    played: Mapped[datetime.datetime | None]


class User(Base):
    """Someone who may sign in. ``epoch`` is part of the session cookie: raising it ends all sessions.

    ``totp_secret`` is empty without a second factor; ``totp_step`` is the last time step whose code was taken
    (none is taken twice); ``recovery`` is a JSON list of the digests of codes that are left. A password with
    an end was given by somebody else.
    """

    __tablename__ = "user_account"
    __table_args__ = (
        CheckConstraint("role IN ('administrator', 'clinician', 'researcher', 'viewer')", name="role"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    epoch: Mapped[int] = mapped_column(default=0)
    disabled: Mapped[bool] = mapped_column(default=False)
    role: Mapped[str] = mapped_column(default="clinician", server_default="clinician")
    created: Mapped[datetime.datetime] = mapped_column(default=now)
    totp_secret: Mapped[str] = mapped_column(default="", server_default="")
    totp_step: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    recovery: Mapped[str] = mapped_column(default="", server_default="")
    password_ends: Mapped[datetime.datetime | None]


class SignIn(Base):
    """Somebody who is signed in: the key in their cookie as a hash, and when they last did something."""

    __tablename__ = "sign_in"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    begun: Mapped[datetime.datetime] = mapped_column(default=now, index=True)
    active: Mapped[datetime.datetime] = mapped_column(default=now)


class AuditEvent(Base):
    """Who did what to which object, and whether it was let; never any content.

    ``previous`` and ``digest`` chain the events (`records.audit`), which fills both and the role.
    """

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime.datetime] = mapped_column(default=now, index=True)
    actor: Mapped[str]
    action: Mapped[str]
    object: Mapped[str] = mapped_column(default="")
    result: Mapped[str] = mapped_column(default="ok")
    role: Mapped[str] = mapped_column(default="", server_default="")
    previous: Mapped[str] = mapped_column(default="", server_default="")
    digest: Mapped[str] = mapped_column(default="", server_default="")
