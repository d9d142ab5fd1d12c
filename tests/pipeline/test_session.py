from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from pipeline.errors import SessionError
from pipeline.session import MAX_CAMERAS, VIDEO_SUFFIXES, read_session


def make(folder: Path, *names: str, toml: str | None = None) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    if toml is not None:
        (folder / "session.toml").write_text(toml, encoding="utf-8")
    return folder


def error_of(folder: Path) -> SessionError:
    with pytest.raises(SessionError) as caught:
        read_session(folder)
    assert caught.value.advice
    return caught.value


def test_a_plain_folder_of_three_videos_is_a_session_with_the_stated_defaults(tmp_path):
    session = read_session(make(tmp_path, "right.mov", "front.mp4", "left.MP4", "notes.txt", ".hidden.mp4"))
    assert session.cameras == ("front", "left", "right")
    settings = session.settings
    assert (settings.subject, settings.side, settings.reference, settings.preset) == (
        "unnamed", "right", "front", "standard",
    )  # fmt: skip
    board = settings.checkerboard
    assert (board.columns, board.rows, board.square_mm) == (9, 6, 25.0)
    assert settings.sides == ("right",)
    assert sorted(session.inputs) == ["front.mp4", "left.MP4", "right.mov"]


def test_every_key_of_the_settings_is_read(tmp_path):
    session = read_session(
        make(
            tmp_path, "front.mp4", "left.mp4", "calibration/front.mp4", "rig.json",
            toml='subject = "P7"\nvisit = 2026-03-02\ntask = "banjo"\nside = "both"\nreference = "left"\n'
            'preset = "dystonia"\n[checkerboard]\ncolumns = 7\nrows = 5\nsquare_mm = 30\n'
            "[offset_s]\nfront = 0.184\n",
        )
    )  # fmt: skip
    assert session.settings.visit == datetime.date(2026, 3, 2)
    assert session.settings.sides == ("right", "left")
    assert session.settings.offset_s == {"front": 0.184}
    assert session.settings.checkerboard.square_mm == 30.0
    assert session.cameras == ("left", "front")
    assert session.rig == tmp_path / "rig.json"
    assert set(session.inputs) == {"front.mp4", "left.mp4", "calibration/front.mp4", "rig.json"}


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_every_suffix_is_a_camera(tmp_path, suffix):
    assert read_session(make(tmp_path, f"front{suffix}")).cameras == ("front",)


def test_one_camera_is_its_own_reference(tmp_path):
    session = read_session(make(tmp_path, "phone.mp4"))
    assert session.settings.reference == "phone"


def test_keypoints_stand_in_for_videos_and_videos_win(tmp_path):
    session = read_session(make(tmp_path, "keypoints/front.npz", "keypoints/left.npz"))
    assert session.cameras == ("front", "left")
    assert not session.videos
    make(tmp_path, "front.mp4")
    assert read_session(tmp_path).keypoints == {}


def test_a_folder_without_videos_says_what_to_put_there(tmp_path):
    error = error_of(make(tmp_path, "notes.txt"))
    assert "No videos" in error.what
    assert str(tmp_path) in error.what
    assert "front.mp4" in error.advice


def test_a_path_that_is_no_folder_is_named(tmp_path):
    assert "is not a folder" in error_of(tmp_path / "nowhere").what


def test_two_files_of_one_camera_are_both_named(tmp_path):
    error = error_of(make(tmp_path, "front.mp4", "front.mov"))
    assert "front.mp4" in error.what
    assert "front.mov" in error.what


def test_two_checkerboard_takes_of_one_camera_are_both_named(tmp_path):
    error = error_of(make(tmp_path, "front.mp4", "calibration/front.mp4", "calibration/front.avi"))
    assert "front.avi" in error.what
    assert "calibration" in error.what


def test_more_cameras_than_can_be_worked_are_refused(tmp_path):
    error = error_of(make(tmp_path, *[f"cam{index}.mp4" for index in range(MAX_CAMERAS + 1)]))
    assert str(MAX_CAMERAS + 1) in error.what


