"""Pictures of a checkerboard whose corners are known exactly, and of things that look like one."""

from __future__ import annotations

import functools
from dataclasses import replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.calibration.board import normalise_order
from pipeline.calibration.takes import Sight
from pipeline.results import Camera
from pipeline.session import Checkerboard

MARGIN_SQUARES = 1.0


def make_camera(
    name="front",
    size_px=(640, 360),
    focal_px=560.0,
    k1=0.0,
    k2=0.0,
    rotation_deg=(0, 0, 0),
    centre_mm=(0, 0, 0),
):
    """A camera at ``centre_mm`` turned by xyz Euler angles, principal point at the picture's centre."""
    R = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix().T
    K = np.array([[focal_px, 0, (size_px[0] - 1) / 2], [0, focal_px, (size_px[1] - 1) / 2], [0, 0, 1.0]])
    return Camera(name, size_px, K, np.array([k1, k2, 0, 0, 0.0]), R, -R @ np.asarray(centre_mm, dtype=float))


def make_rig_cameras(size_px=(640, 360), focal_scale=0.9):
    """Three cameras round a spot 600 mm ahead of the front one, with different lenses."""
    focal = focal_scale * size_px[0]
    front = make_camera("front", size_px, focal, -0.08, 0.02)
    spot = np.array([0, 0, 600.0])
    cameras = {"front": front}
    for name, angle, scale in (("left", 32, 1.07), ("right", -30, 0.95)):
        R = Rotation.from_euler("xy", [-8, angle], degrees=True).as_matrix()
        centre = spot - R @ np.array([0, 0, 620.0])
        camera = make_camera(name, size_px, focal * scale, -0.05, 0.01)
        cameras[name] = replace(camera, R=R.T, t_mm=-R.T @ centre)
    return cameras


def board_points(board: Checkerboard) -> np.ndarray:
    """Inner corners (rows * columns, 3) in mm in the board's own frame."""
    grid = np.mgrid[0 : board.columns, 0 : board.rows].T.reshape(-1, 2) * board.square_mm
    return np.concatenate([grid, np.zeros((len(grid), 1))], axis=1)


def board_pose(board: Checkerboard, rotation_deg=(0, 0, 0), centre_mm=(0, 0, 600)):
    """Pose (R, t) of a board whose middle lies at ``centre_mm``."""
    R = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    middle = np.array([(board.columns - 1) / 2, (board.rows - 1) / 2, 0]) * board.square_mm
    return R, np.asarray(centre_mm, dtype=float) - R @ middle


def random_poses(board: Checkerboard, count: int, rng: np.random.Generator, distance_mm=600.0):
    """Poses of a board as a person holds it: tilted, turned, all over the picture."""
    poses = []
    for _ in range(count):
        turn = (rng.uniform(-35, 35), rng.uniform(-35, 35), rng.uniform(-20, 20))
        centre = (rng.uniform(-120, 120), rng.uniform(-60, 60), distance_mm + rng.uniform(-90, 90))
        poses.append(board_pose(board, turn, centre))
    return poses


def place(points, pose):
    """Board points in the world."""
    return points @ pose[0].T + pose[1]


@functools.lru_cache(maxsize=16)
def _rays(size_px, K_key, distortion_key, oversample):
    K, distortion = np.array(K_key).reshape(3, 3), np.array(distortion_key)
    steps = (np.arange(oversample) + 0.5) / oversample - 0.5
    u = (np.arange(size_px[0])[:, None] + steps).ravel()
    v = (np.arange(size_px[1])[:, None] + steps).ravel()
    pixels = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 1, 2)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-9)
    rays = cv2.undistortPoints(pixels, K, distortion, criteria=criteria)
    return rays.reshape(len(v), len(u), 2).astype(np.float32)


