import numpy as np
import pytest

from pipeline.pose import palm as palm_module
from pipeline.pose.palm import Palm, decode, frame_palm, letterbox, make_anchors, suppress


def test_anchors_are_the_2016_of_the_network_in_its_order():
    anchors = make_anchors()
    assert anchors.shape == (2016, 2)
    # 24 x 24 cells with 2 anchors, row by row, then 12 x 12 cells with 6
    assert anchors[0] == pytest.approx([0.5 / 24, 0.5 / 24])
    assert anchors[1] == pytest.approx(anchors[0])
    assert anchors[2] == pytest.approx([1.5 / 24, 0.5 / 24])
    assert anchors[48] == pytest.approx([0.5 / 24, 1.5 / 24])
    assert anchors[1151] == pytest.approx([23.5 / 24, 23.5 / 24])
    assert anchors[1152] == pytest.approx([0.5 / 12, 0.5 / 12])
    assert anchors[1152 + 6] == pytest.approx([1.5 / 12, 0.5 / 12])
    assert anchors[-1] == pytest.approx([11.5 / 12, 11.5 / 12])


def test_decoding_adds_the_anchor_and_keeps_only_sure_candidates():
    raw, logits = np.zeros((2016, 18)), np.full(2016, -200.0)
    logits[100] = 200.0  # beyond the clip: no overflow
    logits[7] = -0.01  # just below a half
    raw[100, :4] = [19.2, -9.6, 38.4, 57.6]
    raw[100, 4:6] = [1.92, 3.84]
    boxes, points, scores = decode(raw, logits)
    anchor = make_anchors()[100]
    assert scores == pytest.approx([1.0])
    assert boxes[0] == pytest.approx(np.tile(anchor, 2) + np.array([0.0, -0.2, 0.2, 0.1]), abs=1e-6)
    assert points.shape == (1, 7, 2)
    assert points[0, 0] == pytest.approx(anchor + np.array([0.01, 0.02]), abs=1e-6)


def test_suppression_groups_what_overlaps_and_the_best_score_leads():
    boxes = np.array([[0, 0, 1, 1], [0.1, 0, 1.1, 1], [5, 5, 6, 6], [0.7, 0, 1.7, 1]])
    groups = suppress(boxes, np.zeros((4, 7, 2)), np.array([0.7, 0.9, 0.8, 0.6]))
    # box 3 overlaps the leader by 0.4 / 1.6 = 0.25 only and stays apart
    assert [group.tolist() for group in groups] == [[1, 0], [2], [3]]


def test_a_palm_of_no_area_does_not_loop_for_ever():
    boxes = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])
    groups = suppress(boxes, np.zeros((2, 7, 2)), np.array([0.9, 0.8]))
    assert sorted(int(i) for group in groups for i in group) == [0, 1]


@pytest.mark.parametrize("size", [(1080, 1920), (1080, 620), (192, 192), (90, 160)])
def test_letterboxing_keeps_the_aspect_and_maps_back(size):
    image = np.zeros((*size, 3), np.uint8)
    row, column = size[0] * 3 // 4, size[1] // 4
    reach = max(max(size) // 40, 1)
    image[row - reach : row + reach + 1, column - reach : column + reach + 1] = 255
    square, scale, pad = letterbox(image)
    assert square.shape == (192, 192, 3)
    assert square.max() <= 1.0
    weights = square[..., 0]
    rows, columns = np.mgrid[:192, :192] + 0.5  # shares count from the pixel's edge
    centre = np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()
    back = palm_module._to_image(centre / 192, scale, pad)
    assert back == pytest.approx([column, row], abs=0.06 / scale + 0.01)


def test_the_region_of_an_upright_palm_reaches_towards_the_fingers():
    points = np.zeros((7, 2))
    points[0], points[2] = [100, 200], [100, 150]  # wrist below the middle knuckle
    region = frame_palm(Palm(np.array([80.0, 140, 120, 180]), points, 0.9))
    assert region.angle_rad == pytest.approx(0.0)
    assert (region.x_px, region.y_px) == pytest.approx((100, 160 - 20))
    assert region.size_px == pytest.approx(2.6 * 40)


def test_the_region_turns_with_the_palm():
    points = np.zeros((7, 2))
    points[0], points[2] = [100, 160], [150, 160]  # fingers to the right
    region = frame_palm(Palm(np.array([80.0, 140, 120, 180]), points, 0.9))
    assert region.angle_rad == pytest.approx(np.pi / 2)
    assert (region.x_px, region.y_px) == pytest.approx((100 + 20, 160))
