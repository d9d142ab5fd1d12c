import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.interhand import (
    INTERHAND_FROM_OURS,
    ORDER,
    read_interhand,
    read_interhand_predictions,
)
from pipeline.errors import DatasetError
from pipeline.hand.joints import JOINTS
from tests.pipeline.datasets.miniatures import (
    list_interhand_names,
    make_interhand,
    to_interhand,
    write_interhand,
)


@pytest.fixture(scope="module")
def content() -> dict:
    return make_interhand()


def test_the_order_is_that_of_the_skeleton_file() -> None:
    names = list_interhand_names()
    assert [names[joint] for joint in ORDER] == list(JOINTS)
    assert [JOINTS[joint] for joint in INTERHAND_FROM_OURS] == names


def test_joints_lie_in_the_cameras_frame_right_hand_first(tmp_path: Path, content: dict) -> None:
    write_interhand(tmp_path, content)
    samples = list(read_interhand(tmp_path, "test").samples())
    assert [sample.hand_type for sample in samples] == ["right"] * 2 + ["left"] * 2 + ["interacting"] * 2
    for sample in samples:
        row = int(sample.frame) - 1000
        R = np.array(content["camera"]["0"]["camrot"][sample.camera.name])
        place = np.array(content["camera"]["0"]["campos"][sample.camera.name])
        for hand in (0, 1):
            expected = np.stack([R @ (point - place) for point in content["world"][row, hand]])
            seen = np.isfinite(sample.joints_mm[hand]).all(axis=1)
            np.testing.assert_allclose(sample.joints_mm[hand][seen], expected[seen], atol=1e-9)
            assert (sample.joints_mm[hand][seen][:, 2] > 500).all()  # before the camera


def test_samples_project_as_the_makers_project_them(tmp_path: Path, content: dict) -> None:
    """They turn the world about the camera's place, then ``x / z * focal + princpt``."""
    write_interhand(tmp_path, content)
    for sample in read_interhand(tmp_path, "test").samples():
        cameras, name = content["camera"]["0"], sample.camera.name
        world = content["world"][int(sample.frame) - 1000]
        turned = np.array(cameras["camrot"][name]) @ (world.reshape(-1, 3) - cameras["campos"][name]).T
        pixels = (turned[:2] / turned[2]).T * cameras["focal"][name] + cameras["princpt"][name]
        np.testing.assert_allclose(sample.camera.project(world).reshape(-1, 2), pixels, atol=1e-6)
        normalised = sample.joints_mm / sample.joints_mm[..., 2:]
        again = normalised.reshape(-1, 3) @ sample.camera.K.T
        seen = np.isfinite(again).all(axis=1)
        assert seen.any()
        np.testing.assert_allclose(again[seen][:, :2], pixels[seen], atol=1e-6)


def test_joints_that_are_not_valid_are_nan(tmp_path: Path, content: dict) -> None:
    write_interhand(tmp_path, content)
    right, _, left, _, both, _ = (sample.joints_mm for sample in read_interhand(tmp_path, "test").samples())
    assert np.isfinite(right[0]).all()
    assert np.isnan(right[1]).all()
    assert np.isnan(left[0]).all()
    missing = np.argwhere(np.isnan(both).all(axis=2)).tolist()
    assert missing == [[0, JOINTS.index("thumb_cmc")], [1, JOINTS.index("thumb_tip")]]


def test_a_sample_says_where_it_is_from(tmp_path: Path, content: dict) -> None:
    write_interhand(tmp_path, content)
    sample = next(read_interhand(tmp_path, "test").samples())
    assert sample.image == tmp_path / "images/test/Capture0/0266_dh_pray/cam400002/image1000.jpg"
    assert (sample.capture, sample.sequence, sample.frame, sample.subject) == (
        "0",
        "0266_dh_pray",
        "1000",
        "7",
    )
    assert sample.number == 10
    assert sample.hand_type_valid
    assert sample.box_px.tolist() == [10, 20, 200, 150]
    assert sample.camera.size_px == (512, 334)


def test_fitted_hands_are_in_mm_and_in_the_world(tmp_path: Path, content: dict) -> None:
    write_interhand(tmp_path, content)
    samples = list(read_interhand(tmp_path, "test").samples())
    fitted = content["MANO_NeuralAnnot"]["0"]["1000"]["right"]
    assert [list(sample.mano) for sample in samples] == [["right"]] * 2 + [[]] * 4
    mano = samples[0].mano["right"]
    np.testing.assert_allclose(mano.transl_mm, [500.0, -250.0, 1000.0])
    np.testing.assert_allclose(np.concatenate([mano.global_orient, mano.hand_pose.ravel()]), fitted["pose"])


