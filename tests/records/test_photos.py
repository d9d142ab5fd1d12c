"""Sets of still pictures among the recordings: their own list, their own process, the same queue."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from pipeline.errors import PhotoError, SessionError
from pipeline.photos.folder import read_photo_set
from records import NotFound, Records
from records.checking import Bare, Finding, ToStrip, Unwritten
from records.errors import RetentionError, UploadError
from records.photos import list_photo_folders
from settings import Settings
from tests.records.site import make_session


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = Records(Settings(data_dir=tmp_path / "data"))
    yield opened
    opened.close()


def make_picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (80, 80), "grey").save(file, "JPEG")
    return file.getvalue()


DOT = make_picture()


def make_set(folder: Path, toml: str = 'subject = "P-9"\nvisit = 2026-04-01\n') -> Path:
    (folder / "photos").mkdir(parents=True)
    Image.new("RGB", (200, 200), "grey").save(folder / "photos" / "a.jpg")
    (folder / "photos.toml").write_text(toml)
    return folder


def test_a_set_is_no_recording_of_video(records: Records, tmp_path: Path) -> None:
    video = records.add_recording(make_session(tmp_path / "video", 'subject = "P-9"'))
    row = records.photos.add(make_set(tmp_path / "set"), "First")
    assert (row.kind, row.subject, row.title, str(row.visit)) == ("photos", "P-9", "First", "2026-04-01")
    assert [each.id for each in records.photos.list()] == [row.id]
    assert [each.id for each in records.list_recordings().rows] == [video.id]
    assert [each.id for each in records.list_subject(row.subject_id)] == [video.id]
    assert records.photos.count(row) == 1
    with pytest.raises(NotFound):
        records.photos.get(video.id)


def test_adding_a_set_again_brings_it_up_to_date(records: Records, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    first = records.photos.add(folder, "First")
    (folder / "photos.toml").write_text('subject = "P-10"\n')
    again = records.photos.add(folder)
    assert (again.id, again.subject, again.title) == (first.id, "P-10", "First")
    both = make_session(make_set(tmp_path / "both"), 'subject = "P-1"')
    records.add_recording(both)
    with pytest.raises(PhotoError, match="recording of video"):
        records.photos.add(both)


def test_a_set_in_the_trash_is_not_taken_in_again(records: Records, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    row = records.photos.add(folder, "First")
    records.retention.trash(row.id)
    with pytest.raises(RetentionError, match="in the trash"):
        records.photos.add(folder, "Second")
    records.retention.bring_back(row.id)
    assert records.photos.get(row.id).title == "First"


def test_a_set_does_not_become_a_recording_of_video(records: Records, tmp_path: Path) -> None:
    row = records.photos.add(make_set(tmp_path / "both"))
    make_session(tmp_path / "both", 'subject = "P-1"\n')
    with pytest.raises(SessionError, match="set of pictures"):
        records.add_recording(tmp_path / "both")
    assert records.photos.get(row.id).subject == "P-9"


def test_names_that_are_short_in_letters_and_long_in_bytes_fit_the_disk(records: Records) -> None:
    draft = records.drafts.create("me", "photos")
    name = "手" * 150 + ".jpg"
    for _ in range(2):
        file = records.drafts.begin(draft, "me", name, len(DOT))
        records.drafts.append(draft, "me", file.id, 0, [DOT])
    folder = records.drafts.assemble_photos(draft, "me", {})
    assert sorted(len(path.stem) for path in (folder / "photos").iterdir()) == [66, 70]


def test_a_set_has_its_own_command_and_stands_in_the_same_queue(records: Records, tmp_path: Path) -> None:
    row = records.photos.add(make_set(tmp_path / "set"))
    command = records.make_command(row, tmp_path / "run")
    assert list(command)[:4] == [sys.executable, "-m", "pipeline", "photos"]
    run = records.submit_run(row.id)
    assert (run.kind, run.title) == ("photos", "P-9, 2026-04-01, still pictures")
    assert records.photos.read(run.id) is None
    assert [each.id for each in records.list_live_runs()] == [run.id]
    assert records.submit_run(row.id).id == run.id
    assert records.request_cancel(run.id).state == "cancelled"
    assert records.retry(run.id).state == "queued"


def test_a_draft_of_pictures_takes_pictures_and_becomes_a_set(records: Records) -> None:
    drafts = records.drafts
    draft = drafts.create("me", "photos")
    with pytest.raises(UploadError, match="no kind of file"):
        drafts.begin(draft, "me", "front.mp4", 10)
    with pytest.raises(UploadError, match="No pictures"):
        drafts.assemble_photos(draft, "me", {})
    for name in ("IMG 1.JPG", "IMG 1.JPG", "../../x.png"):
        file = drafts.begin(draft, "me", name, len(DOT))
        drafts.append(draft, "me", file.id, 0, [DOT])
    late = drafts.begin(draft, "me", "late.webp", 3)
    with pytest.raises(UploadError, match=r"late\.webp"):
        drafts.assemble_photos(draft, "me", {})
    drafts.remove(draft, "me", late.id)
    drafts.assemble_photos(draft, "me", {"subject": "P-1", "hand_length_mm": 180})
    kept = drafts.keep(draft, "me")
    row = records.photos.add(kept)
    assert row.subject == "P-1"
    assert sorted(path.name for path in (kept / "photos").iterdir()) == [
        "IMG 1 (2).jpg",
        "IMG 1.jpg",
        "x.png",
    ]


def test_fifty_pictures_are_the_most_of_a_draft(records: Records) -> None:
    draft = records.drafts.create("me", "photos")
    for number in range(50):
        records.drafts.begin(draft, "me", f"{number}.jpg", 1)
    with pytest.raises(UploadError, match="50 files"):
        records.drafts.begin(draft, "me", "more.jpg", 1)


def test_folders_of_pictures_on_the_server_can_be_picked(tmp_path: Path) -> None:
    make_set(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    assert list_photo_folders(tmp_path / "data", tmp_path) == (tmp_path / "a",)


def send(records: Records, draft: str, name: str, data: bytes) -> str:
    file = records.drafts.begin(draft, "me", name, len(data))
    records.drafts.append(draft, "me", file.id, 0, [data])
    return file.id


def test_a_picture_that_cannot_be_read_is_left_out_by_name_and_the_others_are_a_set(records: Records) -> None:
    draft = records.drafts.create("me", "photos")
    for name, data in (("=1.jpg", DOT), ("holiday.jpg", DOT[:300] + b"owner's street 7"), ("2.jpg", DOT)):
        send(records, draft, name, data)
    records.drafts.assemble_photos(draft, "me", {"subject": "P-1"})
    kept = records.drafts.keep(draft, "me")
    photo_set = read_photo_set(kept)
    assert sorted(path.name for path in photo_set.pictures) == ["1.jpg", "2.jpg"]
    assert [left.name for left in photo_set.left_out] == ["holiday.jpg"]
    assert photo_set.left_out[0].what.startswith("holiday.jpg cannot be read as a picture")
    assert records.photos.count(records.photos.add(kept)) == 3
    assert not any(b"street" in path.read_bytes() for path in kept.rglob("*") if path.is_file())


def test_a_set_of_which_nothing_can_be_read_is_refused(records: Records) -> None:
    draft = records.drafts.create("me", "photos")
    for name in ("a.jpg", "b.jpg"):
        send(records, draft, name, b"no picture")
    with pytest.raises(UploadError, match=r"None of the pictures can be read\. The first: a\.jpg"):
        records.drafts.assemble_photos(draft, "me", {})


def test_a_full_disk_leaves_no_picture_out(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(files: Sequence[ToStrip]) -> list[Bare | Finding]:
        shutil.copy(files[0].source, files[0].target)
        return [Bare((), "", ""), Unwritten("error", "b.jpg could not be written.", "Try again.")]

    draft = records.drafts.create("me", "photos")
    for name in ("a.jpg", "b.jpg"):
        send(records, draft, name, DOT)
    monkeypatch.setattr(records.drafts, "_strip", fail)
    with pytest.raises(UploadError, match="could not be written") as caught:
        records.drafts.assemble_photos(draft, "me", {})
    assert caught.value.status == 507
    monkeypatch.undo()
    records.drafts.assemble_photos(draft, "me", {})
    assert len(list((records.drafts.keep(draft, "me") / "photos").iterdir())) == 2
