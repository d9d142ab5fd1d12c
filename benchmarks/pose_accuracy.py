"""The embedded estimator on real recordings, with one pass and with seven.

    python -m benchmarks.pose_accuracy ../shared/data [--presets standard minimal] [--workers 2]

``signing-hand``: distance to the points that MediaPipe's authors expect. These are the answers of this very
network to one upright crop of the untouched picture, so seven passes and any preset move away from them, for
better or worse. ``two-camera-hand`` tells which: the distance of the points from where the ray of the other
camera and their own put the joint, with the cameras' published calibration.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.hand_sync import read_two_cameras
from pipeline.pose.augmentation import ONE_PASS, PASSES
from pipeline.pose.estimate import Passes, estimate_view
from pipeline.progress import Reporter
from pipeline.results import Rig, ViewTrack
from pipeline.session import Session, read_session


def open_session(place: Path, videos: dict[str, Path], preset: str) -> Session:
    """A session folder of links to videos, by camera."""
    place.mkdir()
    for camera, path in videos.items():
        (place / f"{camera}{path.suffix}").symlink_to(path.resolve())
    reference = next(iter(videos))
    (place / "session.toml").write_text(f'reference = "{reference}"\npreset = "{preset}"\n')
    return read_session(place)


def measure_signing(session: Session, passes: Passes, expected_px: np.ndarray, workers: int) -> str:
    """Frames with a hand, and the mean distance to the expected points (T, 21, 2)."""
    view = estimate_view(session, "front", Reporter(), workers, passes)["right"]
    errors = np.linalg.norm(view.keypoints_px - expected_px, axis=2)
    found = np.isfinite(errors).all(axis=1)
    return f"hand in {found.sum()} of {len(found)}, {np.nanmean(errors):.2f} px from the expected points"


def measure_two_cameras(session: Session, passes: Passes, rig: Rig, workers: int) -> str:
    """Frames with a hand in each camera, and the two-view reprojection error."""
    views = {name: estimate_view(session, name, Reporter(), workers, passes)["right"] for name in rig.cameras}
    found = [
        f"{np.isfinite(view.keypoints_px).all(axis=(1, 2)).sum()} of {len(view.time_s)}"
        for view in views.values()
    ]
    errors = reproject(rig, views)
    median, mean = np.nanmedian(errors), np.nanmean(errors)
    return f"hand in {' and '.join(found)}, reprojection {median:.3f} px median, {mean:.2f} mean"


def reproject(rig: Rig, views: dict[str, ViewTrack]) -> np.ndarray:
    """Distances (2, T, 21) in px of the points from their joint, triangulated linearly from both."""
    points = {name: views[name].keypoints_px.astype(float) for name in rig.cameras}
    one, other = (rig.cameras[name].normalise(points[name]).reshape(-1, 2) for name in points)
    matrices = [camera.projection for camera in rig.cameras.values()]
    both = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    joints = np.full((len(one), 3), np.nan)
    found = cv2.triangulatePoints(matrices[0], matrices[1], one[both].T, other[both].T)
    joints[both] = (found[:3] / found[3]).T
    return np.stack(
        [
            np.linalg.norm(camera.project(joints).reshape(points[name].shape) - points[name], axis=2)
            for name, camera in rig.cameras.items()
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--presets", nargs="+", default=["standard", "minimal"])
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    signing, two = options.data / "signing-hand", options.data / "two-camera-hand"
    expected_px = np.array(json.loads((signing / "asl_hand.full.json").read_text()))[..., :2]
    rig = read_two_cameras(two)
    videos = {name: two / f"{name}_test.mp4" for name in rig.cameras}
    with tempfile.TemporaryDirectory() as scratch:
        for preset in options.presets:
            alone = open_session(
                Path(scratch) / f"signing-{preset}", {"front": signing / "asl_hand.25fps.mp4"}, preset
            )
            pair = open_session(Path(scratch) / f"two-{preset}", videos, preset)
            for passes in (ONE_PASS, PASSES):
                title = f"{preset}, passes: {len(passes)}"
                signed = measure_signing(alone, passes, expected_px, options.workers)
                print(f"{title:24} signing-hand: {signed}", flush=True)
                paired = measure_two_cameras(pair, passes, rig, options.workers)
                print(f"{title:24} two-camera-hand: {paired}", flush=True)


if __name__ == "__main__":
    main()
