"""The stage on whole videos: with networks that know the scene, and with the real ones in processes."""

import json
import multiprocessing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch

from pipeline.errors import Cancelled, ModelError, PoseError, VideoError
from pipeline.pose import estimate, registry, segments
from pipeline.pose.augmentation import ONE_PASS, PASSES
from pipeline.pose.crew import Crew
from pipeline.pose.estimate import estimate_view
from pipeline.pose.protocols import Detection, Estimates
from pipeline.pose.regions import Region
from pipeline.progress import Reporter
from pipeline.results import PoseGuess, RunFolder, read_view, write_view
from pipeline.session import Session, SessionSettings
from pipeline.video import VideoWriter, read_frames

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SIZE = (320, 240)
RADIUS = 12


def get_place(frame):
    return np.array([60.0 + 2 * frame, 120.0 + 20 * np.sin(frame / 5)])


def write_disc_video(path, n_frames, hidden=()):
    """A bright disc that wanders over a grey ground; in hidden frames it is not there."""
    with VideoWriter(path, SIZE, Fraction(30), crf=12) as writer:
        for frame in range(n_frames):
            image = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
            if frame not in hidden:
                centre = np.round(get_place(frame) * 16).astype(int)
                cv2.circle(
                    image, (int(centre[0]), int(centre[1])), RADIUS * 16, (250, 250, 250), -1, cv2.LINE_AA, 4
                )
            writer.write(image)


def find_disc(image):
    weights = np.clip(image[..., 0].astype(float) - 128, 0, None)
    if weights.sum() < 1000:
        return None
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


OFFSETS = np.stack(np.meshgrid(np.linspace(-15, 15, 7), [-15, 0, 15]), axis=-1).reshape(21, 2)


class DiscDetector:
    name = "disc"

    def detect(self, image_bgr):
        middle = find_disc(image_bgr)
        if middle is None:
            return []
        region = Region(middle[0], middle[1], 100.0, 0.0)
        return [Detection(np.concatenate([middle - 18, middle + 18]), "right", 0.9, region)]


class DiscEstimator:
    """Finds the disc in each crop; its joints stand around it upright, whichever way the crop is turned."""

    name, input_px, nominal_crop, sigma_scale = "disc", 224, "100 px", 1.0
    offset_share: tuple[float, ...] = (0.1, *(0.0,) * 19, 0.2)

    def estimate(self, crops_bgr, side):
        found = [find_disc(crop) for crop in crops_bgr]
        seen = np.array([middle is not None for middle in found])
        points = np.stack([np.zeros(2) if middle is None else middle for middle in found])[:, None] + OFFSETS
        return Estimates(points, np.where(seen, 0.9, 0.0), np.full(len(found), 0.9))

    def frame_detection(self, detection):
        return detection.region

    def frame_points(self, points_px):
        middle = points_px.mean(axis=0)
        return Region(middle[0], middle[1], 100.0, 0.0)


@pytest.fixture
def discs(monkeypatch):
    made: list[tuple[registry.Role, Any]] = [("detector", DiscDetector), ("estimator", DiscEstimator)]
    entries = tuple(registry.ModelEntry("disc", role, "", "", load, lambda: [], "") for role, load in made)
    monkeypatch.setattr(registry, "MODELS", entries)


def make_session(path, **settings):
    chosen = SessionSettings(reference="front", preset="minimal", **settings)
    return Session(path.parent, chosen, {"front": path})


def run_discs(path, report=None, **settings):
    session = make_session(path, detector="disc", estimator="disc", **settings)
    return estimate_view(session, "front", report or Reporter(), workers=1)


