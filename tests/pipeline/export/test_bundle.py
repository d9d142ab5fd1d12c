"""An export as a whole: complete or absent, with a manifest, and silent about the person where asked."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import json
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.errors import ModelError, RunFolderError
from pipeline.export import csv_tables
from pipeline.export.bundle import MANIFEST, check_export, export_run
from pipeline.export.formats import FORMATS
from pipeline.export.source import deidentify_source, find_even_frames, read_source
from pipeline.files import write_json, write_npz
from pipeline.hand.joints import JOINTS
from pipeline.measures.features import compute_features, tabulate_features
from pipeline.measures.summary_types import write_summary
from pipeline.results import RunFolder, write_rig, write_table
from settings import ROOT
from tests.pipeline.export.made import NTSC, make_source


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run folder of both hands, as far as exports read it."""
    made = make_source(("right", "left"), n_frames=20, gaps=0.0)
    folder = RunFolder(tmp_path / "run")
    write_json(
        folder.run_json,
        {"state": "done", "versions": {"redys": "0.1.0"}, "models": made.models, "settings_hash": "cd" * 32},
    )
    write_json(folder.web / "index.json", {"fps": [60000, 1001]})
    write_summary(folder.summary_json, made.summary)
    write_rig(folder.rig_json, made.rig)  # type: ignore[arg-type]
    for name, table in made.tables.items():
        write_table(folder.path / f"{name}.parquet", table.assign(sigma_deg=np.float32(2)))
    for side, hand in made.hands.items():
        write_npz(folder.hand_npz(side), **_as_track(hand, made.time_s))
    return folder


