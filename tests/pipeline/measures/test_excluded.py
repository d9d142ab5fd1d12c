"""A section that a person excluded counts as never measured, in every figure."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.hand.joints import Side
from pipeline.measures.excluded import exclude_hands, exclude_strokes, join_sections, mark_excluded
from pipeline.measures.measure import measure
from pipeline.measures.summary import read_summary, summarise, write_summary
from pipeline.measures.timing import Heard, Onsets, describe_timing
from pipeline.results import HandTrack, RunFolder, read_hand, write_hand
from pipeline.session import ExcludedSection, SessionSettings
from tests.pipeline.measures.test_summary import stages

SECTION = ExcludedSection(start_s=4.0, end_s=6.5, reason="the therapist's hand")


def summarise_hands(hands: dict[Side, HandTrack], baseline, sections=()):
    settings = SessionSettings(subject="p1", exclude=tuple(sections))
    return summarise(
        settings=settings,
        **stages(next(iter(hands.values()))),
        hands=hands,
        measures=measure(hands, baseline),
        baseline=baseline,
        model_name="built-in hand",
        flat_mm={side: hand.joints_mm[0] for side, hand in hands.items()},
    )


def with_trust(hand: HandTrack) -> HandTrack:
    """What a fusion of now says of each point."""
    frames = len(hand.time_s)
    return dataclasses.replace(
        hand, trust=np.ones((1, frames, 21)), view_state=np.full((1, frames), "used", dtype="U12")
    )


def ruin(hand: HandTrack, inside: np.ndarray) -> HandTrack:
    """Another movement altogether in the frames inside, and a view that followed another hand there."""
    random = np.random.default_rng(3)
    assert hand.view_state is not None
    joints, state = hand.joints_mm.copy(), hand.view_state.copy()
    joints[inside] = random.normal(0, 200, joints[inside].shape)
    state[:, inside] = "other hand"
    pose = hand.hand_pose.copy()
    pose[inside] = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    residual = np.where(inside[:, None], 90.0, hand.residual_px)
    return dataclasses.replace(hand, joints_mm=joints, view_state=state, hand_pose=pose, residual_px=residual)


def test_every_figure_is_that_of_a_session_never_measured_there(track, baseline):
    """Whatever the hand did in the section; before and after it nothing is filtered together."""
    hand = with_trust(track(12.0))
    inside = mark_excluded(hand.time_s, [SECTION])
    assert hand.trust is not None
    never = dataclasses.replace(
        hand,
        joints_mm=np.where(inside[:, None, None], np.nan, hand.joints_mm),
        hand_pose=np.where(inside[:, None, None, None], np.nan, hand.hand_pose),
        residual_px=np.where(inside[:, None], np.nan, hand.residual_px),
        joint_sigma_mm=np.where(inside[:, None], np.nan, hand.joint_sigma_mm),
        quality=np.where(inside[:, None], 0.0, hand.quality),
        trust=np.where(inside[:, None], np.nan, hand.trust),
    )
    expected = summarise_hands({"right": never}, baseline)
    for each in (hand, ruin(hand, inside)):
        found = summarise_hands(exclude_hands({"right": each}, [SECTION]), baseline, [SECTION])
        assert repr(found.sides) == repr(expected.sides)
        for name in ("valid_share", "stated_sigma_mm", "reprojection_px", "set_aside", "view_set_aside"):
            assert repr(getattr(found.quality.hands["right"], name)) == repr(
                getattr(expected.quality.hands["right"], name)
            ), name
    tables = measure({"right": never}, baseline)
    of_hand = measure(exclude_hands({"right": ruin(hand, inside)}, [SECTION]), baseline)
    assert repr(of_hand.measures.to_numpy().tolist()) == repr(tables.measures.to_numpy().tolist())
    assert not of_hand.angles["valid"].to_numpy().reshape(-1, 20)[inside].any()
    # It says what was left out, and a hand ruined there would else have failed.
    ruined = summarise_hands({"right": ruin(hand, inside)}, baseline)
    assert repr(ruined.sides) != repr(expected.sides)


def test_a_section_is_stated_with_its_reason_and_survives_the_file(track, baseline, tmp_path):
    sections = [SECTION, ExcludedSection(start_s=90.0, end_s=95.0, reason="past the end")]
    hands = exclude_hands({"right": with_trust(track(12.0))}, sections)
    found = summarise_hands(hands, baseline, sections)
    assert [each.reason for each in found.excluded] == ["the therapist's hand", "past the end"]
    assert [each.seconds for each in found.excluded] == [pytest.approx(2.5, abs=0.02), 0.0]
    assert found.quality.hands["right"].exclusions == ()  # it is no fault of the cameras
    write_summary(tmp_path / "summary.json", found)
    assert read_summary(tmp_path / "summary.json").excluded == found.excluded


def test_a_section_of_one_hand_leaves_the_other_and_the_fused_hand_itself(track, tmp_path):
    hands: dict[Side, HandTrack] = {"right": track(8.0), "left": track(8.0, side="left")}
    found = exclude_hands(hands, [SECTION.model_copy(update={"side": "left"})])
    assert found["right"] is hands["right"]
    assert np.isnan(found["left"].joints_mm[300]).all()
    assert np.isfinite(hands["left"].joints_mm).all()
    write_hand(RunFolder(tmp_path), "left", found["left"])
    assert read_hand(RunFolder(tmp_path), "left").excluded is None


def heard_evenly(n: int = 60) -> Heard:
    jitter = np.random.default_rng(1).normal(0, 0.004, n)
    times = 0.5 + 0.25 * np.arange(n) + jitter
    return Heard(Onsets(times, np.full(n, 20.0), 6, np.arange(n) % 10 == 0), 0.25 * n + 1, "front")


def test_strokes_inside_are_left_out_and_no_interval_goes_across():
    heard = heard_evenly()
    found = exclude_strokes(heard, [SECTION])
    inside = mark_excluded(heard.onsets.time_s, [SECTION])
    assert len(found.onsets.time_s) == (~inside).sum()
    assert heard.onsets.is_chord is not None
    assert found.onsets.chords == int(heard.onsets.is_chord[~inside].sum())
    assert found.duration_s == pytest.approx(heard.duration_s - 2.5)
    timing = describe_timing(found)
    assert timing.runs == 2
    # The intervals of each side alone: nothing of the gap between them.
    assert timing.intervals == len(found.onsets.time_s) - 2
    # Even a section between two strokes parts them.
    gap = float(heard.onsets.time_s[20]) + 0.05
    between = exclude_strokes(heard, [ExcludedSection(start_s=gap, end_s=gap + 0.05, reason="cough")])
    assert len(between.onsets.time_s) == 60
    assert describe_timing(between).intervals == 58


def test_the_sound_is_both_hands_so_a_section_of_one_leaves_it():
    heard = heard_evenly()
    assert exclude_strokes(heard, [SECTION.model_copy(update={"side": "left"})]) is heard


def test_sections_that_overlap_are_counted_once():
    parts = [(1.0, 3.0), (2.0, 4.0), (6.0, 7.0), (6.2, 6.4)]
    sections = [ExcludedSection(start_s=a, end_s=b, reason="x") for a, b in parts]
    assert join_sections(sections) == [(1.0, 4.0), (6.0, 7.0)]
    found = exclude_strokes(heard_evenly(), sections)
    assert found.duration_s == pytest.approx(heard_evenly().duration_s - 4.0)
