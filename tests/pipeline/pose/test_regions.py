import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pose.augmentation import NOMINAL_SCALE, PASSES
from pipeline.pose.crops import _chain, cut, cut_enhanced
from pipeline.pose.landmarks import frame_landmarks
from pipeline.pose.regions import Region, apply_affine, bound_points, compute_overlap, get_area

regions = st.builds(
    Region,
    st.floats(-500, 4000),
    st.floats(-500, 4000),
    st.floats(20, 4000),
    st.floats(-math.pi, math.pi),
)
points = st.lists(st.tuples(st.floats(-200, 4200), st.floats(-200, 4200)), min_size=1, max_size=21)


@given(regions, points, st.sampled_from(PASSES), st.sampled_from([192, 224, 256]))
def test_a_point_sent_through_a_pass_and_back_is_where_it_was(region, some, one_pass, crop_px):
    scale, degrees = one_pass
    varied = region.vary(scale / NOMINAL_SCALE, math.radians(degrees))
    image_from_crop = varied.get_image_from_crop(crop_px)
    there = np.array(some)
    crop = apply_affine(cv2.invertAffineTransform(image_from_crop), there)
    assert np.abs(apply_affine(image_from_crop, crop) - there).max() < 1e-3


@given(regions, st.sampled_from([192, 224]))
def test_a_crop_shows_its_region_in_true_proportion_and_the_centre_in_the_middle(region, crop_px):
    affine = region.get_image_from_crop(crop_px)
    middle = apply_affine(affine, np.array([crop_px / 2, crop_px / 2]))
    assert middle == pytest.approx([region.x_px, region.y_px], abs=1e-6)
    step = region.size_px / crop_px
    assert affine[:, :2] @ affine[:, :2].T == pytest.approx(step**2 * np.eye(2), abs=1e-6 * step**2)
    assert np.linalg.det(affine[:, :2]) > 0  # never mirrored


@given(regions)
def test_a_region_survives_being_an_array(region):
    assert Region.from_array(region.to_array()) == region


def test_a_turned_crop_holds_the_very_pixels_that_its_affine_says():
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8), (0, 0), 6)
    region = Region(190.3, 140.7, 180.0, 0.6)
    crop, affine = cut(smooth, region, 224)
    for u, v in [(0, 0), (223, 0), (40, 200), (112, 112)]:
        x, y = apply_affine(affine, np.array([u, v], dtype=float))
        around = cv2.getRectSubPix(smooth, (1, 1), (float(x), float(y)))[0, 0]
        assert crop[v, u].astype(float) == pytest.approx(around.astype(float), abs=2)


def test_an_enhanced_crop_lies_where_the_plain_one_lies():
    """The patch is made smaller and moved; a bright disc must stay where it was to a fraction of a pixel."""
    image = np.full((1080, 1920, 3), 60, np.uint8)
    cv2.circle(image, (1203 << 4, 517 << 4), 90 << 4, (235, 235, 235), -1, cv2.LINE_AA, 4)
    some = [Region(1180, 500, 900, 0.3), Region(1180, 500, 1000, -0.4), Region(1180, 500, 1300, 0.0)]
    crops, affines = cut_enhanced(image, some, 224, "standard")
    for crop, affine in zip(crops, affines, strict=True):
        bright = crop[..., 1] > (int(crop[..., 1].max()) + int(np.median(crop[..., 1]))) / 2
        centre = np.argwhere(bright).mean(axis=0)[::-1]
        pixel = math.hypot(*affine[:, 0])
        assert apply_affine(affine, centre) == pytest.approx([1203, 517], abs=0.15 * pixel)


def test_a_region_beyond_the_picture_is_cut_with_black():
    image = np.full((100, 100, 3), 200, np.uint8)
    crops, _ = cut_enhanced(image, [Region(-10, 50, 120, 0.0), Region(400, 400, 50, 0.0)], 64, "standard")
    assert crops[0, 32, 0].max() == 0
    assert crops[0, 32, 60].min() > 0
    assert crops[1].max() == 0


@given(regions, regions)
def test_chained_affines_do_one_after_the_other(one, other):
    inner, outer = one.get_image_from_crop(224), other.get_image_from_crop(224)
    there = np.array([[3.0, 5.0], [200.0, 11.0]])
    assert apply_affine(_chain(outer, inner), there) == pytest.approx(
        apply_affine(outer, apply_affine(inner, there)), rel=1e-9, abs=1e-6
    )


def _make_hand():
    hand = np.zeros((21, 2))
    hand[0] = [0, 100]
    for finger in range(5):
        for joint in range(4):
            hand[1 + 4 * finger + joint] = [20 * (finger - 2), 20 - 25 * joint]
    return hand


@given(st.floats(-math.pi, math.pi), st.floats(0.3, 8), st.floats(-500, 2000), st.floats(-500, 2000))
def test_the_next_crop_moves_turns_and_grows_with_the_hand(turn, scale, x, y):
    still = frame_landmarks(_make_hand())
    affine = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    moved = frame_landmarks(_make_hand() @ affine.T + [x, y])
    assert math.remainder(moved.angle_rad - still.angle_rad - turn, 2 * math.pi) == pytest.approx(0, abs=1e-6)
    # MediaPipe measures the turned box about an upright one's middle, which is the same for any turn
    assert moved.size_px == pytest.approx(scale * still.size_px, rel=1e-6)
    assert [moved.x_px, moved.y_px] == pytest.approx(
        (np.array([still.x_px, still.y_px]) @ affine.T + [x, y]).tolist(), abs=1e-5
    )


def test_boxes_bound_their_points_with_a_margin_and_know_their_area_and_overlap():
    box = bound_points(np.array([[10.0, 20.0], [30.0, 60.0], [12.0, 25.0]]))
    assert box == pytest.approx([8, 16, 32, 64])
    assert get_area(box) == pytest.approx(24 * 48)
    assert compute_overlap(box, box) == pytest.approx(1.0)
    assert compute_overlap(box, box + 100) == 0.0
    assert compute_overlap(np.array([0.0, 0, 2, 1]), np.array([1.0, 0, 3, 1])) == pytest.approx(1 / 3)


def test_a_missing_joint_makes_no_box():
    some = np.ones((3, 21, 2))
    some[1, 4] = np.nan
    assert np.isnan(bound_points(some)).all(axis=1).tolist() == [False, True, False]
