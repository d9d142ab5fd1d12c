from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.__main__ import main
from pipeline.datasets.pianomotion import (
    build_pianomotion,
    describe_conventions,
    list_sequences,
    pose_joints,
    read_sequence,
)
from pipeline.errors import DatasetError, MeasureError, ModelError
from pipeline.files import read_npz
from pipeline.hand.angles import ANGLES, compute_angles
from pipeline.hand.joints import MANO_POSE_JOINTS
from pipeline.hand.model import MANO_TIP_VERTICES, HandModel, load_hand_model, read_mean_pose
from pipeline.hand.rotations import mirror_points
from pipeline.measures.baseline import read_baseline
from pipeline.progress import Reporter
from pipeline.synth.person import find_axes
from settings import get_settings

FRAMES, FPS = 120, 30


def write_mano(path: Path, mean_pose: np.ndarray) -> None:
    """The built-in hand as a file of MANO's form: its fingertips under MANO's numbers, and a mean pose."""
    hand = read_npz(get_settings().models_dir / "builtin" / "hand.npz")
    order = np.arange(len(hand["v_template"]))
    for own, wanted in zip(hand["tip_vertices"], MANO_TIP_VERTICES, strict=True):
        at = int(np.flatnonzero(order == own)[0])
        order[[at, wanted]] = order[[wanted, at]]
    back = np.argsort(order)
    fields = {name: hand[name][order] for name in ("v_template", "weights", "shapedirs", "posedirs")}
    fields |= {
        "J_regressor": hand["J_regressor"][:, order],
        "f": back[hand["f"]].astype(np.uint32),
        "kintree_table": hand["kintree_table"],
        "hands_components": hand["hands_components"],
        "hands_mean": mean_pose.ravel(),
    }
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(fields, 2))


@pytest.fixture(scope="module")
def mean_pose() -> np.ndarray:
    """Bent by about 25° everywhere, and a little twisted, as MANO's is."""
    model = load_hand_model()
    axes = find_axes(model, np.zeros(model.n_betas))
    return 0.45 * axes.flexion + np.random.default_rng(0).normal(0, 0.12, (15, 3))


@pytest.fixture(scope="module")
def models(tmp_path_factory, mean_pose) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_mano(folder / "mano" / "MANO_RIGHT.pkl", mean_pose)
    return folder


@pytest.fixture(scope="module")
def mano(models) -> HandModel:
    return load_hand_model(models)


def make_pose(model: HandModel, seed: int) -> np.ndarray:
    """Playing fingers from the flat hand, axis-angle (T, 15, 3)."""
    random = np.random.default_rng(seed)
    axes = find_axes(model, np.zeros(model.n_betas))
    rest = np.array([0.45 if "mcp" in j else 0.65 if "pip" in j else 0.3 for j in MANO_POSE_JOINTS])
    rest = np.where([j.startswith("thumb") for j in MANO_POSE_JOINTS], 0.1, rest) + random.normal(0, 0.06, 15)
    wave = np.sin(2 * np.pi * np.arange(FRAMES)[:, None] / FPS * random.uniform(0.5, 2, 15))
    return (rest + 0.1 * wave)[..., None] * axes.flexion


