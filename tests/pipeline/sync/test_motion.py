"""Offsets from the hand's movement alone, on made hands whose clocks are known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sync.motion import find_offset_by_motion
from tests.pipeline.sync.made_views import as_right, get_repeated, get_truth, hide, make_track, make_views


@pytest.fixture(scope="module")
def truth():
    return get_truth()


@pytest.fixture(scope="module")
def views(truth):
    return make_views(truth)


def get_middle_offset(truth, camera):
    return truth.offset_s[camera] + truth.drift_ppm[camera] * 1e-6 * truth.camera_time_s[camera][-1] / 2


@pytest.mark.parametrize("camera", ["left", "right"])
def test_the_offset_is_found_within_a_quarter_of_a_frame(truth, views, camera):
    found = find_offset_by_motion(views["front"], views[camera])
    error_s = found.offset_s - get_middle_offset(truth, camera)
    assert abs(error_s) < 4e-3
    assert abs(error_s) < 3.5 * found.sigma_s
    assert found.sigma_s < 8e-3
    assert found.verdict == "reliable"
    assert not found.reasons
    assert found.candidates[0].offset_s == found.offset_s


def test_the_two_directions_give_opposite_offsets(views):
    there = find_offset_by_motion(views["front"], views["left"])
    back = find_offset_by_motion(views["left"], views["front"])
    assert there.offset_s == pytest.approx(-back.offset_s, abs=1.5e-3)


@settings(max_examples=8)
@given(shift_s=st.floats(-70.0, 70.0), start_s=st.floats(-3.0, 3.0))
def test_a_clock_set_otherwise_moves_the_offset_by_as_much(shift_s, start_s):
    views = make_views(get_truth())
    track = views["left"]["right"]
    first = find_offset_by_motion(views["front"], views["left"])
    moved = as_right(replace(track, time_s=track.time_s - shift_s))
    front = as_right(replace(views["front"]["right"], time_s=views["front"]["right"].time_s + start_s))
    found = find_offset_by_motion(front, moved)
    wanted = first.offset_s + shift_s + start_s
    if abs(wanted) < 59.9:
        assert found.offset_s == pytest.approx(wanted, abs=1e-3)
    elif abs(wanted) > 60.2:
        assert found.verdict == "failed" or abs(found.offset_s) <= 60.1


def test_a_left_hand_does_as_well():
    truth = get_truth(7, "left")
    views = make_views(truth)
    found = find_offset_by_motion(views["front"], views["left"])
    assert found.offset_s == pytest.approx(get_middle_offset(truth, "left"), abs=4e-3)


def test_two_hands_tell_more_than_one(truth, views):
    other = make_views(truth, noise_px=8.0, seed=3)
    both: Any = {name: {"right": views[name]["right"], "left": other[name]["right"]} for name in views}
    one = find_offset_by_motion(views["front"], views["left"])
    two = find_offset_by_motion(both["front"], both["left"])
    assert two.match > 1.2 * one.match
    assert two.offset_s == pytest.approx(get_middle_offset(truth, "left"), abs=4e-3)


def test_frames_without_a_hand_do_not_move_the_offset(truth, views):
    random = np.random.default_rng(1)
    n = len(truth.time_s)
    front = hide(views["front"]["right"], slice(0, 60))
    gone = np.zeros(n, dtype=bool)
    for start in random.integers(0, n - 12, 6):
        gone[start : start + 12] = True
    gone |= random.random(n) < 0.05
    found = find_offset_by_motion(as_right(front), as_right(hide(views["left"]["right"], gone)))
    assert found.offset_s == pytest.approx(get_middle_offset(truth, "left"), abs=8e-3)
    assert abs(found.offset_s - get_middle_offset(truth, "left")) < 3.5 * found.sigma_s


def test_a_lost_finger_leaves_the_others(truth, views):
    def lose(track):
        points = track.keypoints_px.copy()
        points[:, 8] = np.nan
        return as_right(replace(track, keypoints_px=points))

    found = find_offset_by_motion(lose(views["front"]["right"]), views["left"])
    assert found.offset_s == pytest.approx(get_middle_offset(truth, "left"), abs=4e-3)


def test_other_frame_rates_and_missing_frames_are_read_by_their_times(truth, views):
    kept = np.sort(np.random.default_rng(2).permutation(len(truth.time_s))[: len(truth.time_s) * 2 // 3])
    track = views["left"]["right"]
    fields = ("time_s", "box_px", "box_state", "keypoints_px", "sigma_px", "score")
    thinned = replace(track, **{name: getattr(track, name)[kept] for name in fields})
    found = find_offset_by_motion(views["front"], as_right(thinned))
    assert found.offset_s == pytest.approx(get_middle_offset(truth, "left"), abs=5e-3)


def test_a_movement_that_repeats_gives_the_repeats_as_candidates(truth):
    time_s, joints = get_repeated(bar_s=1.6)
    cameras = truth.rig.cameras
    front = as_right(make_track(time_s, cameras["front"].project(joints), seed=1))
    left = as_right(make_track(time_s, cameras["left"].project(joints), seed=2))
    found = find_offset_by_motion(front, left)
    offsets = np.array([candidate.offset_s for candidate in found.candidates])
    for bar in (-1, 0, 1):
        assert np.abs(offsets - 1.6 * bar).min() < 0.02
    assert found.verdict != "reliable"
    assert any("repeats" in reason for reason in found.reasons)
    assert found.confidence < 0.5


def test_views_of_different_movements_are_not_called_one(views):
    other = make_views(get_truth(8))
    found = find_offset_by_motion(views["front"], other["left"])
    assert found.verdict != "reliable"
    assert found.reasons


def test_a_hand_that_rests_tells_nothing(truth):
    still = np.repeat(truth.keypoints_px["front"][:1], len(truth.time_s), axis=0)
    front = as_right(make_track(truth.time_s, still, seed=1))
    left = as_right(make_track(truth.time_s, still, seed=2))
    found = find_offset_by_motion(front, left)
    assert found.verdict == "failed"
    assert found.reasons


def test_views_without_a_common_hand_tell_nothing(views):
    unseen = hide(views["left"]["right"], slice(None))
    targets: list[Any] = [{"left": views["left"]["right"]}, as_right(unseen), {}]
    for target in targets:
        found = find_offset_by_motion(views["front"], target)
        assert found.verdict == "failed"
        assert np.isnan(found.offset_s)
        assert "not seen" in found.reasons[0]
