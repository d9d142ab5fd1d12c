from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from pipeline.synth.board import make_board_motion
from pipeline.synth.frame_code import read_frame_code
from pipeline.synth.picture import BLUR_FROM_PX, EXPOSURE_S, HandPainter, open_painter
from pipeline.synth.render import NOISE_SIGMA, Mesh, draw_mesh, make_colours
from pipeline.synth.scene import make_calibration_scene, make_scene
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import make_take, make_truth


def paint(take, camera, folder, frames):
    painter = open_painter(make_scene(take, camera, folder / f"{camera}.npy"))
    return [painter.frame(index) for index in frames]


def test_equal_specs_give_equal_pictures(model, tmp_path):
    spec = SynthSpec(seconds=1.0, size_px=(320, 180), seed=3)
    pictures = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        take = make_take(spec, model)
        painter = open_painter(make_calibration_scene(take, "right", make_board_motion(spec, take.stage.rig)))
        pictures.append([*paint(take, "left", folder, (40, 3, 0)), painter.frame(30), painter.frame(2)])
    assert all(np.array_equal(a, b) for a, b in zip(*pictures, strict=True))


def test_the_hand_is_drawn_where_the_truth_says(model, tmp_path):
    """The fingers' skin colour lies on the projected bones of the seen joints."""
    spec = SynthSpec(seconds=1.0, size_px=(640, 360), seed=4, kind="healthy", noise=False)
    take = make_take(spec, model)
    truth = make_truth(spec, model, take)
    for camera in ("front", "left", "right"):
        picture = paint(take, camera, tmp_path, (20,))[0].astype(float)
        redness = picture[..., 2] - picture[..., 0]
        # The back of the hand: wrist, knuckles and what lies between.
        for joint in (5, 9, 13, 17):
            for share in (0.4, 0.7, 0.95):
                spot = truth.keypoints_px[camera][20, [0, joint]].T @ [1 - share, share]
                assert redness[round(spot[1]), round(spot[0])] > 15


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_left_hand_is_drawn_as_whole_as_a_right_one(model, tmp_path, side):
    spec = SynthSpec(seconds=1.0, size_px=(640, 360), seed=2, kind="healthy", side=side, noise=False)
    take = make_take(spec, model)
    scene = make_scene(take, "front", tmp_path / "front.npy")
    with_hand = open_painter(scene).frame(10)
    vertices = np.load(scene.vertices)[10]
    hull = cv2.convexHull(
        take.stage.rig.cameras["front"].project(vertices[: model.n_vertices]).astype(np.float32)
    )
    mask = cv2.fillConvexPoly(np.zeros((360, 640), np.uint8), hull.astype(np.int32), 1) > 0
    redness = with_hand[..., 2].astype(float) - with_hand[..., 0]
    assert (redness[mask] > 15).mean() > 0.5


def test_every_frame_carries_its_number(model, tmp_path):
    spec = SynthSpec(seconds=1.0, size_px=(640, 360), seed=3)
    take = make_take(spec, model)
    for index, picture in zip((0, 7, 59), paint(take, "front", tmp_path, (0, 7, 59)), strict=True):
        assert read_frame_code(picture) == index
    painter = open_painter(make_calibration_scene(take, "front", make_board_motion(spec, take.stage.rig)))
    assert read_frame_code(painter.frame(33)) == 33


def test_noise_has_the_stated_strength_and_changes_with_every_frame(model, tmp_path):
    spec = SynthSpec(seconds=1.0, size_px=(640, 360), seed=3)
    (noisy, other) = paint(make_take(spec, model), "front", tmp_path, (5, 6))
    (clean, _) = paint(make_take(replace(spec, noise=False), model), "front", tmp_path, (5, 6))
    corner = (slice(250, 360), slice(0, 150))
    difference = noisy[corner].astype(float) - clean[corner]
    assert 0.4 * NOISE_SIGMA < difference.std() < 1.3 * NOISE_SIGMA
    assert abs(difference.mean()) < 0.2
    assert not np.array_equal(noisy[corner], other[corner])


def test_fast_strokes_are_blurred_and_slow_ones_are_not(model, tmp_path):
    spec = SynthSpec(seconds=4.0, size_px=(1280, 720), seed=1, noise=False)
    take = make_take(spec, model)
    scene = make_scene(take, "front", tmp_path / "front.npy")
    camera = take.stage.rig.cameras["front"]
    pixels = camera.project(np.load(scene.vertices)[:, : model.n_vertices].astype(float))
    travel = np.linalg.norm(np.diff(pixels, axis=0), axis=2).max(axis=1) * float(spec.fps) * EXPOSURE_S
    assert 0.02 < np.mean(travel > BLUR_FROM_PX) < 0.7
    painter = open_painter(scene)
    sharpness = []
    for index in (int(travel.argmax()), int(travel.argmin())):
        x0, y0 = pixels[index].min(axis=0).astype(int)
        x1, y1 = pixels[index].max(axis=0).astype(int)
        grey = cv2.cvtColor(painter.frame(index), cv2.COLOR_BGR2GRAY)[y0 : (y0 + y1) // 2, x0:x1]
        sharpness.append(cv2.Laplacian(grey, cv2.CV_64F).var())
    assert sharpness[0] < sharpness[1]


def test_a_pressed_key_moves_in_the_picture(model, tmp_path):
    spec = SynthSpec(seconds=3.0, size_px=(640, 360), seed=1, kind="healthy", noise=False, fps=Fraction(30))
    take = make_take(spec, model)
    scene = make_scene(take, "front", tmp_path / "front.npy")
    painter = HandPainter(scene)
    index, finger = np.unravel_index(scene.press_mm.argmax(), scene.press_mm.shape)
    assert scene.press_mm[index, finger] > 3
    rest = painter.keyboard.picture
    pressed = rest.copy()
    painter.keyboard.press(pressed, int(scene.keys[index, finger]), 9.0)
    assert 50 < np.count_nonzero(np.abs(pressed.astype(int) - rest).sum(axis=2) > 20) < 5000


def test_nearer_triangles_hide_farther_ones():
    mesh = Mesh(
        faces=np.array([[0, 2, 1], [3, 5, 4]]),
        albedo=np.ones(6),
        material=np.array([0, 1], np.uint8),
        colours=np.stack([make_colours(np.array([0, 0, 200.0])), make_colours(np.array([0, 200.0, 0]))]),
    )
    pixels = np.array([[10, 10], [60, 10], [10, 60], [10, 10], [60, 10], [10, 60]], float)
    brightness = np.full(6, 200.0)
    for depth, colour in (([1, 1, 1, 2, 2, 2], 2), ([2, 2, 2, 1, 1, 1], 1)):
        image = np.zeros((80, 80, 3), np.uint8)
        box = draw_mesh(image, mesh, pixels, np.array(depth, float), brightness)
        assert image[20, 20].argmax() == colour
        assert box == (slice(8, 63), slice(8, 63))
    turned = np.zeros((80, 80, 3), np.uint8)
    draw_mesh(turned, replace(mesh, faces=mesh.faces[:, ::-1]), pixels, np.ones(6), brightness)
    assert not turned.any()  # seen from behind
