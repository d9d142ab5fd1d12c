"""Moments of a recording that another take of the same music has as well: strokes heard and seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.hand.joints import FINGERS, Side
from pipeline.measures.individuation import choose_events
from pipeline.measures.kinematics import compute_kinematics
from pipeline.measures.listening import listen
from pipeline.measures.strokes import TIP_COLUMNS, find_strokes, see_tips_from_palm
from pipeline.results import RunFolder, read_hand, read_sync


@dataclass(frozen=True)
class Stroke:
    """A stroke: when on the reference camera's clock, and of which finger ("" where only the sound tells)."""

    time_s: float
    finger: str = ""


@dataclass(frozen=True)
class Played:
    """The strokes of one hand in a recording, each list by time.

    Attributes
    ----------
    heard : tuple of Stroke
        By the sound, whichever hand struck; empty where the sound cannot be relied on.
    seen : tuple of Stroke
        Of the hand itself, where it is clear which finger struck.
    """

    heard: tuple[Stroke, ...] = ()
    seen: tuple[Stroke, ...] = ()

    @property
    def best(self) -> tuple[Stroke, ...]:
        """What two takes are held against each other by: those heard, else those seen."""
        return self.heard or self.seen


def find_played(run: RunFolder, side: Side, videos: Mapping[str, Path]) -> Played:
    """Listen and look for the strokes of a run.

    Parameters
    ----------
    run : RunFolder
        Of a finished run.
    side : "right" | "left"
        Which hand is looked at.
    videos : mapping of Path
        The session's videos by camera, for their sound; those that are gone are left out.

    Raises
    ------
    pipeline.errors.RunFolderError
        The hand or the clocks of the run cannot be read.
    pipeline.errors.VideoError
        A video is there and cannot be read.
    """
    there = {camera: path for camera, path in videos.items() if path.is_file()}
    heard_s = listen(there, read_sync(run.sync_json)).strokes_s
    hand = read_hand(run, side)
    not_measured = ~(np.asarray(hand.quality) > 0)
    joints_mm = np.where(not_measured[..., None], np.nan, hand.joints_mm).astype(float)
    movement = compute_kinematics(
        hand.time_s, joints_mm, hand.jitter_sigma_mm, hand.response_hz, hand.response_gain
    )
    tips_mm = see_tips_from_palm(movement.joints_mm, side)
    strokes = find_strokes(hand.time_s, tips_mm, movement.measured_sigma_mm[TIP_COLUMNS])
    clear, _ = choose_events(strokes, heard_s)
    return Played(
        heard=() if heard_s is None else tuple(Stroke(float(time_s)) for time_s in heard_s),
        seen=tuple(
            Stroke(float(time_s), FINGERS[finger])
            for time_s, finger in zip(clear.time_s, clear.finger, strict=True)
        ),
    )


IN_STEP_S = 0.125
"""Two takes are in step while their strokes come no farther apart than this."""

MIN_STROKES = 2


def find_in_step(
    before_s: np.ndarray, after_s: np.ndarray, before_at_s: float, after_at_s: float
) -> tuple[float, float] | None:
    """How long two takes stay in step round the moment at which they are laid over each other.

    The strokes are counted from that moment to both sides, and the first with the first, the second with the
    second are held against each other, until two of them are farther apart than `IN_STEP_S`. A stroke that
    one take leaves out ends it, too.

    Parameters
    ----------
    before_s, after_s : ndarray (N,), (M,)
        Strokes of the two takes, ascending, each on its own clock.
    before_at_s, after_at_s : float
        The moment in each.

    Returns
    -------
    (start_s, end_s) or None
        On the clock of the earlier take, from the first to the last stroke in step; None where fewer than two
        strokes are.
    """
    a, b = np.asarray(before_s) - before_at_s, np.asarray(after_s) - after_at_s
    on = _count_in_step(a[a >= -IN_STEP_S / 2], b[b >= -IN_STEP_S / 2])
    back = _count_in_step(-a[a < -IN_STEP_S / 2][::-1], -b[b < -IN_STEP_S / 2][::-1])
    if len(on) + len(back) < MIN_STROKES:
        return None
    shared = np.concatenate([-back, on])
    return float(before_at_s + shared.min()), float(before_at_s + shared.max())


def _count_in_step(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The times in ``a`` up to the first that is not in step with its counterpart in ``b``."""
    count = min(len(a), len(b))
    apart = np.abs(a[:count] - b[:count]) > IN_STEP_S
    return np.asarray(a[: int(apart.argmax()) if apart.any() else count])
