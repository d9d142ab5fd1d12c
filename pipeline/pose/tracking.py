"""Following hands through a video, and telling afterwards which of them is which side's.

Between detections a hand's region comes from its own joints in the frame before. Every hand in view is
followed, those that are not wanted with a single pass, so that sides can be voted over whole tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.hand.joints import Side
from pipeline.pose.augmentation import ONE_PASS, PASSES, Measurement, measure_hand
from pipeline.pose.protocols import Detection, Detector, Estimator
from pipeline.pose.regions import Region, bound_points, compute_overlap, get_area
from pipeline.results import PoseGuess

MIN_SCORE = 0.5
"""Below this confidence a followed hand is lost."""

SEARCH_S = 0.1
"""Pause between detections while a wanted hand is missing but another is followed."""

CHECK_S = 1.0
"""Pause between detections while every wanted hand is followed: a larger hand may have come."""

SAME_HAND = 0.4
"""Boxes that overlap more (intersection over union) are the same hand."""

MAX_HANDS = 4

LINK_S = 0.5
LINK_OVERLAP = 0.2
"""A track that begins this soon after another ended, and overlaps with it so much, goes on with its votes."""

SINGLE_SHARE = 0.05
"""Two hands at a time in no more than this share of frames: a recording of one hand."""

UNSURE = 0.2
"""Votes for a side between this and one minus this are no verdict."""


@dataclass(eq=False)
class Tracklet:
    """One hand followed without a break.

    Attributes
    ----------
    frames : list of int
        Consecutive frame numbers.
    points_px : list of ndarray (21, 2)
    sigma_px : list of ndarray (21,)
        As in `Measurement`.
    score, right : list of float
    guess : list of PoseGuess or None
    n_passes : list of int
    """

    frames: list[int] = field(default_factory=list)
    points_px: list[np.ndarray] = field(default_factory=list)
    sigma_px: list[np.ndarray] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    guess: list[PoseGuess | None] = field(default_factory=list)
    n_passes: list[int] = field(default_factory=list)

    def add(self, frame: int, measured: Measurement) -> None:
        """Append a frame."""
        self.frames.append(frame)
        self.points_px.append(measured.points_px)
        self.sigma_px.append(measured.sigma_px)
        self.score.append(measured.score)
        self.right.append(measured.right)
        self.guess.append(measured.guess)
        self.n_passes.append(measured.n_passes)

    def since(self, frame: int) -> Tracklet:
        """The part of the tracklet from a frame on; maybe empty."""
        before = sum(one < frame for one in self.frames)
        return Tracklet(**{name: values[before:] for name, values in vars(self).items()})

    @property
    def last_box_px(self) -> np.ndarray:
        """Box (4,) in the last frame."""
        return bound_points(self.points_px[-1])

    @property
    def boxes_px(self) -> np.ndarray:
        """Boxes (n, 4)."""
        return bound_points(np.stack(self.points_px))


def count_votes(tracklets: Sequence[Tracklet], side: Side) -> float:
    """Share of the frames, 0 to 1, in which the network sees a hand of ``side``; 0.5 if it cannot tell."""
    right = np.concatenate([tracklet.right for tracklet in tracklets])
    right = right[np.isfinite(right)]
    if not len(right):
        return 0.5
    share = float(np.mean(right >= 0.5))
    return share if side == "right" else 1.0 - share


class HandTracker:
    """Follows the hands of one video, frame by frame in order.

    Parameters
    ----------
    detector, estimator
    sides : tuple of "right" | "left"
        The hands that are wanted: these get all passes.
    preset : str
        Of `pipeline.preprocess`.
    fps : float
        Frames a second, for the pauses between detections.
    passes : sequence of (scale, degrees)
        May be changed between steps.
    """

    def __init__(
        self,
        detector: Detector,
        estimator: Estimator,
        sides: tuple[Side, ...],
        preset: str,
        fps: float,
        passes: Sequence[tuple[float, float]] = PASSES,
    ) -> None:
        self._detector, self._estimator = detector, estimator
        self._sides, self._preset, self.passes = sides, preset, passes
        self._search_frames = max(round(SEARCH_S * fps), 1)
        self._check_frames = max(round(CHECK_S * fps), 1)
        self._since_detection = 0
        self._live: list[Tracklet] = []
        self.tracklets: list[Tracklet] = []

    def step(self, frame: int, image_bgr: np.ndarray) -> None:
        """Work the next frame (H, W, 3) uint8 BGR."""
        wanted = self._choose_wanted()
        for tracklet in list(self._live):
            self._follow(tracklet, frame, image_bgr, tracklet in wanted.values())
        self._drop_doubles()
        self._since_detection += 1
        if self._since_detection >= self._get_pause():
            self._since_detection = 0
            self._detect(frame, image_bgr)

    def _choose_wanted(self) -> dict[Side, Tracklet]:
        """Of the hands now followed, the one of each wanted side: the largest box among those voted so."""
        chosen: dict[Side, Tracklet] = {}
        for side in self._sides:
            voted = [one for one in self._live if count_votes([one], side) >= 0.5]
            if not voted and len(self._sides) == 1:
                voted = sorted(self._live, key=lambda one: count_votes([one], side))[-1:]
            if voted:
                chosen[side] = max(voted, key=lambda one: float(get_area(one.last_box_px)))
        return chosen

    def _get_pause(self) -> int:
        """Frames to let pass between detections, as things stand."""
        if not self._live:
            return 1
        voted = [side for side in self._sides if any(count_votes([one], side) >= 0.5 for one in self._live)]
        return self._check_frames if len(voted) == len(self._sides) else self._search_frames

    def _follow(self, tracklet: Tracklet, frame: int, image_bgr: np.ndarray, wanted: bool) -> None:
        region = self._estimator.frame_points(tracklet.points_px[-1])
        side: Side = "right" if count_votes([tracklet], "right") >= 0.5 else "left"
        if not self._measure(tracklet, frame, image_bgr, region, side, wanted):
            self._live.remove(tracklet)

    def _measure(
        self, tracklet: Tracklet, frame: int, image_bgr: np.ndarray, region: Region, side: Side, wanted: bool
    ) -> bool:
        """Add a frame to a tracklet that seems to be a hand of ``side``; False if no hand is there."""
        if wanted and len(self._sides) == 1:
            side = self._sides[0]  # networks that know one side only take the other for a strange posture
        passes = self.passes if wanted else ONE_PASS
        measured = measure_hand(image_bgr, region, self._estimator, side, self._preset, passes)
        if measured.score < MIN_SCORE:
            return False
        tracklet.add(frame, measured)
        return True

    def _drop_doubles(self) -> None:
        """Two tracks that slid onto one hand: the younger ends before this frame."""
        for younger in sorted(self._live, key=lambda one: -one.frames[0]):
            others = [one for one in self._live if one is not younger]
            if any(compute_overlap(younger.last_box_px, one.last_box_px) > SAME_HAND for one in others):
                self._live.remove(younger)
                for values in vars(younger).values():
                    values.pop()
                if not younger.frames:
                    self.tracklets.remove(younger)

    def _detect(self, frame: int, image_bgr: np.ndarray) -> None:
        found = sorted(self._detector.detect(image_bgr), key=lambda one: -float(get_area(one.box_px)))
        fresh: list[Detection] = []
        for detection in found:
            known = [one.last_box_px for one in self._live] + [one.box_px for one in fresh]
            if all(compute_overlap(detection.box_px, box) <= SAME_HAND for box in known):
                fresh.append(detection)
        missing = [side for side in self._sides if side not in self._choose_wanted()]
        for detection in fresh[: MAX_HANDS - len(self._live)]:
            wanted = detection.side in self._sides or (len(self._sides) == 1 and bool(missing))
            tracklet = Tracklet()
            region = self._estimator.frame_detection(detection)
            if not self._measure(tracklet, frame, image_bgr, region, detection.side, wanted):
                continue
            # The estimator may have been drawn to a hand that is followed already.
            others = [one.last_box_px for one in self._live]
            if all(compute_overlap(tracklet.last_box_px, box) <= SAME_HAND for box in others):
                self._live.append(tracklet)
                self.tracklets.append(tracklet)


# --- after the last frame: which hand is whose ---------------------------------------------------


def link(tracklets: Sequence[Tracklet], fps: float) -> list[list[Tracklet]]:
    """Chains of tracklets that are one hand: cut apart by a short loss or by the end of a segment.

    After a loss a hand that is surely the other one does not go on with the first's votes.
    """
    lasting_frames = LINK_S * fps
    chains: list[list[Tracklet]] = []
    for tracklet in sorted(tracklets, key=lambda one: one.frames[0]):
        box = tracklet.boxes_px[0]
        best: list[Tracklet] | None = None
        best_overlap = LINK_OVERLAP
        for chain in chains:
            pause = tracklet.frames[0] - chain[-1].frames[-1]
            if not 0 < pause <= max(lasting_frames, 1):
                continue
            if pause > 1 and _are_two_hands(chain, [tracklet], lasting_frames):
                continue
            overlap = compute_overlap(chain[-1].last_box_px, box)
            if overlap > best_overlap:
                best, best_overlap = chain, overlap
        if best is None:
            chains.append([tracklet])
        else:
            best.append(tracklet)
    return chains


def _are_two_hands(one: Sequence[Tracklet], other: Sequence[Tracklet], lasting_frames: float) -> bool:
    """Whether one surely is a right hand for a while, and the other surely a left one, or the reverse."""
    if min(len(_get_frames(one)), len(_get_frames(other))) < lasting_frames:
        return False
    votes = sorted((count_votes(one, "right"), count_votes(other, "right")))
    return votes[0] <= UNSURE and votes[1] >= 1 - UNSURE


def is_one_hand(tracklets: Sequence[Tracklet]) -> bool:
    """Whether the recording shows one hand only: hardly a frame has two."""
    if not tracklets:
        return False
    _, counts = np.unique(np.concatenate([one.frames for one in tracklets]), return_counts=True)
    return float(np.mean(counts > 1)) <= SINGLE_SHARE


def assign_sides(
    tracklets: Sequence[Tracklet], sides: tuple[Side, ...], fps: float
) -> dict[Side, list[Tracklet]]:
    """The tracklets of each wanted side, by votes over linked tracks.

    One wanted side: hands voted to be of the other side are left out, unless there never is but one hand
    in the picture (then the network errs on its pose, and that hand is the one; not so where it is surely
    of this side for a while and surely of the other for another), or the votes are no verdict (`UNSURE`)
    and no better hand is there at the time. Both sides: the surest tracks choose first; an unsure one that
    meets another hand of its side at the same time goes to the other side.
    """
    chains = link(tracklets, fps)
    if len(sides) == 1:
        return {sides[0]: _pick_one_side(chains, sides[0], LINK_S * fps)}
    return _share_out(chains)


def _pick_one_side(chains: list[list[Tracklet]], side: Side, lasting_frames: float) -> list[Tracklet]:
    if is_one_hand([one for chain in chains for one in chain]):
        return [one for chain in _leave_out_successors(chains, side, lasting_frames) for one in chain]
    sure = [chain for chain in chains if count_votes(chain, side) >= 0.5]
    picked = _keep_one_person(sure)
    taken = _get_frames(picked)
    for chain in chains:
        if chain not in sure and count_votes(chain, side) >= UNSURE and not _collides(chain, taken):
            picked += chain
    return picked


def _leave_out_successors(
    chains: list[list[Tracklet]], side: Side, lasting_frames: float
) -> list[list[Tracklet]]:
    """Chains of one hand at a time without those of the other hand that came when the wanted one had gone."""
    lasting = [chain for chain in chains if len(_get_frames(chain)) >= lasting_frames]
    if not any(count_votes(chain, side) >= 1 - UNSURE for chain in lasting):
        return chains
    return [chain for chain in chains if chain not in lasting or count_votes(chain, side) > UNSURE]


def _share_out(chains: list[list[Tracklet]]) -> dict[Side, list[Tracklet]]:
    shared: dict[Side, list[list[Tracklet]]] = {"right": [], "left": []}
    chains = sorted(chains, key=lambda one: -abs(count_votes(one, "right") - 0.5) * len(_get_frames(one)))
    for chain in chains:
        votes = count_votes(chain, "right")
        side: Side = "right" if votes >= 0.5 else "left"
        other: Side = "left" if side == "right" else "right"
        taken = {frame for known in shared[side] for frame in _get_frames(known)}
        if _collides(chain, taken) and UNSURE <= votes <= 1 - UNSURE:
            side = other
        shared[side].append(chain)
    return {side: _keep_one_person(chains) for side, chains in shared.items()}


def _keep_one_person(chains: list[list[Tracklet]]) -> list[Tracklet]:
    """Of the chains of one side those of the largest hand, and those that are there when it is not.

    A hand that is mostly there at the same time is another person's. It is left out altogether: else it would
    step in wherever the first is lost.
    """
    kept: list[Tracklet] = []
    for chain in sorted(chains, key=lambda one: -_sum_area(one)):
        if not _collides(chain, _get_frames(kept)):
            kept += chain
    return kept


def _get_frames(tracklets: Sequence[Tracklet]) -> set[int]:
    return {frame for tracklet in tracklets for frame in tracklet.frames}


def _collides(chain: Sequence[Tracklet], taken: set[int]) -> bool:
    """Whether most of a chain's frames are taken."""
    frames = _get_frames(chain)
    return len(frames & taken) > len(frames) / 2


def _sum_area(tracklets: Sequence[Tracklet]) -> float:
    return sum(float(get_area(one.boxes_px).sum()) for one in tracklets)


def rank_by_size(tracklets: Sequence[Tracklet]) -> list[Tracklet]:
    """Largest first, by the summed area of the boxes.

    Seed 000 section 5 takes the largest box per hand type in each frame. Summed over the track it cannot
    swap between two hands of like size, and a false alarm of a frame or two does not displace the hand.
    """
    return sorted(tracklets, key=lambda one: -_sum_area([one]))
