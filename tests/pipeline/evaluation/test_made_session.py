from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import roma
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.errors import RunFolderError
from pipeline.evaluation.alignment import align
from pipeline.evaluation.data_sets import score_arrays
from pipeline.evaluation.made_session import compare_joints, evaluate
from pipeline.files import read_json
from pipeline.hand.model import load_hand_model
from pipeline.results import (
    HandTrack,
    RunFolder,
    ViewTrack,
    write_hand,
    write_rig,
    write_sync,
    write_view,
)
from pipeline.synth.spec import CAMERAS, SynthSpec
from pipeline.synth.truth import make_truth, write_truth

SPEC = SynthSpec(seconds=5.0, seed=3, fps=Fraction(60000, 1001), calibration=False)


@pytest.fixture(scope="module")
def truth():
    return make_truth(SPEC, load_hand_model())


def make_hand(truth, joints_mm=None):
    joints_mm = truth.joints_mm if joints_mm is None else joints_mm
    n = len(truth.time_s)
    return HandTrack(
        time_s=truth.time_s, betas=truth.betas, global_orient=truth.global_orient, hand_pose=truth.hand_pose,
        transl_mm=truth.transl_mm, joints_mm=joints_mm, joint_sigma_mm=np.ones((n, 21)),
        residual_px=np.zeros((3, n, 21)), quality=np.ones((n, 21)), cameras=CAMERAS,
    )  # fmt: skip


def make_view(truth, camera, keypoints_px=None):
    keypoints_px = truth.keypoints_px[camera] if keypoints_px is None else keypoints_px
    n = len(keypoints_px)
    return ViewTrack(
        time_s=truth.camera_time_s[camera], box_px=np.zeros((n, 4)), box_state=np.full(n, "detected"),
        keypoints_px=keypoints_px, sigma_px=np.ones((n, 21)), score=np.ones(n), size_px=truth.size_px,
    )  # fmt: skip


@pytest.fixture
def perfect(tmp_path, truth):
    """A run folder that says what is true, and the truth beside it."""
    run = RunFolder(tmp_path / "run")
    write_truth(tmp_path / "session", truth)
    write_sync(run.sync_json, truth.sync)
    write_rig(run.rig_json, truth.rig)
    write_hand(run, truth.side, make_hand(truth))
    for camera in CAMERAS:
        write_view(run, camera, {truth.side: make_view(truth, camera)})
    return run, tmp_path / "session"


def test_a_perfect_run_has_no_error(perfect):
    evaluation = evaluate(*perfect)
    assert evaluation.missing == []
    for camera in CAMERAS:
        offsets, rig = evaluation.offsets[camera], evaluation.rig[camera]
        assert abs(offsets["start_ms"]) < 1e-6
        assert abs(offsets["end_ms"]) < 1e-6
        assert max(rig["focal_percent"], rig["rotation_deg"], rig["translation_mm"]) < 1e-6
        assert evaluation.keypoints[camera]["all"]["mean_px"] < 1e-3
        assert evaluation.keypoints[camera]["all"]["share"] == 1
    fused = evaluation.joints["fusion"]
    assert {"all", "ordinary", "dystonic"} <= set(fused)
    for sets in fused.values():
        for errors in sets.values():
            assert errors["mpjpe_mm"] < 1e-3
            assert errors["pa_mpjpe_mm"] < 1e-3
            assert errors["acceleration_m_s2"] < 0.5  # float32 on the disk
    assert max(evaluation.angles["rmse_deg"].values()) < 0.01
    assert len(evaluation.angles["by_angle"]) == 20
    methods = {"triangulation front+left", "triangulation front+right", "triangulation left+right",
               "triangulation front+left+right"}  # fmt: skip
    assert methods == set(evaluation.joints) - {"fusion"}
    for method in methods:
        assert evaluation.joints[method]["all"]["21"]["mpjpe_mm"] < 0.3
        assert 0.5 < evaluation.joints[method]["all"]["21"]["share"] <= 1