def test_a_wandering_disc_is_measured_where_it_is_in_every_frame(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 70)
    track = run_discs(tmp_path / "front.mp4")["right"]
    truth = np.array([get_place(frame) for frame in range(70)])
    assert set(track.box_state) == {"detected"}
    assert track.keypoints_px.mean(axis=1) == pytest.approx(truth, abs=0.3)
    assert np.isfinite(track.sigma_px).all()
    palm_px = np.linalg.norm(track.keypoints_px[:, [5, 9, 13, 17]] - track.keypoints_px[:, :1], axis=2)
    assert track.offset_sigma_px == pytest.approx(np.median(palm_px) * np.array(DiscEstimator.offset_share))
    assert track.size_px == SIZE
    assert track.time_s == pytest.approx(np.arange(70) / 30, abs=1e-3)


def test_a_short_loss_is_bridged_and_a_long_one_is_missing(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 80, hidden={*range(20, 23), *range(50, 56)})
    track = run_discs(tmp_path / "front.mp4")["right"]
    assert set(track.box_state[20:23]) == {"interpolated"}
    assert np.isfinite(track.box_px[20:23]).all()
    assert np.isnan(track.keypoints_px[20:23]).all()  # the estimator looked there and saw no hand
    assert (track.score[20:23] < 0.5).all()
    assert set(track.box_state[50:56]) == {"none"}
    assert np.isnan(track.box_px[50:56]).all()
    assert np.isnan(track.keypoints_px[50:56]).all()
    assert np.isnan(track.score[50:56]).all()
    (gap,) = track.gaps
    assert (gap.from_s, gap.to_s) == pytest.approx((50 / 30, 56 / 30), abs=1e-3)
    assert gap.reason == "no hand found"
    assert (track.box_state == "detected").sum() == 80 - 9


def test_a_frame_that_the_tracker_lost_is_measured_in_its_bridged_box(discs, monkeypatch, tmp_path):
    """The hand is there, only the first look failed: the bridged box brings its points back."""
    write_disc_video(tmp_path / "front.mp4", 70)
    looks: list[int] = []
    blinked: list[bool] = []

    class Blinking(DiscEstimator):
        def estimate(self, crops_bgr, side):
            looks.append(len(crops_bgr))
            answer = super().estimate(crops_bgr, side)
            return Estimates(answer.points_px, answer.score * (len(looks) != 31), answer.right)

    class Blind(DiscDetector):
        def detect(self, image_bgr):
            blinks = len(looks) == 31 and not blinked
            if blinks:
                blinked.append(True)
            return [] if blinks else super().detect(image_bgr)

    entries: list[tuple[registry.Role, Any]] = [("detector", Blind), ("estimator", Blinking)]
    monkeypatch.setattr(
        registry,
        "MODELS",
        tuple(registry.ModelEntry("disc", role, "", "", load, lambda: [], "") for role, load in entries),
    )
    track = run_discs(tmp_path / "front.mp4")["right"]
    (lost,) = np.flatnonzero(track.box_state == "interpolated")
    assert np.abs(track.keypoints_px[lost].mean(axis=0) - get_place(lost)).max() < 0.3
    assert track.score[lost] > 0.5


class PosingEstimator(DiscEstimator):
    """Has a hand model, whose first shape value is where the disc lies from the left, in px of the crop."""

    name = "posing"

    def __init__(self):
        self.notes = ["The GPU has too little memory for 64 crops at once: now 32."]

    def estimate(self, crops_bgr, side):
        answer = super().estimate(crops_bgr, side)
        guess = PoseGuess.make_blank(len(crops_bgr))
        for row, points in enumerate(answer.points_px):
            shape = np.r_[points[:, 0].mean(), np.zeros(9)]
            guess.put(row, PoseGuess(shape, np.eye(3), np.broadcast_to(np.eye(3), (15, 3, 3))))
        return Estimates(answer.points_px, answer.score, answer.right, guess)


@pytest.fixture
def posing(monkeypatch):
    made: list[tuple[registry.Role, Any]] = [("detector", DiscDetector), ("estimator", PosingEstimator)]
    entries = tuple(
        registry.ModelEntry("disc", role, "", "", load, lambda: [], "", on_gpu=True) for role, load in made
    )
    monkeypatch.setattr(registry, "MODELS", entries)


