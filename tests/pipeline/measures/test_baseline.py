from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from pipeline.errors import MeasureError, RunFolderError
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import JOINTS
from pipeline.measures.baseline import (
    PERCENTILES,
    build_baseline,
    build_from_people,
    describe_baseline,
    read_baseline,
    write_baseline,
)
from pipeline.measures.measure import measure
from pipeline.measures.playing_types import FingerIndex, Individuation, KeyTiming, TremorSummary
from pipeline.measures.summary import Summary, summarise, write_summary
from pipeline.results import RunFolder, write_hand
from pipeline.session import SessionSettings
from tests.pipeline.measures.test_summary import stages


def test_the_built_in_reference_is_marked_as_simulated_and_complete():
    built_in = read_baseline()
    assert built_in.simulated
    assert "not for a patient" in built_in.provenance
    assert built_in.n_people >= 20
    assert set(built_in.angles) == set(ANGLES)
    assert set(built_in.joints) == set(JOINTS)
    assert all(entry.person_sd_deg > 0 and entry.frame_sd_deg > 0 for entry in built_in.angles.values())
    assert all(entry.jerk_p95 > entry.jerk_p50 > 0 for entry in built_in.joints.values())


def test_the_built_in_references_people_exceed_1_and_3_about_as_often_as_chance_says():
    check = read_baseline().leave_one_out
    assert check["person_beyond_1"] == pytest.approx(check["person_beyond_1_by_chance"], abs=0.08)
    assert check["person_beyond_3"] < 0.02
    assert check["frame_beyond_1"] == pytest.approx(0.317, abs=0.08)
    assert check["frame_beyond_3"] < 0.01


def test_a_reference_survives_its_file(baseline, tmp_path):
    path = tmp_path / "reference.json"
    write_baseline(path, baseline)
    again = read_baseline(path)
    assert repr(again) == repr(baseline)
    assert again.digest == baseline.digest


def test_the_two_spreads_are_those_of_frames_and_of_people(people, baseline):
    column = ANGLES.index("index_pip_flexion")
    values = [person.hands[0].degrees[:, column] for person in people]
    entry = baseline.angles["index_pip_flexion"]
    assert entry.person_sd_deg == pytest.approx(np.std([np.median(v) for v in values], ddof=1))
    assert entry.frame_sd_deg == pytest.approx(np.concatenate(values).std(), rel=0.1)
    assert entry.frame_sd_deg > entry.person_sd_deg


def test_its_own_people_are_over_the_jerk_reference_for_5_percent_of_the_time(people, baseline):
    _, p95 = baseline.jerk_reference()
    jerk = np.concatenate([person.hands[0].kinematics.jerk for person in people])
    share = np.nanmean(np.where(np.isfinite(jerk), jerk > p95, np.nan), axis=0)
    np.testing.assert_allclose(share, 0.05, atol=0.01)
    assert baseline.headlines["jerk_over_reference"].mean == pytest.approx(5.0, abs=1.0)


def test_another_filter_has_no_jerk_reference(baseline):
    other = dataclasses.replace(baseline, filter="another")
    assert np.isnan(other.jerk_reference()).all()


def test_one_person_is_no_reference(people):
    with pytest.raises(MeasureError, match="1 people"):
        build_from_people(people[:1], "x", "x", "x", simulated=False)


def test_recordings_of_different_tasks_are_not_mixed(people):
    mixed = [people[0], dataclasses.replace(people[1], task="banjo")]
    with pytest.raises(MeasureError, match="banjo, piano"):
        build_from_people(mixed, "x", "x", "x", simulated=False)


def test_a_rate_too_low_for_jerk_gives_postures_only(track):
    from pipeline.measures.baseline import measure_person

    slow = [
        measure_person(f"s{n}", "piano", [("right", track(8.0, fps=30.0, seed=n, bend_deg=n))])
        for n in range(3)
    ]
    reference = build_from_people(slow, "slow", "x", "x", simulated=True)
    assert np.isfinite(reference.angles["ring_pip_flexion"].person_sd_deg)
    assert np.isnan(reference.jerk_reference()).all()
    assert reference.joints["ring_tip"].n_people == 0


def test_runs_of_one_subject_are_one_person(track, tmp_path):
    runs = []
    for number, subject in enumerate(["a", "a", "b", "c"]):
        run = RunFolder(tmp_path / str(number))
        write_hand(run, "left", track(5.0, side="left", bend_deg=3.0 * number, seed=number))
        record = {"state": "done", "settings": {"subject": subject, "task": "piano"}}
        run.run_json.write_text(json.dumps(record))
        runs.append(run)
    reference = build_baseline(runs, name="clinic", licence="own", provenance="three people")
    assert reference.n_people == 3
    assert reference.angles["ring_pip_flexion"].n_people == 3
    assert not reference.simulated
    assert "clinic: 3 people" in describe_baseline(reference)


def test_the_hand_that_a_failed_run_left_behind_is_no_part_of_a_reference(track, tmp_path):
    run = RunFolder(tmp_path / "failed")
    write_hand(run, "right", track(5.0))
    run.run_json.write_text('{"state": "failed", "settings": {"subject": "a"}}')
    with pytest.raises(RunFolderError, match="failed is not finished"):
        build_baseline([run])


