"""Links by which somebody without an account looks at a recording or at two visits held against each other.

A link is a token of 256 random bits; the database has its hash alone, so that who reads the database can open
nothing. What it opens is a folder that was made for it (`pipeline.sharing`) and holds nothing else. Opening
it counts one view and gives a key for a cookie, good for half an hour; everything that is asked with the key
asks again whether the link still stands, so that revoking it stops the next byte range.

Whether a link is unknown, past its end, revoked or used up is told to its owner only. A clock that is set
back gives no time back: a link that was seen past its end stays ended, and time counts from the latest moment
that the link has seen.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session as DatabaseSession

from pipeline.files import read_json, write_json
from pipeline.share_files import CHOICES, SHARE_FILE, Choice
from records import models
from records.addresses import cut_address, is_loopback
from records.checking import drop_secrets
from records.errors import NotFound, ShareError
from records.models import new_id, now
from records.passwords import MAXIMUM_PASSWORD
from records.rows import RecordingRow, Role
from records.users import Backoff
from settings import ROOT

if TYPE_CHECKING:
    from records.service import Records

DEFAULT_DAYS: Final = 7
MOST_DAYS: Final = 30
MOST_VIEWS: Final = 1000
LEAST_PASSWORD: Final = 8
"""Shorter than a sign-in's: whoever tries it must have the link first, and waits longer after each miss."""

SESSION_MINUTES: Final = 30
LOCAL: Final = "local"
"""Owner of what is shared where nobody signs in."""

_SEEN_EVERY = datetime.timedelta(minutes=1)
_CODE_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

SHARING_ROLES: Final[frozenset[Role]] = frozenset({"clinician"})
"""Whose links stand: of those who may share (`components.policy`)."""

LinkState = Literal["open", "preparing", "failed", "expired", "revoked", "used up", "owner disabled"]


@dataclass(frozen=True)
class OpeningRow:
    """One time that a link was opened: when, from what part of the network, and whether it was played."""

    opened: datetime.datetime
    address: str
    played: datetime.datetime | None


