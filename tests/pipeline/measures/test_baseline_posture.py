"""A reference of postures alone, as a person sees it in a recording's summary."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from pipeline.hand.joints import Side
from pipeline.measures.baseline import (
    Baseline,
    BaselineLabel,
    build_labelled,
    describe_baseline,
    read_baseline,
    write_baseline,
)
from pipeline.measures.measure import measure
from pipeline.measures.summary import get_headline, read_summary, summarise, write_summary
from pipeline.results import HandTrack
from pipeline.session import SessionSettings
from tests.pipeline.measures.test_summary import stages

REASON = "It was filmed at 30 frames a second."


@pytest.fixture(scope="module")
def postures(people) -> Baseline:
    return build_labelled(
        iter(people), BaselineLabel("postures", "own", "twelve people", posture_only=REASON)
    )


@pytest.fixture(scope="module")
def side(postures, track, tmp_path_factory):
    hands: dict[Side, HandTrack] = {"right": track(12.0, bend_deg=45.0)}
    summary = summarise(
        settings=SessionSettings(subject="p1"),
        **stages(hands["right"]),
        hands=hands,
        measures=measure(hands, postures),
        baseline=postures,
        model_name="built-in hand",
    )
    path = tmp_path_factory.mktemp("run") / "summary.json"
    write_summary(path, summary)
    assert any(REASON in note for note in summary.notes)
    return read_summary(path).sides["right"]


def test_no_movement_is_in_it_even_where_the_recordings_had_some(postures, people):
    assert np.isfinite(people[0].hands[0].kinematics.jerk).any()
    assert np.isnan(postures.jerk_reference()).all()
    assert {name for name, number in postures.headlines.items() if number.n_people} == {
        "posture_share", "posture_bouts", "angle_deviation",
    }  # fmt: skip
    assert "jerk" not in postures.filter


def test_jerk_against_it_is_withheld_with_its_reason_and_the_recordings_own_is_told(side):
    over = get_headline(side, "jerk_over_reference")
    assert np.isnan(over.value)
    assert over.note == REASON
    own = get_headline(side, "jerk_p95")
    assert np.isfinite(own.value)
    assert own.reference == ""
    for joint in side.jerk_reference:
        assert np.isfinite(joint.p95)
        assert np.isnan(joint.share_over_reference)
        assert joint.note == REASON


def test_postures_are_told_against_it_as_ever(side, postures):
    angle = next(one for one in side.angles if one.angle == "ring_pip_flexion")
    assert angle.z > 3
    assert angle.note == ""
    assert get_headline(side, "posture_share").value > 90
    assert "postures, n = 12" in get_headline(side, "angle_deviation").reference
    assert all(np.isfinite(finger.rms_deg) for finger in side.fingers)


def test_its_file_and_its_description_say_so(postures, tmp_path):
    write_baseline(tmp_path / "r.json", postures)
    again = read_baseline(tmp_path / "r.json")
    assert repr(again) == repr(postures)
    assert f"postures only: {REASON}" in describe_baseline(again)


def test_a_file_from_before_these_fields_is_read_and_keeps_its_digest(baseline, tmp_path):
    before = dataclasses.replace(baseline, version="", program_version="", playing={})
    raw = json.loads(json.dumps(dataclasses.asdict(before)).replace("NaN", "null"))
    for name in ("version", "program_version", "posture_only", "playing"):
        del raw[name]
    (tmp_path / "old.json").write_text(json.dumps(raw))
    again = read_baseline(tmp_path / "old.json")
    assert again.digest == before.digest
    assert again.digest != baseline.digest
    assert again.version == ""
