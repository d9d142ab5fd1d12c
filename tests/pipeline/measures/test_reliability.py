from __future__ import annotations

import dataclasses
import datetime
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.__main__ import EXIT_ERROR, main
from pipeline.errors import MeasureError, RunFolderError
from pipeline.files import write_json
from pipeline.measures.change import compare
from pipeline.measures.quality_types import QualityReport
from pipeline.measures.reliability import (
    GOOD_PEOPLE,
    StudyRecording,
    compute_agreement,
    compute_within_sem,
    describe_reliability,
    read_study,
    work_out_reliability,
)
from pipeline.measures.reliability_types import (
    RELIABILITY_VERSION,
    Reliability,
    read_reliability,
    write_reliability,
)
from pipeline.measures.summary import (
    HEADLINES,
    AngleSummary,
    Headline,
    Provenance,
    Recording,
    SideSummary,
    Summary,
    write_summary,
)
from pipeline.results import RunFolder

KEY = {"task": "piano", "filter": "f"}

# Shrout and Fleiss 1979, table 2: six targets by four judges; ICC(2,1) = 0.29 and ICC(3,1) = 0.71 in table 4.
SHROUT = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
TWICE = [
    [51.7, 55.6], [52.6, 52.3], [58.4, 55.9], [59.9, 64.1], [68.9, 68.3], [58.6, 61.7],
    [54.3, 54.2], [52.7, 55.0], [64.6, 67.1], [74.2, 73.7], [62.1, 61.3], [49.0, 50.5],
]  # fmt: skip
THRICE = [
    [24.5, 26.8, 26.8], [22.0, 25.5, 25.4], [32.6, 28.3, 32.2], [24.5, 26.0, 25.0],
    [36.4, 34.6, 38.4], [33.4, 33.8, 33.8], [22.8, 23.9, 26.7], [30.0, 31.2, 30.8],
]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "agreement", "low", "high", "consistency"),
    [  # what pingouin 0.7.0, intraclass_corr, gives for these tables: ICC(A,1), its CI95, ICC(C,1)
        (SHROUT, 0.28976377952755916, 0.01878651, 0.76108437, 0.7148407148407154),
        (TWICE, 0.9515542842401568, 0.83483217, 0.98597648, 0.9579930320557372),
        (THRICE, 0.8925723823913754, 0.69076303, 0.97518089, 0.9090878369596299),
    ],
)
def test_agreement_and_consistency_are_those_of_a_published_program(
    values, agreement, low, high, consistency
):
    found = compute_agreement(np.array(values, dtype=float))
    assert found.icc_agreement == pytest.approx(agreement, abs=1e-12)
    assert (found.icc_low, found.icc_high) == pytest.approx((low, high), abs=1e-8)
    assert found.icc_consistency == pytest.approx(consistency, abs=1e-12)


def test_the_example_of_shrout_and_fleiss_has_their_published_values():
    found = compute_agreement(np.array(SHROUT, dtype=float))
    assert round(found.icc_agreement, 2) == 0.29
    assert round(found.icc_consistency, 2) == 0.71
    assert found.sem**2 == pytest.approx(1.02, abs=0.005)  # their residual mean square


@given(st.integers(0, 10_000), st.integers(3, 30), st.floats(-5, 5))
def test_of_two_sessions_the_error_is_the_spread_of_differences_by_root_two_whatever_was_learnt(
    seed, people, learnt
):
    values = np.random.default_rng(seed).normal(0, 3, (people, 2))
    values[:, 1] += learnt
    found = compute_agreement(values)
    assert found.sem == pytest.approx(np.diff(values, axis=1).std(ddof=1) / np.sqrt(2), rel=1e-6)


def test_a_gain_of_the_whole_session_lowers_the_agreement_and_leaves_the_consistency():
    values = np.array(TWICE)
    learnt = values + np.array([0.0, 10.0])
    before, after = compute_agreement(values), compute_agreement(learnt)
    assert after.icc_consistency == pytest.approx(before.icc_consistency)
    assert after.sem == pytest.approx(before.sem)
    assert after.icc_agreement < before.icc_agreement - 0.2


def test_the_error_within_a_session_is_pooled_over_groups_and_needs_a_repeat():
    assert compute_within_sem([[1.0, 3.0], [10.0, 12.0, 14.0], [7.0], [math.nan, 5.0]]) == pytest.approx(
        math.sqrt((2.0 + 8.0) / 3)
    )
    assert math.isnan(compute_within_sem([[1.0], []]))


