"""The hand's masks as evidence: on the reference's clock, in px of the calibration, as of a right hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.fusion.odd_views import USED
from pipeline.outline.results import Outline
from pipeline.results import Camera


@dataclass(frozen=True)
class Masks:
    """Masks of one hand in C views at T times of the reference camera.

    Attributes
    ----------
    outlines : tuple of Outline or None
        By view.
    frame : ndarray (C, T) int
        The outline's frame nearest in time; -1 where there is none that can be trusted.
    lag_s : ndarray (C, T)
        How much earlier than asked for that frame was taken.
    scale, shift : ndarray (C, 2)
        ``calibrated px = scale * px of the video + shift``; mirrored for a left hand.
    confidence : ndarray (C, T)
        0 to 1; 0 where frame is -1.
    """

    outlines: tuple[Outline | None, ...]
    frame: np.ndarray
    lag_s: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    confidence: np.ndarray

    def keep(self, rows: np.ndarray) -> Masks:
        """Those of some of the times, (n,) indices."""
        frame, lag_s, confidence = (part[:, rows] for part in (self.frame, self.lag_s, self.confidence))
        return replace(self, frame=frame, lag_s=lag_s, confidence=confidence)

    def leave_out(self, view_state: np.ndarray | None) -> Masks:
        """Without those of views while they are not "used" (`HandTrack.view_state`, (C, T))."""
        if view_state is None:
            return self
        used = view_state == USED
        frame, confidence = np.where(used, self.frame, -1), np.where(used, self.confidence, 0.0)
        return replace(self, frame=frame, confidence=confidence)

    def get(self, view: int, time: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A mask (rows, columns), and the affine map ``px = scale * (column, row) + shift`` of its cells."""
        outline, frame = self.outlines[view], int(self.frame[view, time])
        assert outline is not None
        step = outline.step
        scale = step * self.scale[view]
        shift = self.scale[view] * (step * outline.corner[frame] + (step - 1) / 2) + self.shift[view]
        return outline.get_mask(frame), scale, shift

    def get_cut(self, view: int, time: int) -> np.ndarray:
        """The arm's line (3,) in calibrated px, ``a x + b y + c > 0`` beyond it, a² + b² about 1."""
        outline = self.outlines[view]
        assert outline is not None
        cut = outline.cut_px[int(self.frame[view, time])].astype(float)
        normal = cut[:2] / self.scale[view]
        line = np.array([*normal, cut[2] - normal @ self.shift[view]])
        return line / np.linalg.norm(normal)


def collect_masks(
    outlines: list[Outline | None],
    cameras: tuple[Camera, ...],
    wanted_s: list[np.ndarray],
    mirrored: bool,
    least_confidence: float,
) -> Masks:
    """Bring outlines to the reference's times.

    Parameters
    ----------
    outlines : list of Outline or None
        By view.
    cameras : tuple of Camera
        By view.
    wanted_s : list of ndarray (T,)
        The reference's frame times by each view's own clock.
    mirrored : bool
        The hand is a left one, worked as a right one.
    least_confidence : float
        Masks of less are left out.
    """
    n_views, times = len(outlines), len(wanted_s[0])
    frame = np.full((n_views, times), -1)
    lag_s, confidence = np.zeros((n_views, times)), np.zeros((n_views, times))
    scale, shift = np.ones((n_views, 2)), np.zeros((n_views, 2))
    for view, (outline, camera, wanted) in enumerate(zip(outlines, cameras, wanted_s, strict=True)):
        if outline is None or len(outline.time_s) < 2:
            continue
        size = np.array(camera.size_px, dtype=float) / np.array(outline.size_px, dtype=float)
        scale[view], shift[view] = size, 0.5 * size - 0.5
        if mirrored:
            scale[view, 0], shift[view, 0] = -scale[view, 0], camera.size_px[0] - 1 - shift[view, 0]
        middles = 0.5 * (outline.time_s[1:] + outline.time_s[:-1])
        nearest = np.searchsorted(middles, wanted)
        step_s = float(np.median(np.diff(outline.time_s)))
        trust = outline.confidence[nearest].astype(float)
        lag = wanted - outline.time_s[nearest]
        use = (np.abs(lag) <= 0.75 * step_s) & (trust >= least_confidence)
        use &= (outline.shape[nearest] > 0).all(axis=1)
        frame[view] = np.where(use, nearest, -1)
        lag_s[view], confidence[view] = np.where(use, lag, 0.0), np.where(use, trust, 0.0)
    return Masks(tuple(outlines), frame, lag_s, scale, shift, confidence)
