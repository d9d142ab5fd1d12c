import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.freihand import VERSIONS, read_freihand, read_freihand_predictions
from pipeline.errors import DatasetError
from pipeline.hand.joints import BONES, FINGERS, JOINTS
from pipeline.results import Camera
from tests.pipeline.datasets.miniatures import write_freihand, write_predictions


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("freihand")
    write_freihand(folder, "training", 4, seed=1)
    return folder, write_freihand(folder, "evaluation")


def test_a_split_comes_out_as_it_was_written(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, true = made
    split = read_freihand(folder, "evaluation")
    assert len(split) == 3
    assert split.vertices_mm is not None
    np.testing.assert_allclose(split.joints_mm, true["joints_mm"], atol=1e-9)
    np.testing.assert_allclose(split.vertices_mm, true["vertices_mm"], atol=1e-9)
    for sample, mano in zip(split.samples(), true["mano"][:, 0], strict=True):
        assert sample.mano is not None
        np.testing.assert_allclose(sample.mano.global_orient, mano[:3])
        np.testing.assert_allclose(sample.mano.hand_pose.ravel(), mano[3:48])
        np.testing.assert_allclose(sample.mano.betas, mano[48:58])
        assert np.isnan(sample.mano.transl_mm).all()
        assert sample.bone_mm == pytest.approx(true["bone_mm"][sample.number])
        i, j = JOINTS.index("middle_mcp"), JOINTS.index("middle_pip")
        assert sample.bone_mm == pytest.approx(np.linalg.norm(sample.joints_mm[i] - sample.joints_mm[j]))


def test_samples_project_as_the_makers_project_them(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, _ = made
    xyz, K = (json.loads((folder / f"evaluation_{part}.json").read_text()) for part in ("xyz", "K"))
    for sample in read_freihand(folder, "evaluation").samples():
        uvw = np.array(xyz[sample.number]) @ np.array(K[sample.number]).T
        camera = Camera("freihand", (224, 224), sample.K, np.zeros(5), np.eye(3), np.zeros(3))
        np.testing.assert_allclose(camera.project(sample.joints_mm), uvw[:, :2] / uvw[:, 2:], atol=1e-6)


def test_the_joints_order_is_ours() -> None:
    """The makers draw bones 0-1-2-3-4 for the thumb, 0-5-6-7-8 for the index finger and so on."""
    drawn = [
        (0 if step == 0 else 4 * finger + step, 4 * finger + step + 1)
        for finger in range(5)
        for step in range(4)
    ]
    assert sorted(drawn) == sorted(BONES)
    assert [JOINTS[4 * finger + 4] for finger in range(5)] == [f"{finger}_tip" for finger in FINGERS]


def test_versions_of_a_picture_follow_each_other(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, _ = made
    split = read_freihand(folder, "training", with_vertices=False)
    assert split.vertices_mm is None
    names = [split.find_image(1, version).relative_to(folder).as_posix() for version in VERSIONS]
    assert names == [f"training/rgb/{number:08d}.jpg" for number in (1, 5, 9, 13)]
    with pytest.raises(DatasetError, match="has no version hom"):
        read_freihand(folder, "evaluation").find_image(0, "hom")


def test_files_that_came_late_may_be_missing(tmp_path: Path) -> None:
    write_freihand(tmp_path, "evaluation")
    for part in ("verts", "mano", "scale"):
        (tmp_path / f"evaluation_{part}.json").unlink()
    sample = next(read_freihand(tmp_path, "evaluation").samples())
    assert sample.vertices_mm is None
    assert sample.mano is None
    assert np.isnan(sample.bone_mm)


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"evaluation_K\.json is missing"):
        read_freihand(tmp_path, "evaluation")
    write_freihand(tmp_path, "evaluation")
    xyz = tmp_path / "evaluation_xyz.json"
    entries = json.loads(xyz.read_text())
    xyz.write_text(json.dumps(entries[:2]))
    with pytest.raises(DatasetError, match=r"evaluation_xyz\.json has 2 entries, evaluation_K\.json 3"):
        read_freihand(tmp_path, "evaluation")
    xyz.write_text(json.dumps([entry[:20] for entry in entries]))
    with pytest.raises(DatasetError, match=r"evaluation_xyz\.json is 3 x 20 x 3, not any x 21 x 3"):
        read_freihand(tmp_path, "evaluation")
    xyz.write_text(xyz.read_text()[:-40])
    with pytest.raises(DatasetError, match=r"evaluation_xyz\.json cannot be read"):
        read_freihand(tmp_path, "evaluation")


def test_predictions_come_out_as_they_were_written_and_null_is_nan(
    tmp_path: Path, made: tuple[Path, dict[str, np.ndarray]]
) -> None:
    _, true = made
    path = write_predictions(tmp_path / "pred.json", true["joints_mm"], true["vertices_mm"])
    joints, vertices = read_freihand_predictions(path, 3)
    np.testing.assert_allclose(joints, true["joints_mm"], atol=1e-9)
    assert vertices is not None
    np.testing.assert_allclose(vertices, true["vertices_mm"], atol=1e-9)
    xyz, verts = json.loads(path.read_text())
    path.write_text(json.dumps([[xyz[0], None, xyz[2]], [verts[0], None, verts[2]]]))
    joints, vertices = read_freihand_predictions(path, 3)
    assert vertices is not None
    assert np.isnan(joints[1]).all()
    assert np.isnan(vertices[1]).all()
    np.testing.assert_allclose(joints[[0, 2]], true["joints_mm"][[0, 2]], atol=1e-9)
    path.write_text(json.dumps([xyz, []]))
    assert read_freihand_predictions(path, 3)[1] is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "no list of two"),
        ([[], []], "0 entries of xyz, the split 3"),
        ([[None] * 3, [None]], "1 entries of verts, the split 3"),
        ([[[[0, 0]] * 21] * 3, []], "xyz is 3 x 21 x 2"),
        ([["no"] * 3, []], "no table of numbers"),
        ([[None] * 3, [5, None, None]], "no table of numbers"),
        ([[None] * 3, 5], "0 entries of verts"),
        ([[[[10**400, 0, 0]] * 21] * 3, []], "no table of numbers"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(tmp_path: Path, value: object, message: str) -> None:
    path = tmp_path / "pred.json"
    path.write_text(json.dumps(value))
    with pytest.raises(DatasetError, match=message) as caught:
        read_freihand_predictions(path, 3)
    assert str(path) in caught.value.what