@dataclass(frozen=True)
class ShareRow:
    """A link as its owner sees it.

    Attributes
    ----------
    id, code : str
        ``code`` stands in the link's video and in lists; it opens nothing.
    owner : str
        User id, or "local".
    recordings : tuple of RecordingRow
        One, or two with the earlier first; those in the trash are left out.
    choices : tuple of str
        What was let through (`pipeline.share_files.CHOICES`).
    created, expires : datetime
        UTC.
    max_views : int or None
    used : int
        How often it was opened.
    has_password : bool
    state : str
        One of `LinkState`.
    what, advice : str
        Why it could not be prepared, and what to do.
    openings : tuple of OpeningRow
        The newest first.
    """

    id: str
    code: str
    owner: str
    recordings: tuple[RecordingRow, ...]
    choices: tuple[str, ...]
    created: datetime.datetime
    expires: datetime.datetime
    max_views: int | None
    used: int
    has_password: bool
    state: LinkState
    what: str = ""
    advice: str = ""
    openings: tuple[OpeningRow, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether it opens, or will when it is prepared."""
        return self.state in ("open", "preparing")


@dataclass(frozen=True)
class Opened:
    """What opening a link gives: the key for a cookie, and until when it is good."""

    key: str
    expires: datetime.datetime


@dataclass(frozen=True)
class Refused:
    """Why a link does not open, as far as it is told: "closed" (of any reason), "password", or "wait"."""

    why: Literal["closed", "password", "wait"]
    wait_s: float = 0.0


@dataclass(frozen=True)
class OpenShare:
    """What a key opens at this moment.

    Attributes
    ----------
    link_id, opening_id, code : str
    folder : Path
        As `pipeline.sharing` wrote it.
    created, expires : datetime
        Of the link.
    until : datetime
        When the key ends.
    played : bool
        Whether it is written down already that the movement was played.
    """

    link_id: str
    opening_id: str
    code: str
    folder: Path
    created: datetime.datetime
    expires: datetime.datetime
    until: datetime.datetime
    played: bool


class Shares:
    """The links of one database.

    Parameters
    ----------
    records : Records
        Where recordings and runs are.
    command : callable, optional
        ``command(run_folders, out, choices, mark, notes) -> list of str``: the process that makes the folder.
    """

    def __init__(self, records: Records, command: Callable[..., Sequence[str]] | None = None) -> None:
        self._records = records
        self.command = command or share_command
        self._backoff = Backoff()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    # --- the owner's side ------------------------------------------------------------------------

    def create(
        self,
        recording_ids: Sequence[str],
        choices: Sequence[str] = (),
        *,
        days: int = DEFAULT_DAYS,
        password: str = "",
        max_views: int | None = None,
        actor: str = LOCAL,
    ) -> tuple[ShareRow, str]:
        """Make a link and begin to prepare what it opens.

        Parameters
        ----------
        recording_ids : sequence of str
            One recording, or two; each has a report.
        choices : sequence of str
            What is let through, of `pipeline.share_files.CHOICES`.
        days : int
            1 to `MOST_DAYS`.
        password : str
            Empty, or at least `LEAST_PASSWORD` characters.
        max_views : int, optional
            How often it may be opened.
        actor : str
            The owner.

        Returns
        -------
        ShareRow, str
            The link and its token, which is kept nowhere and told this once.

        Raises
        ------
        NotFound
            There is no such recording.
        ShareError
            Something about it cannot be; says what.
        """
        recordings = self._find_recordings(recording_ids)
        kept = _check(choices, days, password, max_views)
        self._sweep()
        token = secrets.token_urlsafe(32)
        moment = now()
        code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(6))
        link = models.ShareLink(
            id=new_id(),
            token_hash=hash_token(token),
            password_hash=self._hasher.hash(password) if password else "",
            owner=actor,
            code=code,
            recording_id=recordings[0].id,
            recording_b_id=recordings[1].id if len(recordings) > 1 else None,
            choices=json.dumps(kept),
            created=moment,
            latest=moment,
            expires=moment + datetime.timedelta(days=days),
            max_views=max_views,
            used=0,
        )
        with self._records.writing() as database:
            database.add(link)
            database.add(models.AuditEvent(actor=actor, action="share.create", object=link.id))
        self._prepare(link, recordings, kept)
        return self.get(link.id), token

    def _find_recordings(self, recording_ids: Sequence[str]) -> list[RecordingRow]:
        if not 1 <= len(recording_ids) <= 2 or len(set(recording_ids)) != len(recording_ids):
            raise ShareError("One recording or two visits can be shared.", "Open a report or a comparison.")
        recordings = [self._records.get_recording(each) for each in recording_ids]
        if any(each.report_run_id is None for each in recordings):
            raise ShareError("There is no report to share yet.", "Run the pipeline on the recording first.")
        return sorted(recordings, key=lambda each: (each.visit or datetime.date.max, each.created))

    def get(self, link_id: str) -> ShareRow:
        """One link.

        Raises
        ------
        NotFound
        """
        rows = self._list(models.ShareLink.id == link_id)
        if not rows:
            raise NotFound("There is no such link.", "It may have been removed with its recording.")
        return rows[0]

    def list_own(self, owner: str, recording_ids: Sequence[str] = ()) -> tuple[ShareRow, ...]:
        """Somebody's links, the newest first; of exactly these recordings where some are named."""
        mine = self._list(models.ShareLink.owner == owner)
        wanted = set(recording_ids)
        return tuple(row for row in mine if not wanted or {each.id for each in row.recordings} == wanted)

    def _list(self, condition: ColumnElement[bool]) -> list[ShareRow]:
        query = select(models.ShareLink).where(condition).order_by(models.ShareLink.created.desc())
        with self._records.reading() as database:
            hidden = set(
                database.scalars(select(models.Recording.id).where(models.Recording.trashed.is_not(None)))
            )
            links = [
                link
                for link in database.scalars(query)
                if not hidden
                & {link.recording_id, link.recording_b_id}  # all revoked, and nobody sees what of
            ]
            openings: dict[str, list[OpeningRow]] = {}
            told = select(models.ShareOpening).where(
                models.ShareOpening.link_id.in_([link.id for link in links])
            )
            for each in database.scalars(told.order_by(models.ShareOpening.opened.desc())):
                row = OpeningRow(each.opened, each.address, each.played)
                openings.setdefault(each.link_id, []).append(row)
            disabled = {link.owner for link in links if not self._may_share(database, link)}
        return [self._row(link, openings.get(link.id, []), link.owner in disabled) for link in links]

    def _row(self, link: models.ShareLink, openings: list[OpeningRow], is_disabled: bool) -> ShareRow:
        ids = [each for each in (link.recording_id, link.recording_b_id) if each]
        state, what, advice = self._tell_state(link, is_disabled)
        return ShareRow(
            id=link.id,
            code=link.code,
            owner=link.owner,
            recordings=tuple(found for each in ids if (found := self._find_recording(each))),
            choices=tuple(json.loads(link.choices)),
            created=link.created,
            expires=link.expires,
            max_views=link.max_views,
            used=link.used,
            has_password=bool(link.password_hash),
            state=state,
            what=what,
            advice=advice,
            openings=tuple(openings),
        )

    def _find_recording(self, recording_id: str) -> RecordingRow | None:
        """A recording of a link; None while it is in the trash."""
        try:
            return self._records.get_recording(recording_id)
        except NotFound:
            return None

    def _tell_state(self, link: models.ShareLink, is_disabled: bool) -> tuple[LinkState, str, str]:
        if link.revoked is not None:
            return "revoked", "", ""
        if _is_past(link):
            return "expired", "", ""
        if is_disabled:
            return "owner disabled", "", ""
        if link.max_views is not None and link.used >= link.max_views:
            return "used up", "", ""
        if self._is_ready(link.id):
            return "open", "", ""
        return self._tell_work(link.id)

    def revoke(self, link_id: str, actor: str = LOCAL) -> None:
        """End a link of one's own at once, with everything that was opened by it.

        Raises
        ------
        NotFound
            There is no such link, or it is somebody else's.
        """
        if not self._revoke(actor, models.ShareLink.id == link_id, models.ShareLink.owner == actor):
            self._must_be_own(link_id, actor)

    def _must_be_own(self, link_id: str, actor: str) -> None:
        if self.get(link_id).owner != actor:
            raise NotFound("There is no such link of yours.", "Its owner can revoke it.")

    def revoke_all(self, actor: str = LOCAL) -> int:
        """End all links of one's own; how many there were."""
        return self._revoke(actor, models.ShareLink.owner == actor)

    def revoke_of(self, recording_ids: Sequence[str], actor: str) -> int:
        """End all links to these recordings, whoever's: they go into the trash, or for ever. How many."""
        touched = or_(
            models.ShareLink.recording_id.in_(recording_ids),
            models.ShareLink.recording_b_id.in_(recording_ids),
        )
        return self._revoke(actor, touched)

    def _revoke(self, actor: str, *conditions: ColumnElement[bool]) -> int:
        with self._records.writing() as database:
            links = database.scalars(
                select(models.ShareLink).where(*conditions, models.ShareLink.revoked.is_(None))
            ).all()
            for link in links:
                link.revoked = now()
                database.add(models.AuditEvent(actor=actor, action="share.revoke", object=link.id))
        for link in links:
            self._remove_folder(link.id)
        return len(links)

    # --- the collaborator's side -----------------------------------------------------------------

    def open(self, token: str, password: str = "", address: str = "") -> Opened | Refused:
        """Open a link: one view, counted at once and once, and a key.

        Parameters
        ----------
        token : str
            Of the link.
        password : str
            If it has one.
        address : str
            Whose network address; only a part of it is kept.
        """
        with self._records.reading() as database:
            link = database.scalar(
                select(models.ShareLink).where(models.ShareLink.token_hash == hash_token(token))
            )
            is_live = link is not None and self._is_live(database, link)
        if link is None or not is_live or not self._is_ready(link.id):
            return self._refuse(link, address)
        refused = self._try_password(link, password, address)
        if refused is not None:
            return refused
        return self._count(link, address) or self._refuse(link, address)

    def _refuse(self, link: models.ShareLink | None, address: str) -> Refused:
        self._note_refusal(link, address)
        return Refused("closed")

    def _try_password(self, link: models.ShareLink, password: str, address: str) -> Refused | None:
        if not link.password_hash:
            return None
        wait_s = self._backoff.wait_s(link.id, address)
        if wait_s > 0:
            return Refused("wait", wait_s)
        if not password:
            return Refused("password")
        try:
            self._hasher.verify(link.password_hash, password[:MAXIMUM_PASSWORD])
        except (VerificationError, InvalidHashError):
            self._backoff.failed(link.id, address)
            self._note_refusal(link, address)
            return Refused("password")
        self._backoff.succeeded(link.id, address)
        return None

    def _count(self, link: models.ShareLink, address: str) -> Opened | None:
        """Take one view; None where somebody else was quicker, or the link has ended since."""
        moment, key = _moment(link), secrets.token_urlsafe(32)
        until = min(moment + datetime.timedelta(minutes=SESSION_MINUTES), link.expires)
        table = models.ShareLink
        with self._records.writing() as database:
            taken = database.execute(
                update(table)
                .where(
                    table.id == link.id,
                    table.revoked.is_(None),
                    table.ended.is_(None),
                    table.expires > moment,
                    or_(table.max_views.is_(None), table.used < table.max_views),
                )
                .values(used=table.used + 1, latest=moment)
            )
            assert isinstance(taken, CursorResult)
            if taken.rowcount != 1:
                return None
            database.add(
                models.ShareOpening(
                    link_id=link.id,
                    key_hash=hash_token(key),
                    address=cut_address(address),
                    opened=moment,
                    expires=until,
                )
            )
            database.add(models.AuditEvent(actor="link", action="share.open", object=link.id))
        return Opened(key, until)

    def _note_refusal(self, link: models.ShareLink | None, address: str) -> None:
        """Write it down; the same work whether the link is known or not, so that time tells nothing."""
        said = self._records.audit.refusals.words("link", "share.open", cut_address(address))
        about = "" if link is None else link.id
        past = link is not None and link.ended is None and _is_past(link)
        with self._records.writing() as database:
            database.execute(
                update(models.ShareLink)
                .where(models.ShareLink.id == (about if past else ""))
                .values(ended=now())
            )
            if said is not None:
                what = f"{about} {said}".strip()
                database.add(
                    models.AuditEvent(actor="link", action="share.open", object=what, result="refused")
                )

    def check(self, key: str) -> OpenShare | None:
        """What a key opens at this very moment; None where it opens nothing, or nothing any more."""
        with self._records.reading() as database:
            found = database.execute(
                select(models.ShareOpening, models.ShareLink)
                .join(models.ShareLink, models.ShareLink.id == models.ShareOpening.link_id)
                .where(models.ShareOpening.key_hash == hash_token(key))
            ).first()
            if found is None:
                return None
            opening, link = found
            is_standing = self._is_standing(database, link)
        moment = _moment(link)
        has_ended = moment >= opening.expires > link.latest  # to be kept, should the clock be set back
        has_passed = _is_past(link) or has_ended or moment - link.latest > _SEEN_EVERY
        if link.ended is None and has_passed:
            self._keep_moment(link, moment)
        if not is_standing or moment >= opening.expires or not self._is_ready(link.id):
            return None
        return OpenShare(
            link_id=link.id,
            opening_id=opening.id,
            code=link.code,
            folder=self._view(link.id),
            created=link.created,
            expires=link.expires,
            until=opening.expires,
            played=opening.played is not None,
        )

    def note_play(self, share: OpenShare) -> None:
        """Write down, once an opening, that the movement was played."""
        if share.played:  # asked at every byte range
            return
        opening = models.ShareOpening
        with self._records.writing() as database:
            first = database.execute(
                update(opening)
                .where(opening.id == share.opening_id, opening.played.is_(None))
                .values(played=now())
            )
            assert isinstance(first, CursorResult)
            if first.rowcount:
                database.add(models.AuditEvent(actor="link", action="share.play", object=share.link_id))

    def _keep_moment(self, link: models.ShareLink, moment: datetime.datetime) -> None:
        table = models.ShareLink
        ended = {"ended": moment} if _is_past(link) else {}
        with self._records.writing() as database:
            database.execute(
                update(table)
                .where(table.id == link.id, table.ended.is_(None), table.latest < moment)
                .values(latest=moment, **ended)
            )

    def _is_live(self, database: DatabaseSession, link: models.ShareLink) -> bool:
        """Whether a link may be opened once more."""
        has_views = link.max_views is None or link.used < link.max_views
        return has_views and self._is_standing(database, link)

    def _is_standing(self, database: DatabaseSession, link: models.ShareLink) -> bool:
        """Whether what was opened by a link may still be looked at."""
        if link.revoked is not None or _is_past(link) or not self._may_share(database, link):
            return False
        both = [each for each in (link.recording_id, link.recording_b_id) if each]
        # The trash revokes links, but for one that was being made at the same moment.
        hidden = select(models.Recording.id).where(
            models.Recording.id.in_(both), models.Recording.trashed.is_not(None)
        )
        return database.scalar(hidden.limit(1)) is None

    def _may_share(self, database: DatabaseSession, link: models.ShareLink) -> bool:
        """Whether the owner may still share: who is disabled, or given a lesser role, has no links left.

        Of what was shared where nobody signs in nothing opens once others can reach the server.
        """
        if link.owner == LOCAL:
            return is_loopback(self._records.settings.host)
        owner = database.get(models.User, link.owner)
        return owner is not None and not owner.disabled and owner.role in SHARING_ROLES

    # --- its folder ------------------------------------------------------------------------------

    def _folder(self, link_id: str) -> Path:
        return self._records.settings.data_dir.resolve() / "shares" / link_id

    def _view(self, link_id: str) -> Path:
        return self._folder(link_id) / "view"

    def _is_ready(self, link_id: str) -> bool:
        return (self._view(link_id) / SHARE_FILE).is_file()

    def _remove_folder(self, link_id: str) -> None:
        from records.supervise import end_claimed

        end_claimed(self._folder(link_id) / "claim.json")  # it would make the folder anew
        with contextlib.suppress(OSError):  # the link is closed whether or not the disk obeys
            shutil.rmtree(self._folder(link_id))

    def _sweep(self) -> None:
        """Remove the folders of links that have ended: what nobody may see need not lie there."""
        root = self._records.settings.data_dir.resolve() / "shares"
        with self._records.reading() as database:
            alive = {
                link.id
                for link in database.scalars(select(models.ShareLink))
                if link.revoked is None and not _is_past(link)
            }
        for folder in root.glob("*"):
            if folder.name not in alive:
                self._remove_folder(folder.name)

    def _prepare(
        self, link: models.ShareLink, recordings: Sequence[RecordingRow], choices: Sequence[str]
    ) -> None:
        from records.supervise import environment, host_name, process_started

        folder = self._folder(link.id)
        folder.mkdir(parents=True, mode=0o700)
        notes = folder / "notes.json"
        if "notes" in choices:
            write_json(notes, [self._read_notes(each.id) for each in recordings])
        runs = [self._records.open_run(each.report_run_id or "").path for each in recordings]
        mark = f"{link.code} {link.created:%Y-%m-%d}"
        command = self.command(
            runs, self._view(link.id), choices, mark, notes if "notes" in choices else None
        )
        with open(folder / "said.jsonl", "wb") as said:
            child = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env=drop_secrets(environment(self._records.settings)),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = process_started(child.pid) or time.time()
        with contextlib.suppress(FileNotFoundError):
            write_json(folder / "claim.json", {"host": host_name(), "pid": child.pid, "started": started})
        self._children = {key: each for key, each in self._children.items() if each.poll() is None}
        self._children[link.id] = child
        with self._records.reading() as database:
            stands = database.scalar(select(models.ShareLink.revoked).where(models.ShareLink.id == link.id))
            is_gone = stands is not None or database.get(models.ShareLink, link.id) is None
        if is_gone:  # before its claim was there to be seen
            self._remove_folder(link.id)

    def _read_notes(self, recording_id: str) -> list[dict[str, Any]]:
        return [
            {"start_s": mark.start_s, "end_s": mark.end_s, "kind": mark.kind, "text": mark.text}
            for mark in self._records.marks.list(recording_id)
        ]

    def wait(self, link_id: str, timeout_s: float) -> None:
        """Wait until what a link opens is prepared, or has failed, or the time is over."""
        child = self._children.get(link_id)
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=timeout_s)

    def _tell_work(self, link_id: str) -> tuple[LinkState, str, str]:
        from records.supervise import host_name, is_process

        folder = self._folder(link_id)
        claim = folder / "claim.json"
        if claim.is_file():
            begun = read_json(claim)
            child = self._children.get(link_id)
            is_gone = child is not None and child.poll() is not None
            if not is_gone and (begun["host"] != host_name() or is_process(begun["pid"], begun["started"])):
                return "preparing", "", ""
            if self._is_ready(link_id):  # it ended between two looks
                return "open", "", ""
        with contextlib.suppress(OSError):
            for line in reversed((folder / "said.jsonl").read_text("utf-8", "replace").splitlines()):
                with contextlib.suppress(ValueError, AttributeError):
                    said = json.loads(line)
                    if said.get("type") == "error":
                        return "failed", str(said["what"]), str(said["advice"])
        return "failed", "What the link should open could not be made.", "Revoke it and make another."

    @functools.cached_property
    def _hasher(self) -> PasswordHasher:
        # argon2id with OWASP's figures, as for sign-in.
        return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def share_command(
    runs: Sequence[Path], out: Path, choices: Sequence[str], mark: str, notes: Path | None
) -> list[str]:
    """The process that takes out of runs what a link may show."""
    words = ["share", *map(str, runs), "--out", str(out), "--mark", mark, "--json-progress"]
    words += ["--notes", str(notes)] if notes else []
    words += ["--keep", *choices] if choices else []
    return [sys.executable, "-m", "pipeline", *words]


