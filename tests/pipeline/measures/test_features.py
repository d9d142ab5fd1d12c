from __future__ import annotations

import numpy as np
import pytest

from pipeline.hand.joints import JOINTS
from pipeline.measures.features import (
    FEATURE_COLUMNS,
    GRASPS,
    compute_features,
    summarise_features,
    tabulate_features,
)
from tests.pipeline.measures.conftest import playing_hand

THUMB, INDEX, MIDDLE = (JOINTS.index(f"{finger}_tip") for finger in ("thumb", "index", "middle"))
TIME_S = np.arange(600) / 60.0


def hand(swing_deg: float = 0.0, bend_deg: float = 0.0) -> np.ndarray:
    return playing_hand(TIME_S, swing_deg, bend_deg)


def pinch(index_mm: float, middle_mm: float) -> np.ndarray:
    joints = hand()
    joints[:, INDEX] = joints[:, THUMB] + [index_mm, 0.0, 0.0]
    joints[:, MIDDLE] = joints[:, THUMB] + [0.0, middle_mm, 0.0]
    return joints


def grasp_of(joints: np.ndarray, sigma_mm: float = 0.1) -> str:
    found = compute_features(joints, np.full(joints.shape[:2], sigma_mm))
    assert len(set(found.grasp.tolist())) == 1
    return GRASPS[found.grasp[0]]


@pytest.mark.parametrize(
    ("index_mm", "middle_mm", "expected"),
    [(15.0, 15.0, "precision"), (15.0, 30.0, "power"), (30.0, 15.0, "power"), (45.0, 10.0, "open")],
)
def test_grasps_have_the_thresholds_of_the_seed(index_mm, middle_mm, expected):
    assert grasp_of(pinch(index_mm, middle_mm)) == expected


def test_a_distance_that_is_not_sure_has_no_class():
    assert grasp_of(pinch(39.0, 60.0), sigma_mm=0.1) == "power"
    assert grasp_of(pinch(39.0, 60.0), sigma_mm=1.0) == "cannot tell"
    assert grasp_of(pinch(39.0, 60.0), sigma_mm=np.nan) == "cannot tell"


def test_a_bent_hand_is_less_open_whatever_its_size():
    sigma = np.full((600, 21), 0.5)
    flat, bent = (compute_features(hand(bend_deg=bend), sigma).openness[0] for bend in (-30.0, 70.0))
    assert 0.4 < bent < flat <= 1.0
    assert compute_features(1.2 * hand(bend_deg=70.0), sigma).openness[0] == pytest.approx(bent)


def test_the_error_of_openness_is_what_jitter_makes():
    joints = hand()
    jittered = joints + np.random.default_rng(0).normal(0, 1.0, joints.shape)
    found = compute_features(jittered, np.ones((600, 21)))
    assert found.openness.std() == pytest.approx(np.median(found.openness_sigma), rel=0.25)


def test_the_summary_has_intervals_and_shares_that_make_one():
    found = compute_features(hand(swing_deg=6.0), np.full((600, 21), 0.3))
    summary = summarise_features(found, np.full(600, 0.02), 60.0)
    assert summary.openness_low <= summary.openness <= summary.openness_high
    assert summary.openness_p5 < summary.openness < summary.openness_p95
    assert sum(summary.grasp_shares.values()) == pytest.approx(1.0)
    assert summary.wrist_path_mm_s == pytest.approx(20.0)


def test_a_hand_that_was_hardly_measured_is_withheld():
    joints = hand()
    joints[100:400] = np.nan
    summary = summarise_features(compute_features(joints, np.ones((600, 21))), np.zeros(600), 60.0)
    assert "80 %" in summary.note
    assert np.isnan(summary.openness)


def test_the_table_has_a_row_a_frame_and_says_what_was_not_measured():
    joints = hand()
    joints[10] = np.nan
    found = compute_features(joints, np.ones((600, 21)))
    table = tabulate_features({"right": (TIME_S, found), "left": (TIME_S, found)})
    assert tuple(table.columns) == FEATURE_COLUMNS
    assert len(table) == 1200
    assert not table["valid"][10]
    assert table["grasp"][10] == "cannot tell"
    assert np.isnan(table["openness"][10])
    assert tuple(tabulate_features({}).columns) == FEATURE_COLUMNS