def test_a_missing_reference_names_the_cameras_that_are_there(tmp_path):
    error = error_of(make(tmp_path, "a.mp4", "b.mp4"))
    assert "front" in error.what
    assert "a, b" in error.what


def test_a_wrong_reference_is_an_error_even_with_one_camera(tmp_path):
    error = error_of(make(tmp_path, "front.mp4", toml='reference = "centre"\n'))
    assert "centre" in error.what


@pytest.mark.parametrize(
    ("toml", "word"),
    [
        ('presett = "standard"\n', "did you mean preset?"),
        ("[checkerboard]\nsquare = 25\n", "unknown key checkerboard.square"),
        ('preset = "strong"\n', "strong"),
        ('side = "middle"\n', "middle"),
        ("[checkerboard]\nrows = 1\n", "rows"),
        ("[checkerboard]\nsquare_mm = 0\n", "square_mm"),
        ("[offset_s]\nfront = \"soon\"\n", "soon"),
        ("visit = \"last week\"\n", "last week"),
        ("subject = \n", "not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_line_of_the_settings_is_named(tmp_path, toml, word):
    error = error_of(make(tmp_path, "front.mp4", toml=toml))
    assert "session.toml" in error.what
    assert word in error.what


def test_settings_that_are_no_text_are_named(tmp_path):
    make(tmp_path, "front.mp4")
    (tmp_path / "session.toml").write_bytes(b"\xff\xfe\x00")
    assert "not TOML" in error_of(tmp_path).what


def test_an_offset_of_a_camera_without_video_is_named(tmp_path):
    error = error_of(make(tmp_path, "front.mp4", "left.mp4", toml="[offset_s]\nlfet = 0.2\n"))
    assert "lfet" in error.what
    assert "front, left" in error.advice


def test_a_hidden_file_among_the_keypoints_is_no_camera(tmp_path):
    session = read_session(make(tmp_path, "keypoints/front.npz", "keypoints/._front.npz"))
    assert session.cameras == ("front",)


@pytest.mark.parametrize(
    "line", ["[offset_s]\nleft = nan", "[offset_s]\nleft = inf", "[checkerboard]\nsquare_mm = inf"]
)
def test_a_number_that_is_none_is_named(tmp_path, line):
    error = error_of(make(tmp_path, "front.mp4", "left.mp4", toml=line))
    assert line.split("=")[0].split()[-1] in error.what
    assert "finite" in error.what


def test_an_offset_of_the_reference_camera_is_not_ignored_silently(tmp_path):
    error = error_of(make(tmp_path, "front.mp4", "left.mp4", toml="[offset_s]\nfront = 0.5"))
    assert "offset_s names front, which is the reference camera" in error.what
    settings = read_session(make(tmp_path, toml="[offset_s]\nfront = 0.0")).settings
    assert settings.offset_s == {"front": 0.0}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("[focal_35mm]\nleft = -3", "focal_35mm.left"),
        ("[focal_35mm]\nleft = 2600", "focal_35mm.left"),
        ("[focal_35mm]\nlfet = 26", "focal_35mm names camera lfet"),
        ("[offset_s]\nleft = true", "offset_s.left"),
        ('[checkerboard]\nsquare_mm = "25"', "square_mm"),
        ("hand_length_mm = 19", "hand_length_mm"),
        ("apply_time_shift = 1", "apply_time_shift"),
    ],
)
def test_a_number_that_cannot_be_meant_is_named(tmp_path, line, word):
    assert word in error_of(make(tmp_path, "front.mp4", "left.mp4", toml=line)).what


def test_settings_saved_by_a_windows_editor_are_read(tmp_path):
    make(tmp_path, "front.mp4", "left.mp4")
    (tmp_path / "session.toml").write_bytes(b'\xef\xbb\xbfside = "left"\r\n[offset_s]\r\nleft = 1\r\n')
    settings = read_session(tmp_path).settings
    assert (settings.side, settings.offset_s) == ("left", {"left": 1.0})


def test_two_rigs_in_one_folder_are_both_named(tmp_path):
    error = error_of(make(tmp_path, "front.mp4", "left.mp4", "rig.json", "rig.yaml"))
    assert "rig.json and rig.yaml" in error.what
    assert "Keep the one" in error.advice
