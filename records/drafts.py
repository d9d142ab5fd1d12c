"""Files that are being uploaded, until they are a session folder: nothing half-sent is ever visible.

A draft is ``incoming/<draft id>/``: ``draft.json`` (whose it is), and for each file ``<file id>.json`` (name,
length) and ``<file id>.part`` (what has arrived). The names people gave are only text in the JSON; on the
disk everything has a random name until it is called after its camera.

Videos and pictures are written anew without what they tell of place and person (`pipeline.metadata`) once
they have arrived and can be read: then there is ``<file id>.bare`` in place of ``<file id>.part``, and the
JSON says what was taken out and the SHA-256 before and after. Nothing else of them becomes a recording.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from pipeline.errors import RedysError, SessionError
from pipeline.files import read_json, sync_folder, write_bytes, write_json
from pipeline.photos.folder import (
    MAX_PICTURES,
    PICTURES_FOLDER,
    SETTINGS_FILE,
    LeftOut,
    write_left_out,
)
from pipeline.photos.folder import SUFFIXES as PHOTO_SUFFIXES
from pipeline.session import RIG_FILES, VIDEO_SUFFIXES, Checkerboard, Session, read_session
from records.checking import Bare, Finding, Look, ToStrip, Unwritten, look_into
from records.checking import strip as strip_apart
from records.errors import NotFound, UploadError
from records.models import new_id
from records.room import Limits, Room, find_room, say_bytes
from settings import Settings

RIG_SUFFIXES = tuple(Path(name).suffix for name in RIG_FILES)
ALLOWED_SUFFIXES = (*VIDEO_SUFFIXES, *RIG_SUFFIXES)
"""Videos, and a rig solved before (``rig.json``, or of another program)."""

MAX_FILES = 20
"""Eight cameras, their checkerboard takes, a rig, and room for a mistake."""

DraftKind = Literal["video", "photos"]
_TAKEN: dict[str, tuple[str, ...]] = {"video": ALLOWED_SUFFIXES, "photos": PHOTO_SUFFIXES}
_MOST = {"video": MAX_FILES, "photos": MAX_PICTURES}
_CHOOSE = {
    "video": f"Choose videos ({', '.join(VIDEO_SUFFIXES)}) or a rig ({', '.join(RIG_SUFFIXES)}).",
    "photos": f"Choose pictures ({', '.join(PHOTO_SUFFIXES)}). Telephones can save JPEG in place of HEIC.",
}

MAX_NAME = 200
MAX_STEM_BYTES = 200
"""Of a picture's name on the disk, which takes 255 with the number and the suffix."""

MAX_DRAFTS = 50
"""Of one person at once; each that is left alone goes after a week."""

EMPTY_AFTER_S = 3600.0
"""A draft to which no file was announced goes sooner."""

ORIGIN_FILE = "origin.json"
"""In a session folder: what was taken out of each file that was sent, and its SHA-256 before and after."""

SWEEP_AFTER_S = 7 * 86_400.0
CAMERA_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")

_IDENTIFIER = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class UploadedFile:
    """One file of a draft: ``received`` of ``length`` bytes have arrived."""

    id: str
    name: str
    length: int
    received: int

    @property
    def is_complete(self) -> bool:
        """Everything has arrived."""
        return self.received == self.length


@dataclass(frozen=True)
class Placed:
    """What a file of a draft is: a camera's video, its checkerboard take, or the rig."""

    file_id: str
    kind: str
    camera: str


