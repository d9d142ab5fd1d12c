"""Calibration on made takes, against their truth and against plain OpenCV on the same views.

    python -m benchmarks.calibration_accuracy SESSION...

SESSION is a folder of ``python -m pipeline synth`` with its ``truth.json``. For each the errors of focal
length, rotation and translation (the worst camera), the RMS and the time are printed, for this program
and for `cv2.calibrateCamera` and `cv2.stereoCalibrate` on the corners that `cv2.findChessboardCornersSB`
finds in the same frames in the right order, and the ratio of the two.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.calibration.board import board_points_mm, find_board, normalise_order
from pipeline.calibration.calibrate import calibrate
from pipeline.calibration.takes import read_grey
from pipeline.files import read_json
from pipeline.progress import Reporter
from pipeline.results import Camera, Rig
from pipeline.session import Session, read_session
from pipeline.video import read_frames, read_times

COLUMNS = ("focal %", "rotation deg", "translation mm", "camera rms px", "pair rms px")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sessions", nargs="+", type=Path)
    rows: dict[str, list[np.ndarray]] = {"this program": [], "plain OpenCV": []}
    for folder in parser.parse_args().sessions:
        session = read_session(folder)
        truth = read_json(folder / "truth.json")["rig"]["cameras"]
        decoding_s = time_decoding(session)
        start = time.perf_counter()
        rig = calibrate(session, Reporter())
        taken_s = time.perf_counter() - start
        rows["this program"].append(errors(rig, truth))
        rows["plain OpenCV"].append(errors(calibrate_plainly(session, rig), truth))
        print(
            f"{folder.name}: {rig.verdict}, {taken_s:.1f} s, {taken_s / decoding_s:.2f} times the decoding "
            f"of the takes on one core ({decoding_s:.1f} s)"
        )
        for who, values in rows.items():
            show(who, values[-1])
    print(f"worst of {len(rows['this program'])} sessions")
    worst = {who: np.max(values, axis=0) for who, values in rows.items()}
    for who, values in worst.items():
        show(who, values)
    show("ratio (below 1 is better than OpenCV)", worst["this program"] / worst["plain OpenCV"])


def show(who: str, values: np.ndarray) -> None:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in zip(COLUMNS, values, strict=True))
    print(f"  {who:38s} {figures}")


def time_decoding(session: Session) -> float:
    """Seconds to decode all takes, one after the other, and nothing else."""
    start = time.perf_counter()
    for path in session.calibration_videos.values():
        for _ in read_frames(path):
            pass
    return time.perf_counter() - start


def errors(rig: Rig, truth: dict) -> np.ndarray:
    """Largest errors over the cameras, in the order of `COLUMNS`."""
    values = []
    for name, camera in rig.cameras.items():
        true = truth[name]
        turn = Rotation.from_matrix(camera.R @ np.array(true["R"]).T)
        values.append(
            (
                100 * abs(camera.K[0, 0] / true["K"][0][0] - 1),
                float(np.degrees(np.linalg.norm(turn.as_rotvec()))),
                float(np.linalg.norm(camera.t_mm - np.array(true["t_mm"]))),
                camera.rms_px,
            )
        )
    pairs = max((pair["rms_px"] for pair in rig.pairs), default=np.nan)
    return np.array([*np.max(values, axis=0), pairs])


def calibrate_plainly(session: Session, rig: Rig) -> Rig:
    """OpenCV's own calibration on the frames that this program used.

    Its corners get the order in which this program has them: left to the order by height alone, one board
    turned round spoils the whole (23 degrees and 280 mm).
    """
    corners = {name: find_corners(session, camera) for name, camera in rig.cameras.items()}
    cameras = {
        name: fit_lens(session, camera, list(corners[name].values())) for name, camera in rig.cameras.items()
    }
    pairs = []
    for name in [name for name in cameras if name != rig.reference]:
        common = corners[rig.reference].keys() & corners[name].keys()
        a, b = cameras[rig.reference], cameras[name]
        result = cv2.stereoCalibrate(
            [board_points(session)] * len(common),
            [corners[rig.reference][place] for place in common],
            [corners[name][place] for place in common],
            a.K,
            a.distortion,
            b.K,
            b.distortion,
            b.size_px,
            flags=cv2.CALIB_FIX_INTRINSIC,
        )
        cameras[name] = replace(b, R=result[5], t_mm=result[6].ravel())
        pairs.append({"a": a.name, "b": name, "rms_px": float(result[0]), "frames": len(common)})
    return Rig(rig.reference, cameras, pairs)


def board_points(session: Session) -> np.ndarray:
    return board_points_mm(session.settings.checkerboard).astype(np.float32)


def find_corners(session: Session, camera: Camera) -> dict[int, np.ndarray]:
    """Corners by `cv2.findChessboardCornersSB` in the frames that a camera's calibration used, by place."""
    board = session.settings.checkerboard
    path = session.calibration_videos[camera.name]
    times_s = read_times(path)
    found = {}
    for view in camera.used:
        grey = read_grey(path, int(np.argmin(np.abs(times_s - view["time_s"]))))
        is_there, corners = cv2.findChessboardCornersSB(grey, (board.columns, board.rows), flags=0)
        if is_there:
            ordered = normalise_order(corners.reshape(-1, 2), board).astype(np.float32)
            is_dark = find_board(grey, board).is_dark_first
            found[view["place"]] = np.ascontiguousarray(ordered if is_dark else ordered[::-1])
    return found


def fit_lens(session: Session, camera: Camera, views: list[np.ndarray]) -> Camera:
    """OpenCV's lens with the same free parameters as this program's."""
    flags = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_PRINCIPAL_POINT | cv2.CALIB_FIX_ASPECT_RATIO
    flags |= cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
    objects = [board_points(session)] * len(views)
    K = cv2.initCameraMatrix2D(objects, views, camera.size_px, 1.0)
    K[:2, 2] = (np.array(camera.size_px) - 1) / 2
    rms_px, K, distortion, _, _ = cv2.calibrateCamera(
        objects, views, camera.size_px, K, np.zeros(5), flags=flags
    )
    return Camera(camera.name, camera.size_px, K, distortion.ravel()[:5], np.eye(3), np.zeros(3), rms_px)


if __name__ == "__main__":
    main()
