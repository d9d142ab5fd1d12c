"""Numbers for estimates of hands against their truth, and the card that tells them with their definitions."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.arrays import Hands
from pipeline.errors import DatasetError
from pipeline.evaluation.alignment import align, align_clip, fit_similarity, subtract_root
from pipeline.evaluation.definitions import DEFINITIONS
from pipeline.evaluation.errors import (
    average,
    count_correct,
    measure_acceleration_errors,
    measure_area,
    measure_distances,
    measure_f_scores,
)
from pipeline.files import write_json
from pipeline.hand.joints import JOINTS
from pipeline.version import PROGRAM_VERSION

PCK_MM = (10, 20, 30)
F_SCORE_MM = (5, 15)
PIECE = 100
WIDTH = 110

Align = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ScoreCard:
    """What came out, ready to be told.

    Attributes
    ----------
    of : str
        What was held against what.
    frames : int
        Frames or pictures.
    share : float
        Share of the true joints that were estimated, 0 to 1.
    values : dict of float
        By key of `DEFINITIONS`; NaN = nothing to compare.
    root : str
        The root joint of root-relative numbers.
    notes : tuple of str
        What was left out, and why.
    """

    of: str
    frames: int
    share: float
    values: dict[str, float]
    root: str = "wrist"
    notes: tuple[str, ...] = field(default=())

    def define(self, key: str) -> str:
        """The definition of a number on this card."""
        return DEFINITIONS[key].text.replace("{root}", self.root.replace("_", " "))

    def to_json(self) -> dict[str, Any]:
        """Each number with its unit, definition and source, and the program's version."""
        return {
            "program_version": PROGRAM_VERSION,
            "of": self.of,
            "frames": self.frames,
            "share": self.share,
            "scores": [
                {
                    "key": key,
                    "name": DEFINITIONS[key].name,
                    "value": value,
                    "unit": DEFINITIONS[key].unit,
                    "definition": self.define(key),
                    "source": DEFINITIONS[key].source,
                }
                for key, value in self.values.items()
            ],
            "notes": list(self.notes),
        }

    def write(self, path: Path) -> None:
        """Write the numbers as JSON; NaN becomes null."""
        write_json(path, self.to_json())

    def to_text(self) -> str:
        """A table, each number with its definition below."""
        lines = [self.of, f"{self.frames} frames, {100 * self.share:.1f} % of the true joints estimated", ""]
        for key, value in self.values.items():
            known = DEFINITIONS[key]
            shown = "-" if not np.isfinite(value) else f"{value:.3f}"
            unit = "" if known.unit == "share" else f" {known.unit}"
            lines.append(f"{known.name:<44}{shown:>12}{unit}")
            text = f"{self.define(key)} [{known.source}]"
            lines += textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
        lines += ["", *(f"Note: {note}" for note in self.notes)]
        return "\n".join(lines).rstrip() + "\n"


def score_hands(estimate: Hands, true: Hands, of: str, root: str = "wrist") -> ScoreCard:
    """Hold hands over frames against their truth: every number that the arrays allow.

    Parameters
    ----------
    estimate, true : Hands
        Of the same frames and hands. Numbers of clips are given where the truth has times, numbers of
        surfaces where both have vertices.
    of : str
        What the card is headed with.
    root : str
        Joint of `JOINTS` for root-relative numbers.

    Raises
    ------
    DatasetError
        The truth is empty, or frames, hands or times of the two differ.
    """
    _check_match(estimate, true)
    joints, true_joints = _in_turn(estimate.joints_mm), _in_turn(true.joints_mm)
    number = JOINTS.index(root)
    roots, true_roots = joints[:, number], true_joints[:, number]
    values = score_joints(joints, true_joints, number)
    notes = []
    if estimate.vertices_mm is not None and true.vertices_mm is not None:
        vertices, true_vertices = _in_turn(estimate.vertices_mm), _in_turn(true.vertices_mm)
        if vertices.shape == true_vertices.shape:
            values |= score_vertices(vertices, true_vertices, roots, true_roots)
        else:
            notes.append("The two meshes have different vertices: no MPVPE, and F-scores by the joints.")
        values |= score_surfaces(vertices, true_vertices, joints, true_joints)
    if true.time_s is not None:
        values |= _score_clips(joints, true_joints, number, true)
    else:
        notes.append("The truth has no time_s: no numbers of clips (G-MPJPE, GA-MPJPE, acceleration).")
    if true.joints_mm.shape[1] == 2:
        values |= _score_pairs(estimate.joints_mm, true.joints_mm)
    return ScoreCard(
        of, len(true.joints_mm), share_estimated(joints, true_joints), _in_order(values), root, tuple(notes)
    )