def draw_board(camera, pose, board, oversample=3, noise=0.0, rng=None, background=None):
    """Grey picture (H, W) uint8 of the board at a world pose; ``background`` grey or a picture."""
    R = camera.R @ pose[0]
    t = camera.R @ pose[1] + camera.t_mm
    rays = _rays(camera.size_px, tuple(camera.K.ravel()), tuple(camera.distortion), oversample)
    H = np.linalg.inv(np.stack([R[:, 0], R[:, 1], t], axis=1)).astype(np.float32)
    denominator = rays @ H[2, :2] + H[2, 2]
    denominator[np.abs(denominator) < 1e-9] = 1e-9
    x = (rays @ H[0, :2] + H[0, 2]) / denominator / board.square_mm
    y = (rays @ H[1, :2] + H[1, 2]) / denominator / board.square_mm
    ahead = denominator > 0
    paper = ahead & (x > -1 - MARGIN_SQUARES) & (x < board.columns + MARGIN_SQUARES)
    paper &= (y > -1 - MARGIN_SQUARES) & (y < board.rows + MARGIN_SQUARES)
    squares = paper & (x > -1) & (x < board.columns) & (y > -1) & (y < board.rows)
    dark = squares & ((np.floor(x) + np.floor(y)) % 2 == 0)
    size = camera.size_px
    fine = np.full(paper.shape, 110.0, np.float32)
    if background is not None:
        fine = cv2.resize(background, paper.shape[::-1]).astype(np.float32)
    fine[paper] = 225
    fine[dark] = 30
    picture = fine.reshape(size[1], oversample, size[0], oversample).mean(axis=(1, 3))
    if noise:
        picture = picture + (rng or np.random.default_rng(0)).normal(0, noise, picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def draw_keys(size_px, rng):
    """Grey picture of piano keys in perspective with clutter: rich in corners, but no board."""
    width, height = size_px
    keys = np.full((240, 700), 235, np.uint8)
    step = int(rng.integers(18, 40))
    for x in range(0, 700, step):
        keys[:, x : x + 1] = 60
    for index, x in enumerate(range(0, 700, step)):
        if index % 7 not in (2, 6):
            keys[: int(rng.integers(120, 160)), x + step * 2 // 3 : x + step * 4 // 3] = 25
    corners = np.array([[0, 0], [700, 0], [700, 240], [0, 240]], np.float32)
    spread = rng.uniform(-0.12, 0.12, (4, 2)) * [width, height]
    target = np.array([[0.05, 0.2], [0.95, 0.2], [0.95, 0.85], [0.05, 0.85]]) * [width, height] + spread
    H = cv2.getPerspectiveTransform(corners, target.astype(np.float32))
    picture = cv2.warpPerspective(
        keys, H, (width, height), flags=cv2.INTER_AREA, borderValue=float(rng.integers(40, 160))
    )
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def move_between(first, second, share):
    """Pose a part of the way from one pose to another."""
    turn = Rotation.from_matrix(first[0].T @ second[0]).as_rotvec() * share
    return first[0] @ Rotation.from_rotvec(turn).as_matrix(), first[1] * (1 - share) + second[1] * share


def board_take(poses, rest_frames=26, move_frames=8):
    """Poses frame by frame of a board that rests in every pose and moves on."""
    track = []
    for index, pose in enumerate(poses):
        track += [pose] * rest_frames
        if index + 1 < len(poses):
            following = poses[index + 1]
            track += [move_between(pose, following, (k + 1) / (move_frames + 1)) for k in range(move_frames)]
    return track


def see(cameras, poses, board, rng=None, noise_px=0.0):
    """Exact corners with noise as sights, in the order that the detector would give them."""
    rng = rng or np.random.default_rng(0)
    points = board_points(board)
    sights: dict[str, list[Sight]] = {}
    for name, camera in cameras.items():
        sights[name] = []
        for rest, pose in enumerate(poses):
            corners = camera.project(place(points, pose))
            corners = corners + rng.normal(0, noise_px, corners.shape)
            ordered = normalise_order(corners, board)
            # The first inner cell is light as drawn; turning a board with odd columns + rows changes that.
            is_turned = not np.allclose(ordered[0], corners[0])
            is_dark = bool(is_turned and (board.columns + board.rows) % 2)
            sights[name].append(Sight(rest, rest * 40, rest * 1.5, ordered, is_dark, 0.0))
    return sights


def compare(camera, truth):
    """Errors of a calibrated camera: focal length (share), rotation (degrees), translation (mm)."""
    focal = abs(camera.K[0, 0] / truth.K[0, 0] - 1)
    angle = np.degrees(np.linalg.norm(Rotation.from_matrix(camera.R @ truth.R.T).as_rotvec()))
    return float(focal), float(angle), float(np.linalg.norm(camera.t_mm - truth.t_mm))