def test_a_run_without_a_hand_and_a_foreign_file_are_named(tmp_path):
    run = RunFolder(tmp_path / "empty")
    run.path.mkdir()
    run.run_json.write_text('{"state": "done"}')
    with pytest.raises(RunFolderError, match="empty holds no fused hand"):
        build_baseline([run])
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"schema_version": 1, "name": 3}')
    with pytest.raises(MeasureError, match=r"foreign\.json"):
        read_baseline(foreign)
    foreign.write_text('{"schema_version": 99}')
    with pytest.raises(MeasureError, match="schema 99"):
        read_baseline(foreign)
    with pytest.raises(RunFolderError, match=r"missing.* Build it again"):
        read_baseline(tmp_path / "nowhere.json")


def test_the_format_holds_what_a_reference_must_state(baseline):
    assert (baseline.n_people, baseline.task, baseline.fps) == (12, "piano", 60.0)
    assert baseline.n_minutes == pytest.approx(12 * 6 / 60)
    assert baseline.filter
    assert baseline.licence
    assert baseline.provenance
    assert baseline.version == "1"
    assert baseline.program_version
    assert len(baseline.script_sha256) == 64
    entry = baseline.angles["index_pip_flexion"]
    values = [entry.percentiles_deg[f"{percent:g}"] for percent in PERCENTILES]
    assert values == sorted(values)
    assert entry.frame_sd_deg != entry.person_sd_deg


def test_the_check_is_printed_with_its_error_and_what_chance_gives(baseline):
    said = describe_baseline(baseline).splitlines()
    frames, medians = (
        next(line for line in said if line.startswith(f"  {word}")) for word in ("frames", "medians")
    )
    for line in (frames, medians):
        assert [part.split(":")[0].split()[-1] for part in line.split(",")] == ["1", "2", "3"]
        assert line.count("±") == 3
    chance = 100 * baseline.leave_one_out["person_beyond_3_by_chance"]
    assert f"({chance:.2f})" in medians


def test_people_may_come_one_after_the_other(people, baseline):
    again = build_from_people(iter(people), "test reference", "none", "made for a test", simulated=True)
    assert again.digest == baseline.digest


def tell(summary: Summary, index: float, seen: bool, sd_ms: float) -> Summary:
    """The same summary with these numbers of the strokes."""
    fingers = (FingerIndex("index", index, 0.0, 1.0, 20), FingerIndex("ring", np.nan, 0.0, 1.0, 3))
    tremor = (
        TremorSummary("hand", "seen" if seen else "none seen", rms_mm=0.4 if seen else np.nan),
        TremorSummary("index", "cannot tell"),
    )
    told = dataclasses.replace(
        summary.sides["left"], tremor=tremor, individuation=Individuation((), fingers, 20, 0, True)
    )
    timing = KeyTiming("front", "measured", sd_ms=sd_ms, cv=sd_ms / 250)
    return dataclasses.replace(summary, sides={"left": told}, timing=timing)


def test_runs_carry_their_numbers_of_tremor_individuation_and_timing_into_a_reference(
    baseline, track, tmp_path
):
    hand = track(5.0, side="left")
    summary = summarise(
        settings=SessionSettings(subject="a"),
        **stages(hand),
        hands={"left": hand},
        measures=measure({"left": hand}, baseline),
        baseline=baseline,
        model_name="built-in hand",
    )
    runs = []
    for number, (index, seen, sd) in enumerate([(0.8, False, 8.0), (0.6, True, 12.0), (0.7, False, 10.0)]):
        run = RunFolder(tmp_path / str(number))
        write_hand(run, "left", track(5.0, side="left", bend_deg=3.0 * number, seed=number))
        record = {"state": "done", "settings": {"subject": str(number), "task": "piano"}}
        run.run_json.write_text(json.dumps(record))
        write_summary(run.summary_json, tell(summary, index, seen, sd))
        runs.append(run)
    reference = build_baseline(runs)
    told = reference.playing
    assert (told["individuation:index"].n_people, told["individuation:index"].mean) == (3, pytest.approx(0.7))
    assert told["individuation:index"].sd == pytest.approx(0.1)
    assert told["timing_sd_ms"].mean == pytest.approx(10)
    assert told["tremor_seen:hand"].mean == pytest.approx(1 / 3)
    assert (told["tremor_rms_mm:hand"].n_people, told["tremor_rms_mm:hand"].mean) == (1, pytest.approx(0.4))
    assert not {"individuation:ring", "tremor_seen:index"} & set(told)
    write_baseline(tmp_path / "reference.json", reference)
    assert repr(read_baseline(tmp_path / "reference.json").playing) == repr(told)
    against = summarise(
        settings=SessionSettings(subject="a"),
        **stages(hand),
        hands={"left": hand},
        measures=measure({"left": hand}, reference),
        baseline=reference,
        model_name="built-in hand",
    )
    assert against.playing_reference["timing_sd_ms"] == "10.0 ± 2.0 ms (local baseline, n = 3)"
    assert "individuation index of a finger (1 = the others stay), index: 0.7 ± 0.1 (n = 3)" in (
        describe_baseline(reference)
    )
