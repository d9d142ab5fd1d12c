"""Room is reserved when a file is announced: several people at once cannot overfill a disk."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import pytest

from records.checking import Bare, Finding, ToStrip
from records.drafts import MAX_DRAFTS, Drafts, require_inside
from records.errors import UploadError
from records.room import Limits, find_room, is_disk_full, measure, read_limits
from settings import Settings

Usage = namedtuple("Usage", "total used free")
PLENTY = Limits(10**6, keep_free_share=0.0)


def copy(files: Sequence[ToStrip]) -> list[Bare | Finding]:
    for file in files:
        file.target.write_bytes(file.source.read_bytes()[:-1])
    return [Bare((), "1" * 64, "2" * 64) for _ in files]


def open_drafts(folder: Path, limits: Limits = PLENTY) -> Drafts:
    return Drafts(folder / "data", limits, strip=copy)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk of 1,000 bytes of which 600 are free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000, 400, 600))


def test_what_was_announced_counts_before_it_arrives(tmp_path: Path, disk: None) -> None:
    drafts = open_drafts(tmp_path, Limits(10**6, keep_free_share=0.1, share=1.0))
    draft = drafts.create("me")
    drafts.begin(draft, "me", "a.mp4", 200)  # 200 to come, and 200 to be written anew, of 500
    assert measure(tmp_path / "data" / "incoming", "me").to_come == 200
    with pytest.raises(UploadError, match="disk has no room") as refused:
        drafts.begin(draft, "me", "b.mp4", 200)
    assert refused.value.status == 507
    assert "10% of the disk stays free" in refused.value.advice
    drafts.begin(draft, "me", "b.mp4", 90)


def test_twenty_at_once_get_no_more_than_there_is(tmp_path: Path, disk: None) -> None:
    drafts = open_drafts(tmp_path, Limits(10**6, keep_free_share=0.1, share=1.0))
    places = [drafts.create(f"person {number}") for number in range(20)]
    said: list[str] = []

    def announce(number: int) -> None:
        try:
            drafts.begin(places[number], f"person {number}", "a.mp4", 50)
            said.append("taken")
        except UploadError:
            said.append("refused")

    people = [threading.Thread(target=announce, args=(number,)) for number in range(20)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert (said.count("taken"), said.count("refused")) == (9, 11)  # 9 x 50 and 50 to be written anew: 500


def test_everybodys_uploads_have_a_share_of_the_disk(tmp_path: Path, disk: None) -> None:
    drafts = open_drafts(tmp_path, Limits(10**6, keep_free_share=0.0, share=0.2))
    drafts.begin(drafts.create("one"), "one", "a.mp4", 150)
    with pytest.raises(UploadError, match="beside what everybody is sending"):
        drafts.begin(drafts.create("two"), "two", "a.mp4", 60)


def test_a_person_has_a_quota_and_without_sign_in_there_is_none(tmp_path: Path) -> None:
    drafts = open_drafts(tmp_path, Limits(10**6, person_bytes=100, keep_free_share=0.0))
    draft = drafts.create("me")
    file = drafts.begin(draft, "me", "a.mp4", 80)
    with pytest.raises(UploadError, match="beside your unfinished uploads") as refused:
        drafts.begin(drafts.create("me"), "me", "b.mp4", 30)
    assert "REDYS_UPLOAD_QUOTA_BYTES" in refused.value.advice
    drafts.begin(drafts.create("another"), "another", "b.mp4", 90)
    assert drafts.room("me").least == 20
    drafts.remove(draft, "me", file.id)
    assert drafts.room("me").least == 100
    assert read_limits(Settings(host="127.0.0.1")).person_bytes is None
    assert read_limits(Settings(host="0.0.0.0")).person_bytes == 100 * 2**30


def test_a_file_written_anew_counts_once(tmp_path: Path) -> None:
    drafts = open_drafts(tmp_path)
    draft = drafts.create("me", "photos")
    file = drafts.begin(draft, "me", "a.jpg", 80)
    drafts.append(draft, "me", file.id, 0, [bytes(80)])
    drafts.assemble_photos(draft, "me", {})
    taken = measure(tmp_path / "data" / "incoming", "me")
    assert (taken.announced, taken.to_come, taken.longest) == (79, 0, 0)
    assert drafts.find(draft, "me", file.id).is_complete
    with pytest.raises(UploadError, match="has arrived already"):
        drafts.append(draft, "me", file.id, 80, [b"x"])


def test_nobody_begins_without_end(tmp_path: Path) -> None:
    drafts = open_drafts(tmp_path)
    for _ in range(MAX_DRAFTS):
        drafts.create("me")
    with pytest.raises(UploadError, match="uploads of yours are unfinished"):
        drafts.create("me")
    drafts.create("another")


def test_drafts_that_are_left_alone_are_swept_and_empty_ones_soon(tmp_path: Path) -> None:
    drafts = open_drafts(tmp_path)
    incoming = tmp_path / "data" / "incoming"
    full, empty = drafts.create("me"), drafts.create("me")
    drafts.begin(full, "me", "a.mp4", 10)
    broken = incoming / ("a" * 32)  # whoever began it was killed before it had a name
    broken.mkdir()
    (incoming / "by-hand").mkdir()

    def age(hours: float) -> None:
        for folder in incoming.iterdir():
            for path in (*folder.glob("*"), folder) if folder.is_dir() else ():
                os.utime(path, (time.time() - 3600 * hours,) * 2)

    age(2)
    assert drafts.sweep() == 2
    assert [path.name for path in incoming.iterdir() if path.is_dir()] in (
        [full, "by-hand"], ["by-hand", full]
    )  # fmt: skip
    assert not (incoming / empty).exists()
    age(8 * 24)
    assert drafts.sweep() == 1
    assert (incoming / "by-hand").is_dir()


def test_too_little_of_the_disk_is_said(tmp_path: Path, disk: None) -> None:
    assert not is_disk_full(tmp_path, Limits(1, keep_free_share=0.5))
    assert is_disk_full(tmp_path, Limits(1, keep_free_share=0.7))
    assert find_room(tmp_path, "me", Limits(1, keep_free_share=0.7)).least == 0


def test_a_link_that_leads_out_of_the_folders_set_aside_is_refused(tmp_path: Path) -> None:
    from pipeline.errors import SessionError

    shared, secret = tmp_path / "shared", tmp_path / "secret"
    for path in (shared / "visit", shared / "other", secret):
        path.mkdir(parents=True)
        (path / "front.mp4").write_bytes(b"x")
    settings = Settings(session_folders=shared)
    (shared / "visit" / "left.mp4").symlink_to(shared / "other" / "front.mp4")
    require_inside(shared / "visit", settings)
    (shared / "visit" / "calibration").symlink_to(secret)
    with pytest.raises(SessionError, match="calibration is a link that leads out"):
        require_inside(shared / "visit", settings)
    (shared / "linked").symlink_to(secret)
    with pytest.raises(SessionError, match="linked is a link"):
        require_inside(shared / "linked", settings)


def test_a_link_that_leads_to_itself_is_refused_in_words(tmp_path: Path) -> None:
    from pipeline.errors import SessionError

    (tmp_path / "visit").mkdir()
    (tmp_path / "visit" / "front.mp4").symlink_to("front.mp4")
    with pytest.raises(SessionError, match=r"front\.mp4 is a link that leads to itself"):
        require_inside(tmp_path / "visit", Settings(session_folders=tmp_path))