@pytest.mark.parametrize("place", ["all", "test", ""])
def test_older_folders_and_bare_coordinates_are_read_alike(tmp_path: Path, content: dict, place: str) -> None:
    bare = {frame: entry["world_coord"] for frame, entry in content["joint_3d"]["0"].items()}
    write_interhand(tmp_path / "new", content)
    annotations = write_interhand(tmp_path / "old", {**content, "joint_3d": {"0": bare}}, place=place)
    (annotations / "InterHand2.6M_test_MANO_NeuralAnnot.json").unlink()
    new = list(read_interhand(tmp_path / "new", "test").samples())
    for folder in (tmp_path / "old", annotations):
        for sample, other in zip(new, read_interhand(folder, "test").samples(), strict=True):
            np.testing.assert_array_equal(sample.joints_mm, other.joints_mm)
            assert other.mano == {}


def test_no_annotations_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"InterHand2.6M_val_data\.json is missing"):
        read_interhand(tmp_path, "val")


@pytest.mark.parametrize("part", ["camera", "joint_3d"])
def test_a_missing_file_is_named(tmp_path: Path, content: dict, part: str) -> None:
    path = write_interhand(tmp_path, content) / f"InterHand2.6M_test_{part}.json"
    path.unlink()
    with pytest.raises(DatasetError, match="is missing") as caught:
        read_interhand(tmp_path, "test")
    assert str(path) in caught.value.what


def _spoil(content: dict, how: str) -> dict:
    spoilt = json.loads(json.dumps({key: value for key, value in content.items() if key != "world"}))
    if how == "frame":
        del spoilt["joint_3d"]["0"]["1001"]
    elif how == "camera":
        del spoilt["camera"]["0"]["focal"]["400053"]
    elif how == "picture":
        spoilt["data"]["images"].pop()
    elif how == "valid":
        spoilt["data"]["annotations"][1]["joint_valid"].pop()
    else:
        spoilt["joint_3d"]["0"]["1002"]["world_coord"].pop()
    return spoilt


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("frame", r"joint_3d\.json, annotation 22: capture 0, frame 1001 is missing"),
        ("camera", r"camera\.json, annotation 11: capture 0, focal of 400053 is missing"),
        ("picture", r"data\.json, annotation 35: picture 535 is missing"),
        ("valid", r"data\.json, annotation 11: joint_valid is 41, not 42"),
        ("coordinates", r"joint_3d\.json, annotation 34 is 41 x 3, not 42 x 3"),
    ],
)
def test_files_that_do_not_fit_together_are_named(
    tmp_path: Path, content: dict, how: str, message: str
) -> None:
    write_interhand(tmp_path, _spoil(content, how))
    with pytest.raises(DatasetError, match=message):
        list(read_interhand(tmp_path, "test").samples())


def test_predictions_are_matched_by_id_in_either_order(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    joints = random.normal(size=(3, 2, 21, 3))
    own = np.stack([np.concatenate([to_interhand(right), to_interhand(left)]) for right, left in joints])
    for number, values in enumerate((joints, own)):
        path = tmp_path / f"{number}.npz"
        np.savez(path, number=[7, 5, 9], joints_mm=values)
        found = read_interhand_predictions(path, np.array([5, 6, 7]))
        np.testing.assert_allclose(found[[0, 2]], joints[[1, 0]])
        assert np.isnan(found[1]).all()


def test_predictions_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    for arrays, message in (
        ({"joints_mm": np.zeros((1, 2, 21, 3))}, "lacks number"),
        ({"number": [1], "joints_mm": np.zeros((1, 21, 3))}, "1 x 21 x 3, not 1 x 42 x 3"),
        ({"number": [1, 1], "joints_mm": np.zeros((2, 2, 21, 3))}, "an id twice"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DatasetError, match=message) as caught:
            read_interhand_predictions(path, np.array([1]))
        assert str(path) in caught.value.what


@pytest.mark.parametrize(
    ("part", "place", "value"),
    [
        ("data", ("annotations", 0), 5),
        ("data", ("images",), [{"file_name": "x"}]),
        ("data", ("images",), 5),
        ("data", ("images", 0, "width"), "wide"),
        ("data", ("annotations", 0, "joint_valid"), 1),
        ("camera", ("0",), []),
        ("camera", ("0", "campos", "400002"), [10**400, 0, 0]),
        ("joint_3d", (), []),
        ("MANO_NeuralAnnot", ("0",), []),
    ],
)
def test_what_is_laid_out_otherwise_is_refused_in_words(
    tmp_path: Path, content: dict, part: str, place: tuple, value: object
) -> None:
    content = {name: entry for name, entry in content.items() if name != "world"}
    content = json.loads(json.dumps(content))
    holder, key = content, part
    for step in place:
        holder, key = holder[key], step
    holder[key] = value
    write_interhand(tmp_path, content)
    with pytest.raises(DatasetError, match=r"InterHand2\.6M_test_"):
        list(read_interhand(tmp_path, "test").samples())
