"""What goes wrong in practice, through the command line as a person meets it: a sentence that names the file
and says what to do, exit code 2, and nothing half written."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline import files
from pipeline.__main__ import main
from pipeline.errors import RedysError
from pipeline.files import read_json, write_json
from pipeline.video import VideoWriter, read_times

RATE_HZ = 16000
SIZE_PX = (320, 240)
SECONDS = 3.0


def make_sound(seed: int, seconds: float = SECONDS, level: float = 0.3) -> np.ndarray:
    return level * np.random.default_rng(seed).uniform(-1, 1, round(seconds * RATE_HZ)).astype(np.float32)


def make_video(
    path: Path,
    sound: np.ndarray | None,
    fps: Fraction = Fraction(60),
    seconds: float = SECONDS,
    size_px: tuple[int, int] = SIZE_PX,
) -> None:
    """A video of a table without a hand: slowly changing blotches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    coarse = rng.integers(60, 120, (6, 8, 3), dtype=np.uint8)
    picture = np.kron(coarse, np.ones((size_px[1] // 6, size_px[0] // 8, 1), dtype=np.uint8))
    audio = None if sound is None else (sound, RATE_HZ)
    with VideoWriter(path, size_px, fps, audio=audio, preset="ultrafast") as writer:
        for frame in range(round(seconds * fps)):
            writer.write(np.roll(picture, frame // 4, axis=1))


def make_rig(path: Path, cameras: tuple[str, ...], size_px: tuple[int, int] = SIZE_PX) -> None:
    width, height = size_px
    write_json(
        path,
        {
            "reference": cameras[0],
            "cameras": {
                name: {
                    "name": name,
                    "size_px": size_px,
                    "K": [[400, 0, (width - 1) / 2], [0, 400, (height - 1) / 2], [0, 0, 1]],
                    "distortion": [0, 0, 0, 0, 0],
                    "R": np.eye(3).tolist(),
                    "t_mm": [100.0 * number, 0, 0],
                }
                for number, name in enumerate(cameras)
            },
        },
    )


@pytest.fixture
def session(tmp_path) -> Path:
    """Two cameras of one table, with a rig, without a hand: good until the hand is looked for."""
    folder = tmp_path / "session"
    sound = make_sound(1)
    make_video(folder / "front.mp4", sound)
    make_video(folder / "left.mp4", sound)
    make_rig(folder / "rig.json", ("front", "left"))
    return folder


def run_and_read(session: Path, capsys: pytest.CaptureFixture[str], out: Path | None = None) -> str:
    """Run the session, expect it to stop in words, and give them."""
    out = out or session.parent / "run"
    code = main(["run", str(session), "--out", str(out), "--workers", "1"])
    said = capsys.readouterr().err
    assert code == 2, said
    assert "Stopped:" in said
    assert "What to do:" in said
    assert "Traceback" not in said
    assert_nothing_half_written(out)
    return said


def run_and_read_all(session: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a session of a table without a hand, which stops there, and give all that was said till then."""
    assert main(["run", str(session), "--out", str(session.parent / "run"), "--workers", "1"]) == 2
    said = "".join(capsys.readouterr())
    assert "Traceback" not in said
    return said


def assert_nothing_half_written(out: Path) -> None:
    if not out.is_dir():
        return
    assert [path for path in out.rglob(".*") if path.name != ".lock"] == []
    if (out / "run.json").is_file():
        record = read_json(out / "run.json")
        assert record["state"] == "failed"
        assert record["error"]["what"]
        assert record["error"]["advice"]


def test_a_folder_without_videos_is_named(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    said = run_and_read(tmp_path / "empty", capsys)
    assert "No videos in" in said
    assert "front.mp4" in said


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    assert "is not a folder" in run_and_read(tmp_path / "nowhere", capsys)


def test_an_unknown_key_of_the_settings_is_named_with_the_likely_one(session, capsys):
    (session / "session.toml").write_text('subjct = "P-1"\n')
    said = run_and_read(session, capsys)
    assert "session.toml" in said
    assert "unknown key subjct" in said
    assert "did you mean subject" in said


def test_a_truncated_file_is_named(session, capsys):
    whole = (session / "left.mp4").read_bytes()
    (session / "left.mp4").write_bytes(whole[:2000])
    assert "left.mp4" in run_and_read(session, capsys)


def test_a_file_that_is_no_video_is_named(session, capsys):
    (session / "left.mp4").write_text("a shopping list")
    assert "left.mp4" in run_and_read(session, capsys)


def test_a_video_without_sound_is_named_with_the_ways_out_before_anything_long(session, capsys):
    make_video(session / "left.mp4", None)
    said = run_and_read_all(session, capsys)
    assert "left.mp4 has no sound" in said
    assert "[offset_s]" in said
    assert said.index("left.mp4 has no sound") < said.index("No right hand found")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_silent_track_is_named_before_anything_long(session, capsys):
    make_video(session / "left.mp4", np.zeros(round(SECONDS * RATE_HZ), np.float32))
    said = run_and_read_all(session, capsys)
    assert "Sound does not tell when camera left started" in said
    assert "silent" in said
    assert said.index("camera left started") < said.index("No right hand found")


def test_cameras_whose_times_do_not_overlap_are_named(session, capsys):
    (session / "session.toml").write_text("[offset_s]\nleft = 600.0\n")
    said = run_and_read(session, capsys)
    assert "left" in said


def test_a_view_without_a_hand_is_named(session, capsys):
    said = run_and_read(session, capsys)
    assert "hand" in said
    assert "front" in said


def test_no_checkerboard_and_no_rig_is_said_with_the_ways_out_before_anything_long(session, capsys):
    (session / "rig.json").unlink()
    said = run_and_read_all(session, capsys)
    assert "calibration/" in said
    assert "the rig of an earlier visit" in said
    assert "hand_length_mm" in said
    assert said.index("hand_length_mm") < said.index("No right hand found")


def test_a_take_without_a_checkerboard_names_the_camera(session, capsys):
    (session / "rig.json").unlink()
    for camera in ("front", "left"):
        make_video(session / "calibration" / f"{camera}.mp4", make_sound(2))
    said = run_and_read(session, capsys)
    assert "front" in said or "left" in said
    assert "board" in said


def test_a_rig_of_another_camera_is_named(session, capsys):
    make_rig(session / "rig.json", ("front", "right"))
    assert "left" in run_and_read(session, capsys)


def test_different_frame_rates_are_no_fault(session, capsys):
    make_video(session / "left.mp4", make_sound(1), fps=Fraction(30))
    said = run_and_read(session, capsys)  # stops only where it looks for a hand
    assert "hand" in said
    assert len(read_times(session / "left.mp4")) == round(SECONDS * 30)


def test_a_run_into_the_session_folder_itself_is_refused_and_its_rig_left_alone(session, capsys):
    rig = (session / "rig.json").read_bytes()
    said = run_and_read(session, capsys, out=session / "." / "calibration" / "..")
    assert "is the session folder itself" in said
    assert (session / "rig.json").read_bytes() == rig
    assert not (session / "run.json").exists()


def test_a_link_to_a_file_that_is_gone_is_named(session, capsys):
    (session / "left.mp4").unlink()
    (session / "left.mp4").symlink_to(session / "elsewhere.mp4")
    assert "left.mp4 cannot be read" in run_and_read(session, capsys)


def test_a_folder_called_like_a_video_is_named(session, capsys):
    (session / "left.mp4").unlink()
    (session / "left.mp4").mkdir()
    assert "left.mp4 cannot be read" in run_and_read(session, capsys)


def test_a_full_disk_is_said_and_leaves_nothing_half_written(session, capsys, monkeypatch):
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    replaced = []
    keep = os.replace

    def replace(source, target):
        if str(target).endswith("sound.json"):
            replaced.append(target)
            refuse()
        keep(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    said = run_and_read(session, capsys)
    assert replaced
    assert "disk is full" in said
    assert "sound.json" in said
    assert not (session.parent / "run" / "sound.json").exists()


def test_a_run_folder_that_cannot_be_written_is_named(session, capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = run_and_read(session, capsys, out=tmp_path / "file" / "run")
    assert "cannot be written" in said


def test_a_read_only_folder_is_named(session, capsys, tmp_path, monkeypatch):
    def refuse(*arguments: object, **names: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    said = run_and_read(session, capsys, out=tmp_path / "read-only")
    assert "read-only" in said
    assert "--out" in said


def test_every_error_of_the_program_has_words_and_advice():
    error = RedysError("What happened.", "What to do.")
    assert str(error) == "What happened. What to do."