def test_a_networks_pose_goes_into_the_track_and_its_file_of_the_frames_with_a_hand(posing, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 80, hidden={*range(20, 23), *range(50, 56)})
    tracks = run_discs(tmp_path / "front.mp4")
    guess = tracks["right"].guess
    assert guess is not None
    seen = np.isfinite(tracks["right"].keypoints_px).all(axis=(1, 2))
    assert seen.sum() == 80 - 9
    for values in vars(guess).values():
        assert np.isfinite(values[seen]).all()
        assert np.isnan(values[~seen]).all()
    assert guess.betas[seen, 0] == pytest.approx(112, abs=6)  # the disc is in the middle of each crop
    run = RunFolder(tmp_path / "run")
    write_view(run, "front", tracks)
    read = read_view(run, "front")["right"].guess
    assert read is not None
    np.testing.assert_allclose(read.betas, guess.betas, rtol=1e-6)
    np.testing.assert_array_equal(read.hand_pose, guess.hand_pose)


def test_without_a_hand_model_there_is_no_pose(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 20)
    assert run_discs(tmp_path / "front.mp4")["right"].guess is None


def test_what_a_network_has_to_say_is_a_warning_of_the_run_said_once(posing, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 20)
    report = Reporter()
    run_discs(tmp_path / "front.mp4", report)
    assert report.warnings == ["The GPU has too little memory for 64 crops at once: now 32."]


@pytest.mark.parametrize(("device", "workers"), [("cpu", 3), ("cuda", 1), ("mps", 1)])
def test_a_gpu_is_one_process(posing, monkeypatch, device, workers):
    monkeypatch.setattr("pipeline.pose.networks.runner.choose_device", lambda: torch.device(device))
    assert Crew("disc", "disc", 3).workers == workers


def test_networks_that_know_no_gpu_take_every_core_though_there_is_one(discs, monkeypatch):
    monkeypatch.setattr("pipeline.pose.networks.runner.choose_device", lambda: torch.device("cuda"))
    assert Crew("disc", "disc", 3).workers == 3


def _say_and_count(bench, piece):
    bench.estimator.notes = [f"piece {piece}"]
    bench.tick()
    return piece


def test_what_a_network_says_in_another_process_is_heard_here():
    heard: list[str] = []
    with Crew("mediapipe", "mediapipe", 2, heard.append) as crew:
        assert crew.run(_say_and_count, [1, 2, 3], lambda done: None) == [1, 2, 3]
    assert sorted(heard) == ["piece 1", "piece 2", "piece 3"]


def test_no_hand_is_an_error_that_names_the_camera_and_what_to_do(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 20, hidden=set(range(20)))
    with pytest.raises(PoseError, match="No right hand found in camera front") as caught:
        run_discs(tmp_path / "front.mp4")
    assert "front.mp4" in caught.value.advice


def test_a_long_loss_is_a_warning_that_says_where_and_why(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 80, hidden={*range(20, 23), *range(48, 57)})
    report = Reporter()
    run_discs(tmp_path / "front.mp4", report)
    (warning,) = report.warnings
    assert "Camera front: the right hand is missing for 0.30 s" in warning
    assert "1.60 to 1.90 s (no hand found)" in warning


def test_a_video_cut_into_segments_gives_what_it_gives_whole(discs, monkeypatch, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 90, hidden={*range(44, 52)})
    whole = run_discs(tmp_path / "front.mp4")["right"]
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 15)
    cut = run_discs(tmp_path / "front.mp4")["right"]
    assert (cut.box_state == whole.box_state).all()
    assert cut.gaps == whole.gaps
    assert cut.keypoints_px == pytest.approx(whole.keypoints_px, abs=0.05, nan_ok=True)


