"""Healthy hands of published data sets, measured by the same chain as a recording's, as postures alone.

Their movement is not ours to compare: other networks, fits and filters leave another noise. So speed,
acceleration and jerk are measured and thrown away; what is kept of each recording lies on disk until the
reference is worked out, so that tens of hours need little memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import DatasetError, MeasureError
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import JOINTS, N_JOINTS, Side
from pipeline.measures.baseline_build import keep_postures
from pipeline.measures.measure import HandMeasures, measure_hand
from pipeline.results import HandTrack

PALM_MM = (55.0, 140.0)
"""The wrist lies this far from the middle knuckle in a grown hand, with a wide margin."""

_PIP = [ANGLES.index(f"{finger}_pip_flexion") for finger in ("index", "middle", "ring", "pinky")]


def make_track(time_s: np.ndarray, joints_mm: np.ndarray) -> HandTrack:
    """Joints (T, 21, 3) at times (T,) as a fused hand of which nothing else is known."""
    frames = len(time_s)
    return HandTrack(
        time_s=time_s,
        betas=np.full(10, np.nan),
        global_orient=np.full((frames, 3, 3), np.nan),
        hand_pose=np.full((frames, 15, 3, 3), np.nan),
        transl_mm=np.full((frames, 3), np.nan),
        joints_mm=joints_mm,
        joint_sigma_mm=np.full((frames, N_JOINTS), np.nan),
        residual_px=np.full((0, frames, N_JOINTS), np.nan),
        quality=np.ones((frames, N_JOINTS)),
        cameras=(),
    )


@dataclass
class PostureShelf:
    """Where measured recordings lie until they are needed: a folder that the caller removes.

    Attributes
    ----------
    folder : Path
        It must exist.
    reason : str
        Why movement is withheld, for those that ask.
    """

    folder: Path
    reason: str
    _count: int = 0

    def measure(self, time_s: np.ndarray, joints_mm: np.ndarray, side: Side, source: str) -> HandMeasures:
        """Measure one hand without a reference and keep its angles alone.

        Parameters
        ----------
        time_s : ndarray (T,)
            Frame times.
        joints_mm : ndarray (T, 21, 3)
            Joints of the hand as it is, in a right-handed frame. NaN = not measured.
        side : "right" | "left"
            Which hand.
        source : str
            The file, for what may be wrong with it.

        Raises
        ------
        DatasetError
            The joints are not in mm, or are those of the other hand or of a mirror image.
        MeasureError
            Fewer than two frames; the file is named.
        """
        _check_size(joints_mm, source)
        try:
            found = measure_hand(make_track(time_s, joints_mm), side, None)
        except MeasureError as error:
            raise MeasureError(f"{source}: {error.what}", error.advice) from error
        _check_side(found.degrees, side, source)
        light = keep_postures(found, self.reason)
        degrees = self._put(light.degrees)
        kinematics = replace(light.kinematics, time_s=self._put(light.kinematics.time_s))
        return replace(light, kinematics=kinematics, degrees=degrees)

    def _put(self, array: np.ndarray) -> np.ndarray:
        path = self.folder / f"{self._count}.npy"
        self._count += 1
        np.save(path, array, allow_pickle=False)
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _check_size(joints_mm: np.ndarray, source: str) -> None:
    palm = np.linalg.norm(joints_mm[:, JOINTS.index("middle_mcp")] - joints_mm[:, 0], axis=1)
    known = palm[np.isfinite(palm)]
    if len(known) and not PALM_MM[0] <= float(np.median(known)) <= PALM_MM[1]:
        raise DatasetError(
            f"{source}: the wrist is {np.median(known):.3g} mm from the middle knuckle, which no hand is.",
            "The file is in another unit or order of joints than its makers state.",
        )


def _check_side(degrees: np.ndarray, side: Side, source: str) -> None:
    """A mirrored hand bends its fingers backwards: signs tell it from a hand that is the other side's."""
    pip = degrees[:, _PIP]
    known = pip[np.isfinite(pip)]
    if len(known) and float(np.median(known)) < 0:
        raise DatasetError(
            f"{source}: the fingers of the {side} hand bend backwards ({np.median(known):.0f}° at the middle "
            "joints), so it is the other hand or a mirror image.",
            "The file is in another frame than its makers state; no reference is built from it.",
        )
