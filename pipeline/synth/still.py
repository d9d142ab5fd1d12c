"""Made still pictures of hands, their truth, and what goes wrong with pictures, done on purpose.

For the checks of `pipeline.photos`: hands in all postures seen from all around before a motley background,
and the same picture cut off, blurred, or with something in front of the hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import roma
import torch

from pipeline.hand.joints import FINGERS, MANO_POSE_JOINTS, PARTS, Side
from pipeline.hand.model import HandModel
from pipeline.hand.rotations import mirror_points
from pipeline.results import Camera
from pipeline.synth.arm import N_VERTICES as N_ARM_VERTICES
from pipeline.synth.arm import make_arm_faces, pose_arm
from pipeline.synth.motion import PIANO_R_TEMPLATE, Pose
from pipeline.synth.person import find_axes, make_person
from pipeline.synth.render import LENS_SIGMA, NOISE_SIGMA, Mesh, draw_mesh, make_colours, shade
from pipeline.synth.spec import SynthSpec

SIZE_PX = (960, 720)
FOCAL_35MM = (24.0, 35.0)
"""What telephones' main lenses have, as if on 35 mm film."""

_DIAGONAL_35MM = 43.2666
_NEAREST_MM = 50.0
_CAMERA_R_BACK = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""The template before the camera: fingers up, back of the hand to the viewer."""


@dataclass(frozen=True)
class MadeHand:
    """A hand in a made picture, in the camera's frame.

    Attributes
    ----------
    side : "right" | "left"
    betas : ndarray (B,)
    joints_mm : ndarray (21, 3)
    keypoints_px : ndarray (21, 2)
    hidden : ndarray (21,) bool
        Behind something that was put before the hand, or behind the other hand.
    """

    side: Side
    betas: np.ndarray
    joints_mm: np.ndarray
    keypoints_px: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True)
class Still:
    """A made picture: ``image_bgr`` (H, W, 3) uint8, its camera, the lens as on 35 mm film, its hands."""

    image_bgr: np.ndarray
    camera: Camera
    focal_35mm: float
    hands: tuple[MadeHand, ...]


def make_still(
    seed: int,
    model: HandModel,
    sides: tuple[Side, ...] = ("right",),
    size_px: tuple[int, int] = SIZE_PX,
    apart: float = 0.5,
) -> Still:
    """Draw a picture: person, postures, viewpoint, lens, light and background all by ``seed``.

    Parameters
    ----------
    seed : int
        The same seed makes the same picture.
    model : HandModel
        The right hand that is posed.
    sides : tuple of "right" | "left"
        One hand or two.
    size_px : (int, int)
        Width and height.
    apart : float
        Distance of two hands' middles as a share of the picture's width; 0.1 lays one over the other.
    """
    random = np.random.default_rng([seed, 20_261])
    focal_35mm = float(random.uniform(*FOCAL_35MM))
    camera = make_camera(size_px, focal_35mm)
    person = make_person(SynthSpec(seed=seed, subject=seed), model.n_betas)
    light = np.array([random.uniform(-0.7, 0.7), random.uniform(-1.0, 0.2), -1.0])
    image = _draw_background(random, size_px)
    hands = []
    for number, side in enumerate(sides):
        middle = np.array([0.5, 0.5]) + random.uniform(-0.06, 0.06, 2)
        if len(sides) > 1:
            middle[0] += apart * (number - 0.5)
        hands.append(_pose_hand(random, model, person.betas, side, camera, middle))
    made: list[MadeHand] = []
    arm, _ = make_arm_faces()
    order = sorted(hands, key=lambda each: -each[1][:, 2].mean())
    for side, joints, vertices in order:
        faces = np.concatenate([model.faces, arm + model.n_vertices])
        mesh = _make_mesh(random, model, faces if side == "right" else faces[:, ::-1], person.skin_bgr)
        near = vertices[:, 2] < _NEAREST_MM  # an elbow behind the camera is in no picture
        whole = ~near[faces].any(axis=1)
        mesh = replace(mesh, faces=mesh.faces[whole], material=mesh.material[whole])
        pixels = camera.project(np.where(near[:, None], joints[:1], vertices))
        before = image.copy()
        draw_mesh(image, mesh, pixels, vertices[:, 2], shade(mesh, vertices, light / np.linalg.norm(light)))
        covered = (image != before).any(axis=2)
        made = [_hide(hand, covered) for hand in made]
        points = camera.project(joints)
        made.append(MadeHand(side, person.betas, joints, points, np.zeros(21, bool)))
    image = cv2.GaussianBlur(image, (0, 0), LENS_SIGMA)
    noise = random.normal(0, NOISE_SIGMA, image.shape)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return Still(image, camera, focal_35mm, tuple(made))


def make_camera(size_px: tuple[int, int], focal_35mm: float) -> Camera:
    """A camera without distortion whose lens has this focal length as on 35 mm film (by the diagonal)."""
    width, height = size_px
    focal = focal_35mm / _DIAGONAL_35MM * float(np.hypot(width, height))
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera("photo", size_px, matrix, np.zeros(5), np.eye(3), np.zeros(3))


def _pose_hand(
    random: np.random.Generator,
    model: HandModel,
    betas: np.ndarray,
    side: Side,
    camera: Camera,
    middle: np.ndarray,
) -> tuple[Side, np.ndarray, np.ndarray]:
    """Side, joints (21, 3) and vertices (V + arm, 3) in the camera's frame."""
    hand_pose = _draw_posture(random, model, betas)
    turn = np.pi * random.integers(2)  # back or palm
    tilt = random.normal(0, 0.45, 3) * np.array([1.0, 1.0, 0.0]) + np.array([0.0, 0.0, random.normal(0, 0.7)])
    orient = _rotate([*np.clip(tilt, -0.9, 0.9)]) @ _rotate([0.0, turn, 0.0]) @ _CAMERA_R_BACK
    _, flat = model.pose_arrays(betas, np.eye(3)[None], hand_pose[None], np.zeros((1, 3)))
    size_px = random.uniform(0.35, 0.6) * min(camera.size_px)
    extent = np.ptp(flat[0] @ orient.T, axis=0)[:2].max()
    depth = camera.K[0, 0] * extent / size_px
    ray = np.linalg.inv(camera.K) @ [*(middle * camera.size_px), 1.0]
    if side == "left":
        ray[0] = -ray[0]
    transl = ray * depth - orient @ (flat[0].mean(axis=0) - flat[0, 0]) - flat[0, 0]
    vertices, joints = model.pose_arrays(betas, orient[None], hand_pose[None], transl[None])
    camera_r_piano = orient @ PIANO_R_TEMPLATE.T
    wrist = joints[0, 0].astype(float)
    arm = pose_arm(model, Pose(PIANO_R_TEMPLATE[None], hand_pose[None], np.zeros((1, 3))))[0]
    everything = np.concatenate([vertices[0], arm @ camera_r_piano.T + wrist]).astype(float)
    found = joints[0].astype(float)
    if side == "left":
        everything, found = mirror_points(everything), mirror_points(found)
    return side, found, everything


