"""Made crops: the truth lies on the hand, and what is said of a picture holds."""

import numpy as np
import pytest

from pipeline.hand.joints import BONES
from pipeline.pose.landmarks import LandmarkNetwork
from pipeline.pose.training.definition import place_points
from pipeline.pose.training.pictures import Painter, Sample
from pipeline.pose.training.raster import cast_shadows, rasterise


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter()


@pytest.fixture(scope="module")
def easy(painter: Painter) -> list[Sample]:
    return [painter.draw(seed, easy=True) for seed in range(40)]


def test_a_seed_draws_the_same_picture_again(painter: Painter) -> None:
    one, other = painter.draw(3), painter.draw(3)
    assert np.array_equal(one.image_bgr, other.image_bgr)
    assert np.array_equal(one.points_px, other.points_px)
    assert not np.array_equal(one.image_bgr, painter.draw(4).image_bgr)


def test_the_original_network_finds_easy_hands_where_the_truth_says(easy: list[Sample]) -> None:
    network = LandmarkNetwork()
    errors, sides = [], []
    for sample in easy:
        found = network.run(sample.image_bgr[None])
        palm = np.linalg.norm(sample.joints_mm[9]) * sample.px_per_mm[9]
        errors.append(np.linalg.norm(found.points_px[0] - sample.points_px, axis=1).mean() / palm)
        sides.append((found.right[0] > 0.5) == sample.right)
    assert np.median(errors) < 0.15
    assert np.mean(sides) > 0.6  # seen from the edge a hand's side is hard to tell


def test_space_and_picture_agree(easy: list[Sample]) -> None:
    for sample in easy[:10]:
        bones_mm = [sample.joints_mm[b] - sample.joints_mm[a] for a, b in BONES]
        bones_px = [sample.points_px[b] - sample.points_px[a] for a, b in BONES]
        for (a, b), bone_mm, bone_px in zip(BONES, bones_mm, bones_px, strict=True):
            # in weak perspective; what lies along the line of sight is moved by a change of scale
            scale = np.mean([sample.px_per_mm[a], sample.px_per_mm[b]])
            assert np.linalg.norm(bone_px / scale - bone_mm[:2]) < 0.35 * np.linalg.norm(bone_mm) + 20


def test_offsets_move_left_hands_as_their_mirror_image(easy: list[Sample]) -> None:
    offset = np.zeros((21, 3))
    offset[8] = [5.0, 0.0, 0.0]  # along the finger, whichever hand it is: towards the wrist
    for sample in easy:
        points, joints = place_points(sample, offset)
        assert np.array_equal(points[:8], sample.points_px[:8])
        moved = joints[8] - sample.joints_mm[8]
        assert np.linalg.norm(moved) == pytest.approx(5.0, rel=1e-5)
        bone = sample.joints_mm[7] - sample.joints_mm[8]
        assert moved @ bone / (5 * np.linalg.norm(bone)) > 0.8


def test_the_nearer_triangle_is_seen_and_the_one_turned_away_is_not() -> None:
    square = np.array([[2, 2], [2, 28], [28, 2.0]])
    pixels = np.concatenate([square, square, square[::-1]])
    depth = np.array([10.0] * 3 + [5.0] * 3 + [1.0] * 3)
    faces = np.arange(9).reshape(3, 3)
    found = rasterise(pixels, depth, faces, 32)
    assert set(found.corners.ravel().tolist()) == {3, 4, 5}
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(len(found.rows)))
    place = found.blend(pixels)
    inside = found.shares.min(axis=1) > 0.05
    assert np.abs(place - np.stack([found.columns, found.rows], axis=1))[inside].max() < 0.1


def test_what_lies_behind_something_is_in_its_shadow() -> None:
    square = np.array(
        [[-10, -10, 20], [10, -10, 20], [10, 10, 20], [-10, 10, 20], [-40, -40, 0], [40, 40, 0.0]]
    )
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    points = np.array([[0, 0, 0], [30.0, 30, 0], [0, 0, 20]])
    assert cast_shadows(square, faces, np.array([0.0, 0, 1]), points) == pytest.approx([1, 0, 0])
