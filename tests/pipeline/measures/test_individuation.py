from __future__ import annotations

import numpy as np
import pytest

from pipeline.hand.joints import FINGERS
from pipeline.measures.individuation import MIN_EVENTS, choose_events, measure_individuation
from pipeline.measures.strokes import Strokes, find_strokes, see_tips_from_palm
from tests.pipeline.measures.conftest import playing_hand

FPS = 60.0
FOLLOWS = np.array(
    [
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.1, 1.0, 0.3, 0.0, 0.0],
        [0.0, 0.2, 1.0, 0.25, 0.0],
        [0.0, 0.0, 0.4, 1.0, 0.5],
        [0.0, 0.0, 0.0, 0.6, 1.0],
    ]
)
"""How far each finger follows the one that strikes: rows strike."""


def play(rounds: int, follows: np.ndarray = FOLLOWS, jitter_mm: float = 0.1, gap_s: float = 0.6):
    """Each finger in turn, one stroke every ``gap_s``: times, tips seen from the palm, onsets."""
    random = np.random.default_rng(0)
    fingers = np.tile(np.arange(5), rounds)
    onsets = 1.0 + gap_s * np.arange(len(fingers))
    time_s = np.arange(round((onsets[-1] + 1.0) * FPS)) / FPS
    tips = random.normal(0, jitter_mm, (len(time_s), 5, 3))
    for onset_s, finger in zip(onsets, fingers, strict=True):
        depth = random.uniform(7, 11)
        since = np.array([-0.1, -0.05, 0.0, 0.06, 0.14, 0.2])
        path = np.interp(time_s, onset_s + since, depth * np.array([0, 0.4, 1, 1, 0.4, 0]))
        tips[:, :, 2] -= path[:, None] * follows[finger]
    return time_s, tips, onsets


def as_matrix(found) -> np.ndarray:
    matrix = np.eye(5)
    for cell in found.couplings:
        matrix[FINGERS.index(cell.striking), FINGERS.index(cell.other)] = cell.share
    return matrix


@pytest.fixture(scope="module")
def played():
    time_s, tips, onsets = play(16)
    return time_s, tips, find_strokes(time_s, tips, 0.1), onsets


def test_the_matrix_is_how_far_each_finger_follows(played):
    time_s, tips, strokes, onsets = played
    found = measure_individuation(time_s, tips, strokes, onsets)
    np.testing.assert_allclose(as_matrix(found), FOLLOWS, atol=0.05)
    assert found.heard
    assert all(cell.low <= cell.share <= cell.high for cell in found.couplings)
    assert all(cell.events >= MIN_EVENTS for cell in found.couplings)


def test_the_index_is_one_less_the_mean_of_what_the_others_follow(played):
    found = measure_individuation(*played)
    expected = 1.0 - (np.abs(FOLLOWS).sum(axis=1) - 1.0) / 4.0
    np.testing.assert_allclose([finger.index for finger in found.fingers], expected, atol=0.03)


def test_twice_as_far_a_following_finger_has_twice_the_number():
    half = FOLLOWS * 0.5 + 0.5 * np.eye(5)
    time_s, tips, onsets = play(16, half)
    found = as_matrix(measure_individuation(time_s, tips, find_strokes(time_s, tips, 0.1), onsets))
    np.testing.assert_allclose(found, half, atol=0.05)


def test_too_few_strokes_are_withheld_and_counted():
    time_s, tips, onsets = play(MIN_EVENTS - 2)
    found = measure_individuation(time_s, tips, find_strokes(time_s, tips, 0.1), onsets)
    assert np.isnan([cell.share for cell in found.couplings]).all()
    assert {finger.strokes for finger in found.fingers} == {MIN_EVENTS - 2}
    assert str(MIN_EVENTS) in found.note


def test_a_stroke_with_two_fingers_alike_is_left_out_and_counted():
    alike = np.eye(5)
    alike[3, 4] = 0.9
    time_s, tips, onsets = play(12, alike)
    found = measure_individuation(time_s, tips, find_strokes(time_s, tips, 0.1), onsets)
    assert found.unclear == 12
    assert [finger.strokes for finger in found.fingers] == [12, 12, 12, 0, 12]


def test_a_finger_that_strikes_near_is_not_said_to_follow():
    time_s, tips, onsets = play(16, np.eye(5), gap_s=0.25)
    found = measure_individuation(time_s, tips, find_strokes(time_s, tips, 0.1), onsets)
    busy = [
        cell
        for cell in found.couplings
        if (FINGERS.index(cell.other) - FINGERS.index(cell.striking)) % 5 == 1
    ]
    assert {cell.events for cell in busy} <= {0, 1}  # the last has none after it


def test_what_is_not_heard_is_no_stroke(played):
    _, _, strokes, onsets = played
    events, _ = choose_events(strokes, onsets[::2])
    assert len(events.time_s) == len(onsets[::2])
    assert len(choose_events(strokes, None)[0].time_s) == len(onsets)
    assert len(choose_events(strokes, np.zeros(0))[0].time_s) == 0


def test_no_strokes_at_all_are_said():
    time_s = np.arange(300) / FPS
    none = Strokes(np.zeros(0), np.zeros(0, dtype=int), np.zeros(0), np.zeros(0))
    found = measure_individuation(time_s, np.zeros((300, 5, 3)), none, None)
    assert found.events == 0
    assert found.note


@pytest.mark.parametrize("side", ["right", "left"])
def test_seen_from_the_palm_only_the_fingers_move(side):
    time_s = np.arange(120) / FPS
    joints = playing_hand(time_s, swing_deg=0.0)
    if side == "left":
        joints = joints * [-1.0, 1.0, 1.0]
    still = see_tips_from_palm(joints, side)
    np.testing.assert_allclose(still, np.broadcast_to(still[:1], still.shape), atol=1e-9)
    angle = 0.4 * np.sin(time_s)
    turn = np.zeros((120, 3, 3))
    turn[:, 0, 0], turn[:, 0, 2] = np.cos(angle), np.sin(angle)
    turn[:, 1, 1] = 1.0
    turn[:, 2, 0], turn[:, 2, 2] = -np.sin(angle), np.cos(angle)
    travelled = np.einsum("tij,tkj->tki", turn, joints) + 30.0 * np.sin(time_s)[:, None, None]
    np.testing.assert_allclose(see_tips_from_palm(travelled, side), still, atol=1e-9)


def test_a_gap_makes_no_strokes():
    time_s, tips, _ = play(2)
    tips[50:90] = np.nan
    strokes = find_strokes(time_s, tips, 0.1)
    assert not ((strokes.time_s > 45 / FPS) & (strokes.time_s < 92 / FPS)).any()
