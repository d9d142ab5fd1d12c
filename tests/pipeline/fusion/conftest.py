"""Takes with known truth: a hand that moves smoothly before a rig of cameras."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from pipeline.fusion.evidence import Evidence, collect
from pipeline.fusion.fuse import fuse
from pipeline.fusion.options import FusionOptions
from pipeline.hand.joints import MANO_POSE_JOINTS, Side
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.hand.rotations import mirror_points
from pipeline.progress import Reporter
from pipeline.results import Camera, CameraSync, HandTrack, Rig, SyncResult, ViewTrack
from pipeline.session import SessionSettings

OFFSETS_S = {"front": 0.0, "left": 0.2137, "right": -0.1041, "top": 0.05}
PLACES = {"front": (0.0, 0.0), "left": (-40.0, 0.0), "right": (40.0, 0.0), "top": (0.0, -45.0)}


@dataclass
class Take:
    settings: SessionSettings
    sync: SyncResult
    rig: Rig
    views: dict[str, dict[Side, ViewTrack]]
    joints_mm: np.ndarray
    betas: np.ndarray
    global_orient: np.ndarray
    hand_pose: np.ndarray
    transl_mm: np.ndarray
    time_s: np.ndarray

    def collect(self, options: FusionOptions | None = None) -> Evidence:
        """Its evidence for the right hand."""
        reference = self.settings.reference
        return collect(reference, tuple(self.views), self.sync, self.rig, self.views, "right", options)

    def fuse(
        self, model: HandModel, report: Reporter | None = None, options: FusionOptions | None = None
    ) -> dict[Side, HandTrack]:
        """All that the door makes of it."""
        report = report or Reporter()
        return fuse(self.settings, self.sync, self.rig, self.views, model, report, options)


@pytest.fixture(scope="session")
def model() -> HandModel:
    return load_hand_model()


@pytest.fixture
def make_double(model: HandModel) -> Callable[..., HandModel]:
    def make(blended: bool = False) -> HandModel:
        """The model in double precision, if wanted with pose blend shapes as MANO has them."""
        layer = copy.deepcopy(model.layer).double()
        if blended:
            generator = torch.Generator().manual_seed(0)
            layer.posedirs.copy_(1e-3 * torch.randn(layer.posedirs.shape, generator=generator).double())
        return replace(model, layer=layer)

    return make


@pytest.fixture
def make_pose() -> Callable[..., tuple]:
    def make(frames: int = 5, seed: int = 0) -> tuple:
        """Orientation, pose and translation drawn at random."""
        generator = torch.Generator().manual_seed(seed)
        vectors = torch.randn(frames, 16, 3, generator=generator, dtype=torch.float64) * 0.6
        matrices = roma.rotvec_to_rotmat(vectors)
        transl = torch.randn(frames, 3, generator=generator, dtype=torch.float64) * 50
        return matrices[:, 0], matrices[:, 1:], transl

    return make


def make_camera(name: str, size: tuple[int, int] = (1920, 1080)) -> Camera:
    """Half a metre off, turned about the point in front of the front camera where the hand is."""
    yaw, pitch = PLACES[name]
    centre = np.array([0.0, 0.0, 600.0])
    rotation = Rotation.from_euler("yx", [-yaw, -pitch], degrees=True).as_matrix().T
    translation = np.array([0.0, 0.0, 600.0]) - rotation @ centre
    focal = 1500.0 + 60 * len(name)
    intrinsics = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])
    return Camera(name, size, intrinsics, np.array([-0.12, 0.05, 0, 0, 0.0]), rotation, translation)


def move(time_s: np.ndarray, rng: np.random.Generator, amount: float = 1.0) -> tuple:
    """Global orientation, pose and translation of a hand that plays, palm towards -y of the template."""

    def wave(size: float, hertz: tuple[float, float] = (0.5, 3.0)) -> np.ndarray:
        rate, phase = rng.uniform(*hertz), rng.uniform(0, 2 * np.pi)
        return size * np.sin(2 * np.pi * rate * time_s + phase)

    frames = len(time_s)
    turn = np.stack([wave(0.2), wave(0.2), wave(0.2)], axis=1)
    base = Rotation.from_matrix([[0, 0, 1.0], [0, -1, 0], [1, 0, 0]])
    orient = (Rotation.from_rotvec(turn) * base).as_matrix()
    transl = np.stack([wave(30), wave(20), 600 + wave(30)], axis=1)
    pose = np.empty((frames, 15, 3, 3))
    for number, name in enumerate(MANO_POSE_JOINTS):
        bend = 0.5 + wave(0.35 * amount)
        spread = wave(0.1) if name.endswith(("mcp", "cmc")) else np.zeros(frames)
        up = np.array([1.0, 1.0, 1.0]) / 3**0.5 if name.startswith("thumb") else np.array([0, 1.0, 0])
        along = np.array([-0.6, -0.4, 0.7]) if name.startswith("thumb") else np.array([-1.0, 0, 0])
        axis = np.cross(up, along)
        axis /= np.linalg.norm(axis)
        turns = Rotation.from_rotvec(spread[:, None] * np.cross(along, axis)) * Rotation.from_rotvec(
            (0.4 if name.startswith("thumb") else 1.0) * bend[:, None] * axis
        )
        pose[:, number] = turns.as_matrix()
    return orient, pose, transl


@pytest.fixture
def make_take(model: HandModel) -> Callable[..., Take]:
    def make(
        seconds: float = 0.5,
        cameras: tuple[str, ...] = ("front", "left", "right"),
        noise_px: float = 0.0,
        sigma_px: float | None = None,
        side: Side = "right",
        seed: int = 0,
        fps: float = 60.0,
        betas_scale: float = 1.0,
        same_clock: bool = False,
        rig: dict[str, Camera] | None = None,
        fps_of: dict[str, float] | None = None,
        times_s: np.ndarray | None = None,
    ) -> Take:
        """A take; ``rig`` has cameras of one's own instead of ``cameras``, ``fps_of`` frame rates other than
        ``fps``, ``times_s`` the reference's own frame times instead of even ones.
        """
        cameras = cameras if rig is None else tuple(rig)
        rng = np.random.default_rng(seed)
        betas = betas_scale * rng.normal(size=10)
        # One motion on a common, finer clock; every camera takes its own frames of it.
        motion_seed = int(rng.integers(2**31))

        def pose_at(time_s: np.ndarray) -> tuple:
            motion = move(time_s, np.random.default_rng(motion_seed))
            return *motion, model.pose_arrays(betas, *motion)[1].astype(float)

        rig_cameras = rig or {name: make_camera(name) for name in cameras}
        offsets = {name: 0.0 if same_clock else OFFSETS_S.get(name, 0.03 * len(name)) for name in cameras}
        time_s = np.arange(round(seconds * fps)) / fps if times_s is None else times_s
        views: dict[str, dict[Side, ViewTrack]] = {}
        for name in cameras:
            rate = (fps_of or {}).get(name, fps)
            extra = 0 if same_clock else round(0.25 * rate)
            own = np.arange(round(seconds * rate) + 2 * extra) / rate
            start = 0.0 if name == cameras[0] else -extra / rate + offsets[name]
            if name == cameras[0]:
                own = time_s
            clock = own + (0.0 if name == cameras[0] else start)
            points = pose_at(clock)[3]
            points = mirror_points(points) if side == "left" else points
            pixels = rig_cameras[name].project(points)
            pixels = pixels + rng.normal(size=pixels.shape) * noise_px
            sigma = np.full(pixels.shape[:2], sigma_px if sigma_px is not None else max(noise_px, 0.02))
            empty = np.full((len(own), 4), np.nan)
            views[name] = {
                side: ViewTrack(own, empty, np.full(len(own), "detected"), pixels, sigma, np.ones(len(own)),
                                rig_cameras[name].size_px)
            }  # fmt: skip
            offsets[name] = 0.0 if name == cameras[0] else start
        orient, pose, transl, joints = pose_at(time_s)
        return Take(
            settings=SessionSettings(side=side, reference=cameras[0]),
            sync=SyncResult(cameras[0], {name: CameraSync(offsets[name]) for name in cameras}),
            rig=Rig(cameras[0], rig_cameras),
            views=views,
            joints_mm=mirror_points(joints) if side == "left" else joints,
            betas=betas,
            global_orient=orient,
            hand_pose=pose,
            transl_mm=transl,
            time_s=time_s,
        )

    return make