def test_errors_that_were_put_in_come_out(perfect, truth):
    run, session = perfect
    clocks = {
        camera: replace(
            clock, offset_s=clock.offset_s + 0.002 * (camera == "left"), drift_ppm=clock.drift_ppm + 10
        )
        for camera, clock in truth.sync.cameras.items()
    }
    write_sync(run.sync_json, replace(truth.sync, cameras=clocks))
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, np.radians(0.25), 0.0], dtype=torch.float64)).numpy()
    camera = truth.rig.cameras["right"]
    K = camera.K * np.array([[1.01, 1, 1], [1, 1.004, 1], [1, 1, 1]])
    off = replace(camera, K=K, R=turn @ camera.R, t_mm=camera.t_mm + np.array([0, 3.0, 4.0]), rms_px=0.31)
    write_rig(run.rig_json, replace(truth.rig, cameras={**truth.rig.cameras, "right": off}))
    write_hand(run, truth.side, make_hand(truth, truth.joints_mm + np.array([3.0, 0.0, 4.0])))
    keypoints = truth.keypoints_px["left"] + [0.0, 6.0]
    write_view(run, "left", {truth.side: make_view(truth, "left", keypoints)})
    evaluation = evaluate(run, session)
    left, right = evaluation.offsets["left"], evaluation.rig["right"]
    assert left["start_ms"] == pytest.approx(2.0, abs=1e-6)
    assert left["end_ms"] == pytest.approx(2.0 + 10e-3 * truth.camera_time_s["left"][-1], abs=1e-6)
    assert left["drift_ppm"] == pytest.approx(10)
    assert right["focal_percent"] == pytest.approx(1.0, abs=1e-6)
    assert right["rotation_deg"] == pytest.approx(0.25, abs=1e-6)
    assert right["translation_mm"] == pytest.approx(5.0, abs=1e-6)
    assert right["rms_px"] == 0.31
    fused = evaluation.joints["fusion"]["all"]["20"]
    assert fused["mpjpe_mm"] == pytest.approx(5.0, abs=1e-3)
    assert fused["pa_mpjpe_mm"] < 1e-3
    assert evaluation.keypoints["left"]["all"]["median_px"] == pytest.approx(6.0, abs=1e-3)


def test_errors_of_one_phase_stay_in_it(perfect, truth):
    run, session = perfect
    phase = next(phase for phase in truth.phases if phase["name"] != "ordinary")
    rows = (truth.time_s >= phase["start_s"]) & (truth.time_s < phase["end_s"])
    joints = truth.joints_mm.copy()
    joints[rows] += [0.0, 7.0, 0.0]
    write_hand(run, truth.side, make_hand(truth, joints))
    fused = evaluate(run, session).joints["fusion"]
    assert fused["ordinary"]["21"]["mpjpe_mm"] < 1e-3
    assert fused[phase["name"]]["21"]["mpjpe_mm"] == pytest.approx(7.0, abs=1e-3)


