"""The list of what was set aside, on the page."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from components.exclusions import exclusions, say_parts
from components.quality import quality_box
from pipeline.fusion.exclusions import Exclusion
from pipeline.hand.joints import FINGERS
from pipeline.measures.quality_types import HandQuality
from pipeline.measures.summary import Summary

WHOLE = ("wrist", *FINGERS)
OTHER_HAND = Exclusion("left", WHOLE, ("wrist",), 2.1, 3.4, 126, 1.3, 0.16, "other hand")
RING = Exclusion("right", ("ring",), ("ring_dip", "ring_tip"), 64.0, 64.5, 3840, 0.5, 0.06, "contradicts")


@pytest.fixture
def hand() -> HandQuality:
    return HandQuality(
        0.9, 0.5, 0.3, 1.2,
        set_aside={"front": 0.0, "left": 0.21, "right": 0.02},
        view_set_aside={"left": {"other hand": 0.16}},
        exclusions=(OTHER_HAND, RING),
        exclusions_more=7,
        lone_outliers=1,
    )  # fmt: skip


def read_text(part: object) -> str:
    return json.dumps(part, default=lambda each: each.to_plotly_json(), ensure_ascii=False)


def test_each_row_says_camera_finger_time_length_and_why_and_opens_its_moment(hand: HandQuality) -> None:
    shown = read_text(exclusions("right", hand)).replace("\N{NO-BREAK SPACE}", " ")
    for words in (
        "whole hand", "2.10 s to 3.40 s", "1.3 s (16 %)", "seems to follow another hand", '"#f=126"',
        '"ring finger"', "1:04.00 to 1:04.50", "contradicts the other cameras", '"#f=3840&j=ring_tip"',
        "7 shorter ones are not listed", "1 single point was off",
    ):  # fmt: skip
        assert words in shown


def test_a_hand_of_which_nothing_was_set_aside_says_so(hand: HandQuality) -> None:
    shown = read_text(exclusions("right", replace(hand, exclusions=(), exclusions_more=0, lone_outliers=0)))
    assert "nothing was set aside for long" in shown
    assert "Table" not in shown


def test_an_older_run_does_not_pretend_that_nothing_was_set_aside(hand: HandQuality) -> None:
    shown = read_text(exclusions("right", HandQuality(0.9, 0.5, 0.3, 1.2)))
    assert "Run the pipeline again" in shown
    assert "nothing was set aside" not in shown


def test_the_table_can_be_reached_and_scrolled_by_keyboard(hand: HandQuality) -> None:
    props = exclusions("left", hand).children[-1].to_plotly_json()["props"]
    assert (props["tabIndex"], props["aria-label"]) == (0, "Set aside of the left hand")


def test_fingers_are_put_in_words() -> None:
    assert say_parts(("wrist", "ring", "pinky")) == "wrist, ring finger and little finger"
    assert say_parts(("ring",)) == "ring finger"
    assert say_parts(WHOLE) == "whole hand"


def test_the_quality_box_opens_the_list_where_a_whole_view_was_set_aside(
    summary: Summary, hand: HandQuality
) -> None:
    def read_box(side: HandQuality) -> tuple[str, bool]:
        quality = replace(summary.quality, hands={"right": side})
        box = quality_box(replace(summary, quality=quality))
        return read_text(box).replace("\N{NO-BREAK SPACE}", " "), box.children[-1].open

    shown, is_open = read_box(hand)
    assert is_open
    assert "2.0 %" in shown
    assert read_box(replace(hand, view_set_aside={}))[1] is False


def test_a_camera_that_shows_the_hand_later_says_by_how_much(summary: Summary) -> None:
    first, last = summary.quality.cameras
    late = replace(last, time_shift_s=0.0031, time_shift_sigma_s=0.0004)
    quality = replace(summary.quality, cameras=(first, late))
    shown = read_text(quality_box(replace(summary, quality=quality))).replace("\N{NO-BREAK SPACE}", " ")
    assert "the hand moves 3.1 ± 0.4 ms later" in shown
    assert "the hand moves" not in read_text(quality_box(summary))
    beyond = replace(last, time_shift_s=0.1, time_shift_sigma_s=math.nan)
    quality = replace(summary.quality, cameras=(replace(first, time_shift_s=0.0), beyond))
    shown = read_text(quality_box(replace(summary, quality=quality))).replace("\N{NO-BREAK SPACE}", " ")
    assert "the hand moves at least 100 ms later" in shown
    assert shown.count("the hand moves") == 1


def test_the_box_says_how_fast_a_movement_the_smoothing_keeps(summary: Summary, hand: HandQuality) -> None:
    kept = replace(hand, hand_bandwidth_hz=9.2, finger_bandwidth_hz=14.0)
    shown, without = (
        read_text(quality_box(replace(summary, quality=replace(summary.quality, hands={"right": side}))))
        for side in (kept, hand)
    )
    assert "of the hand up to 9 Hz, of fingers up to 14 Hz" in shown
    assert "Movements kept" not in without
