import cv2
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.hand.rotations import mirror_points
from pipeline.pose.networks.framing import (
    cut_as_published,
    frame_box,
    get_focal_px,
    make_pictures,
    mirror_region,
    place_in_picture,
    project_to_picture,
    turn_about_view,
)
from pipeline.pose.regions import Region, apply_affine

SIZE_PX = (640, 480)

regions = st.builds(
    Region, st.floats(100, 540), st.floats(100, 380), st.floats(60, 900), st.floats(-np.pi, np.pi)
)
cameras = st.tuples(st.floats(0.5, 8), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)).map(np.array)


def make_picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE_PX[1], SIZE_PX[0], 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("box", "side"),
    [
        ((100, 100, 200, 200), 2 * 100 * 256 / 192),  # square: lengthened to 3 by 4
        ((100, 100, 175, 200), 200.0),  # 3 by 4 already
        ((100, 100, 130, 200), 200.0),  # slimmer: the height counts
        ((100, 100, 220, 160), 320.0),  # lying: the width counts
    ],
)
def test_a_box_is_doubled_and_lengthened_to_three_by_four(box, side):
    region = frame_box(np.array(box, dtype=float))
    assert region.size_px == pytest.approx(side)
    assert (region.x_px, region.y_px) == ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    assert region.angle_rad == 0.0


def cut_plainly(image: np.ndarray, x: float, y: float, side_px: float, left: bool) -> np.ndarray:
    """The published recipe word by word: mirror all, blur all, then one warp by three points."""
    image = image.astype(np.float64)
    if left:
        image, x = image[:, ::-1], image.shape[1] - x - 1
    reduction = side_px / 256 / 2
    if reduction > 1.1:
        sigma = (reduction - 1) / 2
        image = scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")
    source = np.array([[x, y], [x, y + side_px / 2], [x + side_px / 2, y]], dtype=np.float32)
    target = np.array([[128, 128], [128, 256], [256, 128]], dtype=np.float32)
    affine = cv2.getAffineTransform(source, target)
    return cv2.warpAffine(np.ascontiguousarray(image, np.float32), affine, (256, 256), flags=cv2.INTER_LINEAR)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("size_px", [200.0, 560.0, 640.0, 900.0])
@pytest.mark.parametrize(("x", "y"), [(320.0, 240.0), (60.5, 400.25)])
def test_crops_are_cut_as_the_published_programs_cut_them(side, size_px, x, y):
    image = make_picture()
    ours = cut_as_published(image, Region(x, y, size_px, 0.0), side)
    theirs = cut_plainly(image, x, y, size_px, side == "left")
    # OpenCV's warp rounds places to 1/32 px; on noise that is up to eight grey levels.
    assert np.abs(ours - theirs).mean() < 0.05
    assert np.abs(ours - theirs).max() < 9


@given(regions)
def test_a_mirrored_region_shows_the_mirrored_point(region):
    """A point of the crop at (x, y) lies at (256 - x, y) in the mirrored region's crop."""
    inside = np.array([[10.0, 20.0], [200.0, 100.0]])
    there = apply_affine(region.get_image_from_crop(256), inside)
    mirrored = mirror_region(region, SIZE_PX[0])
    back = apply_affine(mirrored.get_image_from_crop(256), np.array([256.0, 0.0]) + inside * [-1.0, 1.0])
    np.testing.assert_allclose(back, [SIZE_PX[0] - 1, 0] + there * [-1.0, 1.0], atol=1e-9)


@given(regions, cameras, st.integers(0, 2**31))
@settings(max_examples=60)
def test_the_camera_of_the_picture_sees_a_flat_hand_where_the_crops_camera_sees_it(region, camera, seed):
    """Points in the plane of the wrist: there weak perspective loses nothing, so both must agree exactly."""
    points_m = np.random.default_rng(seed).normal(size=(5, 3)) * [0.08, 0.08, 0.0]
    shares = (points_m[:, :2] + camera[1:]) * camera[0] / 2
    in_picture = apply_affine(region.get_image_from_crop(256), (shares + 0.5) * 256)
    turned = points_m @ turn_about_view(region.angle_rad).T
    seen = project_to_picture(turned + place_in_picture(camera, region, SIZE_PX), SIZE_PX)
    np.testing.assert_allclose(seen, in_picture, atol=1e-5)


def test_an_upright_crops_translation_is_the_published_formula():
    region, (scale, x, y) = Region(400.0, 100.0, 250.0, 0.0), (3.5, 0.02, -0.03)
    focal = 5000 / 256 * 640
    expected = [
        x + 2 * (400 - 320) / (250 * scale),
        y + 2 * (100 - 240) / (250 * scale),
        2 * focal / (250 * scale),
    ]
    found = place_in_picture(np.array([scale, x, y]), region, SIZE_PX)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert get_focal_px(SIZE_PX) == focal


def test_a_left_hands_point_comes_back_where_the_published_mirroring_puts_it():
    """They negate the shift and the joints' x and keep the box: no mirrored picture is involved."""
    region, camera = Region(400.0, 100.0, 250.0, 0.0), np.array([3.5, 0.02, -0.03])
    joints_m = np.random.default_rng(0).normal(size=(21, 3)) * 0.05
    placed = joints_m + place_in_picture(camera, mirror_region(region, SIZE_PX[0]), SIZE_PX)
    ours = project_to_picture(placed, SIZE_PX)
    ours[:, 0] = SIZE_PX[0] - 1 - ours[:, 0]
    published = place_in_picture(camera * [1, -1, 1], region, SIZE_PX)
    theirs = project_to_picture(mirror_points(joints_m) + published, SIZE_PX)
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_pictures_are_rgb_less_the_mean_by_the_deviation():
    crops = np.zeros((1, 256, 256, 3), np.uint8)
    crops[..., 2] = 255  # red, in BGR
    pictures = make_pictures(crops)
    assert pictures.shape == (1, 3, 256, 256)
    np.testing.assert_allclose(
        pictures[0, :, 5, 5], [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-5
    )
