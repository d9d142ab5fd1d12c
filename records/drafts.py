"""Files that are being uploaded, until they are a session folder: nothing half-sent is ever visible.

A draft is ``incoming/<draft id>/``: ``draft.json`` (whose it is), and for each file ``<file id>.json`` (name,
length) and ``<file id>.part`` (what has arrived). The names people gave are only text in the JSON; on the
disk everything has a random name until it is called after its camera.
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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from pipeline.errors import SessionError
from pipeline.files import read_json, write_bytes, write_json
from pipeline.photos.folder import MAX_PICTURES, PICTURES_FOLDER, SETTINGS_FILE
from pipeline.photos.folder import SUFFIXES as PHOTO_SUFFIXES
from pipeline.session import RIG_FILES, VIDEO_SUFFIXES, Checkerboard, Session, read_session
from records.checking import Look, look_into
from records.errors import NotFound, UploadError
from records.models import new_id

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

KEEP_FREE_SHARE = 0.05
"""Of the disk: a full one stops the database too."""

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
    max_bytes : int
        Longest single file.
    """

    def __init__(self, data_dir: Path, max_bytes: int) -> None:
        self._data_dir = data_dir.resolve()
        self._incoming = self._data_dir / "incoming"
        self._max_bytes = max_bytes

    def create(self, owner: str, kind: DraftKind = "video") -> str:
        """A new draft of somebody's, for videos or still pictures; those untouched for a week are removed."""
        self.sweep()
        draft_id = new_id()
        mark = {"owner": owner, "kind": kind, "created": time.time()}
        write_json(self._incoming / draft_id / "draft.json", mark)
        return draft_id

    def sweep(self, older_than_s: float = SWEEP_AFTER_S) -> int:
        """Remove drafts that nobody touched for so long; returns how many."""
        removed = 0
        for mark in self._incoming.glob("*/draft.json"):
            with contextlib.suppress(OSError):
                newest = max(file.stat().st_mtime for file in mark.parent.iterdir())
                if time.time() - newest > older_than_s:
                    shutil.rmtree(mark.parent)
                    removed += 1
        return removed

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
        name = Path(name.replace("\\", "/")).name[:MAX_NAME]
        kind = read_json(folder / "draft.json").get("kind", "video")
        if Path(name).suffix.lower() not in _TAKEN[kind]:
            what = f"{name or 'The file'} is no kind of file that is taken here."
            raise UploadError(what, _CHOOSE[kind], 415)
        if length <= 0:
            raise UploadError(f"{name} is empty.", "Choose another file.")
        if length > self._max_bytes:
            raise UploadError(
                f"{name} is {_say_bytes(length)} long, and {_say_bytes(self._max_bytes)} is the most.",
                "Cut it, or ask who runs this server to raise REDYS_MAX_UPLOAD_BYTES.",
                413,
            )
        if len(self.list_files(draft_id, owner)) >= _MOST[kind]:
            raise UploadError(f"There are {_MOST[kind]} files already.", "Remove one first.", 409)
        self._check_room(name, length)
        file_id = new_id()
        (folder / f"{file_id}.part").touch()
        write_json(folder / f"{file_id}.json", {"name": name, "length": length, "begun": time.time_ns()})
        return _describe(folder, file_id)

    def _check_room(self, name: str, length: int) -> None:
        disk = shutil.disk_usage(self._incoming)
        if disk.free - length < KEEP_FREE_SHARE * disk.total:
            raise UploadError(
                f"The server's disk has no room for {name} ({_say_bytes(length)}).",
                "Ask who runs this server to free some space.",
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
        # A reader tells a file's kind by its suffix; here everything ends in .part.
        named = folder / "look" / f"{file_id}{Path(file.name).suffix.lower()}"
        named.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(folder / f"{file_id}.part", named)
        return look_into(named, file.name, folder / "look" / f"{file_id}.looked", board)

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
        for suffix in (".json", ".part"):
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
        folder = self._open(draft_id, owner) / "session"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for each in placed:
            file = self.find(draft_id, owner, each.file_id)
            if not file.is_complete:
                raise UploadError(f"{file.name} has not arrived whole.", "Wait for it, or remove it.")
            target = folder / _place_name(file, each)
            if target.exists():
                raise SessionError(
                    f"Two files are called {each.camera}, one of them {file.name}.",
                    "Give each camera a name of its own.",
                )
            target.parent.mkdir(exist_ok=True)
            os.link(self._incoming / draft_id / f"{each.file_id}.part", target)
        write_session_toml(folder / "session.toml", settings)
        return read_session(folder)

    def assemble_photos(self, draft_id: str, owner: str, settings: dict[str, Any]) -> Path:
        """A folder of a draft's pictures, under the names that they came with.

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
            No picture was sent, or one has not arrived whole.
        """
        files = self.list_files(draft_id, owner)
        if not files:
            raise UploadError("No pictures yet.", "Choose some first.")
        late = [file.name for file in files if not file.is_complete]
        if late:
            raise UploadError(f"Not arrived yet: {', '.join(late)}.", "Wait for them, or remove them.")
        folder = self._open(draft_id, owner) / "session"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / PICTURES_FOLDER).mkdir(parents=True)
        for file in files:
            stem, suffix = _plain(Path(file.name).stem), Path(file.name).suffix.lower()
            target, again = folder / PICTURES_FOLDER / f"{stem}{suffix}", 1
            while target.exists():  # two telephones may both have an IMG_0001
                again += 1
                target = target.with_name(f"{stem} ({again}){suffix}")
            os.link(self._incoming / draft_id / f"{file.id}.part", target)
        write_session_toml(folder / SETTINGS_FILE, settings)
        return folder

    def keep(self, draft_id: str, owner: str) -> Path:
        """Turn the assembled draft into a session folder of the data folder, in one step.

        Raises
        ------
        NotFound
            Also if nothing was assembled.
        """
        folder = self._open(draft_id, owner)
        if not (folder / "session").is_dir():
            raise NotFound("The files have not been checked yet.", "Check them first.")
        kept = self._data_dir / "sessions" / draft_id
        kept.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder / "session", kept)
        shutil.rmtree(folder, ignore_errors=True)
        return kept

    def _open(self, draft_id: str, owner: str) -> Path:
        folder = self._incoming / draft_id
        if not _IDENTIFIER.fullmatch(draft_id) or not (folder / "draft.json").is_file():
            raise NotFound("There is no such upload.", "Start a new recording.")
        if read_json(folder / "draft.json").get("owner") != owner:
            raise NotFound("There is no such upload.", "Start a new recording.")
        return folder


def _plain(stem: str) -> str:
    """A picture's name that can do no harm as one."""
    kept = "".join(letter for letter in stem if letter.isalnum() or letter in " -_().")
    short = kept.strip(" .").encode()[:MAX_STEM_BYTES].decode(errors="ignore")  # a disk counts bytes
    return short.strip(" .") or "picture"


def _describe(folder: Path, file_id: str) -> UploadedFile:
    mark = read_json(folder / f"{file_id}.json")
    received = (folder / f"{file_id}.part").stat().st_size
    return UploadedFile(file_id, str(mark["name"]), int(mark["length"]), received)


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


def _say_bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


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
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").startswith(f"{FROM_FORM}\n")
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
