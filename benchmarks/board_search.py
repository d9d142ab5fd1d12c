"""Flipped and false boards: how often the search is wrong, over many made pictures.

    python -m benchmarks.board_search [--boards 1000] [--keys 2000] [--size 960x540]

Boards: poses drawn at random, tilted, and turned in their own plane by any angle, each painted true to the
lens for two cameras of a made rig; found by the detector in both, brought into one order by their colours,
and compared with where the corners are. A flip is a board whose two orders differ. Beside it stands what
the order by height alone gives (seed 000's rule), without the colours.
Keys: pictures of made keyboards, each from another rig and with its own noise, in which no board is; any
board found is false. Beside it stands OpenCV's own search, `cv2.findChessboardCornersSB`.
"""

from __future__ import annotations

import argparse
import itertools

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.calibration.board import find_board
from pipeline.calibration.solve import align_colours
from pipeline.calibration.takes import Sight
from pipeline.results import Rig
from pipeline.session import Checkerboard
from pipeline.synth.board import COLUMNS, ROWS, SQUARE_MM, BoardPainter, board_points_mm
from pipeline.synth.render import Keyboard, Noise
from pipeline.synth.rig import make_stage
from pipeline.synth.spec import CAMERAS, SynthSpec

BOARD = Checkerboard(columns=COLUMNS, rows=ROWS, square_mm=SQUARE_MM)
MIDDLE_MM = np.array([(COLUMNS - 1) / 2, (ROWS - 1) / 2, 0]) * SQUARE_MM
PAIR = ("front", "left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boards", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=2000)
    parser.add_argument("--size", default="960x540")
    arguments = parser.parse_args()
    width, height = (int(part) for part in arguments.size.split("x"))
    if arguments.boards:
        count_flips(arguments.boards, (width, height))
    if arguments.keys:
        count_false_boards(arguments.keys, (width, height))


def count_flips(n_boards: int, size_px: tuple[int, int]) -> None:
    random = np.random.default_rng(5)
    rig = make_stage(SynthSpec(seed=1, size_px=size_px)).rig
    painters = {name: BoardPainter(rig.cameras[name]) for name in PAIR}
    n_seen = n_compared = n_flipped = n_flipped_by_height = 0
    while n_compared < n_boards:
        R, t_mm = draw_pose(random)
        n_seen += 1
        sights = {name: [look(painters[name], name, rig, R, t_mm, random)] for name in PAIR}
        if any(sight.corners_px is None for (sight,) in sights.values()):
            continue  # out of one picture, or too steep
        n_compared += 1
        n_flipped_by_height += is_flipped(sights, rig, R, t_mm)
        n_flipped += is_flipped(align_colours(sights, PAIR), rig, R, t_mm)
    print(f"{n_compared} boards found in both cameras ({n_seen} drawn): {n_flipped} flipped; "
          f"by height alone {n_flipped_by_height}")  # fmt: skip


def draw_pose(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A board before the cameras of a made rig: any turn in its plane, tilted by up to 30 degrees."""
    tilt = Rotation.from_euler("xy", random.uniform(-30, 30, 2), degrees=True)
    R = (tilt * Rotation.from_euler("z", random.uniform(0, 360), degrees=True)).as_matrix()
    centre = np.array([0, 0, 660.0]) + random.uniform([-120, -60, -120], [120, 60, 120])
    return R, centre - R @ MIDDLE_MM


def look(
    painter: BoardPainter, name: str, rig: Rig, R: np.ndarray, t_mm: np.ndarray, random: np.random.Generator
) -> Sight:
    """What one camera finds of a board with grey behind it and noise over it."""
    width, height = rig.cameras[name].size_px
    picture = np.full((height, width, 3), 110, np.uint8)
    painter.paint(picture, R, t_mm)
    grey = picture[..., 1] + random.normal(0, 3, (height, width))
    found = find_board(np.clip(np.rint(grey), 0, 255).astype(np.uint8), BOARD)
    return Sight(0, 0, 0.0, found.corners_px, found.is_dark_first, 0.0, found.reason)


def is_flipped(sights: dict[str, list[Sight]], rig: Rig, R: np.ndarray, t_mm: np.ndarray) -> bool:
    """Whether the first corner is another one in one camera than in the other."""
    ends = (board_points_mm() @ R.T + t_mm)[[0, -1]]
    first = []
    for name, (sight,) in sights.items():
        assert sight.corners_px is not None
        distance_px = np.linalg.norm(rig.cameras[name].project(ends) - sight.corners_px[0], axis=1)
        if distance_px.min() > 2:
            raise SystemExit(f"A board's first corner is off by {distance_px.min():.1f} px: a false board.")
        first.append(int(distance_px.argmin()))
    return len(set(first)) > 1


def count_false_boards(n_pictures: int, size_px: tuple[int, int]) -> None:
    n_found = n_found_plainly = n_done = 0
    for seed in itertools.count():
        spec = SynthSpec(seed=seed, size_px=size_px)
        stage = make_stage(spec)
        for name in CAMERAS:
            if n_done == n_pictures:
                print(f"{n_done} pictures of keys without a board: {n_found} boards found; "
                      f"OpenCV's search alone {n_found_plainly}")  # fmt: skip
                return
            keys = Keyboard(spec, stage, stage.rig.cameras[name]).picture
            grey = cv2.cvtColor(Noise(spec, name).add(keys.copy(), seed), cv2.COLOR_BGR2GRAY)
            n_found += find_board(grey, BOARD).corners_px is not None
            n_found_plainly += cv2.findChessboardCornersSB(grey, (COLUMNS, ROWS), flags=0)[0]
            n_done += 1


if __name__ == "__main__":
    main()