def hash_token(token: str) -> str:
    """What is kept of a token or key: of 256 random bits a plain hash tells nothing."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _moment(link: models.ShareLink) -> datetime.datetime:
    """Now, or the latest moment that the link has seen, should the clock have been set back since."""
    return max(now(), link.latest)


def _is_past(link: models.ShareLink) -> bool:
    return link.ended is not None or _moment(link) >= link.expires


def _check(choices: Sequence[str], days: int, password: str, max_views: int | None) -> list[Choice]:
    unknown = set(choices) - set(CHOICES)
    if unknown:
        raise ShareError(f"{', '.join(sorted(unknown))} cannot be chosen.", "Open the page again.")
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MOST_DAYS:
        raise ShareError(
            f"A link stands for 1 to {MOST_DAYS} days.", f"Give a number of days up to {MOST_DAYS}."
        )
    if password and not LEAST_PASSWORD <= len(password) <= MAXIMUM_PASSWORD:
        raise ShareError(
            f"The password has {len(password)} characters.",
            f"Take {LEAST_PASSWORD} to {MAXIMUM_PASSWORD}, or none.",
        )
    is_count = isinstance(max_views, int) and not isinstance(max_views, bool)
    if max_views is not None and not (is_count and 1 <= max_views <= MOST_VIEWS):
        raise ShareError(
            f"A link can be opened 1 to {MOST_VIEWS} times.", "Give a number, or leave it empty for no limit."
        )
    return [choice for choice in CHOICES if choice in choices]