def _as_track(hand: Any, time_s: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of ``hand_<side>.npz``; joint 3 of frame 5 was contradicted."""
    quality = hand.quality.copy()
    quality[5, 3] = 0
    return {
        "time_s": time_s,
        "betas": hand.betas,
        "global_orient": hand.global_orient,
        "hand_pose": hand.hand_pose,
        "transl_mm": np.zeros((len(time_s), 3)),
        "joints_mm": hand.joints_mm,
        "joint_sigma_mm": hand.sigma_mm,
        "residual_px": np.zeros((1, len(time_s), len(JOINTS))),
        "quality": quality,
        "cameras": np.array(["front"]),
    }


def read_everything(folder: Path) -> bytes:
    """All bytes of an export, and its files' names."""
    return b"".join(
        path.name.encode() + path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    )


# --- what is read --------------------------------------------------------------------------------


def test_a_run_is_read_with_its_exact_rate_and_contradicted_joints_are_not_measured(run: RunFolder) -> None:
    source = read_source(run)
    assert source.rate == Fraction(60000, 1001)
    assert list(source.hands) == ["right", "left"]
    for hand in source.hands.values():
        assert np.argwhere(np.isnan(hand.joints_mm).any(axis=-1)).tolist() == [[5, 3]]
        assert np.array_equal(np.isnan(hand.sigma_mm), np.isnan(hand.joints_mm).any(axis=-1))
    made = make_source(("right", "left"), n_frames=20, gaps=0.0)
    for side in made.hands:
        assert np.allclose(source.hands[side].degrees, made.hands[side].degrees, atol=1e-5, equal_nan=True)


def test_a_run_that_is_not_finished_is_refused_in_words(run: RunFolder, tmp_path: Path) -> None:
    write_json(run.run_json, {"state": "running"})
    with pytest.raises(RunFolderError, match="not a finished run"):
        export_run(run, ["csv"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_lost_its_angles_is_refused_in_words(run: RunFolder, tmp_path: Path) -> None:
    run.angles_parquet.unlink()
    with pytest.raises(RunFolderError, match=r"angles\.parquet is missing"):
        export_run(run, ["fhir"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the whole -----------------------------------------------------------------------------------


def test_every_format_is_written_and_the_manifest_knows_every_file(run: RunFolder, tmp_path: Path) -> None:
    out = export_run(run, list(FORMATS), tmp_path / "out")
    assert {path.name for path in out.iterdir()} == {*FORMATS, MANIFEST}
    assert check_export(out) == []
    manifest = json.loads((out / MANIFEST).read_text())
    assert manifest["schema_version"] == 1
    assert manifest["deidentified"] is False
    assert manifest["identifying_content"] == [
        "pseudonym", "date of the visit", "proportions of the hand", "task (free text)",
    ]  # fmt: skip
    assert set(manifest["even_frames"]) == {"c3d", "opensim"}
    assert all(not said["resampled"] for said in manifest["even_frames"].values())
    assert len(manifest["comparability_key"]) == 64
    assert manifest["provenance"]["reference"]["simulated"] is True
    changed = next((out / "csv").glob("joints.csv"))
    changed.write_text(changed.read_text() + "x")
    (out / "fhir" / "more.json").write_text("{}")
    (out / "c3d" / "joints.c3d").unlink()
    assert check_export(out) == ["c3d/joints.c3d", "csv/joints.csv", "fhir/more.json"]


def test_a_zip_file_holds_the_same_and_replaces_the_one_before(run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "take.zip"
    out.write_bytes(b"old")
    export_run(run, ["csv"], out)
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "unpacked")
    assert check_export(tmp_path / "unpacked") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "take.zip", "unpacked"]


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_a_failure_leaves_nothing_behind(
    name: str, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(source: Any, folder: Path) -> None:
        (folder / "half.csv").write_text("a")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(csv_tables, "write", fill_the_disk)
    with pytest.raises(RunFolderError, match="No space left"):
        export_run(run, ["c3d", "csv"], tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("format_id", ["csv", "c3d", "nwb"])  # Python's files, ezc3d's and HDF5's
def test_a_disk_that_is_full_half_way_is_said_and_leaves_nothing(
    format_id: str, run: RunFolder, tmp_path: Path
) -> None:
    words = _export_onto_little(run, format_id, tmp_path / "out", n_bytes=2500)
    assert "could not be written" in words
    assert "start the run again" not in words
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def _export_onto_little(run: RunFolder, format_id: str, out: Path, n_bytes: int) -> str:
    """What the command says in a process whose files may not grow beyond some bytes."""
    code = (
        "import resource, sys\n"
        "from pipeline.__main__ import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({n_bytes}, {n_bytes}))\n"
        f"sys.exit(main(['export', {str(run.path)!r}, '--format', {format_id!r}, '--out', {str(out)!r}]))\n"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode != 0  # HDF5 crashes on its way out, after all has been said
    return ended.stderr


def test_what_is_there_already_is_not_overwritten(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="is there already"):
        export_run(run, ["csv"], tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_an_unknown_format_is_named_with_those_there_are(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"bvh.*csv, parquet, c3d"):
        export_run(run, ["csv", "bvh"], tmp_path / "out")


# --- who it was ----------------------------------------------------------------------------------


def test_a_deidentified_export_names_nobody_and_no_day(run: RunFolder, tmp_path: Path) -> None:
    plain = read_everything(export_run(run, list(FORMATS), tmp_path / "plain"))
    out = export_run(run, list(FORMATS), tmp_path / "out", deidentify=True)
    found = read_everything(out)
    for told in (b"P-014", b"P014", b"2026-03-02", b"20260302", b"secret-phone", b"cd" * 32):
        assert told in plain
        assert told not in found
    today = datetime.datetime.now(datetime.UTC).date().isoformat().encode()
    assert today in plain  # who exports on the day of the visit would tell it
    assert today not in found
    manifest = json.loads((out / MANIFEST).read_text())
    assert manifest["deidentified"] is True
    assert manifest["identifying_content"] == ["the movement itself", "task (free text)"]
    assert manifest["provenance"]["task"] == "piano"


@pytest.mark.parametrize("side", ["right", "left"])
def test_deidentified_joints_have_a_mean_hands_bones_and_the_measured_wrist(side: Any) -> None:
    lengths = []
    for seed in (1, 2):
        source = make_source((side,), n_frames=4, gaps=0.0, seed=seed)
        kept = deidentify_source(source).hands[side]
        assert np.allclose(kept.joints_mm[:, 0], source.hands[side].joints_mm[:, 0])
        lengths.append(np.linalg.norm(np.diff(kept.joints_mm[:, 5:9], axis=1), axis=-1))
        own = np.linalg.norm(np.diff(source.hands[side].joints_mm[:, 5:9], axis=1), axis=-1)
        assert np.abs(lengths[-1] - own).max() > 0.2
        assert not kept.betas.any()
    assert np.allclose(lengths[0], lengths[1], atol=1e-3)


def test_deidentified_features_are_those_of_a_mean_hand() -> None:
    source = make_source(n_frames=4, gaps=0.0)
    hand = source.hands["right"]
    measured = tabulate_features({"right": (source.time_s, compute_features(hand.joints_mm, hand.sigma_mm))})
    kept = deidentify_source(dataclasses.replace(source, tables={**source.tables, "features": measured}))
    joints, table = kept.hands["right"].joints_mm, kept.tables["features"]
    apart = joints[:, JOINTS.index("thumb_tip")] - joints[:, JOINTS.index("index_tip")]
    assert np.allclose(table["thumb_index_mm"], np.linalg.norm(apart, axis=1), atol=1e-3)
    assert np.abs(table["thumb_index_mm"] - measured["thumb_index_mm"]).max() > 0.1
    assert list(table.columns) == list(measured.columns)
    assert kept.tables["angles"] is source.tables["angles"]


def test_gaps_stay_gaps_in_deidentified_joints() -> None:
    source = make_source(n_frames=6, gaps=0.2)
    before, kept = source.hands["right"].joints_mm, deidentify_source(source).hands["right"]
    wrist = np.isfinite(before[:, :1])
    assert np.array_equal(np.isfinite(kept.joints_mm), np.isfinite(before) & wrist)
    assert np.array_equal(np.isfinite(kept.sigma_mm), np.isfinite(kept.joints_mm[..., 0]))


def test_the_own_shape_and_deidentification_exclude_each_other(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="own shape"):
        export_run(run, ["glb"], tmp_path / "out", deidentify=True, own_shape=True)


def test_another_hand_model_is_said_and_nothing_is_written(run: RunFolder, tmp_path: Path) -> None:
    write_json(
        run.run_json, {"state": "done", "models": [{"role": "hand model", "name": "MANO", "sha256": "0"}]}
    )
    with pytest.raises(ModelError, match="MANO"):
        export_run(run, ["csv"], tmp_path / "out", deidentify=True)
    assert not (tmp_path / "out").exists()


# --- even frames ---------------------------------------------------------------------------------


def test_rounded_times_are_left_as_they_are() -> None:
    time_s = np.round(np.arange(600) / float(NTSC), 3)  # a container that counts milliseconds
    even = find_even_frames(time_s, NTSC)
    assert not even.resampled
    assert even.largest_shift_s <= 0.0005 + 1e-9
    values = np.arange(600.0)
    assert even.take(values) is values


def test_one_frame_is_a_grid() -> None:
    even = find_even_frames(np.array([3.5]), NTSC)
    assert (even.start_s, even.n_frames, even.resampled) == (3.5, 1, False)


def test_a_dropped_frame_becomes_a_gap_and_its_neighbours_keep_their_values() -> None:
    time_s = np.array([0, 1, 2, 4, 5]) / 60
    even = find_even_frames(time_s, Fraction(60))
    found = even.take(np.array([10.0, 11, 12, 14, 15]))
    assert even.resampled
    assert found[[0, 1, 2, 4, 5]] == pytest.approx([10, 11, 12, 14, 15])
    assert np.isnan(found[3])
    assert even.largest_shift_s == pytest.approx(0.0, abs=1e-9)  # nothing is put into the gap


def jitter_frames(fps: int, seconds: float) -> np.ndarray:
    """Times of frames that stray by up to a fifth of an interval to either side, and so come unevenly."""
    stray = np.random.default_rng(fps).uniform(-0.2, 0.2, round(fps * seconds))
    stray[0] = 0.0
    return (np.arange(len(stray)) + stray) / fps


@pytest.mark.parametrize("fps", [30, 60])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_a_tremor_keeps_its_amplitude_on_an_even_grid(fps: int, offset: float) -> None:
    time_s = jitter_frames(fps, 20.0)
    time_s[1:] += offset / fps  # half-way between frames is where most is lost
    even = find_even_frames(time_s, Fraction(fps))
    assert even.resampled
    places = even.take(np.stack([np.sin(2 * np.pi * 7 * time_s), np.full(len(time_s), 5.0)], axis=1))
    turn = 2 * np.pi * 7 * (even.start_s + np.arange(even.n_frames) / fps)
    known = np.isfinite(places[:, 0])
    waves = np.stack([np.sin(turn), np.cos(turn)], axis=1)[known]
    assert known.mean() > 0.95
    assert np.hypot(*np.linalg.lstsq(waves, places[known, 0], rcond=None)[0]) >= 0.97
    assert places[known, 1] == pytest.approx(5.0)


def test_joints_that_miss_frames_of_their_own_are_not_bridged() -> None:
    time_s = jitter_frames(60, 1.0)
    values = np.sin(2 * np.pi * 7 * time_s)[:, None] * np.ones((1, 2))
    values[20, 1] = np.nan
    even = find_even_frames(time_s, Fraction(60))
    whole, missed = even.take(values).T
    assert 1 <= np.isnan(missed).sum() - np.isnan(whole).sum() <= 3
    far = np.abs(np.arange(even.n_frames) - 20) > 8
    assert missed[far] == pytest.approx(whole[far], abs=1e-3, nan_ok=True)


def test_frames_almost_at_once_do_not_fling_a_joint_about() -> None:
    time_s = np.arange(20) / 30
    time_s[10] = time_s[9] + 0.001  # and their noise of a millimetre is no speed of a metre a second
    values = np.where(np.arange(20) == 10, 1.0, 0.0)
    even = find_even_frames(time_s, Fraction(30))
    assert np.nanmax(np.abs(even.take(values))) <= 1.2


def test_two_frames_at_odds_with_the_rate_are_one_place() -> None:
    even = find_even_frames(np.array([0.0, 0.3]) / 60, Fraction(60))
    assert (even.n_frames, even.resampled) == (1, True)
    assert even.take(np.array([1.0, 2.0])) == pytest.approx([1.0])


# --- command -------------------------------------------------------------------------------------


def test_the_command_writes_the_formats_asked_for(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run.path), "--format", "csv", "c3d", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"csv", "c3d", MANIFEST}
    assert str(out) in capsys.readouterr().out
    assert main(["export", str(run.path), "--format", "csv", "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_command_takes_all_formats_and_a_zip(run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "all.zip"
    assert main(["export", str(run.path), "--format", "all", "--deidentify", "--out", str(out)]) == 0
    with zipfile.ZipFile(out) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {*FORMATS, MANIFEST}
