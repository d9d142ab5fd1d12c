"""The whole way on a small made session, held against its truth; killed on the way, and gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import Cancelled, MeasureError, RunFolderError
from pipeline.evaluation.made_session import evaluate
from pipeline.files import read_json, write_json, write_npz
from pipeline.measures.baseline import BUILTIN_BASELINE
from pipeline.progress import Reporter
from pipeline.results import RunFolder, list_sides, read_table, read_view
from pipeline.run import RunProgress, read_run, run_session
from pipeline.synth.session import make_session
from pipeline.synth.spec import SynthSpec
from settings import ROOT, get_settings

pytestmark = pytest.mark.pipeline

SPEC = SynthSpec(
    seconds=4.0,
    size_px=(640, 360),
    fps=Fraction(30000, 1001),
    seed=5,
    kind="dystonic",
    max_offset_s=0.4,
)
# What design section 5 says a run folder holds.
FILES = (
    "run.json",
    "sound.json",
    "sync.json",
    "rig_check.json",
    "rig.json",
    "views/front.npz",
    "views/left.npz",
    "views/right.npz",
    "hand_right.npz",
    "measures.parquet",
    "angles.parquet",
    "features.parquet",
    "rotations.parquet",
    "summary.json",
    "web/mosaic.mp4",
    "web/index.json",
    "log.jsonl",
)


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "session"
    make_session(folder, SPEC, Reporter("synth"))
    return folder


@pytest.fixture(scope="module")
def killed(session, tmp_path_factory) -> tuple[RunFolder, dict]:
    """A run that was killed (SIGKILL) as soon as the cameras were calibrated, and its record then."""
    run = RunFolder(tmp_path_factory.mktemp("run") / "run")
    process = start_run(session, run)
    wait_until(process, lambda: "calibration" in read_json(run.run_json)["stages"])
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return run, read_json(run.run_json)


def start_run(session: Path, run: RunFolder) -> subprocess.Popen[bytes]:
    """The command line in a process group of its own, as in a terminal."""
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "run",
        str(session),
        "--out",
        str(run.path),
        "--workers",
        "2",
    ]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_until(process: subprocess.Popen[bytes], is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(RunFolderError):  # not there yet
            if is_so():
                return
        time.sleep(0.05)
    raise AssertionError(f"it did not come so far: {process.communicate()[1].decode()}")


@pytest.fixture(scope="module")
def finished(session, killed) -> tuple[RunFolder, list[RunProgress]]:
    """The killed run gone on with to its end."""
    heard: list[RunProgress] = []
    run_session(session, killed[0].path, heard.append)
    return killed[0], heard


def test_a_killed_run_goes_on_where_it_stopped(killed, finished):
    before, after = killed[1], read_run(finished[0])
    assert before["state"] == "running"
    assert after["state"] == "done"
    for stage in ("check", "sound", "calibration"):
        assert after["stages"][stage] == before["stages"][stage], f"{stage} was run again"


def is_finding_the_hand(run: RunFolder) -> bool:
    events = [json.loads(line) for line in run.log_jsonl.read_text().splitlines()]
    return any(event.get("stage") == "pose:left" for event in events)


def test_ctrl_c_ends_a_run_and_its_workers_in_words(session, killed, tmp_path):
    run = RunFolder(tmp_path / "run")
    shutil.copytree(killed[0].path, run.path)
    shutil.rmtree(run.views, ignore_errors=True)
    run.log_jsonl.unlink()
    process = start_run(session, run)
    wait_until(process, lambda: run.log_jsonl.is_file() and is_finding_the_hand(run))
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers, too
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "Cancelled" in said
    assert "Traceback" not in said
    assert read_run(run)["state"] == "cancelled"


def test_every_box_of_the_run_folder_is_on_the_disk(finished):
    run = finished[0].path
    assert [name for name in FILES if not (run / name).is_file()] == []
    assert [path for path in run.rglob(".*") if path.name != ".lock"] == []
    for line in finished[0].log_jsonl.read_text().splitlines():
        assert {"time", "event"} <= json.loads(line).keys()


def test_the_record_says_what_was_done_with_what(session, finished):
    record = read_run(finished[0])
    assert set(record["inputs"]) == {
        f"{folder}{camera}.mp4" for folder in ("", "calibration/") for camera in ("front", "left", "right")
    }
    assert all(len(digest) == 64 for digest in record["inputs"].values())
    assert {"redys", "python", "torch", "numpy"} <= record["versions"].keys()
    assert {model["role"] for model in record["models"]} == {"hand model", "detector", "estimator"}
    assert all(model["licence"] for model in record["models"])
    assert all(stage["seconds"] >= 0 and stage["peak_memory_mb"] > 0 for stage in record["stages"].values())
    assert str(session.parent) not in json.dumps(record)


def test_progress_never_runs_back_and_ends_at_the_end(finished):
    overall = [progress.overall for progress in finished[1] if not progress.warning]
    assert overall == sorted(overall)
    assert overall[-1] == pytest.approx(1.0)


def test_offsets_and_rig_meet_their_bars(session, finished):
    figures = evaluate(finished[0], session).to_json()
    for camera in ("left", "right"):
        sync = read_json(finished[0].sync_json)["cameras"][camera]
        assert sync["confidence"] >= 0.7
        assert abs(figures["offsets"][camera]["start_ms"]) < 1.0
        assert abs(figures["offsets"][camera]["end_ms"]) < 1.0
        assert abs(figures["rig"][camera]["focal_percent"]) < 0.5
        assert figures["rig"][camera]["rotation_deg"] < 0.2
        assert figures["rig"][camera]["translation_mm"] < 2.0
    for pair in read_json(finished[0].rig_json)["pairs"]:
        assert pair["rms_px"] <= 0.8


def test_the_fused_hand_is_nearer_to_the_truth_than_triangulation_of_the_same_points(session, finished):
    joints = evaluate(finished[0], session).to_json()["joints"]
    fused = joints["fusion"]["all"]["20"]["mpjpe_mm"]
    plain = [entry["all"]["20"] for name, entry in joints.items() if name != "fusion"]
    assert len(plain) == 4  # every pair of cameras, and all three
    for entry in plain:
        assert fused < entry["mpjpe_mm"]
        assert entry["fused_mpjpe_mm"] < entry["mpjpe_mm"]  # on the very joints that it has


def test_tables_hold_every_joint_and_angle_at_every_frame(finished):
    run = finished[0]
    frames = len(read_view(run, "front")["right"].time_s)
    assert list_sides(run) == ("right",)
    assert len(read_table(run.measures_parquet)) == 21 * frames
    assert len(read_table(run.angles_parquet)) == 20 * frames


def test_a_finished_run_is_not_worked_again(session, finished):
    before = read_run(finished[0])["stages"]
    heard: list[RunProgress] = []
    run_session(session, finished[0].path, heard.append)
    assert read_run(finished[0])["stages"] == before
    assert all("unchanged" in progress.message for progress in heard)


def test_a_lost_file_is_made_again_and_nothing_before_it(session, finished, tmp_path):
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished[0].path, run.path)
    before = read_run(run)["stages"]
    run.summary_json.unlink()
    run_session(session, run.path)
    after = read_run(run)["stages"]
    assert run.summary_json.is_file()
    assert {name for name in after if after[name] != before[name]} == {"measures"}


def test_a_manual_offset_runs_again_only_what_rests_on_it(session, finished, tmp_path):
    copy, run = tmp_path / "session", RunFolder(tmp_path / "run")
    shutil.copytree(session, copy)
    shutil.copytree(finished[0].path, run.path)
    before = read_run(run)["stages"]
    with open(copy / "session.toml", "a", encoding="utf-8") as file:
        file.write("\n[offset_s]\nleft = 0.125\n")

    def is_cancelled() -> bool:
        return read_run(run).get("stage") == "fusion"

    with pytest.raises(Cancelled):
        run_session(copy, run.path, is_cancelled=is_cancelled)
    after = read_run(run)
    assert after["state"] == "cancelled"
    assert read_json(run.sync_json)["cameras"]["left"]["source"] == "manual"
    kept = {name for name in after["stages"] if after["stages"][name] == before[name]}
    assert {"calibration", "pose:front", "pose:left", "pose:right"} <= kept
    assert "sync" not in kept


def test_two_runs_do_not_share_a_folder(session, tmp_path):
    messages: list[str] = []

    def start_another(progress: RunProgress) -> None:
        if not messages:
            with pytest.raises(RunFolderError) as caught:
                run_session(session, tmp_path / "run")
            messages.append(str(caught.value))

    with pytest.raises(Cancelled):
        run_session(session, tmp_path / "run", start_another, lambda: bool(messages))
    assert "Another run is at work" in messages[0]


def test_a_run_folder_of_another_schema_is_left_alone(session, tmp_path):
    run = RunFolder(tmp_path / "run")
    write_json(run.run_json, {"schema_version": 0})
    with pytest.raises(RunFolderError, match="schema 0"):
        run_session(session, run.path)
    assert read_json(run.run_json) == {"schema_version": 0}


@pytest.mark.parametrize("content", [[], "done", 3, None])
def test_a_run_json_that_is_no_record_is_left_alone_in_words(session, tmp_path, content):
    run = RunFolder(tmp_path / "run")
    write_json(run.run_json, content)
    with pytest.raises(RunFolderError, match="no record of a run"):
        run_session(session, run.path)
    assert read_json(run.run_json) == content


@pytest.fixture(scope="module")
def exact(session, tmp_path_factory) -> tuple[Path, RunFolder]:
    """The same movement as exact points of another tool, with the true rig and offsets."""
    folder = tmp_path_factory.mktemp("exact") / "session"
    folder.mkdir()
    truth = read_json(session / "truth.json")
    with np.load(session / "truth.npz") as arrays:
        for camera in ("front", "left", "right"):
            points = arrays[f"{camera}_keypoints_px"]
            write_npz(
                folder / "keypoints" / f"{camera}.npz",
                time_s=arrays[f"{camera}_time_s"],
                keypoints_px=points,
                sigma_px=np.full(points.shape[:2], 0.5),
            )
    write_json(folder / "rig.json", truth["rig"])
    offsets = "\n".join(f"{camera} = {truth['offset_s'][camera]!r}" for camera in ("left", "right"))
    (folder / "session.toml").write_text(f"[offset_s]\n{offsets}\n", encoding="utf-8")
    shutil.copy(session / "truth.json", folder)
    shutil.copy(session / "truth.npz", folder)
    run = run_session(folder, folder / "run")
    return folder, run


def test_exact_points_of_another_tool_give_the_hand_within_half_a_millimetre(exact):
    figures = evaluate(exact[1], exact[0]).to_json()
    assert figures["joints"]["fusion"]["all"]["21"]["mpjpe_mm"] <= 0.5


def test_keypoints_alone_give_tables_and_numbers_too(exact):
    assert len(read_table(exact[1].angles_parquet)) > 0
    assert exact[1].summary_json.is_file()
    assert read_run(exact[1])["state"] == "done"


@pytest.fixture
def set_baseline(monkeypatch) -> Iterator[Callable[[Path], None]]:
    def choose(path: Path) -> None:
        monkeypatch.setenv("REDYS_BASELINE", str(path))
        get_settings.cache_clear()

    yield choose
    monkeypatch.undo()
    get_settings.cache_clear()


def test_a_reference_of_ones_own_is_measured_against_and_named(exact, tmp_path, set_baseline):
    own = {**read_json(BUILTIN_BASELINE), "name": "our own reference", "simulated": False}
    write_json(tmp_path / "own.json", own)
    set_baseline(tmp_path / "own.json")
    run = RunFolder(tmp_path / "run")
    shutil.copytree(exact[1].path, run.path)
    run_session(exact[0], run.path)
    provenance = read_json(run.summary_json)["provenance"]
    assert provenance["baseline"] == "our own reference"
    assert provenance["baseline_simulated"] is False


def test_a_missing_reference_of_ones_own_is_named(exact, tmp_path, set_baseline):
    set_baseline(tmp_path / "nowhere.json")
    with pytest.raises(MeasureError, match=r"nowhere\.json"):
        run_session(exact[0], tmp_path / "run")


def test_one_camera_works_and_says_what_that_costs(session, tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    shutil.copy(session / "front.mp4", folder)
    heard: list[RunProgress] = []
    run = run_session(folder, tmp_path / "run", heard.append)
    assert read_run(run)["state"] == "done"
    assert any("one camera" in warning.lower() for warning in read_run(run)["warnings"])
    assert read_json(run.summary_json)["quality"]["verdict"] != "passed"
