"""Predictions for miniatures of the published data sets, scored anew by their makers' rules."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from pipeline.__main__ import main
from pipeline.errors import DatasetError
from pipeline.evaluation.data_sets import score_arrays, score_freihand, score_interhand
from pipeline.files import read_json
from tests.pipeline.datasets.miniatures import (
    make_interhand,
    to_interhand,
    write_freihand,
    write_interhand,
    write_predictions,
)


@pytest.fixture(scope="module")
def freihand(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray, np.ndarray, dict]:
    """A split, noisy predictions for it (the second hand mirrored), and both in mm."""
    folder = tmp_path_factory.mktemp("freihand")
    true = write_freihand(folder, "evaluation", 4)
    random = np.random.default_rng(3)
    joints = 1.1 * true["joints_mm"] + random.normal(0, 6, true["joints_mm"].shape) - [0, 0, 50]
    vertices = 1.1 * true["vertices_mm"] + random.normal(0, 4, true["vertices_mm"].shape) - [0, 0, 50]
    joints[1], vertices[1] = joints[1] * [-1, 1, 1], vertices[1] * [-1, 1, 1]
    return folder, write_predictions(folder / "pred.json", joints, vertices), joints, vertices, true


def fit_as_freihand(true: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Centre, norm and orthogonal matrix, reflections not excluded."""
    a, b = true - true.mean(axis=0), points - points.mean(axis=0)
    size_a, size_b = np.linalg.norm(a), np.linalg.norm(b)
    turn, scale = orthogonal_procrustes(a / size_a, b / size_b)
    return (b / size_b) @ turn.T * scale * size_a + true.mean(axis=0)


def area(distances: np.ndarray) -> float:
    """Mean over points of each point's area under PCK."""
    limits = np.linspace(0, 50.0, 100)
    curves = (distances[..., None] <= limits).mean(axis=0)
    return float((np.trapezoid(curves, limits) / np.trapezoid(np.ones(100), limits)).mean())


def test_freihands_numbers_are_those_of_its_rules(freihand: tuple) -> None:
    folder, path, joints, vertices, true = freihand
    values = score_freihand(folder, path).values
    for points, truth, names in (
        (joints, true["joints_mm"], ("mpjpe", "auc", "freihand_pa_mpjpe", "freihand_auc_pa")),
        (
            vertices,
            true["vertices_mm"],
            ("mpvpe", "freihand_auc_mesh", "freihand_pa_mpvpe", "freihand_auc_mesh_pa"),
        ),
    ):
        aligned = np.stack([fit_as_freihand(a, b) for a, b in zip(truth, points, strict=True)])
        plain, moved = (np.linalg.norm(each - truth, axis=2) for each in (points, aligned))
        expected = (plain.mean(), area(plain), moved.mean(), area(moved))
        for name, value in zip(names, expected, strict=True):
            assert values[name] == pytest.approx(value, rel=1e-9), name
    for limit in (5, 15):
        scores = []
        for a, b in zip(true["vertices_mm"], vertices, strict=True):
            between = np.linalg.norm(a[:, None] - fit_as_freihand(a, b)[None], axis=2)
            shares = [(between.min(axis=axis) < limit).mean() for axis in (0, 1)]
            scores.append(2 * shares[0] * shares[1] / sum(shares))
        assert values[f"freihand_f_{limit}"] == pytest.approx(np.mean(scores), rel=1e-9)


def test_a_mirrored_hand_is_forgiven_by_freihand_alone(freihand: tuple) -> None:
    folder, path, *_ = freihand
    values = score_freihand(folder, path).values
    assert values["pa_mpjpe"] > 1.2 * values["freihand_pa_mpjpe"]
    assert values["freihand_f_15"] > 0.9


def test_a_prediction_of_zeros_is_aligned_onto_the_middle_of_the_hand(tmp_path: Path) -> None:
    true = write_freihand(tmp_path, "evaluation")
    path = write_predictions(tmp_path / "pred.json", 0 * true["joints_mm"], 0 * true["vertices_mm"])
    values = score_freihand(tmp_path, path).values
    middle = true["joints_mm"].mean(axis=1, keepdims=True)
    expected = np.linalg.norm(true["joints_mm"] - middle, axis=2).mean()
    assert values["freihand_pa_mpjpe"] == pytest.approx(expected)
    assert values["f_15"] == 0


