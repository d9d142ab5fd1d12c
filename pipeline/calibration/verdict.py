"""Whether a rig can be trusted, in words that name the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from pipeline.calibration.lens import LensFit
from pipeline.calibration.plausible import is_monotonic, is_usual_focal
from pipeline.results import Camera, Verdict
from pipeline.session import Checkerboard

INTRINSIC_RMS_PX = 0.5
EXTRINSIC_RMS_PX = 0.8
FAILED_RMS_PX = 3.0
FEW_VIEWS = 8
FEW_COMMON = 5
LEAST_COVERAGE = 0.2
FOCAL_SIGMA = 0.003
BASELINE_MM = (30.0, 5000.0)
SQUARE_SPREAD = 0.005
CONTRADICTED_SHARE = 0.25
JOINT_GAIN = 2.0


@dataclass(frozen=True)
class SquareSize:
    """Size of the board's squares as the finished rig measures them.

    The rig's own scale comes from the stated size, so a board whose squares are all 4 % too large gives a
    rig that is 4 % too small and measures just the stated size: that cannot be seen here. What can be seen
    is disagreement: noise and a rig that does not fit stretch triangulated squares (``size_mm`` above the
    stated size, ``spread_mm``), and a print that is stretched one way makes squares that are longer along
    the rows than down the columns.

    Attributes
    ----------
    size_mm : float
        Mean distance of neighbouring corners, triangulated. NaN with one camera.
    spread_mm : float
        Standard deviation of single distances.
    along_mm, down_mm : float
        Means along rows and down columns.
    place_mm : ndarray (B,)
        Mean of each place of the board.
    """

    size_mm: float = math.nan
    spread_mm: float = math.nan
    along_mm: float = math.nan
    down_mm: float = math.nan
    place_mm: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def scale_sigma(self, stated_mm: float) -> float:
        """Expected relative error of every length of the rig; the stated size itself is taken as true.

        Three things that the board shows, in quadrature: how the places of the board scatter about their
        mean, by their number; how far that mean is from the stated size; and half of what rows and columns
        differ by, since a print that is stretched one way does not tell which of the two is as stated.
        A board whose squares are all of another size than stated looks the same (see `SquareSize`), and
        so do a few tenths of a per cent that every printer is off by: measure the print.

        NaN with one camera or fewer than two places.
        """
        if len(self.place_mm) < 2:
            return math.nan
        scatter = float(self.place_mm.std(ddof=1)) / math.sqrt(len(self.place_mm))
        bias = self.size_mm - stated_mm
        return math.sqrt(scatter**2 + bias**2 + (0.5 * (self.along_mm - self.down_mm)) ** 2) / stated_mm


@dataclass(frozen=True)
class Evidence:
    """What the verdict rests on.

    Attributes
    ----------
    cameras : dict of Camera
    corners : dict of dict of ndarray (rows * columns, 2)
        Accepted corners in px by camera and board.
    pairs : list of dict
        As in `pipeline.results.Rig`.
    lenses : dict of LensFit
        Each camera's lens from its own views alone.
    square : SquareSize
    board : Checkerboard
    contradicted : dict of int
        Views by camera that were left out because they contradict other cameras.
    """

    cameras: dict[str, Camera]
    corners: dict[str, dict[Any, np.ndarray]]
    pairs: list[dict[str, Any]]
    lenses: dict[str, LensFit]
    square: SquareSize
    board: Checkerboard
    contradicted: dict[str, int]


def judge(evidence: Evidence) -> tuple[Verdict, tuple[str, ...]]:
    """Verdict on a rig and the reasons why it is not "reliable"."""
    reasons: list[str] = []
    for camera in evidence.cameras.values():
        views = list(evidence.corners[camera.name].values())
        reasons += _judge_lens(camera, evidence.lenses[camera.name])
        reasons += _judge_views(camera, views)
        n_out = evidence.contradicted[camera.name]
        n_shared = n_out + _count_shared(camera.name, evidence.corners)
        if n_out > CONTRADICTED_SHARE * n_shared:
            reasons.append(
                f"Camera {camera.name}: {n_out} of {n_shared} places of the board contradict the "
                "other cameras and were left out; was it moved during the take?"
            )
    reasons += _judge_pairs(evidence)
    square = evidence.square
    if abs(square.along_mm / square.down_mm - 1) > SQUARE_SPREAD:
        reasons.append(
            f"The board's squares measure {square.along_mm:.2f} mm along and {square.down_mm:.2f} mm down: "
            "the print is stretched one way, or square_mm or the rig is off."
        )
    worst = max(
        [camera.rms_px for camera in evidence.cameras.values()] + [pair["rms_px"] for pair in evidence.pairs]
    )
    if worst > FAILED_RMS_PX:
        return "failed", tuple(reasons)
    return ("check" if reasons else "reliable"), tuple(reasons)


def _count_shared(name: str, corners: dict[str, dict[Any, np.ndarray]]) -> int:
    """Accepted places of the board that another camera has too: only those can contradict it."""
    others = {place for other, places in corners.items() if other != name for place in places}
    return len(others & set(corners[name]))


def _judge_lens(camera: Camera, lens: LensFit) -> list[str]:
    name, reasons = camera.name, []
    if lens.rms_px > INTRINSIC_RMS_PX:
        reasons.append(
            f"Camera {name}: the lens fits its own views to {lens.rms_px:.2f} px only "
            f"(over {INTRINSIC_RMS_PX}); is the board flat and stiff, and the focus fixed?"
        )
    if camera.rms_px > max(JOINT_GAIN * lens.rms_px, INTRINSIC_RMS_PX):
        reasons.append(
            f"Camera {name}: its views fit to {lens.rms_px:.2f} px alone, but to {camera.rms_px:.2f} px "
            "together with the other cameras; it may have been moved during the take, or its picture is cut "
            "off the lens's middle (switch stabilisation off)."
        )
    focal = camera.K[0, 0]
    if lens.focal_sigma_px > FOCAL_SIGMA * focal:
        reasons.append(
            f"Camera {name}: the focal length is uncertain by {100 * lens.focal_sigma_px / focal:.1f} %; "
            "show the board tilted more, and nearer."
        )
    if not is_usual_focal(camera):
        reasons.append(
            f"Camera {name}: a focal length of {focal:.0f} px is unusual for {camera.size_px[0]} px of width."
        )
    if not is_monotonic(camera):
        reasons.append(
            f"Camera {name}: the lens distortion is not determined towards the picture's corners; "
            "show the board there too."
        )
    return reasons


def _judge_views(camera: Camera, views: list[np.ndarray]) -> list[str]:
    reasons = []
    if len(views) < FEW_VIEWS:
        reasons.append(
            f"Camera {camera.name}: only {len(views)} places of the board could be used; "
            "show ten to fifteen, holding it still for a second each time."
        )
    share = coverage(views, camera.size_px)
    if share < LEAST_COVERAGE:
        reasons.append(
            f"Camera {camera.name}: the board covered {100 * share:.0f} % of the picture; "
            "show it in the corners too, and nearer."
        )
    return reasons


def coverage(views: list[np.ndarray], size_px: tuple[int, int]) -> float:
    """Share of the picture, 0 to 1, that was inside a board's corners in one view at least."""
    width = 160
    scale = width / size_px[0]
    mask = np.zeros((max(1, round(size_px[1] * scale)), width), dtype=np.uint8)
    for view in views:
        hull = cv2.convexHull(np.round(view * scale).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 1)
    return float(mask.mean())


