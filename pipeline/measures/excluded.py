"""Sections that a person excluded: taken out of hands and strokes before anything is measured.

A frame inside counts as one in which the hand was never measured, so that no figure, filter window, event or
interval uses it. The fused hand itself stays as it is and is shown in the player.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipeline.hand.joints import Side
from pipeline.measures.summary_types import Excluded
from pipeline.measures.timing import Heard
from pipeline.results import HandTrack
from pipeline.session import ExcludedSection

_PER_FRAME = ("joints_mm", "joint_sigma_mm", "hand_pose", "global_orient", "transl_mm")
_PER_FRAME_IF_KNOWN = ("joint_offset_sigma_mm", "reading_sigma_mm", "place_sigma_mm")


def exclude_hands(
    hands: Mapping[Side, HandTrack], sections: Iterable[ExcludedSection]
) -> dict[Side, HandTrack]:
    """The hands as if they had not been measured in the sections.

    Parameters
    ----------
    hands : mapping of HandTrack
        By side, as fused; not changed.
    sections : iterable of ExcludedSection
        From ``session.toml``; one without a side is of both hands.
    """
    sections = tuple(sections)
    return {
        side: _exclude_hand(hand, [each for each in sections if each.side in (None, side)])
        for side, hand in hands.items()
    }


def mark_excluded(time_s: np.ndarray, sections: Iterable[ExcludedSection | Excluded]) -> np.ndarray:
    """Which of the times (T,) lie in one of the sections (T,) bool."""
    inside = np.zeros(len(time_s), dtype=bool)
    for section in sections:
        inside |= (time_s >= section.start_s) & (time_s < section.end_s)
    return inside


def _exclude_hand(hand: HandTrack, sections: list[ExcludedSection]) -> HandTrack:
    inside = mark_excluded(hand.time_s, sections)
    if not inside.any():
        return hand
    changes: dict[str, Any] = {name: _blank(getattr(hand, name), inside) for name in _PER_FRAME}
    for name in _PER_FRAME_IF_KNOWN:
        if getattr(hand, name) is not None:
            changes[name] = _blank(getattr(hand, name), inside)
    changes["residual_px"] = np.where(inside[:, None], np.nan, hand.residual_px)
    changes["quality"] = np.where(inside[:, None], 0.0, hand.quality)
    if hand.trust is not None:
        changes["trust"] = np.where(inside[:, None], np.nan, hand.trust)
    if hand.view_state is not None:
        changes["view_state"] = np.where(inside, "used", hand.view_state)
    return dataclasses.replace(hand, **changes, excluded=inside)


def _blank(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    blanked = np.array(values, dtype=float)
    blanked[inside] = np.nan
    return blanked


def exclude_strokes(heard: Heard, sections: Iterable[ExcludedSection]) -> Heard:
    """What was heard without the sections of both hands: the sound does not tell whose a stroke is.

    Strokes inside are left out, and no interval goes across.
    """
    both = [section for section in sections if section.side is None]
    if not both or not heard.source:
        return heard
    onsets = heard.onsets
    kept = ~mark_excluded(onsets.time_s, both)
    spans_s = tuple((start, min(end, heard.duration_s)) for start, end in join_sections(both))
    return dataclasses.replace(
        heard,
        onsets=dataclasses.replace(
            onsets,
            time_s=onsets.time_s[kept],
            clearness=onsets.clearness[kept],
            chords=onsets.chords if onsets.is_chord is None else int(onsets.is_chord[kept].sum()),
            is_chord=None if onsets.is_chord is None else onsets.is_chord[kept],
        ),
        duration_s=heard.duration_s - sum(max(end - start, 0.0) for start, end in spans_s),
        excluded_s=spans_s,
    )


def join_sections(sections: Iterable[ExcludedSection]) -> list[tuple[float, float]]:
    """Start and end of the sections in order, those that overlap joined."""
    joined: list[tuple[float, float]] = []
    for section in sorted(sections, key=lambda each: each.start_s):
        if joined and section.start_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], section.end_s))
        else:
            joined.append((section.start_s, section.end_s))
    return joined


def describe_excluded(
    sections: Iterable[ExcludedSection], hands: Mapping[Side, HandTrack]
) -> tuple[Excluded, ...]:
    """The sections as a report states them, by start: with how much of the recording each takes.

    Parameters
    ----------
    sections : iterable of ExcludedSection
        From ``session.toml``.
    hands : mapping of HandTrack
        Whose frames are counted; a section past their end, or of a hand that is not there, takes nothing.
    """
    found = []
    for section in sorted(sections, key=lambda each: each.start_s):
        seconds = 0.0
        for side, hand in hands.items():
            if section.side in (None, side) and len(hand.time_s) > 1:
                step_s = float(np.median(np.diff(hand.time_s)))
                seconds = max(seconds, float(mark_excluded(hand.time_s, [section]).sum()) * step_s)
        found.append(Excluded(section.start_s, section.end_s, seconds, section.reason, section.side or ""))
    return tuple(found)
