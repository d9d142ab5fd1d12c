from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Cancelled, SyncError
from pipeline.progress import Reporter
from pipeline.results import Camera, Rig, RunFolder, SyncResult, read_sync, write_sync
from pipeline.session import Session, read_session
from pipeline.sync import cameras
from pipeline.sync.cameras import get_spans_s, require_overlap, synchronise, synchronise_videos, travel_time_s
from pipeline.sync.sound import find_offset
from tests.pipeline.sync.made_sound import SECONDS, TRUE, film, hear


def copy(source: Path, folder: Path, *names: str) -> None:
    for name in names:
        shutil.copy(source / f"{name}.mp4", folder)


def listen(folder: Path, toml: str = "") -> tuple[Session, SyncResult, Reporter]:
    if toml:
        (folder / "session.toml").write_text(toml)
    session, report = read_session(folder), Reporter()
    return session, synchronise(session, report), report


def assert_unknown(result: SyncResult, name: str) -> None:
    camera = result.cameras[name]
    assert np.isnan(camera.offset_s)
    assert np.isnan(camera.sigma_s)
    assert (camera.verdict, camera.source) == ("failed", "none")


def assert_found(result: SyncResult, name: str) -> None:
    camera = result.cameras[name]
    assert camera.offset_s == pytest.approx(TRUE[name][0], abs=1e-3)
    assert (camera.verdict, camera.source) == ("reliable", "audio")


def test_three_cameras_come_onto_one_clock_within_a_millisecond(three_cameras, tmp_path):
    seen: list[float] = []
    report = Reporter(listen=lambda progress: seen.append(progress.fraction))
    result = synchronise(read_session(three_cameras), report)
    assert (result.reference, result.source) == ("front", "audio")
    for name, (offset_s, drift) in TRUE.items():
        camera = result.cameras[name]
        at_s = np.array([0.0, SECONDS])
        true_s = at_s + offset_s + drift * 1e-6 * at_s
        np.testing.assert_allclose(result.to_reference_s(name, at_s), true_s, atol=1e-3)
        assert camera.confidence >= 0.7
        assert (camera.verdict, camera.reasons) == ("reliable", ())
    assert result.cameras["front"].source == "reference"
    assert result.closure_s < 5e-4
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert report.warnings == []
    run = RunFolder(tmp_path)
    write_sync(run.sync_json, result)
    assert read_sync(run.sync_json) == result


def test_a_manual_offset_wins_and_needs_no_sound(three_cameras, tmp_path):
    copy(three_cameras, tmp_path, "front", "left")
    film(tmp_path / "right.mp4", None)
    _, result, _ = listen(tmp_path, "[offset_s]\nright = 0.25\n")
    assert result.cameras["right"].offset_s == 0.25
    assert result.cameras["right"].source == "manual"
    assert_found(result, "left")
    assert np.isnan(result.closure_s)


def test_with_all_offsets_given_nobody_listens(tmp_path):
    for name in ("front", "left"):
        film(tmp_path / f"{name}.mp4", None, 2.0)
    _, result, report = listen(tmp_path, "[offset_s]\nleft = -0.5\n")
    assert result.source == "manual"
    assert result.cameras["left"].offset_s == -0.5
    assert report.warnings == []


SILENT = {"has no sound": None, "is silent": np.zeros(8 * 16000), "is shorter than 0.1 s": np.full(1000, 0.5)}


@pytest.mark.parametrize("words", SILENT)
def test_a_camera_without_usable_sound_is_left_open_and_the_others_go_on(three_cameras, tmp_path, words):
    copy(three_cameras, tmp_path, "front", "right")
    film(tmp_path / "left.mp4", SILENT[words])
    session, result, report = listen(tmp_path)
    assert_unknown(result, "left")
    (reason,) = result.cameras["left"].reasons
    assert "left.mp4" in reason
    assert words in reason
    assert_found(result, "right")
    assert np.isnan(result.closure_s)
    assert report.warnings == [f"Sound does not tell when camera left started. {reason}"]
    require_overlap(result, get_spans_s(session.videos))  # an unknown clock contradicts nobody
    write_sync(tmp_path / "sound.json", result)
    assert_unknown(read_sync(tmp_path / "sound.json"), "left")


@pytest.mark.parametrize("words", SILENT)
def test_without_the_reference_s_sound_nothing_is_known_of_any_camera(three_cameras, tmp_path, words):
    copy(three_cameras, tmp_path, "left", "right")
    film(tmp_path / "front.mp4", SILENT[words])
    _, result, report = listen(tmp_path)
    for name in ("left", "right"):
        assert_unknown(result, name)
        (reason,) = result.cameras[name].reasons
        assert "front.mp4" in reason
        assert words in reason
    assert result.cameras["front"].source == "reference"
    assert (result.source, len(report.warnings)) == ("none", 2)
    assert np.isnan(result.closure_s)