# --- studies ---------------------------------------------------------------------------------------


def visit(subject, day, value=10.0, degrees=50.0, side="right", verdict="passed", key=None):
    headlines = tuple(
        Headline(name, label, value, unit, value - 0.1, value + 0.1, worse=worse)
        for name, (label, unit, worse) in HEADLINES.items()
    )
    angle = AngleSummary(
        "ring_pip_flexion", "ring finger PIP flexion", "ring", "ring_pip", degrees, 5.0, 20.0, 2.0,
        2.0, 1.0, 3.0, "1 to 3 SD", False, 40.0, 8.0, 1.0, median_low=degrees - 0.5,
        median_high=degrees + 0.5, far_share=0.1,
    )  # fmt: skip
    return Summary(
        subject=subject,
        visit="" if day is None else str(datetime.date(2026, 1, 1) + datetime.timedelta(days=day)),
        task="piano",
        recording=Recording(60.0, 60.0, 3600, ("front",)),
        quality=QualityReport(verdict, (), (), {}, "audio", "file", "reliable"),
        provenance=Provenance("1", "m", "d", "e", "p", "f", "r", False, 20, 10.0, "piano", "x", "x", "x"),
        sides={side: SideSummary((angle,), (), headlines, (), (), (), ())},
        comparability=KEY if key is None else key,
    )


def study(people=24, sem=1.0, spread=5.0, seed=0, repeats=1):
    random = np.random.default_rng(seed)
    recordings = []
    for number in range(people):
        own = random.normal(40, spread)
        for session in range(2):
            level = own + random.normal(0, sem)
            for _ in range(repeats):
                value = level + random.normal(0, 0.3)
                recordings.append(visit(f"p{number}", 7 * session, value, value))
    return [StudyRecording(f"run-{i}", summary) for i, summary in enumerate(recordings)]


def test_a_study_finds_the_error_it_was_made_with_and_says_who_and_how_far_apart():
    found = work_out_reliability(study(300, repeats=3), "made people")
    entry = found.measures["smoothness"]
    assert entry.sem == pytest.approx(math.hypot(1.0, 0.3), rel=0.12)
    assert entry.mdc95 == pytest.approx(1.96 * math.sqrt(2) * entry.sem, rel=1e-4)
    assert entry.within_sem == pytest.approx(0.3, rel=0.1)
    assert entry.within_sem < entry.sem
    assert entry.icc_low < 25 / (25 + 1.09) < entry.icc_high
    assert entry.limit95 == pytest.approx(entry.mdc95, rel=0.1)  # so many people
    assert (found.n_people, found.n_sessions, found.days_apart, found.n_recordings) == (300, 2, 7.0, 1800)
    assert found.conditions == KEY
    assert found.hands == {"right": 300}
    assert "made people" in describe_reliability(found)


def test_few_people_are_said_and_widen_what_a_change_is_held_against():
    entry = work_out_reliability(study(6)).measures["ring_pip_flexion"]
    assert f"Fewer than {GOOD_PEOPLE} people." in entry.flags
    assert entry.limit95 / entry.mdc95 == pytest.approx(2.5706 / 1.95996, abs=1e-3)  # Student's t, 5


def test_an_error_as_large_as_the_differences_between_people_and_learning_are_said():
    recordings = study(24, sem=3.0, spread=0.5)
    entry = work_out_reliability(recordings).measures["smoothness"]
    assert any("over 30 % of the range" in flag for flag in entry.flags)
    recordings = [
        StudyRecording(f"{n}-{day}", visit(f"p{n}", day, n + 0.1 * (n % 2) * day + 2 * day))
        for n in range(20) for day in (0, 1)
    ]  # fmt: skip
    entry = work_out_reliability(recordings).measures["jerk_p95"]
    assert entry.bias == pytest.approx(2.05)
    assert any("The last session differs from the first by +2.05 m/s³." in flag for flag in entry.flags)


def test_a_measure_that_stays_at_a_bound_has_no_error_and_those_people_do_not_count():
    recordings = study(10)
    constant = work_out_reliability(recordings).measures["ring_pip_flexion_far_share"]
    assert math.isnan(constant.limit95)
    assert any("Not established" in flag for flag in constant.flags)
    still = [StudyRecording(f"s{n}-{day}", visit(f"s{n}", day, 0.0)) for n in range(30) for day in (0, 7)]
    alone = work_out_reliability(recordings).measures["posture_share"]
    among = work_out_reliability([*recordings, *still]).measures["posture_share"]
    assert among.sem == pytest.approx(alone.sem)
    assert (among.n_people, among.flags[0]) == (
        10,
        "30 people had one value at all sessions and do not count.",
    )


