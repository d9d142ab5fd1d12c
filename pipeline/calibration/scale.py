"""Whether the finished hand has a hand's size: the one thing that shows a board of another size than stated.

A rig from a board has no scale of its own but the stated square: if every square is 4 % larger than stated,
all lengths come out 4 % too small, and every corner still lies exactly where the rig puts it. So no picture
of the board can tell. What is then too small as well is the hand.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.results import Rig

ADULT_LENGTH_MM = (150.0, 225.0)
"""Hand lengths (wrist crease to the middle finger's tip) of nearly all adults: three standard deviations
below the mean of women and above that of men in ANSUR II (Gordon et al. 2014: 181 and 193 mm, each ± 10)."""

MEASURED_SHARE = (0.85, 1.06)
"""What a measured hand may be of its length by ruler. A ruler is good to 3 mm, and the wrist has no mark;
below, besides, the embedded network sees hands short: by 4 to 11 % on seven made sessions with a true rig
(finger joints inside the flesh, the wrist point beyond the crease), so only more than that asks anything."""

BOARD_SOURCES = ("checkerboard", "file")


def measure_hand_length(joints_mm: np.ndarray) -> float:
    """Median length of a hand, wrist to the middle finger's tip along the bones, in mm.

    Parameters
    ----------
    joints_mm : ndarray (T, 21, 3)
        NaN where not measured.

    Returns
    -------
    float
        NaN if no frame has all five joints.
    """
    bones = np.linalg.norm(np.diff(joints_mm[:, [0, 9, 10, 11, 12]], axis=1), axis=-1).sum(axis=1)
    whole = bones[np.isfinite(bones)]
    return float(np.median(whole)) if len(whole) else math.nan


def judge_scale(
    hand_length_mm: float, rig: Rig, stated_mm: float | None = None, square_mm: float | None = None
) -> str | None:
    """What a hand's length says against the rig's scale, as a sentence; None if nothing.

    Parameters
    ----------
    hand_length_mm : float
        Of the finished hand, as `measure_hand_length`; NaN says nothing.
    rig : Rig
        The cameras. One that took its scale from the hand, or from nothing, is not judged by it.
    stated_mm : float, optional
        The hand's length by ruler (``hand_length_mm`` in ``session.toml``); without it an adult's counts.
    square_mm : float, optional
        The stated size of the board's squares, for the sentence.
    """
    if rig.source not in BOARD_SOURCES or not math.isfinite(hand_length_mm):
        return None
    stated = f" ({square_mm:.1f} mm)" if square_mm is not None and rig.source == "checkerboard" else ""
    size = "the rig's scale" if rig.source == "file" else f"square_mm{stated}"
    if stated_mm is not None:
        share = hand_length_mm / stated_mm
        if MEASURED_SHARE[0] <= share <= MEASURED_SHARE[1]:
            return None
        difference = share - 1
        return (
            f"The hand measures {hand_length_mm:.0f} mm from wrist to middle fingertip, "
            f"{abs(difference):.0%} {'more' if difference > 0 else 'less'} than the {stated_mm:.0f} mm by "
            f"ruler: are {size} and hand_length_mm right?"
        )
    low, high = ADULT_LENGTH_MM
    if low * MEASURED_SHARE[0] <= hand_length_mm <= high * MEASURED_SHARE[1]:
        return None
    measured = f"The hand measures {hand_length_mm:.0f} mm from wrist to middle fingertip"
    usual = f"adults' hands {low:.0f} to {high:.0f} mm"
    if hand_length_mm > high:
        return f"{measured}, {usual}: is {size} right?"
    return f"{measured}, {usual}: unless it is a child's, is {size} right?"
