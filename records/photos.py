"""Sets of still pictures: recordings of another kind, with the same queue, supervision and rights."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from pipeline.errors import PhotoError
from pipeline.photos.folder import SUFFIXES, PhotoSet, list_pictures, read_photo_set
from records import models
from records.drafts import list_incoming
from records.errors import NotFound, StoreError
from records.models import new_id
from records.rows import RecordingRow

if TYPE_CHECKING:  # numpy is loaded by those that read results, not by every supervisor
    from pipeline.photos.results import PhotoResults
    from records.service import Records

TASK = "still pictures"


class PhotoSets:
    """The sets of pictures in a `Records`."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def add(self, folder: Path, title: str = "", actor: str = "local") -> RecordingRow:
        """Take a folder of pictures in; one that is there already is brought up to date.

        Raises
        ------
        pipeline.errors.PhotoError
            The folder is no set of pictures, or a recording of video.
        RetentionError
            Its set is in the trash.
        """
        photo_set = read_photo_set(Path(folder).resolve())
        for attempt in range(3):
            try:
                recording_id = self._store(photo_set, title, actor)
                break
            except IntegrityError:  # two at once added the same person or folder
                if attempt == 2:
                    raise
        self._records.store.nudge()
        return self.get(recording_id)

    def _store(self, photo_set: PhotoSet, title: str, actor: str) -> str:
        records, settings = self._records, photo_set.settings
        with records.writing() as database:
            visit = records.find_visit(database, settings.subject, settings.visit)
            folder = records.store_path(photo_set.path)
            recording = database.scalar(select(models.Recording).where(models.Recording.folder == folder))
            if recording is not None:
                records.refuse_trashed(recording)
                if recording.kind != "photos":
                    raise PhotoError("This folder is a recording of video.", "Choose another folder.")
            action = "photos.update" if recording else "photos.add"
            recording = recording or models.Recording(id=new_id(), folder=folder, kind="photos")
            recording.visit_id = visit.id
            recording.task, recording.side = TASK, "both"
            recording.title = title or recording.title or ""
            database.add(recording)
            database.add(models.AuditEvent(actor=actor, action=action, object=recording.id))
            records.store.note_change(database, photo_set.path)
            return recording.id

    def get(self, recording_id: str) -> RecordingRow:
        """One set.

        Raises
        ------
        NotFound
            Also for a recording of video.
        """
        row = self._records.get_recording(recording_id)
        if row.kind != "photos":
            raise NotFound("There is no such set of pictures.", "The address is that of a recording.")
        return row

    def list(self) -> tuple[RecordingRow, ...]:
        """Every set, the newest first."""
        return self._records.list_of_kind("photos")

    def count(self, row: RecordingRow) -> int:
        """How many pictures a set has now, with those that could not be taken; 0 where it is gone."""
        try:
            photo_set = read_photo_set(self._records.store.outline(row.folder))
            return len(photo_set.pictures) + len(photo_set.left_out)
        except (PhotoError, StoreError):
            return 0

    def read(self, run_id: str) -> PhotoResults | None:
        """What was found; None while there is nothing.

        Raises
        ------
        NotFound
        pipeline.errors.RunFolderError
            It is there but cannot be read.
        """
        from pipeline.photos.results import read_results

        folder = self._records.open_run(run_id).path
        return read_results(folder) if (folder / "photos.json").is_file() else None


def list_photo_folders(data_dir: Path, session_folders: Path | None) -> tuple[Path, ...]:
    """Folders of pictures on the server that may be picked: in that of the setting, or in ``incoming``."""
    return list_incoming(data_dir, session_folders, _has_pictures)


def _has_pictures(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        inner = folder / "photos"
        files = list_pictures(inner if inner.is_dir() else folder)
        return any(file.suffix.lower() in SUFFIXES for file in files)
    return False