def test_both_files_without_sound_are_named(tmp_path):
    for name in ("front", "left"):
        film(tmp_path / f"{name}.mp4", None, 1.0)
    _, result, _ = listen(tmp_path)
    assert result.cameras["left"].reasons == ("front.mp4 has no sound.", "left.mp4 has no sound.")


def test_sound_of_another_take_is_left_open_and_accuses_nobody(three_cameras, tmp_path):
    copy(three_cameras, tmp_path, "front", "right")
    film(tmp_path / "left.mp4", hear(5, 0.0, room_seed=5))
    _, result, report = listen(tmp_path)
    assert_unknown(result, "left")
    reasons = result.cameras["left"].reasons
    assert reasons[0].startswith("The sound of left.mp4 has nothing in common with that of front.mp4")
    assert 0.0 <= result.cameras["left"].confidence <= 1.0
    assert_found(result, "right")
    assert len(report.warnings) == 1


def test_given_offsets_that_leave_no_common_time_name_the_cameras(tmp_path):
    for name in ("front", "left", "right"):
        film(tmp_path / f"{name}.mp4", None, 2.0)
    session, result, _ = listen(tmp_path, "[offset_s]\nleft = 1.5\nright = -1.5\n")
    with pytest.raises(SyncError, match=r"left and right did not record together"):
        require_overlap(result, get_spans_s(session.videos))


def test_a_clock_that_a_person_set_keeps_the_drift_that_its_sound_tells_there(three_cameras, tmp_path):
    copy(three_cameras, tmp_path, "front", "left", "right")
    _, measured, _ = listen(tmp_path)
    _, result, _ = listen(tmp_path, "[offset_s]\nleft = 1.2376\nright = 3.0\n")
    assert result.cameras["left"].offset_s == 1.2376
    assert result.cameras["left"].drift_ppm == pytest.approx(measured.cameras["left"].drift_ppm, abs=1.0)
    assert result.cameras["left"].drift_ppm == pytest.approx(TRUE["left"][1], abs=20.0)
    assert result.cameras["right"].drift_ppm == 0.0  # nothing sounds alike at the offset that was set


def test_one_camera_is_on_its_own_clock(tmp_path):
    film(tmp_path / "phone.mp4", None, 1.0)
    _, result, _ = listen(tmp_path)
    assert result.reference == "phone"
    assert result.cameras["phone"].offset_s == 0.0
    assert result.cameras["phone"].verdict == "reliable"


def test_keypoints_say_nothing_of_the_clocks(tmp_path):
    (tmp_path / "keypoints").mkdir()
    for name in ("front", "left", "right"):
        (tmp_path / "keypoints" / f"{name}.npz").write_bytes(b"")
    session, result, report = listen(tmp_path, "[offset_s]\nright = 0.2\n")
    assert_unknown(result, "left")
    assert "left.npz" in result.cameras["left"].reasons[0]
    assert (result.cameras["right"].offset_s, result.cameras["right"].source) == (0.2, "manual")
    assert result.cameras["front"].source == "reference"
    assert len(report.warnings) == 1
    require_overlap(result, get_spans_s(session.videos))


# --- triangles


def bend(monkeypatch, **of_pair: dict[str, Any]) -> None:
    """Change what the comparison of pairs says: ``left_right={"offset_s": 0.01}`` adds, others replace."""
    real = cameras._compare

    def compare(tracks, reference, asked, report):
        found = real(tracks, reference, asked, report)
        for pair, changes in of_pair.items():
            first, second = pair.split("_")
            key = (first, second)
            added = {"offset_s": found[key].offset_s + changes.get("offset_s", 0.0)}
            found[key] = replace(found[key], **{**changes, **added})
        return found

    monkeypatch.setattr(cameras, "_compare", compare)


def test_offsets_that_contradict_each_other_are_doubted(three_cameras, monkeypatch):
    bend(monkeypatch, left_right={"offset_s": 0.01, "verdict": "reliable"})
    _, result, report = listen(three_cameras)
    assert result.closure_s == pytest.approx(0.01, abs=5e-4)
    assert {result.cameras[name].verdict for name in ("left", "right")} == {"check"}
    assert all("contradict each other by" in warning for warning in report.warnings)
    assert len(report.warnings) == 2


def test_a_bad_comparison_of_the_side_cameras_accuses_neither(three_cameras, monkeypatch):
    bend(monkeypatch, left_right={"offset_s": 0.5, "verdict": "check", "reasons": ("It is short.",)})
    _, result, report = listen(three_cameras)
    assert_found(result, "left")
    assert_found(result, "right")
    assert np.isnan(result.closure_s)
    (remark,) = report.warnings
    assert "left and right do not fit each other well enough" in remark
    assert "It is short." in remark