def test_freihand_without_vertices_or_hands_says_so(tmp_path: Path) -> None:
    true = write_freihand(tmp_path, "training")
    path = tmp_path / "pred.json"
    path.write_text(json.dumps([[(true["joints_mm"][0] / 1e3).tolist(), None, None], []]))
    card = score_freihand(tmp_path, path, "training")
    assert card.share == pytest.approx(1 / 3)
    assert card.values["mpjpe"] == pytest.approx(0, abs=1e-9)
    assert "mpvpe" not in card.values
    assert any("no vertices" in note for note in card.notes)


@pytest.fixture
def interhand(tmp_path: Path) -> tuple[Path, Path, dict, np.ndarray]:
    """A split, and predictions (6, 2, 21, 3) in camera frames for its annotations."""
    content = make_interhand()
    write_interhand(tmp_path, content)
    random = np.random.default_rng(5)
    cameras = content["camera"]["0"]
    joints, numbers = [], []
    for image, entry in zip(content["data"]["images"], content["data"]["annotations"], strict=True):
        R, place = (np.array(cameras[part][image["camera"]]) for part in ("camrot", "campos"))
        joints.append((content["world"][image["frame_idx"] - 1000] - place) @ R.T)
        numbers.append(entry["id"])
    noisy = np.stack(joints) + random.normal(0, 5, (6, 2, 21, 3))
    np.savez(tmp_path / "predictions.npz", number=numbers[::-1], joints_mm=noisy[::-1])
    return tmp_path, tmp_path / "predictions.npz", content, noisy


def test_interhands_numbers_are_those_of_its_rules(interhand: tuple) -> None:
    folder, path, content, noisy = interhand
    errors: dict[str, list[list[float]]] = {kind: [[] for _ in range(42)] for kind in ("single", "two")}
    mrrpe = []
    for row, entry in enumerate(content["data"]["annotations"]):
        image = content["data"]["images"][row]
        R = np.array(content["camera"]["0"]["camrot"][image["camera"]])
        frame = content["joint_3d"]["0"][str(image["frame_idx"])]["world_coord"]
        true = (np.array(frame) - content["camera"]["0"]["campos"][image["camera"]]) @ R.T
        estimate = np.concatenate([to_interhand(noisy[row, 0]), to_interhand(noisy[row, 1])])
        kind = "two" if entry["hand_type"] == "interacting" else "single"
        if kind == "two":
            mrrpe.append(np.linalg.norm((estimate[41] - estimate[20]) - (true[41] - true[20])))
        for joint in range(42):
            root = 20 if joint < 21 else 41
            if entry["joint_valid"][joint] and entry["joint_valid"][root]:
                off = (estimate[joint] - estimate[root]) - (true[joint] - true[root])
                errors[kind][joint].append(float(np.linalg.norm(off)))
    values = score_interhand(folder, path).values
    assert values["mrrpe"] == pytest.approx(np.mean(mrrpe))
    for key, lists in (("_single", errors["single"]), ("_two", errors["two"])):
        expected = np.mean([np.mean(each) for each in lists if each])
        assert values[f"interhand_mpjpe{key}"] == pytest.approx(expected), key
    pooled = [a + b for a, b in zip(errors["single"], errors["two"], strict=True)]
    assert values["interhand_mpjpe"] == pytest.approx(np.mean([np.mean(each) for each in pooled]))
    assert values["mpjpe_root"] == pytest.approx(np.mean(np.concatenate([each for each in pooled])))


def test_interhand_without_some_predictions_has_a_smaller_share(interhand: tuple) -> None:
    folder, path, _, noisy = interhand
    np.savez(path, number=[10], joints_mm=noisy[:1])
    card = score_interhand(folder, path)
    assert card.share == pytest.approx(21 / (4 * 21 + 2 * 40))
    assert np.isnan(card.values["mrrpe"])
    assert "-" in card.to_text()


