import numpy as np

from pipeline.pose.overlay import SIDE_COLOURS_BGR, draw_hand


def _draw(**changes):
    image = np.zeros((360, 640, 3), np.uint8)
    points = np.stack([np.linspace(200, 400, 21), np.linspace(100, 250, 21)], axis=1)
    arguments = {
        "keypoints_px": points,
        "sigma_px": np.zeros(21),
        "box_px": np.array([180.0, 80, 420, 270]),
        "side": "right",
    }
    draw_hand(image, **{**arguments, **changes})
    return image


def test_points_bones_and_box_are_drawn_where_they_are():
    image = _draw()
    assert image[175, 180].tolist() == list(SIDE_COLOURS_BGR["right"])  # the box's left side
    assert image[100, 200].tolist() == [119, 158, 27]  # a sure point
    assert image[40].max() == 0


def test_an_unsure_point_is_dark_red_and_so_is_an_unknown_one():
    for sigma in (np.full(21, 100.0), np.full(21, np.nan)):
        assert _draw(sigma_px=sigma)[100, 200].tolist() == [0, 0, 139]


def test_left_and_right_are_told_apart():
    assert _draw(side="left")[175, 180].tolist() == list(SIDE_COLOURS_BGR["left"])


def test_nothing_measured_draws_nothing():
    nothing = _draw(
        keypoints_px=np.full((21, 2), np.nan), box_px=np.full(4, np.nan), sigma_px=np.full(21, np.nan)
    )
    assert nothing.max() == 0


def test_a_point_outside_the_picture_does_no_harm():
    far = np.full((21, 2), -5000.0)
    assert _draw(keypoints_px=far).max() > 0