class Drafts:
    """The drafts in a data folder.

    Parameters
    ----------
    data_dir : Path
        The data folder.
    limits : Limits
        What may be sent.
    is_taken : callable, optional
        Whether a session folder is a recording already.
    strip : callable, optional
        Writes files anew without what they tell (`records.checking.strip`).
    """

    def __init__(
        self,
        data_dir: Path,
        limits: Limits,
        is_taken: Callable[[Path], bool] = lambda folder: False,
        strip: Callable[[Sequence[ToStrip]], list[Bare | Finding]] = strip_apart,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._incoming = self._data_dir / "incoming"
        self._limits = limits
        self._is_taken = is_taken
        self._strip = strip

    def create(self, owner: str, kind: DraftKind = "video") -> str:
        """A new draft of somebody's, for videos or still pictures; those untouched for a week are removed.

        Raises
        ------
        UploadError
            Too many of that person's are unfinished.
        """
        self.sweep()
        if self._count(owner) >= MAX_DRAFTS:
            raise UploadError(
                f"{MAX_DRAFTS} uploads of yours are unfinished, and no more are begun.",
                "Finish one; each goes by itself a week after something last arrived.",
                409,
            )
        draft_id = new_id()
        mark = {"owner": owner, "kind": kind, "created": time.time()}
        write_json(self._incoming / draft_id / "draft.json", mark)
        return draft_id

    def sweep(self, older_than_s: float = SWEEP_AFTER_S) -> int:
        """Remove drafts that nobody touched for so long, and sooner those without a file; how many."""
        removed = 0
        folders = [path for path in self._incoming.glob("*") if _IDENTIFIER.fullmatch(path.name)]
        for folder in folders:
            with contextlib.suppress(OSError, ValueError):
                newest = max(file.stat().st_mtime for file in (folder, *folder.iterdir()))
                is_empty = not any(folder.glob("*.part")) and not any(folder.glob("*.bare"))
                patience_s = min(older_than_s, EMPTY_AFTER_S) if is_empty else older_than_s
                if time.time() - newest > patience_s:
                    shutil.rmtree(folder)
                    removed += 1
        return removed

    def _count(self, owner: str) -> int:
        count = 0
        for mark in self._incoming.glob("*/draft.json"):
            with contextlib.suppress(RedysError):  # it went in this moment
                count += read_json(mark).get("owner") == owner
        return count

    def room(self, owner: str) -> Room:
        """How much more somebody may send."""
        return find_room(self._incoming, owner, self._limits)

    def list_files(self, draft_id: str, owner: str) -> tuple[UploadedFile, ...]:
        """The files of a draft in the order in which they were begun.

        Raises
        ------
        NotFound
        """
        folder = self._open(draft_id, owner)
        marks = [mark for mark in folder.glob("*.json") if _IDENTIFIER.fullmatch(mark.stem)]
        files = sorted((read_json(mark)["begun"], mark.stem) for mark in marks)
        return tuple(_describe(folder, file_id) for _, file_id in files)

    def begin(self, draft_id: str, owner: str, name: str, length: int) -> UploadedFile:
        """Make room for a file.

        Raises
        ------
        NotFound
        UploadError
            Its kind is not taken, it is empty or too long, there are too many, or the disk is too full.
        """
        folder = self._open(draft_id, owner)
        name = _clean_name(name)
        kind = read_json(folder / "draft.json").get("kind", "video")
        if Path(name).suffix.lower() not in _TAKEN[kind]:
            what = f"{name or 'The file'} is no kind of file that is taken here."
            raise UploadError(what, _CHOOSE[kind], 415)
        if length <= 0:
            raise UploadError(f"{name} is empty.", "Choose another file.")
        most = self._limits.file_bytes
        if length > most:
            raise UploadError(
                f"{name} is {say_bytes(length)} long, and {say_bytes(most)} is the most.",
                "Cut it, or ask who runs this server to raise REDYS_MAX_UPLOAD_BYTES.",
                413,
            )
        with self._reserving():  # nobody else announces a file between the look and the mark
            if len(self.list_files(draft_id, owner)) >= _MOST[kind]:
                raise UploadError(f"There are {_MOST[kind]} files already.", "Remove one first.", 409)
            self._check_room(owner, name, length)
            file_id = new_id()
            mark = {"name": name, "length": length, "begun": time.time_ns()}
            (folder / f"{file_id}.part").touch()
            write_json(folder / f"{file_id}.json", mark)
        return _describe(folder, file_id)

    @contextlib.contextmanager
    def _reserving(self) -> Iterator[None]:
        with open(self._incoming / ".reserving", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _check_room(self, owner: str, name: str, length: int) -> None:
        room = find_room(self._incoming, owner, self._limits, length)
        if length > room.of_disk:
            raise UploadError(
                f"The server's disk has no room for {name} ({say_bytes(length)}).",
                "Ask who runs this server to free some space; "
                f"{self._limits.keep_free_share:.0%} of the disk stays free.",
                507,
            )
        if length > room.of_all:
            raise UploadError(
                f"There is no room for {name} ({say_bytes(length)}) beside what everybody is sending.",
                "Wait until other recordings are started, or ask who runs this server.",
                507,
            )
        if room.of_person is not None and length > room.of_person:
            raise UploadError(
                f"There is no room for {name} ({say_bytes(length)}) beside your unfinished uploads.",
                "Start or remove what you have sent, or ask who runs this server to raise "
                "REDYS_UPLOAD_QUOTA_BYTES.",
                507,
            )

    def find(self, draft_id: str, owner: str, file_id: str) -> UploadedFile:
        """One file of a draft.

        Raises
        ------
        NotFound
        """
        folder = self._open(draft_id, owner)
        if not _IDENTIFIER.fullmatch(file_id) or not (folder / f"{file_id}.json").is_file():
            raise NotFound("There is no such upload.", "Choose the file again.")
        return _describe(folder, file_id)

    def look_into(self, draft_id: str, owner: str, file_id: str, board: Checkerboard | None = None) -> Look:
        """What a file that has arrived is, and what is wrong with it (`records.checking.look_into`).

        Raises
        ------
        NotFound
        UploadError
            It has not arrived whole.
        """
        file = self.find(draft_id, owner, file_id)
        if not file.is_complete:
            raise UploadError(f"{file.name} has not arrived whole.", "Wait for it, or remove it.", 409)
        folder = self._incoming / draft_id
        kept = folder / "look" / f"{file_id}.looked"
        version = (file.length, int(read_json(folder / f"{file_id}.json")["begun"]))
        with self._named(folder, file) as path:
            look = look_into(path, file.name, kept, board, was_sent=True, version=version)
        if any(finding.level == "error" for finding in look.findings):
            return look
        refused = self._strip_all(folder, [file]).values()
        return replace(look, findings=(*look.findings, *refused, *_say_bare(folder, file)))

    @contextlib.contextmanager
    def _named(self, folder: Path, file: UploadedFile) -> Iterator[Path]:
        """What has arrived under a name that says its kind, which readers go by."""
        path = folder / "look" / f"{new_id()}{Path(file.name).suffix.lower()}"
        path.parent.mkdir(exist_ok=True)
        try:
            os.link(_content(folder, file), path)
        except FileNotFoundError as error:
            raise _say_removed(file) from error
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _strip_all(self, folder: Path, files: Sequence[UploadedFile]) -> dict[str, Finding]:
        """Write files anew without what they tell, where that was not done; by identifier what is refused.

        Whatever is interrupted here: a file is the one that arrived, or the one without. One that is removed
        meanwhile stays removed.
        """
        telling = [file for file in files if _tells(file.name)]
        with open(folder / "draft.json", "rb") as lock, contextlib.ExitStack() as links:
            fcntl.flock(lock, fcntl.LOCK_EX)
            todo: list[tuple[UploadedFile, ToStrip]] = []
            for file in telling:
                if "bare" in _read_mark(folder, file):
                    (folder / f"{file.id}.part").unlink(missing_ok=True)  # an earlier try was interrupted
                else:
                    source = links.enter_context(self._named(folder, file))
                    target = source.with_name(f"{file.id}-bare{source.suffix}")
                    todo.append((file, ToStrip(source, target, file.name)))
            done = self._strip([each for _, each in todo]) if todo else []
            refused = {}
            for (file, each), bare in zip(todo, done, strict=True):
                if isinstance(bare, Bare):
                    self._take_bare(folder, file, each.target, bare)
                else:
                    refused[file.id] = bare
        return refused

    def _take_bare(self, folder: Path, file: UploadedFile, written: Path, bare: Bare) -> None:
        """Put what was written anew in the place of what arrived."""
        with self._reserving():  # nobody removes the file between the look and the mark
            try:
                mark = _read_mark(folder, file)
            except NotFound:
                written.unlink(missing_ok=True)
                raise
            os.replace(written, folder / f"{file.id}.bare")
            write_json(folder / f"{file.id}.json", mark | {"bare": asdict(bare)})
            (folder / f"{file.id}.part").unlink(missing_ok=True)

    def say_bare(self, draft_id: str, owner: str) -> tuple[Finding, ...]:
        """What was taken out of the files of a draft.

        Raises
        ------
        NotFound
        """
        folder = self._open(draft_id, owner)
        files = self.list_files(draft_id, owner)
        return tuple(said for file in files for said in _say_bare(folder, file))

    def _place_photos(
        self,
        draft: Path,
        files: Sequence[UploadedFile],
        refused: dict[str, Finding],
        settings: dict[str, Any],
    ) -> None:
        origin: dict[str, Any] = {}
        with _assembling(draft) as folder:
            (folder / PICTURES_FOLDER).mkdir()
            for file in files:
                if file.id in refused:
                    continue
                stem, suffix = _plain(Path(file.name).stem), Path(file.name).suffix.lower()
                target, again = folder / PICTURES_FOLDER / f"{stem}{suffix}", 1
                while target.exists():  # two telephones may both have an IMG_0001
                    again += 1
                    target = target.with_name(f"{stem} ({again}){suffix}")
                origin[target.relative_to(folder).as_posix()] = self._place(draft, file, target)
            left = [(file.name, refused[file.id]) for file in files if file.id in refused]
            write_left_out(folder, [LeftOut(name, each.what, each.advice) for name, each in left])
            write_json(folder / ORIGIN_FILE, origin)
            write_session_toml(folder / SETTINGS_FILE, settings)

    def _place(self, folder: Path, file: UploadedFile, target: Path) -> dict[str, Any]:
        """Put a file that has arrived where a session has it; where it came from.

        Raises
        ------
        UploadError
            It is none that may be kept.
        """
        bare = _read_mark(folder, file).get("bare")
        if _tells(file.name) and not bare:
            raise UploadError(f"{file.name} was changed meanwhile.", "Start again.", 409)
        try:
            os.link(_content(folder, file), target)
        except FileNotFoundError as error:
            raise _say_removed(file) from error
        return dict(bare or {})

    def append(
        self, draft_id: str, owner: str, file_id: str, offset: int, chunks: Iterable[bytes]
    ) -> UploadedFile:
        """Add to a file what arrives, as it arrives; what arrived before a break is kept.

        Raises
        ------
        NotFound
        UploadError
            Somebody else is adding (423), the file is elsewhere than ``offset`` (409), or more arrives
            than was announced (413).
        """
        file = self.find(draft_id, owner, file_id)
        path = self._incoming / draft_id / f"{file_id}.part"
        if not path.is_file():
            raise UploadError(f"{file.name} has arrived already.", status=409)
        with open(path, "ab") as part, _alone(part):
            place = os.fstat(part.fileno()).st_size
            if place != offset:
                raise UploadError(f"{file.name} stands at byte {place}, not {offset}.", status=409)
            try:
                for chunk in chunks:
                    if place + len(chunk) > file.length:
                        raise UploadError(f"{file.name} is longer than was announced.", status=413)
                    part.write(chunk)
                    place += len(chunk)
            except OSError as error:
                raise UploadError(
                    f"{file.name} could not be written on the server ({error.strerror or error}).",
                    "Ask who runs this server whether its disk is full, then send it again.",
                    507,
                ) from error
            finally:
                part.flush()
                if place == file.length:
                    os.fsync(part.fileno())
        return self.find(draft_id, owner, file_id)

    def remove(self, draft_id: str, owner: str, file_id: str) -> None:
        """Forget a file.

        Raises
        ------
        NotFound
        """
        self.find(draft_id, owner, file_id)
        with self._reserving():
            for suffix in (".json", ".part", ".bare"):
                (self._incoming / draft_id / f"{file_id}{suffix}").unlink(missing_ok=True)
        for looked in (self._incoming / draft_id / "look").glob(f"{file_id}.*"):
            looked.unlink(missing_ok=True)

    def assemble(
        self, draft_id: str, owner: str, placed: Sequence[Placed], settings: dict[str, Any]
    ) -> Session:
        """A session folder of a draft's files, called after their cameras; made anew at each call.

        Parameters
        ----------
        draft_id, owner : str
            Which draft, whose.
        placed : sequence of Placed
            What each file is.
        settings : dict
            For ``session.toml``.

        Raises
        ------
        NotFound
        UploadError
            A file has not arrived whole, or a camera's name is no name.
        pipeline.errors.SessionError
            Together they are no session.
        """
        if sum(each.kind == "rig" for each in placed) > 1:
            raise SessionError("Two files are said to be the rig.", "Remove one of them.")
        draft = self._open(draft_id, owner)
        files = [self.find(draft_id, owner, each.file_id) for each in placed]
        for file in files:
            if not file.is_complete:
                raise UploadError(f"{file.name} has not arrived whole.", "Wait for it, or remove it.")
        for file, each in zip(files, placed, strict=True):
            _place_name(file, each)  # a wrong name is said before anything long is done
        for wrong in self._strip_all(draft, files).values():
            raise _refuse(wrong)
        origin: dict[str, Any] = {}
        with _assembling(draft) as folder:
            for file, each in zip(files, placed, strict=True):
                target = folder / _place_name(file, each)
                if target.exists():
                    raise SessionError(
                        f"Two files are called {each.camera}, one of them {file.name}.",
                        "Give each camera a name of its own.",
                    )
                target.parent.mkdir(exist_ok=True)
                origin[target.relative_to(folder).as_posix()] = self._place(draft, file, target)
            write_json(folder / ORIGIN_FILE, origin)
            write_session_toml(folder / "session.toml", settings)
        return read_session(draft / "session")

    def assemble_photos(self, draft_id: str, owner: str, settings: dict[str, Any]) -> Path:
        """A folder of a draft's pictures, under the names that they came with.

        What cannot be read as a picture is left out, and the folder says so (`write_left_out`): a set of
        fifty does not wait for one.

        Parameters
        ----------
        draft_id, owner : str
            Which draft, whose.
        settings : dict
            For ``photos.toml``.

        Raises
        ------
        NotFound
        UploadError
            No picture was sent, one has not arrived whole, or none can be read.
        """
        files = self.list_files(draft_id, owner)
        if not files:
            raise UploadError("No pictures yet.", "Choose some first.")
        late = [file.name for file in files if not file.is_complete]
        if late:
            raise UploadError(f"Not arrived yet: {', '.join(late)}.", "Wait for them, or remove them.")
        draft = self._open(draft_id, owner)
        refused = self._strip_all(draft, files)
        for wrong in refused.values():
            if isinstance(wrong, Unwritten):
                raise _refuse(wrong)
        if len(refused) == len(files):
            first = refused[files[0].id]
            raise UploadError(f"None of the pictures can be read. The first: {first.what}", first.advice)
        self._place_photos(draft, files, refused, settings)
        return draft / "session"

    def keep(self, draft_id: str, owner: str) -> Path:
        """Turn the assembled draft into a session folder of the data folder, in one step.

        The draft stays until it is forgotten (`forget`), which is to be done once the folder is a recording:
        whoever was interrupted between the two does both again, and nothing that arrived is lost.

        Raises
        ------
        NotFound
            Also if nothing was assembled.
        """
        folder = self._open(draft_id, owner)
        kept = self._data_dir / "sessions" / draft_id
        if kept.is_dir() and self._is_taken(kept):
            return kept
        if (folder / "session").is_dir():
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)  # of an earlier try that did not become a recording
            os.rename(folder / "session", kept)
            sync_folder(kept.parent)
        elif not kept.is_dir():
            raise NotFound("The files have not been checked yet.", "Check them first.")
        return kept

    def forget(self, draft_id: str, owner: str) -> None:
        """Remove a draft that has become a recording.

        Raises
        ------
        NotFound
        """
        shutil.rmtree(self._open(draft_id, owner), ignore_errors=True)

    def _open(self, draft_id: str, owner: str) -> Path:
        folder = self._incoming / draft_id
        if not _IDENTIFIER.fullmatch(draft_id) or not (folder / "draft.json").is_file():
            raise NotFound("There is no such upload.", "Start a new recording.")
        if read_json(folder / "draft.json").get("owner") != owner:
            raise NotFound("There is no such upload.", "Start a new recording.")
        return folder


@contextlib.contextmanager
def _assembling(draft: Path) -> Iterator[Path]:
    """A fresh folder that becomes ``session`` when it is whole: half of one must never be kept."""
    fresh, whole = draft / "assembling", draft / "session"
    for each in (whole, fresh):
        shutil.rmtree(each, ignore_errors=True)
    fresh.mkdir()
    yield fresh
    os.rename(fresh, whole)


def _clean_name(name: str) -> str:
    """A name as text: no path, nothing that cannot be seen or turns the line around, not too long."""
    plain = "".join(letter for letter in Path(name.replace("\\", "/")).name if letter.isprintable())
    suffix = Path(plain).suffix[:16]
    return plain[: MAX_NAME - len(suffix)].removesuffix(suffix) + suffix


_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for itself: exports are opened there."""


def _plain(stem: str) -> str:
    """A picture's name that can do no harm as one: neither on a disk nor in a table of a spreadsheet."""
    kept = "".join(letter for letter in stem if letter.isalnum() or letter in " -_().")
    short = (
        kept.lstrip("-").strip(" .").encode()[:MAX_STEM_BYTES].decode(errors="ignore")
    )  # a disk counts bytes
    short = short.strip(" .") or "picture"
    return f"picture {short}" if _DEVICES.fullmatch(short) else short


def _tells(name: str) -> bool:
    """Whether a file is of a kind that tells of place and person: anything but a rig."""
    return Path(name).suffix.lower() not in RIG_SUFFIXES


def _content(folder: Path, file: UploadedFile) -> Path:
    """What there is of a file: without what it told, or as it arrived."""
    return folder / f"{file.id}.{'bare' if 'bare' in _read_mark(folder, file) else 'part'}"


def _read_mark(folder: Path, file: UploadedFile) -> dict[str, Any]:
    """What is written down of a file that may be removed meanwhile."""
    path = folder / f"{file.id}.json"
    try:
        return dict(read_json(path))
    except RedysError as error:
        if path.exists():
            raise
        raise _say_removed(file) from error


def _say_removed(file: UploadedFile) -> NotFound:
    return NotFound(f"{file.name} was removed meanwhile.", "Choose the file again.")


def _refuse(wrong: Finding) -> UploadError:
    return UploadError(wrong.what, wrong.advice, 507 if isinstance(wrong, Unwritten) else 400)


def _say_bare(folder: Path, file: UploadedFile) -> tuple[Finding, ...]:
    bare, name, said = _read_mark(folder, file).get("bare"), file.name, []
    if bare and bare["removed"]:
        kinds = ", ".join(bare["removed"])
        said.append(Finding("note", f"Taken out of {name} and not kept: {kinds}."))
    if bare and bare["is_truncated"]:
        what = f"{name} arrived cut off: its header promises more than it holds."
        said.append(Finding("warning", what, "Copy the file from the camera again; what is there is used."))
    return tuple(said)


def _describe(folder: Path, file_id: str) -> UploadedFile:
    mark = read_json(folder / f"{file_id}.json")
    part, length = folder / f"{file_id}.part", int(mark["length"])
    received = length if "bare" in mark else part.stat().st_size
    return UploadedFile(file_id, str(mark["name"]), length, received)


@contextlib.contextmanager
def _alone(part: IO[bytes]) -> Iterator[None]:
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UploadError("The file is being sent already.", "Wait a moment.", 423) from error
    yield


def _place_name(file: UploadedFile, placed: Placed) -> str:
    suffix = Path(file.name).suffix.lower()
    if placed.kind == "rig":
        if suffix not in RIG_SUFFIXES:
            raise UploadError(f"{file.name} is no rig.", "Say what it is, or remove it.")
        return f"rig{suffix}"
    if not CAMERA_NAME.fullmatch(placed.camera):
        raise UploadError(
            f"{placed.camera or 'Nothing'} is no name for the camera of {file.name}.",
            "Use small letters and digits, such as front, left or right.",
        )
    if suffix not in VIDEO_SUFFIXES:
        raise UploadError(f"{file.name} is no video.", "Say that it is the rig, or remove it.")
    return f"calibration/{placed.camera}{suffix}" if placed.kind == "calibration" else placed.camera + suffix


# --- session.toml --------------------------------------------------------------------------------


FROM_FORM = (
    "# From the form of a new recording, which may write this file again. Without this line it is kept."
)
"""First line of a ``session.toml`` that only the form has written (`is_from_form`)."""


def write_session_toml(path: Path, settings: dict[str, Any]) -> None:
    """Write settings as ``session.toml``; `pipeline.session.read_session` says what is wrong with them.

    Dates are ISO text; values of None are left out. The first line says that a form wrote it, so that the
    form may write it again (`is_from_form`).
    """
    plain = [(key, value) for key, value in settings.items() if not isinstance(value, dict)]
    tables = [(key, value) for key, value in settings.items() if isinstance(value, dict)]
    lines = [FROM_FORM, *(f"{key} = {_toml(key, value)}" for key, value in plain if value is not None)]
    for name, table in tables:
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_toml(key, value)}" for key, value in table.items() if value is not None]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def is_from_form(path: Path) -> bool:
    """Whether a ``session.toml`` was written by `write_session_toml` and by nobody since."""
    first = f"{FROM_FORM}\n".encode()
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(len(first)) == first
    return False