def split_by(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of each label (N,), each in their order."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, starts) if len(order) else []


def share_estimated(estimate: np.ndarray, true: np.ndarray) -> float:
    """Share of the true points (T, J, 3) that were estimated, 0 to 1; NaN if there are none."""
    wanted = np.isfinite(true).all(axis=-1)
    return float(np.isfinite(estimate).all(axis=-1)[wanted].mean()) if wanted.any() else float("nan")


def _in_order(values: dict[str, float]) -> dict[str, float]:
    return {key: values[key] for key in DEFINITIONS if key in values}


def _in_turn(points: np.ndarray) -> np.ndarray:
    """(H * T, J, 3) of (T, H, J, 3): all frames of the first hand, then all of the second."""
    return points.swapaxes(0, 1).reshape(-1, *points.shape[2:])


def _check_match(estimate: Hands, true: Hands) -> None:
    if not len(true.joints_mm):
        raise DatasetError("The truth holds no frame.", "Give frames; NaN where a hand is not known.")
    for name, axis in (("frames", 0), ("hands", 1)):
        found, wanted = estimate.joints_mm.shape[axis], true.joints_mm.shape[axis]
        if found != wanted:
            raise DatasetError(
                f"The predictions have {found} {name}, the truth {wanted}.",
                "Give one prediction for each; NaN where there is none.",
            )
    if estimate.time_s is None or true.time_s is None:
        return
    step_s = np.median(np.abs(np.diff(true.time_s))) if len(true.time_s) > 1 else np.inf
    if (np.abs(estimate.time_s - true.time_s) > 0.25 * step_s).any():
        raise DatasetError(
            "The predictions' time_s and the truth's are a quarter of a frame apart or more.",
            "Give the predictions at the truth's frames.",
        )


# --- single frames ---------------------------------------------------------------------------------


def score_joints(estimate: np.ndarray, true: np.ndarray, root: int = 0) -> dict[str, float]:
    """Numbers of joints (T, 21, 3) in mm, frame by frame: absolute, root-relative and aligned."""
    wanted = np.isfinite(true).all(axis=2)
    plain = measure_distances(estimate, true)
    rooted = measure_distances(subtract_root(estimate, estimate[:, root]), subtract_root(true, true[:, root]))
    aligned = measure_distances(align(estimate, true), true)
    rigid = measure_distances(align(estimate, true, with_scale=False), true)
    # Without a true root nothing is known of that hand; without an estimated one it is wrong.
    rootable = wanted & wanted[:, [root]]
    return {
        "mpjpe": average(plain),
        "mpjpe_root": average(rooted),
        "pa_mpjpe": average(aligned),
        "pa_mpjpe_rigid": average(rigid),
        **{f"pck_{limit}_root": count_correct(rooted, rootable, limit) for limit in PCK_MM},
        "auc": measure_area(plain, wanted),
        "auc_root": measure_area(rooted, rootable),
        "auc_pa": measure_area(aligned, wanted),
    }


def score_vertices(
    estimate: np.ndarray, true: np.ndarray, root: np.ndarray, true_root: np.ndarray
) -> dict[str, float]:
    """Numbers of corresponding vertices (T, V, 3) in mm; the roots (T, 3) are joints."""
    rooted = measure_distances(subtract_root(estimate, root), subtract_root(true, true_root))
    return {
        "mpvpe": average(measure_distances(estimate, true)),
        "mpvpe_root": average(rooted),
        "pa_mpvpe": average(measure_distances(align(estimate, true), true)),
    }


def score_surfaces(
    estimate: np.ndarray, true: np.ndarray, joints: np.ndarray, true_joints: np.ndarray
) -> dict[str, float]:
    """F-scores of surfaces (T, V, 3) and (T, W, 3) in mm, aligned by their vertices or by the joints."""
    aligned = align_surfaces(estimate, true, joints, true_joints)
    return average_f_scores("f", estimate, true) | average_f_scores("pa_f", aligned, true)


def average_f_scores(key: str, estimate: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Mean F-scores of surfaces (T, V, 3) and (T, W, 3) in mm, as they lie: by key and threshold."""
    scores = measure_f_scores(estimate, true, F_SCORE_MM)
    return {f"{key}_{limit}": average(column) for limit, column in zip(F_SCORE_MM, scores.T, strict=True)}


def align_surfaces(
    estimate: np.ndarray,
    true: np.ndarray,
    joints: np.ndarray,
    true_joints: np.ndarray,
    *,
    with_mirror: bool = False,
) -> np.ndarray:
    """Surfaces (T, V, 3) after each frame's similarity, from the vertices where they correspond.

    Where the two meshes have different numbers of vertices it is found from the joints (T, J, 3).
    """
    if estimate.shape == true.shape:
        return align(estimate, true, with_mirror=with_mirror)
    return fit_similarity(joints, true_joints, with_mirror=with_mirror).apply(estimate)


# --- clips and pairs -------------------------------------------------------------------------------


def _score_clips(joints: np.ndarray, true_joints: np.ndarray, root: int, true: Hands) -> dict[str, float]:
    """Numbers of clips, each hand (`_in_turn`) and clip by itself, pooled over frames."""
    assert true.time_s is not None
    frames, hands = true.joints_mm.shape[:2]
    time_s = np.tile(true.time_s, hands)
    clip = np.zeros(frames, dtype=int) if true.clip is None else true.clip
    clips = [hand * frames + rows for hand in range(hands) for rows in split_by(clip)]
    pieces = [rows[start : start + PIECE] for rows in clips for start in range(0, len(rows), PIECE)]

    def pool(parts: list[np.ndarray], move: Align) -> float:
        moved = [move(joints[rows], true_joints[rows]) for rows in parts]
        return average(measure_distances(np.concatenate(moved), true_joints[np.concatenate(parts)]))

    return {
        "g_mpjpe": pool(clips, lambda a, b: align_clip(a, b, frames=2)),
        "g_mpjpe_rigid": pool(clips, lambda a, b: align_clip(a, b, frames=2, with_scale=False)),
        "ga_mpjpe": pool(clips, align_clip),
        "ga_mpjpe_rigid": pool(clips, lambda a, b: align_clip(a, b, with_scale=False)),
        "w_mpjpe_100": pool(pieces, lambda a, b: align_clip(a, b, frames=2)),
        "wa_mpjpe_100": pool(pieces, align_clip),
        **score_accelerations(joints, true_joints, clips, time_s, root),
    }


def score_accelerations(
    joints: np.ndarray, true_joints: np.ndarray, clips: list[np.ndarray], time_s: np.ndarray, root: int = 0
) -> dict[str, float]:
    """Acceleration errors of joints (N, 21, 3) in mm at ``time_s`` (N,), pooled over clips.

    Each clip is the rows of one hand in one video, in the order of time.
    """

    def pool(estimate: np.ndarray, true: np.ndarray, by_frames: bool = False) -> float:
        errors = []
        for rows in clips:
            own = measure_acceleration_errors(estimate[rows], true[rows], time_s[rows])
            if by_frames:  # of the same neighbours
                plain = measure_acceleration_errors(estimate[rows], true[rows])
                own = np.where(np.isfinite(own), plain, np.nan)
            errors.append(own)
        return average(np.concatenate(errors))

    rooted = subtract_root(joints, joints[:, root])
    true_rooted = subtract_root(true_joints, true_joints[:, root])
    return {
        "acceleration": pool(joints, true_joints),
        "acceleration_root": pool(rooted, true_rooted),
        "acceleration_frames": pool(joints, true_joints, by_frames=True),
    }


def _score_pairs(estimate: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Numbers of both hands together, of joints (T, 2, 21, 3), right and left."""
    both, true_both = (points.reshape(len(points), -1, 3) for points in (estimate, true))
    return {
        "ga_mpjpe_group": average(measure_distances(align(both, true_both), true_both)),
        "mrrpe": average(measure_root_distances(estimate, true)),
    }


def measure_root_distances(estimate: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Error (T,) of the left wrist as seen from the right one, of joints (T, 2, 21, 3); NaN = not there."""
    return np.linalg.norm((estimate[:, 1, 0] - estimate[:, 0, 0]) - (true[:, 1, 0] - true[:, 0, 0]), axis=-1)
