"""A small made take and its video, drawn as it is or with something wrong about it."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.hand.model import load_hand_model
from pipeline.outline.results import Outline
from pipeline.outline.trace import trace_outlines
from pipeline.progress import Reporter
from pipeline.results import ViewTrack
from pipeline.synth.picture import open_painter
from pipeline.synth.scene import make_scene
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import make_take, make_truth, pose_take
from pipeline.video import VideoWriter

SPEC = SynthSpec(
    seconds=1.5,
    size_px=(480, 270),
    fps=Fraction(20),
    seed=4,
    kind="healthy",
    max_offset_s=0.0,
    calibration=False,
)


@dataclass(frozen=True)
class Filmed:
    """Pictures (T, H, W, 3), the hand's true cells (T, H, W) bool, and the true points as a track."""

    pictures: np.ndarray
    cells: np.ndarray
    track: ViewTrack
    folder: Path

    def trace(self, pictures: np.ndarray) -> Outline:
        """The outline in a video of pictures, with the true points."""
        path = self.folder / "front.mp4"
        path.unlink(missing_ok=True)
        with VideoWriter(path, SPEC.size_px, SPEC.fps, crf=14) as video:
            for picture in pictures:
                video.write(picture)
        return trace_outlines(path, {"right": self.track}, Reporter())["right"]

    def compare(self, outline: Outline) -> np.ndarray:
        """Intersection over union (T,) with the truth on this side of the mask's line at the wrist."""
        out = []
        y, x = np.mgrid[: self.cells.shape[1], : self.cells.shape[2]]
        for frame, cells in enumerate(self.cells):
            mask, step = outline.get_mask(frame), outline.step
            found = np.zeros_like(cells)
            big = np.kron(mask, np.ones((step, step), bool))
            left, top = outline.corner[frame] * step
            found[top : top + big.shape[0], left : left + big.shape[1]] = big
            a, b, c = outline.cut_px[frame]
            wanted = cells & (a * x + b * y + c <= 0)
            out.append((wanted & found).sum() / max((wanted | found).sum(), 1))
        return np.array(out)


@pytest.fixture(scope="session")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    folder = tmp_path_factory.mktemp("outline")
    model = load_hand_model()
    take = make_take(SPEC, model)
    painter = open_painter(make_scene(take, "front", folder / "front.npy"))
    pictures = np.stack([painter.frame(index) for index in range(SPEC.n_frames)])
    truth = make_truth(SPEC, model, take)
    vertices, _, _ = pose_take(take, truth.time_s)
    cells = np.zeros(pictures.shape[:3], np.uint8)
    for drawn, posed in zip(cells, vertices, strict=True):
        corners = take.stage.rig.cameras["front"].project(posed.astype(float))[model.faces]
        for triangle in np.round(corners * 16).astype(np.int32):
            cv2.fillConvexPoly(drawn, triangle, 1, cv2.LINE_8, 4)
    points, n = truth.keypoints_px["front"], SPEC.n_frames
    track = ViewTrack(
        truth.time_s, np.full((n, 4), np.nan), np.full(n, "detected"), points, np.ones((n, 21)), np.ones(n),
        SPEC.size_px,
    )  # fmt: skip
    return Filmed(pictures, cells > 0, track, folder)


@pytest.fixture
def reddish() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Paints everything but the hand (True where it is) in the colours of skin."""

    def paint(picture: np.ndarray, hand: np.ndarray) -> np.ndarray:
        skin = picture[hand].mean(axis=0)
        level = picture.mean(axis=2, keepdims=True) / 255
        return np.where(hand[..., None], picture, np.clip(skin * (0.7 + 0.5 * level), 0, 255)).astype(
            np.uint8
        )

    return paint
