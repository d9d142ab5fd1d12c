"""HaMeR, WiLoR and Hamba behind the estimator protocol, with the user's own weights.

The networks know right hands only and always answer with a hand. So left hands are shown to them mirrored,
and whether there is a hand at all, and of which side, is asked of MediaPipe's landmark network, which looks
where the other network placed the hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.hand.joints import Side
from pipeline.pose.crops import cut
from pipeline.pose.landmarks import INPUT_PX as LANDMARK_PX
from pipeline.pose.landmarks import LandmarkNetwork, MediaPipeEstimator, frame_landmarks
from pipeline.pose.networks.checkpoints import Checkpoint, load_weights, read_checkpoint
from pipeline.pose.networks.files import TITLES, locate
from pipeline.pose.networks.framing import (
    cut_as_published,
    frame_box,
    make_pictures,
    mirror_region,
    place_in_picture,
    project_to_picture,
    turn_about_view,
)
from pipeline.pose.networks.hand_layer import HandAnswer, HandNetwork
from pipeline.pose.networks.runner import Runner
from pipeline.pose.networks.vit import PICTURE_PX
from pipeline.pose.protocols import Detection, Estimates
from pipeline.pose.regions import Region, bound_points
from pipeline.results import PoseGuess


@dataclass(frozen=True)
class Reconstruction:
    """Hands in a whole picture.

    Attributes
    ----------
    keypoints_px : ndarray (N, 21, 2)
        In full-image px, by the networks' camera turned to that of the whole picture.
    guess : PoseGuess
        Of N hands, absolute, ``global_orient`` in the camera's frame; of a left hand the mirrored right
        hand's, in the mirrored camera's frame (`pipeline/conventions.md`).
    translation_m : ndarray (N, 3)
        Where the hands are for the pseudo focal length (`get_focal_px`): a direction, not a distance.
    """

    keypoints_px: np.ndarray
    guess: PoseGuess
    translation_m: np.ndarray


def load_network(name: str, path: Path | None = None) -> HandNetwork:
    """The network of a name with the user's weights, single precision, on the CPU.

    Parameters
    ----------
    name : str
        "hamer", "wilor" or "hamba".
    path : Path, optional
        The weights; by default `locate`.

    Raises
    ------
    ModelError
        The file is missing, damaged, another network's, or holds what is not plain data.
    """
    checkpoint = read_checkpoint(path or locate(name))
    with torch.device("meta"):  # the weights replace these, so no memory is taken twice
        network = _make(name, checkpoint)
    load_weights(network, TITLES[name], checkpoint)
    return network


def _make(name: str, checkpoint: Checkpoint) -> HandNetwork:
    if name == "hamer":
        from pipeline.pose.networks.hamer import Hamer

        return Hamer()
    if name == "wilor":
        from pipeline.pose.networks.wilor import Wilor

        return Wilor()
    from pipeline.pose.networks.hamba import Hamba, read_size

    return Hamba(read_size(checkpoint))


class NetworkEstimator:
    """One of the three networks behind the estimator protocol.

    Parameters
    ----------
    name : str
        "hamer", "wilor" or "hamba".
    runner : Runner, optional
        By default the user's weights on the best device there is.
    """

    input_px = PICTURE_PX
    nominal_crop = (
        "twice the hand's box, lengthened to 3 wide by 4 high, the square of its longer side, upright"
    )
    sigma_scale = MediaPipeEstimator.sigma_scale
    offset_share: tuple[float, ...] = MediaPipeEstimator.offset_share
    """Neither is measured: they are MediaPipe's, until made sessions are worked with the real weights."""

    def __init__(self, name: str, runner: Runner | None = None) -> None:
        self.name = name
        self.runner = runner or Runner(TITLES[name], lambda: load_network(name))
        self._landmarks = LandmarkNetwork()

    @property
    def notes(self) -> list[str]:
        """What a person should know of this run (`Runner.notes`)."""
        return self.runner.notes

    def estimate(self, crops_bgr: np.ndarray, side: Side) -> Estimates:
        """Joints in crops (N, 256, 256, 3) uint8 BGR of a hand of ``side``, with the hand model's pose.

        ``score`` and ``right`` are MediaPipe's, of the hand where the network placed it.
        """
        shown = crops_bgr[:, :, ::-1] if side == "left" else crops_bgr
        answer = self.runner.run(make_pictures(shown))
        points_px = (answer.points.numpy().astype(float) + 0.5) * PICTURE_PX
        if side == "left":
            points_px[..., 0] = PICTURE_PX - 1 - points_px[..., 0]
        score, right = self._look_for_hands(crops_bgr, points_px)
        return Estimates(points_px, score, right, _get_guess(answer))

    def reconstruct(self, image_bgr: np.ndarray, regions: Sequence[Region], side: Side) -> Reconstruction:
        """Hands of one side in regions of a whole picture (H, W, 3) uint8 BGR, cut as published.

        Parameters
        ----------
        image_bgr : ndarray (H, W, 3) uint8
            The whole upright picture.
        regions : sequence of Region
            N parts of it, turned or not; the answers are turned back.
        side : "right" | "left"
            The hands'.
        """
        size_px = (image_bgr.shape[1], image_bgr.shape[0])
        crops = np.stack([cut_as_published(image_bgr, region, side) for region in regions])
        answer = self.runner.run(make_pictures(crops))
        guess = _get_guess(answer)
        seen = [mirror_region(one, size_px[0]) if side == "left" else one for one in regions]
        turns = np.stack([turn_about_view(region.angle_rad) for region in seen])
        cameras = answer.camera.numpy().astype(float)
        translation_m = np.stack(
            [place_in_picture(camera, one, size_px) for camera, one in zip(cameras, seen, strict=True)]
        )
        joints_m = answer.joints_m.numpy() @ turns.transpose(0, 2, 1) + translation_m[:, None]
        keypoints_px = project_to_picture(joints_m, size_px)
        if side == "left":
            keypoints_px[..., 0] = size_px[0] - 1 - keypoints_px[..., 0]
        turned = PoseGuess(guess.betas, turns @ guess.global_orient, guess.hand_pose)
        return Reconstruction(keypoints_px, turned, translation_m)

    def frame_detection(self, detection: Detection) -> Region:
        """The nominal crop of a detected hand."""
        return frame_box(detection.box_px)

    def frame_points(self, points_px: np.ndarray) -> Region:
        """The nominal crop around joints (21, 2) in full-image px."""
        return frame_box(bound_points(points_px))

    def _look_for_hands(self, crops_bgr: np.ndarray, points_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether hands are where the network placed them, and whether right ones: (N,) each, 0 to 1."""
        placed = np.isfinite(points_px).all(axis=(1, 2))
        score, right = np.zeros(len(placed)), np.full(len(placed), np.nan)
        if placed.any():
            pairs = zip(crops_bgr[placed], points_px[placed], strict=True)
            closer = [cut(crop, frame_landmarks(points), LANDMARK_PX)[0] for crop, points in pairs]
            seen = self._landmarks.run(np.stack(closer))
            score[placed], right[placed] = seen.score, seen.right
        return score, right


def _get_guess(answer: HandAnswer) -> PoseGuess:
    return PoseGuess(
        betas=answer.betas.numpy().astype(float),
        global_orient=answer.global_orient.numpy().astype(float),
        hand_pose=answer.hand_pose.numpy().astype(float),
    )