def test_what_was_not_measured_lowers_the_share_and_nothing_else(perfect, truth):
    run, session = perfect
    joints = truth.joints_mm.copy()
    joints[: len(joints) // 2] = np.nan
    write_hand(run, truth.side, make_hand(truth, joints))
    fused = evaluate(run, session).joints["fusion"]["all"]["21"]
    assert fused["share"] == pytest.approx(0.5, abs=0.01)
    assert fused["mpjpe_mm"] < 1e-3


@pytest.mark.parametrize(
    ("gone", "part"),
    [("sync.json", "offsets"), ("rig.json", "rig"), ("hand_right.npz", "angles"), ("views", "keypoints")],
)
def test_a_missing_part_is_named_and_the_rest_compared(perfect, gone, part):
    run, session = perfect
    path = run.path / gone
    if path.is_dir():
        for file in path.iterdir():
            file.unlink()
    else:
        path.unlink()
    evaluation = evaluate(run, session)
    assert any(gone in reason for reason in evaluation.missing)
    assert not getattr(evaluation, part)
    assert any(getattr(evaluation, other) for other in {"offsets", "rig", "keypoints"} - {part})
    assert "Not compared" in evaluation.to_text()


def test_an_empty_folder_compares_nothing_and_no_folder_is_an_error(tmp_path, truth):
    write_truth(tmp_path, truth)
    (tmp_path / "run").mkdir()
    evaluation = evaluate(RunFolder(tmp_path / "run"), tmp_path)
    assert len(evaluation.missing) >= 6
    assert evaluation.joints == {}
    with pytest.raises(RunFolderError, match="not a folder"):
        evaluate(RunFolder(tmp_path / "nothing"), tmp_path)
    with pytest.raises(RunFolderError, match="truth"):
        evaluate(RunFolder(tmp_path / "run"), tmp_path / "run")


def test_a_run_with_another_reference_camera_is_not_compared(perfect, truth):
    run, session = perfect
    write_sync(run.sync_json, replace(truth.sync, reference="left"))
    with pytest.raises(RunFolderError, match="has camera left as its reference, and the truth front"):
        evaluate(run, session)


def test_the_table_and_the_json_say_the_same(perfect, tmp_path):
    evaluation = evaluate(*perfect)
    text = evaluation.to_text()
    for word in ("fusion", "triangulation front+left+right", "MPJPE mm", "focal %", "drift ppm", "degrees"):
        assert word in text
    evaluation.write(tmp_path / "evaluation.json")
    plain = read_json(tmp_path / "evaluation.json")
    assert plain == evaluation.to_json()
    assert plain["rig"]["left"]["rms_px"] is None


def test_a_runs_hand_and_the_truth_can_be_scored_as_arrays_and_say_the_same(perfect, truth):
    run, session = perfect
    random = np.random.default_rng(0)
    write_hand(
        run, truth.side, make_hand(truth, truth.joints_mm + random.normal(0, 3, (len(truth.time_s), 21, 3)))
    )
    scored = score_arrays(session / "truth.npz", run.hand_npz(truth.side)).values
    fused = evaluate(run, session).joints["fusion"]["all"]["21"]
    assert scored["mpjpe"] == pytest.approx(fused["mpjpe_mm"])
    assert scored["pa_mpjpe"] == pytest.approx(fused["pa_mpjpe_mm"])
    assert scored["acceleration"] == pytest.approx(fused["acceleration_m_s2"])


def test_acceleration_error_is_in_metres_per_second_squared():
    time = np.arange(100) / 50
    true = np.zeros((100, 21, 3))
    wrong = true.copy()
    wrong[..., 1] = (0.5 * 3000.0 * time**2)[:, None]  # 3,000 mm/s^2
    assert compare_joints(wrong, true, 1 / 50).acceleration_m_s2 == pytest.approx(3.0)


@given(
    hnp.arrays(float, 3, elements=st.floats(-3, 3)),
    hnp.arrays(float, 3, elements=st.floats(-500, 500)),
    st.floats(0.2, 5),
    st.integers(0, 2**32 - 1),
)
def test_alignment_undoes_any_similarity(rotvec, shift, scale, seed):
    random = np.random.default_rng(seed)
    true = random.normal(0, 50, (3, 21, 3))
    R = roma.rotvec_to_rotmat(torch.from_numpy(rotvec)).numpy()
    moved = scale * true @ R.T + shift
    moved[1, 4:] = np.nan
    aligned = align(moved, true)
    seen = np.isfinite(moved)
    assert np.abs(aligned - true)[seen].max() < 1e-6
    assert np.isnan(aligned[~seen]).all()


def test_alignment_does_not_mirror():
    true = np.random.default_rng(0).normal(0, 50, (1, 21, 3))
    assert np.linalg.norm(align(true * [-1, 1, 1], true) - true, axis=2).mean() > 5
