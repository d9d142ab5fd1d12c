"""A set of pictures worked with the real networks: results, resume, cancel, what cannot be read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from pipeline.errors import Cancelled, PhotoError, RunFolderError
from pipeline.files import read_json, read_npz
from pipeline.hand.model import load_hand_model
from pipeline.photos import work
from pipeline.photos.folder import LeftOut, write_left_out
from pipeline.photos.hands import MeasuredHand
from pipeline.photos.results import read_results
from pipeline.photos.work import run_photos
from pipeline.run import RunProgress
from pipeline.synth.still import make_still

SECRET = "owner of the camera"


@pytest.fixture(scope="module")
def photo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A right hand, a left hand, a picture of no hand, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("set") / "photos"
    folder.mkdir()
    one = make_still(0, load_hand_model(), ("right",))
    two = make_still(5, load_hand_model(), ("left",))
    for name, still in (("1.jpg", one), ("2.png", two)):
        picture = Image.fromarray(cv2.cvtColor(still.image_bgr, cv2.COLOR_BGR2RGB))
        tags = picture.getexif()
        tags[ExifTags.Base.Artist] = SECRET
        picture.save(folder / name, exif=tags, quality=95)
    Image.fromarray(np.full((300, 400, 3), 90, np.uint8)).save(folder / "3.webp")
    (folder / "4.jpg").write_bytes(b"no picture")
    (folder.parent / "photos.toml").write_text("hand_length_mm = 200\n")
    write_left_out(folder.parent, [LeftOut("5.jpg", "5.jpg cannot be read.", "Save it again.")])
    return folder.parent


@pytest.fixture(scope="module")
def worked(photo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    run_photos(photo_set, out)
    return out


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one at each picture that is looked at."""
    looked: list[int] = []
    find = work.find_hands

    def look(*values: Any) -> list[MeasuredHand]:
        looked.append(1)
        return find(*values)

    monkeypatch.setattr(work, "find_hands", look)
    return looked


def test_every_picture_has_its_row(worked: Path) -> None:
    results = read_results(worked)
    one, two, blank, broken, left = results.pictures
    assert [hand.side for hand in one.hands] == ["right"]
    assert [hand.side for hand in two.hands] == ["left"]
    assert (blank.hands, blank.what) == ((), "")
    assert "4.jpg" in broken.what
    assert "4.jpg" in results.warnings[0]
    assert (left.name, left.what, left.hands) == ("5.jpg", "5.jpg cannot be read.", ())
    assert results.warnings[1] == "5.jpg cannot be read. Save it again."
    assert (results.scale_source, results.hand_length_mm) == ("stated", 200.0)
    hand = one.hands[0]
    assert hand.joints_mm is not None
    length = np.linalg.norm(np.diff(np.array(hand.joints_mm)[[0, 9, 10, 11, 12]], axis=0), axis=1).sum()
    assert length == pytest.approx(200.0, abs=4.0)
    assert one.focal_source == "assumed"


def test_the_points_lie_on_the_hand_and_the_files_agree(worked: Path) -> None:
    arrays = read_npz(worked / "points.npz")
    made = make_still(0, load_hand_model(), ("right",)).hands[0]
    size = np.ptp(made.keypoints_px, axis=0).max()
    assert np.median(np.linalg.norm(arrays["points_px"][0] - made.keypoints_px, axis=1)) < 0.08 * size
    assert arrays["side"].tolist() == ["right", "left"]
    with open(worked / "tables" / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 42
    assert float(rows[8]["x_px"]) == pytest.approx(arrays["points_px"][0, 8, 0], abs=0.01)
    assert float(rows[8]["sigma_z_mm"]) == pytest.approx(arrays["sigma_mm"][0, 8, 2], abs=0.01)


def test_the_browser_gets_no_hidden_details(worked: Path) -> None:
    names = {path.name for path in (worked / "web").iterdir()}
    assert {
        "picture_000.jpg",
        "thumb_000.jpg",
        "mesh_000.png",
        "vertices_001_0.f32",
        "faces_left.u32",
    } <= names
    for path in worked.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()
    mesh = cv2.imread(str(worked / "web" / "mesh_000.png"), cv2.IMREAD_UNCHANGED)
    assert mesh is not None
    assert mesh.shape == (720, 960, 4)
    assert 0.01 < (mesh[..., 3] > 0).mean() < 0.5


def test_what_is_done_is_kept_and_a_change_is_worked_again(
    photo_set: Path, worked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = count_looks(monkeypatch)
    heard: list[RunProgress] = []
    run_photos(photo_set, worked, heard.append)
    assert not looked
    assert heard[-1].overall == 1.0
    settings = photo_set / "photos.toml"
    before = settings.read_text()
    settings.write_text('hand_length_mm = 200\npreset = "minimal"\n')
    run_photos(photo_set, worked)
    settings.write_text(before)
    assert len(looked) == 3  # two that show a hand and one that does not


def test_a_cancelled_run_goes_on_where_it_stopped(
    photo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter([False, True])
    with pytest.raises(Cancelled):
        run_photos(photo_set, tmp_path / "run", is_cancelled=lambda: next(asked))
    assert read_json(tmp_path / "run" / "photos.json")["state"] == "cancelled"
    looked = count_looks(monkeypatch)
    run_photos(photo_set, tmp_path / "run")
    assert len(looked) == 2
    assert len(read_results(tmp_path / "run").pictures) == 5


def test_nothing_to_read_is_a_failure_in_words(photo_set: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(PhotoError, match="None of the pictures"):
        run_photos(tmp_path, tmp_path / "run")
    assert "None" in read_json(tmp_path / "run" / "photos.json")["error"]["what"]
    with pytest.raises(RunFolderError, match="own folder"):
        run_photos(photo_set, photo_set)
    with pytest.raises(RunFolderError):
        read_results(tmp_path / "nowhere")