def write_sequence(path: Path, right: np.ndarray, left: np.ndarray, fps: float = FPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {}
    for side, pose in (("right", right), ("left", left)):
        table = np.zeros((len(pose), 62))
        table[:, 1:4] = [0.0, 0.0, 25.0]
        table[:, 4:7] = 0.3
        table[:, 7:52] = pose.reshape(-1, 45)
        rows[side] = table.tolist()
    path.write_text(json.dumps(rows | {"fps": fps, "adjust": [0, 0, 0], "start_frame": 0, "bv": "BV1"}))


@pytest.fixture(scope="module")
def made(tmp_path_factory, mano) -> Path:
    """Four uploaders; absolute poses; both hands play the same mirrored."""
    folder = tmp_path_factory.mktemp("pianomotion")
    for uploader in range(4):
        pose, name = make_pose(mano, uploader), f"BV{uploader}"
        write_sequence(folder / "annotation" / f"10{uploader}" / name / f"{name}_seq_0000.json", pose, pose)
    return folder


@pytest.fixture
def with_mano(models, monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("REDYS_MODELS_DIR", str(models))
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


def test_a_pose_bends_the_fingers_as_far_as_it_says_and_a_left_hand_is_a_mirrored_right_one(mano):
    axes = find_axes(mano, np.zeros(mano.n_betas))
    bent = np.zeros((1, 15, 3))
    at = MANO_POSE_JOINTS.index("ring_pip")
    bent[0, at] = np.radians(40) * axes.flexion[at]
    right, flat = (pose_joints(p, np.zeros(10), "right", mano, np.zeros((15, 3))) for p in (bent, 0 * bent))
    column = ANGLES.index("ring_pip_flexion")
    moved = np.degrees(compute_angles(right, "right") - compute_angles(flat, "right"))[0]
    assert moved[column] == pytest.approx(40, abs=1.5)
    left = pose_joints(bent, np.zeros(10), "left", mano, np.zeros((15, 3)))
    np.testing.assert_allclose(left, mirror_points(right))
    np.testing.assert_allclose(compute_angles(left, "left"), compute_angles(right, "right"))


def test_the_two_conventions_are_the_same_hand_once_the_mean_pose_is_taken_off(mano, mean_pose):
    pose = make_pose(mano, 3)[:4]
    absolute = pose_joints(pose, np.zeros(10), "right", mano, np.zeros((15, 3)))
    from_mean = pose_joints(pose - mean_pose, np.zeros(10), "right", mano, mean_pose)
    np.testing.assert_allclose(from_mean, absolute, atol=1e-3)
    wrong = pose_joints(pose, np.zeros(10), "right", mano, mean_pose)
    away = np.degrees(compute_angles(wrong, "right") - compute_angles(absolute, "right"))
    assert np.median(away[:, ANGLES.index("ring_pip_flexion")]) > 15


def test_the_mean_pose_is_the_files(models, mean_pose):
    np.testing.assert_allclose(read_mean_pose(models), mean_pose)


def test_the_reference_is_of_postures_and_says_from_what_the_pose_starts(made, mano, mean_pose):
    reference = build_pianomotion(made, "absolute", mano, mean_pose, Reporter("baseline"))
    assert reference.n_people == 4
    assert reference.fps == FPS
    assert "uploaders" in reference.provenance
    assert "(absolute)" in reference.provenance
    assert np.isnan(reference.jerk_reference()).all()
    at = MANO_POSE_JOINTS.index("ring_pip")
    poses = [make_pose(mano, uploader)[:, at] for uploader in range(4)]
    bent = np.degrees([Rotation.from_rotvec(pose).magnitude().mean() for pose in poses]).mean()
    flat = pose_joints(np.zeros((1, 15, 3)), np.zeros(10), "right", mano, np.zeros((15, 3)))
    zero = np.degrees(compute_angles(flat, "right"))[0, ANGLES.index("ring_pip_flexion")]
    assert reference.angles["ring_pip_flexion"].frame_mean_deg == pytest.approx(bent + zero, abs=1.5)


def test_jerk_is_refused_at_any_frame_rate(tmp_path, mano, mean_pose):
    for uploader in range(2):
        pose = make_pose(mano, uploader)
        path = tmp_path / "annotation" / f"{uploader}" / "BV" / "BV_seq_0000.json"
        write_sequence(path, pose, pose, fps=120)
    reference = build_pianomotion(tmp_path, "absolute", mano, mean_pose, Reporter("baseline"))
    assert reference.fps == 120
    assert np.isnan(reference.jerk_reference()).all()
    assert reference.headlines["jerk_p95"].n_people == 0
    assert reference.headlines["smoothness"].n_people == 0
    assert "no jerk and no acceleration" in reference.posture_only


def test_what_either_convention_makes_of_the_data_tells_the_true_one(made, mano, mean_pose):
    said = describe_conventions(list_sequences(made), mano, mean_pose).splitlines()
    twists = [float(line.rsplit("twisted by ", 1)[1].rstrip("°")) for line in said[1:]]
    assert "absolute" in said[1]
    assert "from-mean" in said[2]
    assert twists[0] < twists[1]


def test_without_the_option_the_command_prints_the_evidence_and_writes_nothing(
    made, with_mano, tmp_path, capsys
):
    out = tmp_path / "reference.json"
    assert main(["baseline", "pianomotion", str(made), "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert "median flexion" in said.out
    assert "Choose --pose absolute or --pose from-mean" in said.err
    assert not out.exists()
    assert main(["baseline", "pianomotion", str(made), "--out", str(out), "--pose", "absolute"]) == 0
    said = capsys.readouterr()
    assert "postures only: PianoMotion10M gives no jerk" in said.out
    assert "each person against the others" in said.out
    assert read_baseline(out).posture_only


def test_without_mano_it_is_said_what_cannot_be_done(made, tmp_path, capsys):
    if load_hand_model().name == "MANO":
        pytest.skip("models/mano/MANO_RIGHT.pkl is there; this is about the built-in hand")
    out = tmp_path / "reference.json"
    assert main(["baseline", "pianomotion", str(made), "--out", str(out), "--pose", "absolute"]) == 2
    assert "whose joints turn about other axes" in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(ModelError, match=r"MANO_RIGHT\.pkl is missing"):
        read_mean_pose(tmp_path)


def test_what_is_missing_or_laid_out_otherwise_is_named(tmp_path):
    with pytest.raises(DatasetError, match="annotation holds no"):
        list_sequences(tmp_path)
    path = tmp_path / "annotation" / "1" / "BV" / "BV_seq_0000.json"
    path.parent.mkdir(parents=True)
    for text, message in (
        ('{"left": [[1, 2]], "fps": 30}', r"BV_seq_0000\.json, left hand, is 1 x 2, not any x 62"),
        ('{"left": [[1], [1, 2]], "fps": 30}', "left hand, is no table of numbers"),
        ('{"left": [], "right": [], "fps": 30}', "neither a left nor a right"),
        ('{"left": []}', "frames a second"),
        ("[]", "frames a second"),
        ("{", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=message):
            read_sequence(path)


def test_frames_that_are_not_there_leave_the_hand_its_shape(tmp_path):
    whole, lost = [0.0] * 52 + [0.5] * 10, [None] * 62
    path = tmp_path / "BV_seq_0000.json"
    path.write_text(json.dumps({"fps": 30, "left": [whole, lost, whole], "right": [lost, lost]}))
    found = read_sequence(path)
    np.testing.assert_array_equal(found.betas["left"], np.full(10, 0.5))
    assert np.isnan(found.pose["left"][1]).all()
    assert np.isnan(found.betas["right"]).all()


def test_a_sequence_too_short_to_measure_is_named(tmp_path, mano, mean_pose):
    path = tmp_path / "annotation" / "1" / "BV" / "BV_seq_0000.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"fps": 30, "right": [[0.0] * 62]}))
    with pytest.raises(MeasureError, match=r"BV_seq_0000\.json \(right\): The hand has 1 frames"):
        build_pianomotion(tmp_path, "absolute", mano, mean_pose, Reporter("test"))
