import datetime
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipeline.errors import Cancelled, SessionError
from pipeline.progress import Progress, Reporter
from pipeline.session import read_session
from pipeline.synth.frame_code import read_frame_code
from pipeline.synth.session import make_session
from pipeline.synth.sound import make_sounds
from pipeline.synth.spec import CAMERAS, SOUND_RATE_HZ, SynthSpec
from pipeline.synth.truth import make_take, read_truth
from pipeline.video import probe, read_audio, read_frames

SPEC = SynthSpec(
    seconds=1.0, size_px=(320, 180), fps=Fraction(10), seed=7, name="p-07", visit=datetime.date(2026, 3, 2),
    side="left", kind="healthy",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model):
    out = tmp_path_factory.mktemp("made") / "session"
    heard: list[Progress] = []
    make_session(out, SPEC, Reporter("synth", heard.append), model, workers=2)
    assert heard[-1].fraction == 1
    assert [p.fraction for p in heard] == sorted(p.fraction for p in heard)
    return out


def test_a_made_session_is_a_session(folder):
    session = read_session(folder)
    assert set(session.videos) == set(session.calibration_videos) == set(CAMERAS)
    assert (session.settings.subject, session.settings.side) == ("p-07", "left")
    assert session.settings.visit == datetime.date(2026, 3, 2)
    assert session.rig is None


def test_files_have_the_frames_the_rate_and_the_sound_that_was_asked_for(folder):
    truth = read_truth(folder)
    for camera in CAMERAS:
        info = probe(folder / f"{camera}.mp4")
        assert (info.size_px, info.fps, info.n_frames) == ((320, 180), 10, 10)
        assert info.has_audio
        assert not info.is_variable_rate
        assert len(truth.camera_time_s[camera]) == 10
        take = probe(folder / "calibration" / f"{camera}.mp4")
        assert take.has_audio
        assert 20 < take.duration_s < 25


def test_the_frames_in_the_file_are_numbered_from_zero(folder):
    codes = [read_frame_code(frame.image) for frame in read_frames(folder / "right.mp4")]
    assert codes == list(range(10))


def test_sound_in_the_file_starts_with_the_first_frame(folder, model):
    made = make_sounds(make_take(SPEC, model))["left"]
    read = read_audio(folder / "left.mp4", SOUND_RATE_HZ)
    assert read is not None
    n = min(len(made), len(read))
    found = np.fft.irfft(np.fft.rfft(made[:n], 2 * n).conj() * np.fft.rfft(read[:n], 2 * n))
    lag = int(found.argmax())
    assert min(lag, 2 * n - lag) <= 2


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, model):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SessionError, match="not empty"):
        make_session(tmp_path, SPEC, Reporter(), model)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_cancelling_stops_the_rendering_and_leaves_no_half_file(tmp_path, model):
    calls = []

    def is_cancelled():
        calls.append(1)
        return len(calls) > 12

    spec = replace(SPEC, seconds=20.0, calibration=False)
    with pytest.raises(Cancelled):
        make_session(tmp_path / "cut", spec, Reporter("synth", is_cancelled=is_cancelled), model, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path, model):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SessionError, match="could not be made"):
        make_session(tmp_path / "file" / "session", SPEC, Reporter(), model)


def test_a_ruler_takes_the_checkerboards_place_where_there_is_none(tmp_path, model):
    spec = SynthSpec(seconds=1.0, size_px=(320, 180), fps=Fraction(10), seed=4, calibration=False)
    make_session(tmp_path / "session", spec, Reporter(), model, workers=1)
    stated = read_session(tmp_path / "session").settings.hand_length_mm
    truth = read_truth(tmp_path / "session")
    bones = np.linalg.norm(np.diff(truth.joints_mm[:, [0, 9, 10, 11, 12]], axis=1), axis=2).sum(axis=1)
    assert stated == pytest.approx(bones.mean(), rel=0.01)
