"""The embedded estimator on pictures of the built-in hand, drawn into miniatures of the data sets."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.__main__ import main
from pipeline.datasets.freihand import read_freihand
from pipeline.datasets.interhand import read_interhand
from pipeline.errors import DatasetError
from pipeline.evaluation.pictures import PicturedHand, picture_freihand, picture_interhand, score_pictures
from pipeline.files import read_json
from pipeline.hand.model import load_hand_model
from pipeline.pose.registry import load_estimator
from pipeline.synth.render import Mesh, draw_mesh, make_colours, shade
from tests.pipeline.datasets.miniatures import make_interhand, write_interhand

K = np.array([[480.0, 0, 112], [0, 480, 112], [0, 0, 1]])


@pytest.fixture(scope="module")
def freihand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three backs of open right hands, fingers up, drawn as FreiHAND's pictures are."""
    folder = tmp_path_factory.mktemp("freihand")
    model = load_hand_model()
    # Template: fingers to -x, back of the hand to +y. Picture: fingers up (-y), back to the camera (-z).
    upright = np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]])
    tilts = Rotation.from_euler("zy", [[0, 0], [15, 10], [-20, 0]], degrees=True).as_matrix()
    flat = np.broadcast_to(np.eye(3), (3, 15, 3, 3))
    vertices, joints = model.pose_arrays(np.zeros(model.n_betas), tilts @ upright, flat, np.zeros((3, 3)))
    middle = joints.mean(axis=1, keepdims=True) - np.array([0, 0, 520.0])
    vertices, joints = vertices - middle, joints - middle
    colours = make_colours(np.array([120.0, 150, 200]))[None]
    faces = model.faces.astype(int)
    mesh = Mesh(faces, np.ones(model.n_vertices), np.zeros(len(faces), dtype=np.uint8), colours)
    (folder / "evaluation" / "rgb").mkdir(parents=True)
    for number, points in enumerate(vertices):
        image = np.full((224, 224, 3), 60, dtype=np.uint8)
        seen = points @ K.T
        draw_mesh(
            image,
            mesh,
            seen[:, :2] / seen[:, 2:],
            points[:, 2],
            shade(mesh, points, np.array([0.2, -0.5, -0.84])),
        )
        cv2.imwrite(str(folder / "evaluation" / "rgb" / f"{number:08d}.jpg"), image)
    for part, values in (("K", np.stack([K] * 3)), ("xyz", joints / 1e3)):
        (folder / f"evaluation_{part}.json").write_text(json.dumps(values.tolist()))
    return folder


def test_the_embedded_estimator_finds_open_hands_in_freihands_layout(
    freihand: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    assert main(["score", "freihand", str(freihand), "--estimator", "mediapipe", "--json", str(out)]) == 0
    values = {entry["key"]: entry["value"] for entry in read_json(out)["scores"]}
    assert 0 < values["picture_palms"] < 0.15
    assert values["picture_pck"] > 0.9
    assert 0 < values["picture"] < 12
    assert "mediapipe on FreiHAND, evaluation\n3 frames" in capsys.readouterr().out


def test_points_held_against_another_place_are_as_far_away_as_that(freihand: Path) -> None:
    hands = list(picture_freihand(read_freihand(freihand, "evaluation", with_vertices=False)))
    estimator = load_estimator("mediapipe")
    near = score_pictures(hands, estimator, "made").values["picture"]
    image = cv2.imread(str(hands[0].image))
    assert image is not None
    moved = freihand / "moved.jpg"
    cv2.imwrite(str(moved), np.roll(image, 30, axis=1))
    hand = PicturedHand(moved, hands[0].points_px, "right")
    far = score_pictures([hand], estimator, "made").values["picture"]
    assert far == pytest.approx(30, abs=2 * near + 3)


def test_some_pictures_are_spread_over_all(freihand: Path) -> None:
    hands = list(picture_freihand(read_freihand(freihand, "evaluation", with_vertices=False)))
    estimator = load_estimator("mediapipe")
    ends = score_pictures([hands[0], hands[2]], estimator, "made")
    some = score_pictures(hands, estimator, "made", limit=2)
    assert some.frames == 2
    assert some.values == ends.values


def test_pictures_that_are_missing_or_none_are_said_to_be_so(freihand: Path) -> None:
    hands = list(picture_freihand(read_freihand(freihand, "evaluation", with_vertices=False)))
    gone = PicturedHand(freihand / "no.jpg", hands[0].points_px, "right")
    with pytest.raises(DatasetError, match=r"no\.jpg is missing"):
        score_pictures([gone], load_estimator("mediapipe"), "made")
    with pytest.raises(SystemExit):
        main(["score", "freihand", str(freihand), "--estimator", "mediapipe", "--pictures", "0"])
    with pytest.raises(DatasetError, match="no picture of a whole hand"):
        score_pictures([], load_estimator("mediapipe"), "made")


def test_interhands_whole_hands_are_pictured_where_its_cameras_see_them(tmp_path: Path) -> None:
    content = make_interhand()
    write_interhand(tmp_path, content)
    split = read_interhand(tmp_path, "test")
    samples = list(split.samples())
    hands = list(picture_interhand(split))
    assert [hand.side for hand in hands] == ["right", "right", "left", "left"]  # of two hands, no whole one
    for hand, sample in zip(hands, samples[:4], strict=True):
        own = content["world"][int(sample.frame) - 1000, ("right", "left").index(hand.side)]
        np.testing.assert_allclose(hand.points_px, sample.camera.project(own), atol=1e-6)
        assert hand.image == sample.image


def test_a_hand_whose_joints_are_not_all_there_is_not_pictured(freihand: Path, tmp_path: Path) -> None:
    split = read_freihand(freihand, "evaluation", with_vertices=False)
    joints = split.joints_mm.copy()
    joints[1, 7, 2] = np.nan
    joints[2, 0] = np.inf
    (kept,) = picture_freihand(dataclasses.replace(split, joints_mm=joints))
    assert kept.image == split.find_image(0)