def test_people_with_one_session_and_failed_recordings_are_left_out_and_named():
    extra = [
        StudyRecording("x", visit("lonely", 0)),
        StudyRecording("y", visit("p0", 30, verdict="failed")),
    ]
    found = work_out_reliability([*study(5), *extra])
    assert found.n_people == 5
    assert "lonely: only one session." in found.left_out
    assert "y: its quality check failed." in found.left_out
    with pytest.raises(MeasureError, match="lonely: only one session"):
        work_out_reliability([*study(2), *extra])


def test_recordings_that_are_not_comparable_or_not_dated_are_refused_by_name():
    other = StudyRecording("odd", visit("p9", 0, key={"task": "banjo", "filter": "f"}))
    with pytest.raises(MeasureError, match="task differs: piano in run-0, banjo in odd"):
        work_out_reliability([*study(4), other])
    with pytest.raises(MeasureError, match="undated has no date"):
        work_out_reliability([*study(4), StudyRecording("undated", visit("p9", None))])


def test_one_hand_of_each_person_counts_and_further_sessions_only_where_all_have_them():
    recordings = study(5)
    recordings += [StudyRecording(f"l{d}", visit("lefty", d, 40.0 + d, side="left")) for d in (0, 7)]
    recordings.append(StudyRecording("third", visit("p0", 14, 99.0)))
    found = work_out_reliability(recordings)
    assert found.hands == {"right": 5, "left": 1}
    assert found.measures["smoothness"].highest < 99
    assert any("past number 2" in words for words in found.left_out)


def test_a_study_decides_only_on_recordings_like_its_own():
    found = work_out_reliability(study(30))
    before, after = visit("a", 0, 40.0), visit("a", 90, 60.0)
    (change, *_) = compare(before, after, found).sides["right"].headlines
    assert change.verdict == "worse"
    elsewhere = dataclasses.replace(found, conditions={**KEY, "filter": "g"})
    comparison = compare(before, after, elsewhere)
    assert {one.verdict for one in comparison.sides["right"].headlines} == {"cannot tell"}
    assert comparison.study_obstacles["right"] == ("The filter differs: g in the reliability study, f here.",)
    left = compare(visit("a", 0, 40.0, side="left"), visit("a", 90, 60.0, side="left"), found)
    assert left.study_obstacles["left"] == ("No left hand is in the reliability study.",)


# --- files and the command -------------------------------------------------------------------------


def test_a_reliability_file_survives_and_a_wrong_one_is_named(tmp_path):
    path = tmp_path / "reliability.json"
    found = work_out_reliability(study(6), "made for a test")
    write_reliability(path, found)
    assert repr(read_reliability(path)) == repr(found)
    assert "NaN" not in path.read_text()
    later = json.loads(path.read_text()) | {"schema_version": RELIABILITY_VERSION + 1}
    wrong = ['{"mdc95": {"smoothness": -1}, "n_people": 3, "provenance": ""}', '{"a": 1}', "[]", "3"]
    entry = '{"schema_version": 2, "n_people": 3, "measures": {"a": {"id": "a", "label": %s, "unit": "", '
    entry += '"n_people": 3, "limit95": %s}}}'
    wrong += [entry % ('"a"', value) for value in ("1e999", "-1", "1" + "0" * 400, '"wide"', "[]")]
    wrong += [entry % ("5", "1"), '{"schema_version": 2, "n_people": 3, "measures": {}, "provenance": 5}']
    for text in (*wrong, json.dumps(later)):
        path.write_text(text)
        with pytest.raises(MeasureError, match=r"reliability\.json"):
            read_reliability(path)
    with pytest.raises(RunFolderError, match=r"missing.* Work it out again"):
        read_reliability(tmp_path / "nothing.json")


def test_a_file_of_the_first_version_is_read_and_decides_nothing_since_its_recordings_are_not_known(tmp_path):
    path = tmp_path / "old.json"
    path.write_text('{"mdc95": {"smoothness": 0.5}, "n_people": 20, "provenance": "a clinic"}')
    old = read_reliability(path)
    assert (old.limit_of("smoothness"), old.n_people, old.provenance) == (0.5, 20, "a clinic")
    comparison = compare(visit("a", 0), visit("a", 9, 20.0), old)
    assert "does not say what its recordings were like" in comparison.study_obstacles["right"][0]


