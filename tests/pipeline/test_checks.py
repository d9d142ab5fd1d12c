from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.calibration.formats import write_rig_file
from pipeline.checks import Finding, check_sent, check_session, require_usable
from pipeline.errors import SessionError
from pipeline.progress import Reporter
from pipeline.results import Camera, Rig, write_rig
from pipeline.session import Session, read_session
from pipeline.video import VideoInfo, VideoWriter
from settings import get_settings

SIZE = (854, 480)


def film(path: Path, sound: bool = True, size=SIZE, fps: Fraction | int = 60, seconds: float = 3.5) -> Path:
    path.parent.mkdir(exist_ok=True)
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(16000 * seconds))
    with VideoWriter(
        path, size, Fraction(fps), crf=51, audio=(samples, 16000) if sound else None, preset="ultrafast"
    ) as writer:
        image = np.zeros((size[1], size[0], 3), np.uint8)
        for _ in range(round(seconds * fps)):
            writer.write(image)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """One good video to copy: filming it again and again takes time."""
    return film(tmp_path_factory.mktemp("plain") / "plain.mp4")


def make(folder: Path, plain: Path, *names: str, toml: str = "") -> Path:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(plain.read_bytes())
    if toml:
        (folder / "session.toml").write_text(toml)
    return folder


def make_camera(name: str, x_mm: float = 0.0) -> Camera:
    K = np.array([[800.0, 0, 427], [0, 800, 240], [0, 0, 1]])
    return Camera(name, SIZE, K, np.zeros(5), np.eye(3), np.array([x_mm, 0.0, 0.0]), 0.1)


def calibrated(folder: Path, *cameras: str) -> Session:
    """The session with a rig for the cameras, so that calibration is no concern."""
    rig = {name: make_camera(name, 300.0 * place) for place, name in enumerate(cameras)}
    write_rig(folder / "rig.json", Rig(cameras[0], rig))
    return read_session(folder)


def of_level(findings: list[Finding], level: str) -> list[str]:
    return [f"{finding.what} {finding.advice}" for finding in findings if finding.level == level]


def test_a_good_session_has_notes_only_and_says_what_each_file_is(tmp_path, plain):
    names = ("front", "left", "right")
    files = [f"{name}.mp4" for name in names] + [f"calibration/{name}.mp4" for name in names]
    findings = check_session(read_session(make(tmp_path, plain, *files)))
    assert {finding.level for finding in findings} == {"note"}
    assert {finding.file for finding in findings} == set(files)
    assert findings[0].what == "front.mp4: 3.5 s, 854x480, 60 frames a second, with sound."
    report = Reporter()
    require_usable(read_session(tmp_path), report)
    assert report.warnings == []


def test_errors_come_first_and_stop_the_run_naming_the_file(tmp_path, plain):
    make(tmp_path, plain, "front.mp4", "left.mp4")
    (tmp_path / "right.mp4").write_bytes(b"this is no video")
    session = calibrated(tmp_path, "front", "left", "right")
    findings = check_session(session)
    assert findings[0].level == "error"
    assert findings[0].file == "right.mp4"
    with pytest.raises(SessionError, match=r"right\.mp4 is not a video.*convert it"):
        require_usable(session, Reporter())


