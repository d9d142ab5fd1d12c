"""Shortened form of ``benchmarks/board_search.py``: boards in pictures, and keys that are none."""

import cv2
import numpy as np
import pytest

from pipeline.calibration.board import find_board
from pipeline.calibration.solve import align_colours
from pipeline.calibration.takes import Sight
from pipeline.session import Checkerboard
from pipeline.synth.render import Keyboard, Noise
from pipeline.synth.rig import make_stage
from pipeline.synth.spec import CAMERAS, SynthSpec
from tests.pipeline.calibration.board_pictures import (
    board_points,
    board_pose,
    draw_board,
    make_rig_cameras,
    place,
)

BOARD = Checkerboard()
RIG = make_rig_cameras((640, 360))


@pytest.mark.parametrize("turn", range(-165, 180, 30))
def test_a_board_turned_any_way_has_the_same_first_corner_in_both_cameras(turn):
    rng = np.random.default_rng(abs(turn))
    pose = board_pose(BOARD, (rng.uniform(-25, 25), rng.uniform(-25, 25), turn + rng.uniform(-15, 15)))
    sights, ends = {}, {}
    for name in ("front", "left"):
        picture = draw_board(RIG[name], pose, BOARD, noise=3.0, rng=rng)
        found = find_board(picture, BOARD)
        assert found.corners_px is not None, found.reason
        sights[name] = [Sight(0, 0, 0.0, found.corners_px, found.is_dark_first, 0.0)]
        ends[name] = RIG[name].project(place(board_points(BOARD), pose))[[0, -1]]
    first = []
    for name, (sight,) in align_colours(sights, ["front", "left"]).items():
        assert sight.corners_px is not None
        distance_px = np.linalg.norm(ends[name] - sight.corners_px[0], axis=1)
        assert distance_px.min() < 1.0
        first.append(int(distance_px.argmin()))
    assert first[0] == first[1]


@pytest.mark.parametrize("seed", range(4))
def test_no_board_is_found_on_made_keyboards(seed):
    spec = SynthSpec(seed=seed, size_px=(640, 360))
    stage = make_stage(spec)
    for name in CAMERAS:
        picture = Noise(spec, name).add(Keyboard(spec, stage, stage.rig.cameras[name]).picture.copy(), seed)
        assert find_board(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), BOARD).corners_px is None
