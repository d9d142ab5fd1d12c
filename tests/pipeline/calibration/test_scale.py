import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.calibration.scale import judge_scale, measure_hand_length
from pipeline.calibration.solve import solve_rig
from pipeline.results import Rig
from pipeline.session import Checkerboard
from tests.pipeline.calibration.board_pictures import make_rig_cameras, random_poses, see

BOARD = Checkerboard()
RIG = Rig("front", {}, source="checkerboard")


def test_a_board_larger_than_stated_scales_the_world_and_nothing_of_the_board_tells():
    cameras = make_rig_cameras((1280, 720))
    sizes = {name: camera.size_px for name, camera in cameras.items()}
    sights = see(cameras, random_poses(BOARD, 14, np.random.default_rng(0)), BOARD, noise_px=0.08)
    true = solve_rig(sights, sizes, "front", BOARD)
    wrong = solve_rig(sights, sizes, "front", Checkerboard(square_mm=24.0))
    assert (wrong.verdict, wrong.reasons) == (true.verdict, true.reasons) == ("reliable", ())
    for name, camera in true.cameras.items():
        np.testing.assert_allclose(wrong.cameras[name].t_mm, camera.t_mm * 24 / 25, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(wrong.cameras[name].R, camera.R, atol=1e-6)
        assert wrong.cameras[name].rms_px == pytest.approx(camera.rms_px, rel=1e-4)
    assert wrong.square_error_mm == pytest.approx(true.square_error_mm * 24 / 25, abs=1e-4)
    assert wrong.scale_sigma == pytest.approx(true.scale_sigma, rel=1e-2)


@pytest.mark.parametrize(("length_mm", "is_said"), [(131, False), (182, False), (236, False), (262, True)])
def test_a_hand_of_no_adult_length_asks_for_the_square(length_mm, is_said):
    sentence = judge_scale(length_mm, RIG, square_mm=25.0)
    assert (sentence is not None) == is_said
    if sentence:
        assert "measures 262 mm" in sentence
        assert "square_mm (25.0 mm)" in sentence


def test_a_short_hand_may_be_a_child_s():
    assert "child" in str(judge_scale(120, RIG))


@pytest.mark.parametrize(
    ("length_mm", "is_said"), [(150, True), (162, False), (180, False), (190, False), (196, True)]
)
def test_a_hand_of_another_length_than_by_ruler_asks_for_both(length_mm, is_said):
    sentence = judge_scale(length_mm, RIG, stated_mm=181.0, square_mm=25.0)
    assert (sentence is not None) == is_said
    if sentence:
        assert "181 mm by ruler" in sentence
        assert "hand_length_mm" in sentence


def test_a_child_s_hand_with_its_length_by_ruler_is_no_reason():
    assert judge_scale(131, RIG, stated_mm=130.0) is None


@pytest.mark.parametrize("source", ["hand", "single"])
def test_a_scale_that_came_from_the_hand_is_not_judged_by_it(source):
    assert judge_scale(262, replace(RIG, source=source)) is None


def test_a_rig_kept_from_earlier_is_named_instead_of_a_board():
    sentence = judge_scale(262, replace(RIG, source="file"), square_mm=25.0)
    assert "rig" in str(sentence)
    assert "square_mm" not in str(sentence)


def test_the_length_runs_along_the_bent_finger():
    joints = np.full((3, 21, 3), np.nan)
    chain = np.array([[0, 0, 0], [90, 0, 0], [130, 0, 0], [130, 25, 0], [130, 25, 20.0]])
    joints[1:, [0, 9, 10, 11, 12]] = chain
    assert measure_hand_length(joints) == pytest.approx(175.0)
    assert math.isnan(measure_hand_length(joints[:1]))
    assert judge_scale(math.nan, RIG) is None
