"""What the fusion set aside, as a list that a person can read: camera and finger, when, how long, why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.fusion.weights import LOW_TRUST
from pipeline.hand.joints import FINGER_NAMES, JOINTS, PARTS
from pipeline.results import VIEW_STATES, HandTrack

CONTRADICTS, CONFLICT, UNSEEN, ALONE = "contradicts", "conflict", "not seen", "one view"
NOT_FILMING = VIEW_STATES[-1]

REASONS: dict[str, str] = {
    "other hand": "seems to follow another hand",
    "mirrored": "reads the hand wrongly, as if mirrored",
    "doubted": "contradicts the other cameras, and nothing tells which is right",
    CONFLICT: "the only two cameras with a say contradict each other",
    CONTRADICTS: "contradicts the other cameras",
    NOT_FILMING: "had not begun to film, or had ended",
    UNSEEN: "not seen",
    ALONE: "no other camera has a say",
}
"""Why something was set aside, by the id in `Exclusion.reason`; the gravest first."""

PART_WORDS: dict[str, str] = {
    "wrist": "wrist",
    "palm": "palm",
    **FINGER_NAMES,
}
"""What sentences call the parts of a hand."""

MOST_LISTED = 24
"""A longer list is not read; of the others it is said how many they are."""

JOIN_S, SHORTEST_S = 0.25, 0.1
"""Interruptions up to the one are passed over; what is shorter than the other is a lone outlier, which the
robust weights and the smoothness bridge, and is only counted."""

_OVERLAP = 0.6
_OFTEN = 0.3


@dataclass(frozen=True)
class Exclusion:
    """Something that had no say, or too little, for a while.

    Attributes
    ----------
    camera : str
        Whose points; for "conflict" both cameras, with " and " between; of "one view" the one that is left.
    parts : tuple of str
        "wrist" and fingers; all six are the whole hand.
    joints : tuple of str
        Ids of the joints, those that had no say for a good part of the time.
    from_s, to_s : float
        On the reference camera's clock.
    frame : int
        The first frame's number.
    seconds : float
        How long in all, without the interruptions between.
    share : float
        Of the recording, 0 to 1.
    reason : str
        One of `REASONS`.
    """

    camera: str
    parts: tuple[str, ...]
    joints: tuple[str, ...]
    from_s: float
    to_s: float
    frame: int
    seconds: float
    share: float
    reason: str


@dataclass(frozen=True)
class Exclusions:
    """All that was set aside of one hand.

    Attributes
    ----------
    listed : tuple of Exclusion
        The worst first, at most `MOST_LISTED`.
    more : int
        How many others there are.
    lone_outliers : int
        Points (one joint in one frame of one camera) that contradicted the others for less than
        `SHORTEST_S`.
    camera_share : dict of float
        Share (0 to 1) of each camera's points with a say that lost it.
    """

    listed: tuple[Exclusion, ...] = ()
    more: int = 0
    lone_outliers: int = 0
    camera_share: dict[str, float] | None = None


def list_exclusions(hand: HandTrack) -> Exclusions:
    """Everything that the fit set aside; nothing for a track of an older run, which does not say."""
    if hand.trust is None or hand.view_state is None or len(hand.time_s) < 2:
        return Exclusions()
    found = list(_list_views(hand))
    lone = 0
    for camera, reason, mask in _list_masks(hand):
        rows, short = _list_spans(hand.time_s, camera, reason, mask)
        found += rows
        lone += short if reason in (CONTRADICTS, CONFLICT) else 0
    order = list(REASONS)
    whole = set(order[:3])
    found.sort(key=lambda row: (row.reason not in whole, -row.seconds * len(row.joints)))
    low = hand.trust < LOW_TRUST
    share = {
        name: float(low[number].sum() / max(int(np.isfinite(hand.trust[number]).sum()), 1))
        for number, name in enumerate(hand.cameras)
    }
    return Exclusions(tuple(found[:MOST_LISTED]), max(len(found) - MOST_LISTED, 0), lone, share)


def _list_views(hand: HandTrack) -> Iterator[Exclusion]:
    """Whole views while they followed something else, or did not film."""
    assert hand.view_state is not None
    step_s = float(np.median(np.diff(hand.time_s)))
    for camera, row in zip(hand.cameras, hand.view_state, strict=True):
        for reason in VIEW_STATES[1:]:
            mask = row == reason
            for start, stop in list_runs(mask):
                if reason == NOT_FILMING and (stop - start) * step_s < SHORTEST_S:
                    continue
                yield _make_row(hand.time_s, camera, reason, start, stop, mask[:, None].repeat(21, axis=1))


def _list_masks(hand: HandTrack) -> Iterator[tuple[str, str, np.ndarray]]:
    """Camera, reason and joints (T, 21) bool, for what is set aside joint by joint."""
    assert hand.trust is not None
    assert hand.view_state is not None
    used = (hand.view_state == "used")[..., None]
    say = np.isfinite(hand.trust) & used
    low = say & (np.nan_to_num(hand.trust) < LOW_TRUST)
    conflict = low.any(axis=0) & (say.sum(axis=0) == 2)
    alone = say & (say.sum(axis=0) == 1)
    for number, camera in enumerate(hand.cameras):
        yield camera, CONTRADICTS, low[number] & ~conflict
        films = (hand.view_state[number] != NOT_FILMING)[:, None]
        if hand.excluded is not None:
            films = films & ~hand.excluded[:, None]  # it is said elsewhere that a person left these out
        yield camera, UNSEEN, np.isnan(hand.residual_px[number]) & films
        if len(hand.cameras) > 1:
            yield camera, ALONE, alone[number]
        for other in range(number):
            both = conflict & say[number] & say[other]
            yield f"{hand.cameras[other]} and {camera}", CONFLICT, both


def _list_spans(
    time_s: np.ndarray, camera: str, reason: str, mask: np.ndarray
) -> tuple[list[Exclusion], int]:
    """Rows of one camera and reason, and how many points were off too shortly to be listed."""
    step_s = float(np.median(np.diff(time_s)))
    spans: list[tuple[int, int, np.ndarray]] = []
    lone = 0
    for joints in PARTS.values():
        own = np.zeros_like(mask)
        own[:, joints] = mask[:, joints]
        for start, stop in list_runs(_close(np.asarray(own.any(axis=1)), round(JOIN_S / step_s))):
            if own[start:stop].any(axis=1).sum() * step_s < SHORTEST_S - 1e-9:
                lone += int(own[start:stop].sum())
                continue
            _join_span(spans, start, stop, own)
    return [_make_row(time_s, camera, reason, *span) for span in spans], lone


def _join_span(spans: list[tuple[int, int, np.ndarray]], start: int, stop: int, mask: np.ndarray) -> None:
    """Add a finger's span to one at about the same time, or as a new one."""
    part = np.zeros_like(mask)
    part[start:stop] = mask[start:stop]
    for number, (first, last, other) in enumerate(spans):
        common = min(stop, last) - max(start, first)
        if common > _OVERLAP * (max(stop, last) - min(start, first)):
            spans[number] = (min(start, first), max(stop, last), other | part)
            return
    spans.append((start, stop, part))