def _draw_posture(random: np.random.Generator, model: HandModel, betas: np.ndarray) -> np.ndarray:
    """Rotations (15, 3, 3): every finger bent by itself, from stretched to a fist."""
    axes = find_axes(model, betas)
    bend = {finger: random.choice([random.uniform(0, 0.35), random.uniform(0, 1)]) for finger in FINGERS}
    full = {"mcp": 1.3, "pip": 1.6, "dip": 0.9, "cmc": 0.4, "ip": 0.9}
    turns = np.zeros((15, 3))
    for number, joint in enumerate(MANO_POSE_JOINTS):
        finger, part = joint.split("_")
        most = 0.6 if joint == "thumb_mcp" else full[part]
        flexion = bend[finger] * most + random.normal(0, 0.05)
        spread = random.normal(0, 0.12) if part == "mcp" and finger != "thumb" else 0.0
        turns[number] = flexion * axes.flexion[number] + spread * axes.abduction[number]
    return roma.rotvec_to_rotmat(torch.as_tensor(turns)).numpy()


def _rotate(rotvec: list[float]) -> np.ndarray:
    return roma.rotvec_to_rotmat(torch.tensor(rotvec, dtype=torch.float64)).numpy()


def _make_mesh(
    random: np.random.Generator, model: HandModel, faces: np.ndarray, skin_bgr: np.ndarray
) -> Mesh:
    _, cloth = make_arm_faces()
    n_hand = len(model.faces)
    return Mesh(
        faces=np.ascontiguousarray(faces),
        albedo=np.ones(model.n_vertices + N_ARM_VERTICES),
        material=np.concatenate([np.zeros(n_hand, np.uint8), cloth]),
        colours=np.stack([make_colours(skin_bgr), make_colours(random.uniform(40, 190, 3))]),
    )