def test_interhands_sequences_skip_no_frame_unnoticed(
    tmp_path: Path,
) -> None:
    content = make_interhand()
    frames, images, annotations = {}, [], []
    places = [3000, 3003, 3006, 3009, 3021, 3024, 3027]  # four frames are missing between 3009 and 3021
    for number, frame in enumerate(places[::-1]):
        shifted = content["world"][0] + [0.0, 0.0, 30.0 * np.sin(frame)]
        world = np.concatenate([to_interhand(shifted[0]), to_interhand(shifted[1])])
        frames[str(frame)] = {"world_coord": world.tolist()}
        images.append({**content["data"]["images"][0], "id": frame, "frame_idx": frame})
        annotations.append({**content["data"]["annotations"][0], "id": number, "image_id": frame})
    annotations.append({**annotations[0], "id": 99})  # a frame that is annotated twice counts once
    content |= {"data": {"images": images, "annotations": annotations}, "joint_3d": {"0": frames}}
    write_interhand(tmp_path, content)
    R, place = (np.array(content["camera"]["0"][part]["400002"]) for part in ("camrot", "campos"))
    still = np.repeat((content["world"][:1] - place) @ R.T, len(places), axis=0)
    np.savez(tmp_path / "p.npz", number=np.arange(len(places)), joints_mm=still)
    values = score_interhand(tmp_path, tmp_path / "p.npz", fps=30.0).values
    z = {frame: 30.0 * np.sin(frame) for frame in places}
    neighbours = [(3000, 3003, 3006), (3003, 3006, 3009), (3021, 3024, 3027)]
    bends = [abs(z[a] - 2 * z[b] + z[c]) * 30**2 / 1e3 for a, b, c in neighbours]
    assert values["acceleration"] == pytest.approx(np.mean(bends))
    assert values["acceleration_frames"] == pytest.approx(np.mean(bends) * 1e3 / 30**2)
    assert values["acceleration_root"] == pytest.approx(0, abs=1e-9)
    assert "acceleration" not in score_interhand(tmp_path, tmp_path / "p.npz").values


def test_the_command_tells_and_writes_each_layout(
    freihand: tuple, interhand: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, path, joints, _, true = freihand
    np.savez(tmp_path / "truth.npz", joints_mm=true["joints_mm"])
    np.savez(tmp_path / "found.npz", joints_mm=joints)
    out = tmp_path / "scores.json"
    for layout, options in (
        ("freihand", [str(folder), "--predictions", str(path)]),
        ("interhand", [str(interhand[0]), "--predictions", str(interhand[1])]),
        ("arrays", ["--truth", str(tmp_path / "truth.npz"), "--predictions", str(tmp_path / "found.npz")]),
    ):
        assert main(["score", layout, *options, "--json", str(out)]) == 0
        said = capsys.readouterr().out
        for entry in read_json(out)["scores"]:
            assert entry["name"] in said
            assert entry["definition"].split()[0] in said
    by_arrays = score_arrays(tmp_path / "truth.npz", tmp_path / "found.npz").values
    by_layout = score_freihand(folder, path).values
    for key in by_arrays:
        assert by_arrays[key] == pytest.approx(by_layout[key]), key


def test_the_command_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "freihand", str(tmp_path), "--predictions", str(tmp_path / "pred.json")]) == 2
    assert "evaluation_K.json is missing" in capsys.readouterr().err
    assert main(["score", "interhand", str(tmp_path), "--predictions", str(tmp_path / "p.npz")]) == 2
    assert "InterHand2.6M_test_data.json is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["interhand", "x", "--estimator", "mediapipe", "--fps", "30"], "--fps is for acceleration"),
        (["freihand", "x", "--predictions", "p.json", "--pictures", "5"], "--pictures chooses what"),
        (["interhand", "x", "--predictions", "p.npz", "--pictures", "5"], "--pictures chooses what"),
    ],
)
def test_an_option_that_would_count_for_nothing_is_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["0", "-5", "nan", "inf", "many"])
def test_a_frame_rate_is_one(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["score", "interhand", "x", "--predictions", "p.npz", f"--fps={rate}"])
    assert stopped.value.code == 2
    assert f"{rate} is not a frame rate" in capsys.readouterr().err


def test_an_empty_split_is_no_split(tmp_path: Path) -> None:
    content = {**make_interhand(), "data": {"images": [], "annotations": []}}
    write_interhand(tmp_path, content)
    with pytest.raises(DatasetError, match="no annotation in the test split"):
        score_interhand(tmp_path, tmp_path / "p.npz")
