"""Where the fit of one hand starts, by its evidence: the estimators' own poses, else inverse kinematics."""

from __future__ import annotations

import numpy as np

from pipeline.errors import FusionError
from pipeline.fusion.evidence import Evidence
from pipeline.fusion.initial import (
    Guess,
    can_place,
    clean_joints,
    guess_from_joints,
    guess_shape,
    median_rotation,
)
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.lifting import lift_joints
from pipeline.fusion.options import FusionOptions
from pipeline.hand.model import HandModel
from pipeline.results import PoseGuess


def make_guess(
    evidence: Evidence, triangulated_mm: np.ndarray, model: HandModel, options: FusionOptions
) -> Guess:
    """Where the fit starts: the estimators' own guess if they have one, else inverse kinematics.

    ``triangulated_mm`` (T, 21, 3) is what `triangulate_evidence` makes of the evidence.
    """
    guesses = [guess for guess in evidence.guesses if guess is not None]
    if len(evidence.names) == 1:
        return _make_guess_of_one(evidence, model, options)
    if not can_place(triangulated_mm):
        raise FusionError(
            f"Neither the wrist nor the palm was seen by two cameras at once ({', '.join(evidence.names)}), "
            "so there is no telling where the hand is.",
            "Check the cameras' offsets, and that wrist and palm are in two pictures at the same time.",
        )
    joints = clean_joints(evidence.time_s, triangulated_mm, options.start_window_s)
    betas = _median_betas(guesses, model)
    if betas is None:
        betas = guess_shape(model, joints, evidence.fps, options)
    hand = fix_shape(model, betas)
    lifted = lift_joints(evidence, hand, joints, options)
    orient, pose, transl = guess_from_joints(hand, lifted.joints_mm)
    if guesses:
        orient, pose = _use_guesses(evidence.guesses, orient, pose)
    return Guess(betas, orient, pose, transl, lifted.spread_mm)


def _make_guess_of_one(evidence: Evidence, model: HandModel, options: FusionOptions) -> Guess:
    """Of a single camera: the mean hand, placed by its palm, for there is nothing to triangulate.

    Orientation and pose are the estimator's where it has them; its shape is a guess as the mean hand is.
    """
    betas = np.zeros(model.n_betas)
    hand = fix_shape(model, betas)
    lifted = lift_joints(evidence, hand, np.full((len(evidence.time_s), 21, 3), np.nan), options)
    if not can_place(lifted.joints_mm):
        raise FusionError(
            f"Camera {evidence.names[0]} never sees the whole palm, and it is the only one.",
            "Record with a second camera, or with the palm in view.",
        )
    orient, pose, transl = guess_from_joints(hand, lifted.joints_mm)
    if evidence.guesses[0] is not None:
        orient, pose = _use_guesses(evidence.guesses, orient, pose)
    return Guess(betas, orient, pose, transl, lifted.spread_mm)


def _median_betas(guesses: list[PoseGuess], model: HandModel) -> np.ndarray | None:
    """Median over frames and views (seed 000); None without a guess."""
    if not guesses:
        return None
    betas = np.concatenate([guess.betas for guess in guesses])
    betas = betas[np.isfinite(betas).all(axis=1)]
    return np.median(betas, axis=0).astype(float) if len(betas) else None


def _use_guesses(
    guesses: tuple[PoseGuess | None, ...], orient: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Front orientation and median hand pose (seed 000); inverse kinematics where no estimator answers."""
    given = [guess for guess in guesses if guess is not None]
    own = median_rotation(np.stack([guess.hand_pose for guess in given]).astype(float))
    pose = np.where(np.isfinite(own), own, pose)
    front = next(guess for guess in guesses if guess is not None).global_orient
    known = np.isfinite(front).all(axis=(1, 2))
    return np.where(known[:, None, None], np.nan_to_num(front), orient), pose
