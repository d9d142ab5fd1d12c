"""Made crops of hands with their truth: what the network is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import roma
import torch

from pipeline.hand.joints import JOINTS, MANO_POSE_JOINTS
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.hand.rotations import mirror_points
from pipeline.pose.landmarks import INPUT_PX, frame_landmarks
from pipeline.pose.regions import Region, apply_affine
from pipeline.pose.training.looks import Template, draw_light, draw_skin, make_template, shade
from pipeline.pose.training.postures import KINDS, draw_posture
from pipeline.pose.training.raster import rasterise
from pipeline.pose.training.scenery import cover, draw_background, film
from pipeline.synth.arm import make_arm_faces, pose_arm
from pipeline.synth.motion import PIANO_R_TEMPLATE, Pose
from pipeline.synth.person import find_axes

DRAWN_PX = 336
"""Pictures are drawn this large and made smaller: smooth edges."""

EMPTY_SHARE = 0.06
"""Share of the pictures without a hand: presence must not be forgotten."""

_FOCAL = 1000.0
_NEAREST_MM = 40.0


@dataclass(frozen=True)
class Sample:
    """A crop and what is true in it.

    Attributes
    ----------
    image_bgr : ndarray (224, 224, 3) uint8
    points_px : ndarray (21, 2)
        Joints of the mesh in crop px; of a crop without a hand NaN.
    joints_mm : ndarray (21, 3)
        The same in space, along the crop's axes, from the wrist.
    frames : ndarray (21, 3, 3)
        The rotation from the resting hand to the crop's axes of the part of the hand that each joint ends
        (a left hand's are those of its mirror image, mirrored).
    px_per_mm : ndarray (21,)
        Scale of the picture at each joint.
    right : bool
    present : bool
    """

    image_bgr: np.ndarray
    points_px: np.ndarray
    joints_mm: np.ndarray
    frames: np.ndarray
    px_per_mm: np.ndarray
    right: bool
    present: bool


@dataclass(frozen=True)
class _Hand:
    """A posed hand with its forearm in the camera's frame, mm."""

    vertices: np.ndarray
    joints: np.ndarray
    frames: np.ndarray
    right: bool


class Painter:
    """Draws crops; one a process.

    Parameters
    ----------
    model : HandModel, optional
        By default the one at hand.
    """

    def __init__(self, model: HandModel | None = None) -> None:
        self.model = model or load_hand_model()
        self.template: Template = make_template(self.model)
        self.axes = find_axes(self.model, np.zeros(self.model.n_betas))
        arm, cloth = make_arm_faces()
        self.faces = np.concatenate([self.model.faces, arm + self.model.n_vertices])
        owner = np.zeros(int(arm.max()) + 1, bool)
        for face, of_cloth in zip(arm, cloth, strict=True):
            owner[face] |= bool(of_cloth)
        self._cloth = owner

    def draw(self, seed: int, easy: bool = False) -> Sample:
        """The picture of a seed; the same seed draws the same picture.

        An ``easy`` one shows a hand at rest or open, whole and uncovered: what any network sees right.
        """
        random = np.random.default_rng([seed, 41])
        hand = self._pose(random, ("resting", "open") if easy else KINDS)
        pixels = hand.joints[:, :2] / hand.joints[:, 2:] * _FOCAL
        region = _jitter(random, frame_landmarks(pixels))
        image = draw_background(random, DRAWN_PX)
        present = easy or bool(random.random() >= EMPTY_SHARE)
        if not easy and random.random() < 0.1:
            self._paint(random, image, self._place_beside(random, hand), region)
        if present:
            self._paint(random, image, hand, region)
        if not easy and random.random() < 0.22:
            cover(random, image)
        return self._label(film(random, image, INPUT_PX), hand, pixels, region, present)

    def _label(
        self, image: np.ndarray, hand: _Hand, pixels: np.ndarray, region: Region, present: bool
    ) -> Sample:
        crop_from_image = cv2.invertAffineTransform(region.get_image_from_crop(INPUT_PX))
        turn = np.eye(3)
        turn[:2, :2] = crop_from_image[:, :2] / np.linalg.norm(crop_from_image[:, 0])
        points = apply_affine(crop_from_image, pixels)
        return Sample(
            image_bgr=image,
            points_px=points if present else np.full_like(points, np.nan),
            joints_mm=(hand.joints - hand.joints[0]) @ turn.T,
            frames=turn @ hand.frames,
            px_per_mm=_FOCAL / hand.joints[:, 2] * INPUT_PX / region.size_px,
            right=hand.right,
            present=present,
        )

    def _pose(self, random: np.random.Generator, kinds: tuple[str, ...] = KINDS) -> _Hand:
        betas = np.zeros(self.model.n_betas)
        betas[:10] = np.clip(random.normal(0, 1.1, 10), -2.8, 2.8)[: len(betas)]
        posture = draw_posture(random, self.axes, kinds)
        bend = _rotate(random.normal(0, 0.35, 3).clip(-0.8, 0.8))
        orient = bend @ PIANO_R_TEMPLATE
        vertices, joints = self.model.pose_arrays(betas, orient[None], posture[None], np.zeros((1, 3)))
        wrist = joints[0, 0].astype(float)
        arm = pose_arm(self.model, Pose(orient[None], posture[None], np.zeros((1, 3))))[0]
        body = np.concatenate([vertices[0] - wrist, arm])
        view = _draw_rotation(random)
        frames = view @ _chain_rotations(orient, posture)
        distance = 190.0 * np.exp(random.uniform(np.log(1.9), np.log(11.0)))
        shift = np.array([*random.normal(0, 0.12, 2) * distance, distance])
        right = bool(random.random() < 0.5)
        placed, found = body @ view.T + shift, (joints[0] - wrist) @ view.T + shift
        found = found.astype(float)
        if found[:, 2].min() < 2 * _NEAREST_MM:
            shift = np.array([0.0, 0.0, 2 * _NEAREST_MM])
            placed, found = placed + shift, found + shift
        if not right:
            flip = np.diag([-1.0, 1.0, 1.0])
            placed, found, frames = mirror_points(placed), mirror_points(found), flip @ frames @ flip
        return _Hand(placed, found, frames, right)

    def _place_beside(self, random: np.random.Generator, hand: _Hand) -> _Hand:
        """Another hand near the first one, a little behind it."""
        other = self._pose(random)
        away = np.array([*random.uniform(-150, 150, 2), random.uniform(30, 120)])
        shift = hand.joints[9] + away - other.joints[9]
        return _Hand(other.vertices + shift, other.joints + shift, other.frames, other.right)

    def _paint(self, random: np.random.Generator, image: np.ndarray, hand: _Hand, region: Region) -> None:
        near = hand.vertices[:, 2] < _NEAREST_MM  # an elbow behind the camera is in no picture
        faces = self.faces[~near[self.faces].any(axis=1)]
        if not hand.right:
            faces = faces[:, ::-1]
        depth = np.maximum(hand.vertices[:, 2], 1.0)
        pixels = hand.vertices[:, :2] / depth[:, None] * _FOCAL
        crop_from_image = cv2.invertAffineTransform(region.get_image_from_crop(INPUT_PX))
        drawn = (apply_affine(crop_from_image, pixels) + 0.5) * (DRAWN_PX / INPUT_PX) - 0.5
        fragments = rasterise(drawn, depth, faces, DRAWN_PX)
        if len(fragments.rows) == 0:
            return
        n_hand = self.model.n_vertices
        arm = hand.vertices[n_hand:] - hand.joints[0]
        skin = draw_skin(random, self.template, arm, self._cloth)
        colours = shade(random, fragments, skin, hand.vertices, faces, draw_light(random))
        image[fragments.rows, fragments.columns] = np.clip(colours, 0, 1)


def _chain_rotations(orient: np.ndarray, posture: np.ndarray) -> np.ndarray:
    """Rotations (21, 3, 3) of the part of the hand that each joint ends."""
    frames = np.repeat(orient[None], len(JOINTS), axis=0)
    for number in range(len(JOINTS)):
        if number % 4 != 1 and number > 0:
            before = number - 1
            frames[number] = frames[before] @ posture[MANO_POSE_JOINTS.index(JOINTS[before])]
    return frames


def _rotate(rotvec: np.ndarray) -> np.ndarray:
    return roma.rotvec_to_rotmat(torch.as_tensor(rotvec, dtype=torch.float64)).numpy()


def _draw_rotation(random: np.random.Generator) -> np.ndarray:
    """A rotation (3, 3), all alike."""
    return roma.unitquat_to_rotmat(torch.as_tensor(_unit(random.normal(0, 1, 4)))).numpy()


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _jitter(random: np.random.Generator, region: Region) -> Region:
    """A crop as tracking gives it: not quite in place, size and turn."""
    x, y = random.normal(0, 0.035, 2) * region.size_px
    turn = random.normal(0, np.radians(22)) if random.random() < 0.9 else random.uniform(-np.pi, np.pi)
    moved = Region(region.x_px + x, region.y_px + y, region.size_px, region.angle_rad)
    return moved.vary(float(np.exp(random.normal(0, 0.12))), float(turn))
