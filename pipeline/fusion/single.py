"""What a single camera leaves open: how far away the hand is.

A hand that is 7 % larger and 7 % further off makes the same picture. The fit takes the mean hand, and its
curvature, with the bones held, knows nothing of that. The error is the same for all joints and nearly the
same in all frames: it moves the hand as a whole along the view, and turns no joint.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.fusion.initial import get_joint_shapes
from pipeline.hand.joints import PALM
from pipeline.hand.model import HandModel
from pipeline.results import Camera, HandTrack


def get_size_spread(model: HandModel, shape_sigma: float) -> float:
    """Spread among people of the palm's size, as a share of the mean palm's: what sets the distance.

    Parameters
    ----------
    model : HandModel
        Its betas are the ways in which hands differ.
    shape_sigma : float
        Standard deviation of betas.
    """
    template, directions = get_joint_shapes(model)
    palm, moved = template[list(PALM)], directions[list(PALM)]
    palm, moved = palm - palm.mean(axis=0), moved - moved.mean(axis=0)
    share = np.einsum("jc,jcb->b", palm, moved) / (palm**2).sum()
    return float(shape_sigma * np.linalg.norm(share))


def add_place_sigma(track: HandTrack, camera: Camera, model: HandModel, shape_sigma: float) -> HandTrack:
    """The track with the error of the hand's place in its sigmas.

    Parameters
    ----------
    track : HandTrack
        From this camera alone, in the camera's world.
    camera : Camera
        The only one.
    model : HandModel
        For the spread of hands' sizes.
    shape_sigma : float
        Standard deviation of betas.
    """
    centre_mm = -camera.R.T @ camera.t_mm
    distance_mm = np.linalg.norm(track.joints_mm.mean(axis=1) - centre_mm, axis=1)
    # All of it lies along the view; a sigma is per axis.
    place_mm = get_size_spread(model, shape_sigma) * distance_mm / np.sqrt(3.0)
    return replace(
        track, joint_sigma_mm=np.hypot(track.joint_sigma_mm, place_mm[:, None]), place_sigma_mm=place_mm
    )