def _toml(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = "".join(letter for letter in str(value) if letter.isprintable())
    if key == "visit" and re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return text
    return json.dumps(text, ensure_ascii=False)  # without control characters JSON's strings are TOML's


def looks_like_session(folder: Path) -> bool:
    """Whether a folder holds videos or keypoints directly."""
    with contextlib.suppress(OSError):
        return any(
            file.suffix.lower() in VIDEO_SUFFIXES or file.name == "keypoints" for file in folder.iterdir()
        )
    return False


def list_session_files(folder: Path) -> tuple[str, ...]:
    """The videos, takes and rigs of a session folder, by their paths inside it."""
    takes = folder / "calibration"
    files = [*sorted(folder.iterdir()), *(sorted(takes.iterdir()) if takes.is_dir() else [])]
    return tuple(
        file.relative_to(folder).as_posix()
        for file in files
        if file.is_file() and (file.suffix.lower() in VIDEO_SUFFIXES or file.name in RIG_FILES)
    )


def list_server_folders(data_dir: Path, session_folders: Path | None) -> tuple[Path, ...]:
    """Session folders on the server that may be picked: those of the setting, or of ``incoming``."""
    return list_incoming(data_dir, session_folders, looks_like_session)


def list_incoming(
    data_dir: Path, session_folders: Path | None, fits: Callable[[Path], bool]
) -> tuple[Path, ...]:
    """Folders of the setting, or of ``incoming``, that are no unfinished upload and that fit."""
    root = session_folders or data_dir / "incoming"
    if not root.is_dir():
        return ()
    return tuple(
        folder
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not (folder / "draft.json").exists() and fits(folder)
    )


def require_inside(folder: Path, settings: Settings) -> None:
    """Refuse a folder of the server's with a link that leads out of those that are set aside.

    Whoever may write there could else have anything read that this program may read.

    Raises
    ------
    SessionError
        Names the link.
    """
    root = (settings.session_folders or settings.data_dir / "incoming").resolve()
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            continue
        try:
            is_inside = path.resolve().is_relative_to(root)
        except (OSError, RuntimeError) as error:  # Python 3.11 and 3.12 raise the latter
            raise SessionError(
                f"{path.name} is a link that leads to itself.", "Put the file itself there."
            ) from error
        if not is_inside:
            raise SessionError(
                f"{path.name} is a link that leads out of the folders that are set aside.",
                "Put the file itself there.",
            )