def test_of_a_contradiction_the_less_trusted_camera_is_doubted(three_cameras, monkeypatch):
    bend(monkeypatch, front_left={"offset_s": 0.5, "verdict": "check", "reasons": ("It is short.",)})
    _, result, _ = listen(three_cameras)
    assert_found(result, "right")
    assert result.cameras["left"].verdict == "check"
    assert any("contradict each other by 500" in reason for reason in result.cameras["left"].reasons)
    assert result.closure_s == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("sigma_s", "verdict"), [(1e-4, "check"), (2e-3, "reliable")])
def test_a_misfit_is_judged_against_the_comparisons_own_errors(three_cameras, monkeypatch, sigma_s, verdict):
    bend(monkeypatch, left_right={"offset_s": 5e-3, "sigma_s": sigma_s, "verdict": "reliable"})
    _, result, _ = listen(three_cameras)
    assert {result.cameras[name].verdict for name in ("left", "right")} == {verdict}
    assert result.closure_s == pytest.approx(5e-3, abs=5e-4)


def test_one_slipped_camera_is_caught_by_the_other_two(three_cameras, tmp_path):
    """Its sound jumps by 30 ms half way through: no offset holds for the whole of it."""
    copy(three_cameras, tmp_path, "front", "right")
    n_half = round(SECONDS / 2 * 16000)
    early, late = hear(1, TRUE["left"][0]), hear(1, TRUE["left"][0] + 0.03)
    film(tmp_path / "left.mp4", np.concatenate([early[:n_half], late[n_half:]]))
    _, result, _ = listen(tmp_path)
    assert result.cameras["left"].verdict != "reliable"
    assert result.cameras["left"].reasons
    assert_found(result, "right")


def test_any_set_of_files_can_be_synchronised(three_cameras):
    videos = {name: three_cameras / f"{name}.mp4" for name in ("left", "right")}
    result = synchronise_videos(videos, "left", Reporter())
    assert result.cameras["right"].offset_s == pytest.approx(TRUE["right"][0] - TRUE["left"][0], abs=1e-3)


def test_cancelling_stops_it(three_cameras):
    with pytest.raises(Cancelled):
        synchronise(read_session(three_cameras), Reporter(is_cancelled=lambda: True))


# --- the way of the sound


def make_rig(**places_mm: tuple[float, float, float]) -> Rig:
    random = np.random.default_rng(1)
    made = {}
    for name, place_mm in places_mm.items():
        turned, _ = np.linalg.qr(random.standard_normal((3, 3)))
        turned *= np.sign(np.linalg.det(turned))
        made[name] = Camera(name, (10, 10), np.eye(3), np.zeros(5), turned, -turned @ np.array(place_mm))
    return Rig("front", made)


def test_a_metre_more_takes_the_sound_2_9_milliseconds_more():
    rig = make_rig(front=(0, 0, 0), left=(-2000, 0, 0), right=(400, 0, 300))
    late = travel_time_s(rig, np.array([0.0, 0.0, 600.0]))
    assert late["front"] == 0.0
    assert late["left"] == pytest.approx((np.hypot(2.0, 0.6) - 0.6) / 343, rel=1e-9)
    assert late["right"] == pytest.approx((0.5 - 0.6) / 343, rel=1e-9)
    assert travel_time_s(rig, np.array([0.0, 0.0, np.nan]))["left"] != late["left"]
    assert np.isnan(travel_time_s(rig, np.full(3, np.nan))["left"])


def test_adding_the_travel_time_mends_the_offset_by_sound():
    rig = make_rig(front=(0, 0, 0), left=(3430, 0, 0))
    late = travel_time_s(rig, np.zeros(3))["left"]
    assert late == pytest.approx(0.01)
    found = find_offset(hear(1, 0.0), hear(2, 0.5 - late))  # at each instant it hears what was 10 ms before
    assert found.offset_s + late == pytest.approx(0.5, abs=3e-4)


@given(
    hand=st.tuples(*[st.floats(-2000, 2000)] * 3),
    left=st.tuples(*[st.floats(-2000, 2000)] * 3),
    move=st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_the_travel_time_hangs_on_distances_alone(hand, left, move):
    rig = make_rig(front=(10, 20, 30), left=left)
    late = travel_time_s(rig, np.array(hand))["left"]
    moved = make_rig(front=tuple(np.add((10, 20, 30), move)), left=tuple(np.add(left, move)))
    assert travel_time_s(moved, np.add(hand, move))["left"] == pytest.approx(late, abs=1e-12)
    assert abs(late) <= np.linalg.norm(np.subtract(left, (10, 20, 30))) / 343e3 + 1e-12