def test_one_pass_measures_each_frame_once_and_states_no_sigma(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 40)
    session = make_session(tmp_path / "front.mp4", detector="disc", estimator="disc")
    track = estimate_view(session, "front", Reporter(), workers=1, passes=ONE_PASS)["right"]
    assert np.isfinite(track.keypoints_px).all()
    assert np.isnan(track.sigma_px).all()


class StatingEstimator(DiscEstimator):
    """States a sigma of 3 crop px, and counts its crops call by call."""

    calls: ClassVar[list[int]] = []

    def estimate(self, crops_bgr, side):
        self.calls.append(len(crops_bgr))
        return replace(super().estimate(crops_bgr, side), sigma_px=np.full((len(crops_bgr), 21), 3.0))


def test_a_networks_own_sigma_goes_into_the_track(monkeypatch, tmp_path):
    made: list[tuple[registry.Role, Any]] = [("detector", DiscDetector), ("estimator", StatingEstimator)]
    entries = tuple(registry.ModelEntry("disc", role, "", "", load, lambda: [], "") for role, load in made)
    monkeypatch.setattr(registry, "MODELS", entries)
    monkeypatch.setattr(StatingEstimator, "calls", [])
    write_disc_video(tmp_path / "front.mp4", 30)
    track = run_discs(tmp_path / "front.mp4")["right"]
    with monkeypatch.context() as patch:
        patch.setattr(StatingEstimator, "estimate", DiscEstimator.estimate)
        spread = run_discs(tmp_path / "front.mp4")["right"].sigma_px  # of x and y together
    stated = 3.0 * 100 / 224
    assert track.sigma_px == pytest.approx(np.sqrt(stated**2 + spread**2 / 2), rel=0.01)
    assert StatingEstimator.calls == [len(PASSES)] * 30


def test_frames_of_a_single_pass_are_measured_again_though_a_network_stated_a_sigma():
    arrays = estimate._Arrays.make_blank(30)
    arrays.keypoints_px[:] = np.stack([get_place(frame) + OFFSETS for frame in range(30)])
    arrays.sigma_px[:], arrays.score[:], arrays.n_passes[:] = 3.0, 0.9, len(PASSES)
    arrays.n_passes[4:6] = 1
    way = estimate._Way(Path("front.mp4"), 30.0, ("right",), "minimal", PASSES, one_thread=False)
    _, _, (again,) = estimate._plan_repairs(arrays, np.arange(30) / 30, DiscEstimator(), way, "right")
    assert again.frames.tolist() == [4, 5]
    assert np.isnan(arrays.sigma_px[4:6]).all()


def test_a_hand_seldom_there_is_said(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 60, hidden=set(range(20, 60)))
    report = Reporter()
    run_discs(tmp_path / "front.mp4", report)
    assert any("camera front" in text.lower() and "33%" in text for text in report.warnings)


def test_the_only_hand_is_taken_but_a_side_that_looks_wrong_is_said(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 30)
    report = Reporter()
    tracks = run_discs(tmp_path / "front.mp4", report, side="left")
    assert (tracks["left"].box_state == "detected").all()
    assert any("side in session.toml" in text for text in report.warnings)


class LeftOnLightEstimator(DiscEstimator):
    """Takes the disc for a left hand where the ground is lighter."""

    def estimate(self, crops_bgr, side):
        seen = super().estimate(crops_bgr, side)
        return Estimates(seen.points_px, seen.score, np.where(crops_bgr.min(axis=(1, 2, 3)) > 70, 0.1, 0.9))