def _draw_background(random: np.random.Generator, size_px: tuple[int, int]) -> np.ndarray:
    """A blurred room: two colours that run into each other, and a dozen things in it."""
    width, height = size_px
    one, other = random.uniform(50, 220, (2, 3))
    slope = np.linspace(0, 1, height)[:, None, None]
    image = np.repeat(one * (1 - slope) + other * slope, width, axis=1)
    for _ in range(12):
        x, y = random.uniform(0, 1, 2) * size_px
        w, h = random.uniform(0.03, 0.3, 2) * size_px
        colour = tuple(float(value) for value in random.uniform(30, 230, 3))
        if random.random() < 0.5:
            cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), colour, -1)
        else:
            cv2.ellipse(image, (int(x), int(y)), (int(w / 2), int(h / 2)), 0, 0, 360, colour, -1)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 2.0), 0, 255).astype(np.uint8)


def _hide(hand: MadeHand, covered: np.ndarray) -> MadeHand:
    """The hand with its joints under the mask (H, W) marked hidden."""
    height, width = covered.shape
    x, y = np.round(hand.keypoints_px).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    under = np.zeros(21, bool)
    under[inside] = covered[y[inside], x[inside]]
    return replace(hand, hidden=hand.hidden | under)


# --- what goes wrong ------------------------------------------------------------------------------


def cut_off(still: Still, share: float) -> Still:
    """The picture cut so that ``share`` (0 to 1) of the first hand's joints lie beyond its upper edge."""
    y = np.sort(still.hands[0].keypoints_px[:, 1])
    line = int(np.clip(np.quantile(y, share), 1, still.camera.size_px[1] - 64))
    width, height = still.camera.size_px
    matrix = still.camera.K.copy()
    matrix[1, 2] -= line
    camera = replace(still.camera, size_px=(width, height - line), K=matrix)
    hands = tuple(replace(hand, keypoints_px=hand.keypoints_px - [0, line]) for hand in still.hands)
    return replace(still, image_bgr=still.image_bgr[line:].copy(), camera=camera, hands=hands)


def blur(still: Still, share: float) -> Still:
    """The picture out of focus: a Gaussian of ``share`` of the first hand's size in the picture."""
    size = float(np.ptp(still.hands[0].keypoints_px, axis=0).max())
    return replace(still, image_bgr=cv2.GaussianBlur(still.image_bgr, (0, 0), max(share * size, 0.1)))


def cover(still: Still, finger: str, seed: int = 0) -> Still:
    """The picture with a thing of one colour, such as a cup, in front of one finger of the first hand."""
    random = np.random.default_rng([seed, 77])
    hand = still.hands[0]
    points = hand.keypoints_px[PARTS[finger][1:]]
    size = 0.16 * float(np.ptp(hand.keypoints_px, axis=0).max())
    low, high = points.min(axis=0) - size, points.max(axis=0) + size
    image, mask = still.image_bgr.copy(), np.zeros(still.image_bgr.shape[:2], np.uint8)
    corners = (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))
    cv2.rectangle(mask, *corners, 1, -1)
    image[mask > 0] = random.uniform(20, 230, 3)
    image = np.clip(image + random.normal(0, NOISE_SIGMA, image.shape) * mask[..., None], 0, 255)
    covered = mask > 0
    hands = tuple(_hide(each, covered) for each in still.hands)
    return replace(still, image_bgr=image.astype(np.uint8), hands=hands)