def test_a_truncated_file_is_a_warning_that_reaches_the_record(tmp_path, plain):
    make(tmp_path, plain, "front.mp4", "left.mp4")
    random = np.random.default_rng(0)
    with VideoWriter(tmp_path / "left.mp4", SIZE, Fraction(60), audio=(np.ones(16000), 16000)) as writer:
        for _ in range(60):
            writer.write(random.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
    data = (tmp_path / "left.mp4").read_bytes()
    (tmp_path / "left.mp4").write_bytes(data[: len(data) * 3 // 4])
    report = Reporter()
    require_usable(calibrated(tmp_path, "front", "left"), report)
    assert any("left.mp4 is cut off" in warning and "Copy" in warning for warning in report.warnings)


@pytest.mark.parametrize("name", ["front", "left"])
def test_no_sound_is_a_warning_where_an_offset_is_needed(tmp_path, plain, name):
    make(tmp_path, plain, "front.mp4", "left.mp4")
    film(tmp_path / f"{name}.mp4", sound=False)
    findings = check_session(calibrated(tmp_path, "front", "left"))
    assert of_level(findings, "error") == []
    (warning,) = [text for text in of_level(findings, "warning") if "sound" in text]
    assert f"{name}.mp4 has no sound" in warning
    assert "from the hand's own motion" in warning
    assert "left = SECONDS" in warning
    (tmp_path / "session.toml").write_text("[offset_s]\nleft = 0.1\n")
    assert not any(
        "has no sound" in text for text in of_level(check_session(read_session(tmp_path)), "warning")
    )


def test_several_cameras_without_sound_are_said_in_one_sentence(tmp_path):
    for name in ("front", "left", "right"):
        film(tmp_path / f"{name}.mp4", sound=False)
    findings = check_session(calibrated(tmp_path, "front", "left", "right"))
    (warning,) = [text for text in of_level(findings, "warning") if "no sound" in text]
    assert "front.mp4 and left.mp4 and right.mp4 have no sound" in warning
    assert "left = SECONDS, right = SECONDS" in warning


def test_one_camera_works_and_says_what_that_costs(tmp_path):
    film(tmp_path / "phone.mp4", sound=False)
    findings = check_session(read_session(tmp_path))
    assert of_level(findings, "error") == []
    assert any(
        "one camera only (phone)" in text and "two or three" in text for text in of_level(findings, "warning")
    )


def test_different_rates_work_and_are_noted(tmp_path, plain):
    make(tmp_path, plain, "front.mp4")
    film(tmp_path / "left.mp4", fps=50)
    findings = check_session(calibrated(tmp_path, "front", "left"))
    assert of_level(findings, "error") == of_level(findings, "warning") == []
    assert any("different frame rates (front 60, left 50)" in text for text in of_level(findings, "note"))


@pytest.mark.parametrize(
    ("fps", "word"),
    [
        (Fraction(60000, 1001), None), (50, None), (30, "acceleration and jerk"),
        (Fraction(30000, 1001), "acceleration and jerk"), (24, "too few"),
    ],
)  # fmt: skip
def test_a_slow_camera_is_told_what_it_loses(tmp_path, fps, word):
    film(tmp_path / "phone.mp4", fps=fps)
    texts = [
        text for text in of_level(check_session(read_session(tmp_path)), "warning") if "phone.mp4" in text
    ]
    assert (word is None and not texts) or (word is not None and len(texts) == 1 and word in texts[0])


def test_small_pictures_and_short_takes_are_warned_of(tmp_path):
    film(tmp_path / "phone.mp4", size=(320, 240), seconds=1.0)
    warnings = of_level(check_session(read_session(tmp_path)), "warning")
    assert any("only 320x240" in text for text in warnings)
    assert any("only 1.0 s long" in text for text in warnings)


def test_a_turned_phone_video_of_variable_rate_is_described(tmp_path):
    with av.open(str(tmp_path / "phone.mov"), "w") as container:
        stream = container.add_stream("libx264", rate=60, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 854, 480, "yuv420p"
        stream.set_display_rotation(-90)
        stream.codec_context.time_base = Fraction(1, 600)
        pts = 0
        for index in range(200):
            frame = av.VideoFrame.from_ndarray(np.zeros((480, 854, 3), np.uint8), format="bgr24")
            frame.pts, frame.time_base = pts, Fraction(1, 600)
            pts += 20 if index % 17 == 0 else 10
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    notes = of_level(check_session(read_session(tmp_path)), "note")
    assert any(
        "480x854, 60 frames a second (variable), no sound, turned by 90 degrees" in text for text in notes
    )


def test_several_cameras_without_calibration_are_calibrated_from_the_hand_and_that_is_said(tmp_path, plain):
    findings = check_session(read_session(make(tmp_path, plain, "front.mp4", "left.mp4")))
    assert of_level(findings, "error") == []
    (said,) = (text for text in of_level(findings, "warning") if "no calibration for the 2 cameras" in text)
    assert "from the hand" in said
    assert "calibration/" in said
    assert "hand_length_mm" in said


def test_a_camera_without_checkerboard_take_is_named(tmp_path, plain):
    make(tmp_path, plain, "front.mp4", "left.mp4", "calibration/front.mp4", "calibration/centre.mp4")
    findings = check_session(read_session(tmp_path))
    errors = of_level(findings, "error")
    assert len(errors) == 1
    assert "camera left" in errors[0]
    assert "calibration/left.mp4" in errors[0]
    assert any("centre.mp4 is of a camera that is not" in text for text in of_level(findings, "note"))


@pytest.mark.parametrize(("size", "level"), [((640, 480), "error"), ((1280, 720), "warning")])
def test_a_take_of_another_picture_mode_is_named(tmp_path, plain, size, level):
    make(tmp_path, plain, "phone.mp4")
    film(tmp_path / "calibration" / "phone.mp4", size=size, fps=10)
    texts = of_level(check_session(read_session(tmp_path)), level)
    assert any(
        f"calibration/phone.mp4 has camera phone at {size[0]}x{size[1]}, but" in text for text in texts
    )


def test_a_broken_checkerboard_take_is_an_error(tmp_path, plain):
    make(tmp_path, plain, "front.mp4", "left.mp4", "calibration/front.mp4")
    (tmp_path / "calibration" / "left.mp4").write_bytes(b"")
    findings = check_session(read_session(tmp_path))
    assert [f.file for f in findings if f.level == "error"] == ["calibration/left.mp4"]


def test_a_rig_of_other_cameras_or_a_broken_one_is_named(tmp_path, plain):
    session = calibrated(make(tmp_path, plain, "front.mp4", "left.mp4"), "front", "top")
    errors = of_level(check_session(session), "error")
    assert any("rig.json has no camera left; it has front, top" in text for text in errors)
    (tmp_path / "rig.json").write_text("{}")
    assert any("is not a rig" in text for text in of_level(check_session(session), "error"))


@pytest.mark.parametrize("suffix", [".json", ".toml", ".yaml"])
def test_a_rig_of_any_format_is_named_and_doubted_where_nobody_vouches(tmp_path, plain, suffix):
    make(tmp_path, plain, "front.mp4", "left.mp4")
    cameras = {name: make_camera(name, 300.0 * place) for place, name in enumerate(("front", "left"))}
    write_rig_file(tmp_path / f"rig{suffix}", Rig("front", cameras, name="Studio"))
    findings = check_session(read_session(tmp_path))
    assert any(f"rig{suffix}" in text and "calibrated before" in text for text in of_level(findings, "note"))
    doubts = [text for text in of_level(findings, "warning") if "not known to be reliable" in text]
    assert len(doubts) == (suffix != ".json")
    (tmp_path / f"rig{suffix}").write_text("?")
    errors = [finding for finding in check_session(read_session(tmp_path)) if finding.level == "error"]
    assert [finding.file for finding in errors] == [f"rig{suffix}"]
    assert errors[0].advice


@pytest.mark.parametrize(("size", "level"), [((640, 480), "error"), ((1280, 720), "warning")])
def test_a_rig_for_another_picture_mode_is_named(tmp_path, plain, size, level):
    session = calibrated(make(tmp_path, plain, "front.mp4", "left.mp4"), "front", "left")
    rig = {name: make_camera(name, 300.0 * place) for place, name in enumerate(session.cameras)}
    K = np.array([[1200.0, 0, size[0] / 2], [0, 1200, size[1] / 2], [0, 0, 1]])
    write_rig(tmp_path / "rig.json", Rig("front", {**rig, "left": replace(rig["left"], size_px=size, K=K)}))
    texts = of_level(check_session(session), level)
    assert len(texts) == 1
    assert f"rig.json has camera left at {size[0]}x{size[1]}, but it recorded 854x480" in texts[0]


def test_takes_beside_a_rig_are_said_to_be_left_out(tmp_path, plain):
    names = ("front.mp4", "left.mp4", "calibration/front.mp4", "calibration/left.mp4")
    session = calibrated(make(tmp_path, plain, *names), "front", "left")
    (text,) = of_level(check_session(session), "warning")
    assert "calibration/ are left out, since there is rig.json" in text


def test_keypoints_of_another_shape_are_named(tmp_path):
    (tmp_path / "keypoints").mkdir()
    for name in ("front", "left"):
        time_s, keypoints, sigma = np.arange(9) / 60.0, np.zeros((9, 21, 2)), np.ones((9, 21))
        path = tmp_path / "keypoints" / f"{name}.npz"
        np.savez(path, time_s=time_s, keypoints_px=keypoints, sigma_px=sigma)
    session = calibrated(tmp_path, "front", "left")
    findings = check_session(session)
    assert of_level(findings, "error") == []
    assert any("keypoints/front.npz: keypoints of 9 frames" in text for text in of_level(findings, "note"))
    np.savez(tmp_path / "keypoints" / "left.npz", time_s=np.arange(9), keypoints_px=np.zeros((8, 21, 2)))
    errors = of_level(check_session(session), "error")
    assert len(errors) == 1
    assert "keypoints/left.npz lacks keypoints_px, sigma_px" in errors[0]
    (tmp_path / "keypoints" / "left.npz").write_bytes(b"junk")
    assert "left.npz cannot be read" in of_level(check_session(session), "error")[0]


def test_keypoints_of_both_hands_are_looked_for_by_side(tmp_path):
    (tmp_path / "keypoints").mkdir()
    (tmp_path / "session.toml").write_text('side = "both"\n')
    arrays: dict[str, Any] = {"time_s": np.arange(9) / 60.0}
    for side in ("right", "left"):
        arrays |= {f"{side}_keypoints_px": np.zeros((9, 21, 2)), f"{side}_sigma_px": np.ones((9, 21))}
    for name in ("front", "left"):
        np.savez(tmp_path / "keypoints" / f"{name}.npz", **arrays)
    session = calibrated(tmp_path, "front", "left")
    assert of_level(check_session(session), "error") == []
    del arrays["left_sigma_px"]
    np.savez(tmp_path / "keypoints" / "left.npz", **arrays)
    errors = of_level(check_session(session), "error")
    assert len(errors) == 1
    assert "keypoints/left.npz lacks left_sigma_px" in errors[0]


def test_a_time_that_is_no_list_is_named(tmp_path):
    (tmp_path / "keypoints").mkdir()
    points, sigma = np.zeros((9, 21, 2)), np.ones((9, 21))
    path = tmp_path / "keypoints" / "front.npz"
    np.savez(path, time_s=np.array(0.5), keypoints_px=points, sigma_px=sigma)
    errors = of_level(check_session(calibrated(tmp_path, "front")), "error")
    assert "keypoints/front.npz lacks time_s" in errors[0]


def test_checking_needs_neither_torch_nor_opencv():
    code = (
        "import sys, pipeline.checks, pipeline.video, pipeline.session; "
        "print(sorted({'torch', 'cv2'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_networks_that_cannot_work_are_said_before_the_run(plain, tmp_path, monkeypatch):
    monkeypatch.setenv("REDYS_MODELS_DIR", str(tmp_path / "models"))
    get_settings.cache_clear()
    try:
        toml = 'detector = "wilr"\nestimator = "hamba"'
        make(tmp_path, plain, "front.mp4", toml=toml)
        said = [one for one in check_session(read_session(tmp_path)) if one.level == "error"]
    finally:
        get_settings.cache_clear()
    assert [one.what.partition(":")[0] for one in said[-2:]] == [
        "There is no detector wilr. Did you mean wilor?",
        "The estimator hamba cannot be used",
    ]
    assert "hamba.ckpt is missing" in said[-1].what


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"duration_s": 601.0}, "10 min long, and 10 is the most"),
        ({"fps": Fraction(20)}, "20 frames a second; 24 to 240 are taken"),
        ({"fps": Fraction(480)}, "480 frames a second"),
        ({"tracks": (2, 1)}, "2 tracks of pictures, and 1 is the most"),
        ({"tracks": (1, 3)}, "3 tracks of sound, and 2 is the most"),
    ],
)
def test_what_is_too_much_to_be_sent_is_said(changes, words):
    info = VideoInfo(Path("a.mp4"), "mp4", "h264", (1920, 1080), Fraction(60), 600, 10.0, True, False, 0)
    assert check_sent("a.mp4", info) == []
    found = check_sent("a.mp4", replace(info, **changes))
    assert [(one.level, words in one.what) for one in found] == [("error", True)]
    assert all(one.advice for one in found)


def test_rates_of_cameras_are_taken_and_those_of_a_board_cost_nothing():
    info = VideoInfo(
        Path("a.mp4"), "mp4", "h264", (1920, 1080), Fraction(24000, 1001), 600, 10.0, True, False, 0
    )
    assert check_sent("a.mp4", info) == []
    assert check_sent("a.mp4", replace(info, fps=Fraction(240))) == []
    assert check_sent("a.mp4", replace(info, fps=Fraction(10)), is_take=True) == []
