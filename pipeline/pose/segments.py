"""Where a video is cut for processes that follow its hands side by side: the same for any number of them."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

SEGMENT_FRAMES = 240
"""Usual length: long against what a segment costs to begin, short enough that a take of some seconds keeps
two or more processes busy."""

LEAD_FRAMES = 12
"""Frames before a segment that are followed with one pass and not kept: by its first frame the hand is found,
and its crop follows from its own points, as if the video had not been cut."""

MAX_WASTE = 2
"""Frames decoded for nothing before a segment are at most so many times those of the segment before. So a
file with a single key frame is cut ever more seldom, and never decoded more than a few times over."""


class Segment(NamedTuple):
    """Frames ``start`` to ``stop`` (left out) are kept; following begins at ``lead``."""

    lead: int
    start: int
    stop: int


def split(is_key: np.ndarray) -> list[Segment]:
    """Cut a video into segments about `SEGMENT_FRAMES` long, led in from key frames where there are any near.

    Parameters
    ----------
    is_key : ndarray (T,) bool
        At which frames decoding can begin.
    """
    n_frames = len(is_key)
    keys = np.flatnonzero(is_key)
    wanted = np.linspace(0, n_frames, max(round(n_frames / SEGMENT_FRAMES), 1) + 1).round().astype(int)
    cuts = [0]
    for ideal in wanted[1:-1]:
        cut = _move_to_key(int(ideal), keys)
        length = cut - cuts[-1]
        waste = cut - LEAD_FRAMES - int(keys[keys <= cut - LEAD_FRAMES].max(initial=0))
        if length >= SEGMENT_FRAMES // 2 and waste <= MAX_WASTE * length:
            cuts.append(cut)
    return [
        Segment(max(start - LEAD_FRAMES, 0), start, stop)
        for start, stop in itertools.pairwise([*cuts, n_frames])
    ]


def _move_to_key(ideal: int, keys: np.ndarray) -> int:
    """The nearest cut that a key frame leads in, within half a segment; else ``ideal``."""
    led_in = keys + LEAD_FRAMES
    near = led_in[np.abs(led_in - ideal) <= SEGMENT_FRAMES // 2]
    return int(near[np.argmin(np.abs(near - ideal))]) if len(near) else ideal