def test_the_other_hand_that_comes_after_the_wanted_one_is_left_out_and_that_is_said(monkeypatch, tmp_path):
    made: list[tuple[registry.Role, Any]] = [("detector", DiscDetector), ("estimator", LeftOnLightEstimator)]
    entries = tuple(registry.ModelEntry("disc", role, "", "", load, lambda: [], "") for role, load in made)
    monkeypatch.setattr(registry, "MODELS", entries)
    path = tmp_path / "front.mp4"
    with VideoWriter(path, SIZE, Fraction(30), crf=12) as writer:
        for frame in range(80):
            image = np.full((SIZE[1], SIZE[0], 3), 40 if frame < 35 else 90, np.uint8)
            if not 30 <= frame < 50:
                cv2.circle(image, (160, 120), RADIUS, (250, 250, 250), -1, cv2.LINE_AA)
            writer.write(image)
    report = Reporter()
    track = run_discs(path, report)["right"]
    assert set(track.box_state[:30]) == {"detected"}
    assert set(track.box_state[30:]) == {"none"}
    assert any("from 1.67 to 2.63 s the left hand is in the picture" in text for text in report.warnings)
    assert not any("set side in session.toml" in text for text in report.warnings)


def test_of_two_wanted_hands_the_missing_one_is_an_empty_track(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 30)
    report = Reporter()
    tracks = run_discs(tmp_path / "front.mp4", report, side="both")
    assert (tracks["right"].box_state == "detected").all()
    assert (tracks["left"].box_state == "none").all()
    assert any("left hand" in text for text in report.warnings)


def test_progress_rises_to_one_and_cancelling_stops_the_work(discs, tmp_path):
    write_disc_video(tmp_path / "front.mp4", 60)
    heard = []
    run_discs(tmp_path / "front.mp4", Reporter(listen=lambda progress: heard.append(progress.fraction)))
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert len(heard) > 30
    with pytest.raises(Cancelled):
        run_discs(tmp_path / "front.mp4", Reporter(is_cancelled=iter([False] * 10 + [True] * 99).__next__))


def test_an_unknown_network_is_refused_before_the_video_is_opened(tmp_path):
    session = make_session(tmp_path / "front.mp4", estimator="openpose")
    with pytest.raises(ModelError, match="no estimator openpose"):
        estimate_view(session, "front", Reporter())


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "front.mp4").write_bytes(b"nothing" * 100)
    with pytest.raises(VideoError, match=r"front\.mp4"):
        estimate_view(make_session(tmp_path / "front.mp4"), "front", Reporter())


def test_two_processes_end_cleanly_when_there_is_no_hand_and_when_cancelled(monkeypatch, tmp_path):
    path = tmp_path / "front.mp4"
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 20)
    n_frames = 40
    write_disc_video(path, n_frames)
    with pytest.raises(PoseError, match="camera front"):
        estimate_view(make_session(path), "front", Reporter(), workers=2)
    assert multiprocessing.active_children() == []
    report = Reporter(is_cancelled=iter([False] * 2 + [True] * 99).__next__)
    with pytest.raises(Cancelled):
        estimate_view(make_session(path), "front", report, workers=2)
    assert multiprocessing.active_children() == []


@pytest.mark.data
def test_two_processes_find_the_signing_hand_as_one_does(monkeypatch, tmp_path):
    if not DATA.is_dir():
        pytest.skip("../shared/data is not there")
    folder = DATA / "signing-hand"
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 20)
    n_frames = 40
    path = tmp_path / "front.mp4"
    with VideoWriter(path, (620, 1080), Fraction(25), crf=16) as writer:
        for frame in read_frames(folder / "asl_hand.25fps.mp4", 0, n_frames):
            writer.write(frame.image)
    report = Reporter()
    track = estimate_view(make_session(path), "front", report, workers=2)["right"]
    alone = estimate_view(make_session(path), "front", Reporter(), workers=1)["right"]
    for name in ("box_px", "keypoints_px", "sigma_px", "score"):
        assert np.array_equal(getattr(track, name), getattr(alone, name), equal_nan=True), name
    expected = np.array(json.loads((folder / "asl_hand.full.json").read_text()))[:n_frames, :, :2]
    errors = np.linalg.norm(track.keypoints_px - expected, axis=2)
    assert np.isfinite(errors).all()
    assert errors.mean() < 6
    assert set(track.box_state) <= {"detected", "outlier"}
    assert report.warnings == []
