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
    alone = len(evidence.names) == 1
    if not alone and not can_place(triangulated_mm):
        raise FusionError(
            f"Neither the wrist nor the palm was seen by two cameras at once ({', '.join(evidence.names)}), "
            "so there is no telling where the hand is.",
            "Check the cameras' offsets, and that wrist and palm are in two pictures at the same time.",
        )
    joints = clean_joints(evidence.time_s, triangulated_mm, options.start_window_s)
    betas = _choose_shape(evidence, joints, model, options)
    hand = fix_shape(model, betas)
    lifted = lift_joints(evidence, hand, joints, options)
    if not can_place(lifted.joints_mm):
        raise FusionError(
            f"Camera {evidence.names[0]} never sees the whole palm, and it is the only one.",
            "Record with a second camera, or with the palm in view.",
        )
    orient, pose, transl = guess_from_joints(hand, lifted.joints_mm)
    if any(guess is not None for guess in evidence.guesses):
        orient, pose = _use_guesses(evidence.guesses, orient, pose)
    return Guess(betas, orient, pose, transl, lifted.spread_mm)


def _choose_shape(
    evidence: Evidence, joints_mm: np.ndarray, model: HandModel, options: FusionOptions
) -> np.ndarray:
    """Betas (10,): the median of the estimators' over frames and views (seed 000), else by bone lengths.

    Of a single camera the mean hand, for there is nothing to triangulate, and what its estimator says of the
    hand's size is a guess as the mean is.
    """
    if len(evidence.names) == 1:
        return np.zeros(model.n_betas)
    given = [guess.betas for guess in evidence.guesses if guess is not None]
    betas = np.concatenate([np.empty((0, model.n_betas)), *given])
    betas = betas[np.isfinite(betas).all(axis=1)]
    if len(betas):
        return np.median(betas, axis=0)
    return guess_shape(model, joints_mm, evidence.fps, options)


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