def _judge_pairs(evidence: Evidence) -> list[str]:
    reasons = []
    reference = next(iter(evidence.cameras))
    for pair in evidence.pairs:
        a, b = pair["a"], pair["b"]
        if pair["rms_px"] > EXTRINSIC_RMS_PX:
            reasons.append(
                f"Cameras {a} and {b} agree to {pair['rms_px']:.2f} px only (over {EXTRINSIC_RMS_PX}); "
                f"did camera {b} move, or the board while it should rest?"
            )
        if a == reference and pair["frames"] < FEW_COMMON:
            reasons.append(
                f"Cameras {a} and {b} saw the board together in {pair['frames']} places only; "
                "show it where both see the whole of it."
            )
    centres = {name: -camera.R.T @ camera.t_mm for name, camera in evidence.cameras.items()}
    low, high = BASELINE_MM
    for name, centre in centres.items():
        distance = float(np.linalg.norm(centre - centres[reference]))
        if name != reference and not low < distance < high:
            reasons.append(
                f"Camera {name} comes out {distance:.0f} mm from camera {reference}; is square_mm "
                f"({evidence.board.square_mm} mm) right, and are they two cameras?"
            )
    return reasons


def measure_square(
    cameras: dict[str, Camera], corners: dict[str, dict[Any, np.ndarray]], board: Checkerboard
) -> SquareSize:
    """Triangulate the boards that two cameras or more saw and measure their squares.

    Parameters
    ----------
    cameras : dict of Camera
        The finished rig.
    corners : dict of dict of ndarray (rows * columns, 2)
        Corners in px by camera and board.
    board : Checkerboard
        Stated numbers of corners; its square_mm is not used.

    Returns
    -------
    SquareSize
        See there for what it can and cannot show.
    """
    along, down, places = [], [], []
    for key in {key for seen in corners.values() for key in seen}:
        seen = [(cameras[name], boards[key]) for name, boards in corners.items() if key in boards]
        if len(seen) < 2:
            continue
        grid = _triangulate(seen).reshape(board.rows, board.columns, 3)
        along.append(np.linalg.norm(np.diff(grid, axis=1), axis=-1).ravel())
        down.append(np.linalg.norm(np.diff(grid, axis=0), axis=-1).ravel())
        places.append(float(np.concatenate([along[-1], down[-1]]).mean()))
    if not along:
        return SquareSize()
    rows, columns = np.concatenate(along), np.concatenate(down)
    every = np.concatenate([rows, columns])
    return SquareSize(
        float(every.mean()), float(every.std()), float(rows.mean()), float(columns.mean()), np.array(places)
    )


def _triangulate(seen: list[tuple[Camera, np.ndarray]]) -> np.ndarray:
    """Points (N, 3) in mm from two or more cameras, by linear least squares on rays.

    Each view demands that the point lies on its ray: ``[x]_x (R X + t) = 0``, divided by the depth that
    the first solution gives, so that near and far cameras count by their angle (Hartley and Sturm 1997).
    """
    weights = [np.ones(len(points)) for _, points in seen]
    solved = np.zeros((len(seen[0][1]), 3))
    for _ in range(3):
        rows, right = [], []
        for (camera, points), weight in zip(seen, weights, strict=True):
            ray = camera.normalise(points)
            for axis in range(2):
                row = ray[:, axis, None] * camera.R[2] - camera.R[axis]
                rows.append(row * weight[:, None])
                right.append((camera.t_mm[axis] - ray[:, axis] * camera.t_mm[2]) * weight)
        A, b = np.stack(rows, axis=1), np.stack(right, axis=1)
        solved = np.linalg.solve(A.transpose(0, 2, 1) @ A, (A.transpose(0, 2, 1) @ b[..., None]))[..., 0]
        weights = [
            camera.K[0, 0] / np.maximum(solved @ camera.R[2] + camera.t_mm[2], 1.0) for camera, _ in seen
        ]
    return solved