def _make_row(
    time_s: np.ndarray, camera: str, reason: str, start: int, stop: int, mask: np.ndarray
) -> Exclusion:
    step_s = float(np.median(np.diff(time_s)))
    rows = mask[start:stop]
    often = rows.mean(axis=0)
    joints = np.flatnonzero((often > 0) & (often >= _OFTEN * often.max()))
    seconds = float(rows.any(axis=1).sum() * step_s)
    return Exclusion(
        camera=camera,
        parts=tuple(part for part, numbers in PARTS.items() if np.isin(numbers, joints).any()),
        joints=tuple(JOINTS[number] for number in joints),
        from_s=float(time_s[start]),
        to_s=float(time_s[stop - 1] + step_s),
        frame=int(start),
        seconds=seconds,
        share=seconds / (len(time_s) * step_s),
        reason=reason,
    )


def name_parts(parts: Iterable[str]) -> str:
    """Parts of a hand in words: "wrist, ring finger and little finger"."""
    words = [PART_WORDS[part] for part in parts]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def list_runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and last + 1 of each run of True in (T,)."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _close(mask: np.ndarray, frames: int) -> np.ndarray:
    """Without interruptions of up to so many frames."""
    out = mask.copy()
    for start, stop in list_runs(~mask):
        if start > 0 and stop < len(mask) and stop - start <= frames:
            out[start:stop] = True
    return out
