from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipeline.calibration.calibrate import calibrate, scale_camera
from pipeline.calibration.focal import NOMINAL_FOCAL
from pipeline.calibration.formats import write_rig_file
from pipeline.calibration.rig import move_reference
from pipeline.errors import CalibrationError
from pipeline.progress import Reporter
from pipeline.results import Rig, write_rig
from pipeline.session import read_session
from pipeline.video import VideoWriter
from tests.pipeline.calibration.board_pictures import make_camera, make_rig_cameras

POINTS = np.random.default_rng(0).uniform([-100, -60, 500], [100, 60, 700], (20, 3))


def write_video(path, size_px=(320, 180)):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((size_px[1], size_px[0], 3), 90, np.uint8)
    with VideoWriter(path, size_px, Fraction(30)) as writer:
        for _ in range(3):
            writer.write(picture)


def make_session(folder, names=("front", "left", "right"), size_px=(320, 180)):
    for name in names:
        write_video(folder / f"{name}.mp4", size_px)
    return folder


def a_rig(size_px=(640, 360)):
    return Rig(
        "front",
        make_rig_cameras(size_px),
        pairs=[{"a": "front", "b": "left", "rms_px": 0.2, "frames": 12}],
        source="checkerboard",
    )


def test_scaling_a_camera_scales_what_it_sees():
    camera = make_camera(size_px=(1280, 720), focal_px=1100, k1=-0.1)
    half = scale_camera(camera, (640, 360))
    expected = (camera.project(POINTS) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(half.project(POINTS), expected, atol=1e-9)
    assert half.size_px == (640, 360)
    np.testing.assert_allclose(half.K[:2, 2], [(640 - 1) / 2, (360 - 1) / 2])


def test_scaling_there_and_back_changes_nothing():
    camera = make_camera(size_px=(1280, 720), focal_px=1100)
    back = scale_camera(scale_camera(camera, (1920, 1080)), (1280, 720))
    np.testing.assert_allclose(back.K, camera.K)


def test_another_shape_of_picture_is_an_error_that_names_the_camera():
    with pytest.raises(CalibrationError, match=r"Camera left .*another shape"):
        scale_camera(replace(make_camera(), name="left"), (640, 480))


def test_another_reference_sees_the_same():
    rig = a_rig()
    moved = move_reference(rig, "left")
    left = rig.cameras["left"]
    in_left = POINTS @ left.R.T + left.t_mm
    for name, camera in rig.cameras.items():
        np.testing.assert_allclose(moved.cameras[name].project(in_left), camera.project(POINTS), atol=1e-6)
    np.testing.assert_allclose(moved.cameras["left"].R, np.eye(3), atol=1e-12)


def test_errors_against_the_world_follow_it_to_another_reference():
    cameras = {
        name: replace(camera, sigma_deg=deg, sigma_mm=mm)
        for (name, camera), deg, mm in zip(
            make_rig_cameras().items(), (0.0, 0.3, 0.4), (0.0, 3.0, 4.0), strict=True
        )
    }
    moved = move_reference(Rig("front", cameras), "left").cameras
    assert (moved["left"].sigma_deg, moved["left"].sigma_mm) == (0.0, 0.0)
    assert moved["front"].sigma_deg == pytest.approx(0.3)
    assert moved["right"].sigma_deg == pytest.approx(0.5)
    swing_mm = np.deg2rad(0.3) * np.linalg.norm(cameras["left"].t_mm)
    assert moved["front"].sigma_mm == pytest.approx(np.hypot(3.0, swing_mm))


def test_errors_that_are_not_known_stay_so_at_another_reference():
    moved = move_reference(a_rig(), "left").cameras
    assert all(np.isnan([camera.sigma_deg, camera.sigma_mm]).all() for camera in moved.values())


def test_a_lens_scaled_to_another_mode_is_doubted_by_name(tmp_path):
    session = make_session(tmp_path)
    write_rig(session / "rig.json", a_rig())
    scaled = calibrate(read_session(session), Reporter())
    assert scaled.verdict == "check"
    assert any("Camera left was calibrated at 640x360 and recorded at 320x180" in r for r in scaled.reasons)
    write_rig(session / "rig.json", a_rig((320, 180)))
    assert calibrate(read_session(session), Reporter()).verdict == "reliable"


def test_a_saved_rig_is_used_again_at_the_videos_size(tmp_path):
    session = make_session(tmp_path)
    write_rig(session / "rig.json", a_rig())
    rig = calibrate(read_session(session), Reporter())
    assert rig.source == "file"
    assert rig.cameras["left"].size_px == (320, 180)
    expected = (a_rig().cameras["left"].project(POINTS) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(rig.cameras["left"].project(POINTS), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["rig.toml", "rig.yaml", "rig.yml"])
def test_a_rig_of_another_program_is_used_but_not_vouched_for(tmp_path, name):
    session = make_session(tmp_path)
    write_rig_file(session / name, a_rig())
    report = Reporter()
    rig = calibrate(read_session(session), report)
    assert (rig.source, rig.verdict) == ("file", "check")
    assert any("does not say how good" in reason for reason in rig.reasons)
    expected = (a_rig().cameras["left"].project(POINTS) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(rig.cameras["left"].project(POINTS), expected, atol=1e-6)
    (session / name).write_text("?")
    with pytest.raises(CalibrationError, match=name.replace(".", r"\.")):
        calibrate(read_session(session), Reporter())


def test_a_saved_rig_follows_the_sessions_reference(tmp_path):
    session = make_session(tmp_path)
    (session / "session.toml").write_text('reference = "right"\n')
    write_rig(session / "rig.json", a_rig())
    rig = calibrate(read_session(session), Reporter())
    assert rig.reference == "right"
    np.testing.assert_allclose(rig.cameras["right"].t_mm, 0, atol=1e-9)


def test_a_saved_rig_without_one_of_the_cameras_is_an_error_that_names_it(tmp_path):
    session = make_session(tmp_path, ("front", "left", "top"))
    write_rig(session / "rig.json", a_rig())
    with pytest.raises(CalibrationError, match="no camera top"):
        calibrate(read_session(session), Reporter())


def test_a_broken_rig_file_is_an_error_that_says_what_to_do(tmp_path):
    session = make_session(tmp_path)
    (session / "rig.json").write_text("{")
    with pytest.raises(CalibrationError, match=r"rig\.json"):
        calibrate(read_session(session), Reporter())


def test_one_camera_alone_works_and_says_what_that_costs(tmp_path):
    report = Reporter()
    rig = calibrate(read_session(make_session(tmp_path, ("front",))), report)
    assert rig.source == "single"
    assert rig.verdict == "check"
    assert "guess" in rig.reasons[0]
    assert "mm" in rig.reasons[0]
    assert rig.cameras["front"].K[0, 0] == NOMINAL_FOCAL * 320
    assert rig.cameras["front"].K[0, 2] == (320 - 1) / 2
    assert report.warnings == list(rig.reasons)


def test_several_cameras_without_calibration_are_told_to_film_a_board(tmp_path):
    with pytest.raises(CalibrationError) as caught:
        calibrate(read_session(make_session(tmp_path)), Reporter())
    assert "checkerboard" in caught.value.advice
    assert "rig.json" in caught.value.advice


def test_a_missing_take_is_an_error_that_names_the_camera(tmp_path):
    session = make_session(tmp_path)
    for name in ("front", "left"):
        write_video(session / "calibration" / f"{name}.mp4")
    with pytest.raises(CalibrationError, match="no checkerboard take of camera right"):
        calibrate(read_session(session), Reporter())