def write_runs(folder, recordings):
    for recording in recordings:
        run = RunFolder(folder / recording.name)
        run.path.mkdir(parents=True)
        write_summary(run.summary_json, recording.summary)
        write_json(run.run_json, {"state": "done"})
    return sorted(path for path in folder.iterdir())


def test_the_command_writes_the_file_that_changes_are_held_against(tmp_path, capsys):
    runs = write_runs(tmp_path / "runs", study(8))
    out = tmp_path / "reliability.json"
    arguments = ["reliability", *map(str, runs), "--out", str(out), "--provenance", "eight made people"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for words in (
        "8 people (8 right hands)",
        "eight made people",
        "ICC(A,1)",
        "ring_pip_flexion",
        "Fewer than",
    ):
        assert words in printed
    found = read_reliability(out)
    assert isinstance(found, Reliability)
    assert found.measures["smoothness"].limit95 > 0
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_people"] == 8


def test_the_command_refuses_an_unfinished_run_and_counts_a_folder_once(tmp_path, capsys):
    runs = write_runs(tmp_path / "runs", study(4))
    assert len(read_study([*runs, runs[0]])) == len(runs)
    write_json(RunFolder(runs[1]).run_json, {"state": "failed"})
    out = tmp_path / "reliability.json"
    assert main(["reliability", *map(str, runs), "--out", str(out)]) == EXIT_ERROR
    assert "is not finished" in capsys.readouterr().err
    assert not out.exists()


# --- how often two visits are called changed (benchmarks/change_rates.py has the whole chain) ------


def draw_visits(random, people, first, kind, gain=0.0):
    """Two visits each, whose error is normal or grows with the value as that of shares and counts does."""
    own = np.exp(random.normal(3.0, 0.6, people)) if kind == "skewed" else random.normal(40, 5, people)
    spread = 0.15 * own if kind == "skewed" else np.full(people, 1.5)
    values = own[:, None] + spread[:, None] * random.normal(size=(people, 2)) + [0.0, gain]
    return [
        (visit(f"p{first + n}", 0, one, 50.0), visit(f"p{first + n}", 7, two, 50.0))
        for n, (one, two) in enumerate(values)
    ]


def count_verdicts(pairs, study):
    changes = [compare(a, b, study).sides["right"].headlines[0] for a, b in pairs]
    return np.mean([change.verdict in ("better", "worse") for change in changes])


@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_unchanged_visits_are_called_changed_in_5_percent_and_twice_the_mdc_is_seen_in_90(kind):
    random = np.random.default_rng(20)
    false, seen = [], []
    for _ in range(8):
        pairs = draw_visits(random, 30, 0, kind)
        study = work_out_reliability([StudyRecording("one", one) for pair in pairs for one in pair])
        gain = 2 * study.measures["posture_share"].mdc95
        false.append(count_verdicts(draw_visits(random, 200, 100, kind), study))
        seen.append(count_verdicts(draw_visits(random, 100, 400, kind, gain), study))
    assert np.mean(false) <= 0.05
    assert np.mean(seen) >= 0.90


def test_differences_with_a_long_tail_raise_the_limit_above_what_their_spread_tells():
    random = np.random.default_rng(3)
    recordings = []
    for number in range(40):
        own, error = random.normal(40, 5), random.normal(0, 6.0 if number % 5 == 0 else 0.5)
        recordings += [visit(f"p{number}", 0, own), visit(f"p{number}", 7, own + error)]
    entry = work_out_reliability([StudyRecording("x", one) for one in recordings]).measures["smoothness"]
    assert entry.limit95 > 1.1 * 2.0227 / 1.95996 * entry.mdc95  # Student's t, 39


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2], [2, 1], [1, 2], [2, 1]],
        [[0, 4], [1, 3], [3, 1], [4, 0]],
        [[0, 1], [1, 2], [2, 3]],
        [[1, 2], [1, 2], [1, 2]],
    ],
    ids=["people alike", "turned round", "shifted alike", "all alike"],
)
def test_people_who_do_not_differ_or_err_have_no_interval_of_agreement_and_break_nothing(values):
    found = compute_agreement(np.array(values, dtype=float))
    assert np.isnan(found.icc_low)
    assert np.isnan(found.icc_high)
    assert found.sem >= 0
