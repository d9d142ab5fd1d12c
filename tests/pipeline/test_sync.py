from __future__ import annotations

import functools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.sync_accuracy import LEAD_S, make_pair, make_room, record
from pipeline import sync
from pipeline.errors import Cancelled, SyncError
from pipeline.progress import Reporter
from pipeline.results import RunFolder, read_sync, write_sync
from pipeline.session import read_session
from pipeline.sync import OffsetEstimate, find_offset, synchronise, synchronise_videos
from pipeline.video import VideoWriter, read_audio

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SECONDS = 8.0


@functools.lru_cache(maxsize=4)
def room(seed: int = 0, seconds: float = SECONDS + 2 * LEAD_S) -> np.ndarray:
    return make_room(np.random.default_rng(seed), seconds)


def hear(seed: int, start_s: float, seconds: float = SECONDS, drift_ppm: float = 0.0, room_seed: int = 0):
    return record(np.random.default_rng(seed), room(room_seed), LEAD_S + start_s, seconds, drift_ppm)


def shift(samples: np.ndarray, by: float) -> np.ndarray:
    """Move a signal by ``by`` samples to later (round the end), exactly, in the Fourier domain."""
    turns = np.exp(-2j * np.pi * np.fft.rfftfreq(len(samples)) * by)
    return np.fft.irfft(np.fft.rfft(samples) * turns, len(samples))


def errors_s(found: OffsetEstimate, offset_s: float, drift_ppm: float, seconds: float) -> np.ndarray:
    at_s = np.array([0.0, seconds])
    return found.offset_s - offset_s + (found.drift_ppm - drift_ppm) * 1e-6 * at_s


# --- two sound tracks


@settings(max_examples=8, deadline=None)
@given(shift_s=st.floats(-60.0, 60.0), seed=st.integers(0, 1000))
@example(shift_s=59.9999, seed=1)
@example(shift_s=-59.9999, seed=1)
@example(shift_s=0.0, seed=1)
def test_any_shift_within_a_minute_is_found(shift_s, seed):
    rate_hz, seconds = 2000, 66.0
    random = np.random.default_rng(seed)
    event = random.standard_normal(round(200 * rate_hz)) * np.repeat(
        random.gamma(0.5, 1.0, 800), rate_hz // 4
    )
    n, whole = round(seconds * rate_hz), int(np.floor(shift_s * rate_hz))
    middle = round(62 * rate_hz)  # room for a minute before and after
    reference = event[middle : middle + n]
    moved = shift(event, -(shift_s * rate_hz - whole))
    target = moved[middle + whole : middle + whole + n] + 0.1 * random.standard_normal(n)
    found = find_offset(reference, target, rate_hz)
    assert found.offset_s == pytest.approx(shift_s, abs=0.2 / rate_hz)
    assert found.confidence >= 0.7
    assert found.verdict == "reliable"


def test_a_camera_started_later_has_a_positive_offset():
    found = find_offset(hear(1, 0.0), hear(2, 1.5))
    assert found.offset_s == pytest.approx(1.5, abs=2e-4)
    back = find_offset(hear(2, 1.5), hear(1, 0.0))
    assert back.offset_s == pytest.approx(-1.5, abs=2e-4)


@pytest.mark.parametrize("seed", range(12))
def test_noise_echo_and_a_drifting_clock_leave_half_a_millisecond(seed):
    reference, target, offset_s, drift = make_pair(seed, SECONDS, snr_db=10.0, drift_ppm=60.0)
    found = find_offset(reference, target)
    error = errors_s(found, offset_s, drift, SECONDS)
    assert np.abs(error).max() < 5e-4
    assert found.confidence >= 0.7
    assert found.verdict == "reliable"
    assert found.reasons == ()
    assert abs(error[0]) < 4 * found.sigma_s < 1e-3
    assert abs(found.drift_ppm - drift) < 4 * found.drift_sigma_ppm


def test_the_drift_of_a_long_take_is_found_within_three_ppm():
    reference, target, offset_s, drift = make_pair(3, 60.0, snr_db=10.0, drift_ppm=60.0)
    found = find_offset(reference, target)
    assert abs(found.drift_ppm - drift) < 3.0
    assert found.drift_sigma_ppm < 1.5
    assert np.abs(errors_s(found, offset_s, drift, 60.0)).max() < 5e-4
    assert found.verdict == "reliable"


@pytest.mark.parametrize("drift_ppm", [-150.0, 150.0])
def test_a_clock_that_drifts_more_than_clocks_do_is_doubted(drift_ppm):
    reference = record(np.random.default_rng(1), room(2, 40.0), LEAD_S, 30.0)
    target = record(np.random.default_rng(2), room(2, 40.0), LEAD_S + 0.3, 30.0, drift_ppm)
    found = find_offset(reference, target)
    assert found.drift_ppm == pytest.approx(drift_ppm, abs=6.0)
    assert found.verdict == "check"
    assert "ppm" in " ".join(found.reasons)


@pytest.mark.parametrize("seed", range(6))
def test_a_take_too_short_for_the_drift_is_not_made_worse_by_it(seed):
    reference, target, offset_s, drift = make_pair(seed, 4.5, snr_db=10.0, drift_ppm=60.0)
    found = find_offset(reference, target)
    assert found.drift_ppm == 0.0
    assert found.drift_sigma_ppm >= 30.0
    assert np.abs(errors_s(found, offset_s, drift, 4.5)).max() < 5e-4


@pytest.mark.parametrize("seed", range(8))
def test_a_looped_bar_is_never_wrong_and_reliable(seed):
    reference, target, offset_s, _ = make_pair(seed, 16.0, snr_db=10.0, drift_ppm=30.0, bar_s=2.0)
    found = find_offset(reference, target)
    assert found.verdict == "check" or abs(found.offset_s - offset_s) < 1e-3
    assert found.rival > 0.75
    assert any("repeats itself" in reason for reason in found.reasons)


def test_too_short_an_overlap_is_not_said_to_repeat_itself():
    found = find_offset(hear(1, 0.0, 0.9), hear(2, 0.05, 0.9))
    assert found.verdict != "reliable"
    assert any("share only 0.8 s" in reason or "share only 0.9 s" in reason for reason in found.reasons)
    assert not any("repeats itself" in reason for reason in found.reasons)


@pytest.mark.parametrize("seed", range(6))
def test_sound_of_another_take_fails(seed):
    found = find_offset(hear(1, 0.0), hear(seed + 20, 0.5, room_seed=seed + 10))
    assert found.verdict == "failed"
    assert found.reasons


def test_a_microphone_wired_the_other_way_round_does_not_matter():
    found = find_offset(hear(1, 0.0), -hear(2, 0.7))
    assert found.offset_s == pytest.approx(0.7, abs=2e-4)
    assert found.verdict == "reliable"


def test_the_level_does_not_matter():
    loud, soft = find_offset(hear(1, 0.0), hear(2, 0.7)), find_offset(hear(1, 0.0) * 0.01, hear(2, 0.7) * 1.5)
    assert loud.offset_s == pytest.approx(soft.offset_s, abs=1e-6)
    assert loud.confidence == pytest.approx(soft.confidence, abs=1e-3)


def test_clipped_sound_is_found_and_named_where_there_is_doubt():
    reference = hear(1, 0.0)
    clipped = np.clip(12 * hear(2, 0.7), -1, 1)
    found = find_offset(reference, clipped)
    assert found.offset_s == pytest.approx(0.7, abs=1e-3)
    short = find_offset(reference, clipped[: 2 * sync.RATE_HZ])
    assert short.verdict != "reliable"
    assert any("clipped" in reason for reason in short.reasons)


def test_a_short_overlap_is_named():
    found = find_offset(hear(1, 0.0), hear(2, 5.5, 2.5))
    assert found.offset_s == pytest.approx(5.5, abs=1e-3)
    assert found.overlap_s == pytest.approx(2.5, abs=1e-3)
    assert found.verdict == "check"
    assert any("share only 2.5 s" in reason for reason in found.reasons)


def test_the_confidence_is_the_stated_formula():
    rate_hz = 1000
    random = np.random.default_rng(4)
    event = random.standard_normal(6000)
    reference, target = event[:4000], event[300:4600] + 6 * random.standard_normal(4300)
    found = find_offset(reference, target, rate_hz)
    a, b = (sync._high_pass(samples, rate_hz).astype(float) for samples in (reference, target))
    c = {n: sum(a[max(0, -n) : len(b) - n] * b[max(0, n) : len(a) + n]) for n in (-300,)}
    every = np.correlate(b, a, mode="full")
    assert c[-300] == pytest.approx(every[len(a) - 1 - 300], rel=1e-9)
    assert found.confidence == pytest.approx(min(1.0, c[-300] / (20 * np.median(np.abs(every)))), rel=1e-3)
    assert 0.9 < found.confidence < 1.0


@pytest.mark.parametrize(
    ("confidence", "verdict"), [(0.71, "reliable"), (0.69, "check"), (0.31, "check"), (0.29, "failed")]
)
def test_the_confidence_s_thresholds_are_verdicts(confidence, verdict):
    good = find_offset(hear(1, 0.0), hear(2, 0.3))
    tracks = (hear(1, 0.0), hear(2, 0.3))
    judged = sync._judge(sync.replace(good, confidence=confidence), good.offset_s, tracks)
    assert judged.verdict == verdict
    is_low = any("peak of the cross-correlation is low" in reason for reason in judged.reasons)
    assert is_low == (verdict != "reliable")


@pytest.mark.parametrize("agreement", [0.2, 1.0])
@pytest.mark.parametrize("apart_s", [0.0, 0.01])
def test_windows_that_disagree_are_doubted(agreement, apart_s):
    good = find_offset(hear(1, 0.0), hear(2, 0.3))
    tracks = (hear(1, 0.0), hear(2, 0.3))
    judged = sync._judge(sync.replace(good, agreement=agreement), good.offset_s + apart_s, tracks)
    is_bad = agreement < 0.4 or apart_s > 0.002
    assert judged.verdict == ("check" if is_bad else "reliable")
    assert any("windows" in reason for reason in judged.reasons) == is_bad


@given(top=st.floats(-0.49, 0.49), height=st.floats(0.1, 10), bend=st.floats(0.01, 10))
def test_the_parabola_finds_the_top_of_a_parabola(top, height, bend):
    y = height - bend * (np.array([-1.0, 0.0, 1.0]) - top) ** 2
    assert sync._parabola(y) == pytest.approx(top, abs=1e-6)


@pytest.mark.parametrize("wrong", [np.zeros(16000), np.full(16000, 1e-6), np.ones(100)])
def test_silence_and_snippets_are_refused(wrong):
    with pytest.raises(SyncError):
        find_offset(hear(1, 0.0), wrong)
    with pytest.raises(SyncError):
        find_offset(wrong, hear(1, 0.0))


# --- sessions


def film(path: Path, samples: np.ndarray | None, seconds: float = SECONDS, rate_hz: int = 16000) -> Path:
    audio = None if samples is None else (samples, rate_hz)
    with VideoWriter(path, (32, 32), Fraction(10), audio=audio) as writer:
        for index in range(round(seconds * 10)):
            writer.write(np.full((32, 32, 3), index % 256, np.uint8))
    return path


TRUE = {"front": (0.0, 0.0), "left": (1.23456, 40.0), "right": (-0.77123, -55.0)}


@pytest.fixture(scope="module")
def three_cameras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    for seed, (name, (offset_s, drift)) in enumerate(TRUE.items()):
        film(folder / f"{name}.mp4", hear(seed, offset_s, drift_ppm=drift))
    return folder


def test_three_cameras_come_onto_one_clock_within_a_millisecond(three_cameras, tmp_path):
    seen: list[float] = []
    report = Reporter(listen=lambda progress: seen.append(progress.fraction))
    result = synchronise(read_session(three_cameras), report)
    assert (result.reference, result.source) == ("front", "audio")
    for name, (offset_s, drift) in TRUE.items():
        camera = result.cameras[name]
        at_s = np.array([0.0, SECONDS])
        true_s = at_s + offset_s + drift * 1e-6 * at_s
        np.testing.assert_allclose(result.to_reference_s(name, at_s), true_s, atol=1e-3)
        assert camera.confidence >= 0.7
        assert (camera.verdict, camera.reasons) == ("reliable", ())
    assert result.cameras["front"].source == "reference"
    assert result.closure_s < 5e-4
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert report.warnings == []
    run = RunFolder(tmp_path)
    write_sync(run, result)
    assert read_sync(run) == result


def test_a_manual_offset_wins_and_needs_no_sound(three_cameras, tmp_path):
    for name in ("front", "left"):
        (tmp_path / f"{name}.mp4").write_bytes((three_cameras / f"{name}.mp4").read_bytes())
    film(tmp_path / "right.mp4", None)
    (tmp_path / "session.toml").write_text("[offset_s]\nright = 0.25\n")
    result = synchronise(read_session(tmp_path), Reporter())
    assert result.cameras["right"].offset_s == 0.25
    assert result.cameras["right"].source == "manual"
    assert result.cameras["left"].source == "audio"
    assert result.cameras["left"].offset_s == pytest.approx(TRUE["left"][0], abs=1e-3)
    assert np.isnan(result.closure_s)


def test_with_all_offsets_given_nobody_listens(tmp_path):
    for name in ("front", "left"):
        film(tmp_path / f"{name}.mp4", None, 2.0)
    (tmp_path / "session.toml").write_text("[offset_s]\nleft = -0.5\n")
    result = synchronise(read_session(tmp_path), Reporter())
    assert result.source == "manual"
    assert result.cameras["left"].offset_s == -0.5


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("name", ["front", "left"])
def test_no_sound_and_silence_name_the_camera_and_the_way_out(three_cameras, tmp_path, name, silent):
    other = {"front": "left", "left": "front"}[name]
    (tmp_path / f"{other}.mp4").write_bytes((three_cameras / f"{other}.mp4").read_bytes())
    film(tmp_path / f"{name}.mp4", np.zeros(8 * 16000) if silent else None)
    with pytest.raises(SyncError) as caught:
        synchronise(read_session(tmp_path), Reporter())
    assert f"camera {name} " in caught.value.what.replace("Camera", "camera")
    assert ("silent" if silent else "no sound") in caught.value.what
    assert "offset_s" in caught.value.advice
    assert "left" in caught.value.advice


def test_cameras_of_different_takes_are_named(three_cameras, tmp_path):
    (tmp_path / "front.mp4").write_bytes((three_cameras / "front.mp4").read_bytes())
    film(tmp_path / "left.mp4", hear(5, 0.0, room_seed=5))
    with pytest.raises(SyncError, match=r"left has nothing in common with that of front.*overlap"):
        synchronise(read_session(tmp_path), Reporter())


def test_given_offsets_that_leave_no_common_time_name_the_cameras(tmp_path):
    for name in ("front", "left", "right"):
        film(tmp_path / f"{name}.mp4", None, 2.0)
    (tmp_path / "session.toml").write_text("[offset_s]\nleft = 1.5\nright = -1.5\n")
    with pytest.raises(SyncError, match=r"left and right did not record together"):
        synchronise(read_session(tmp_path), Reporter())


def test_one_camera_is_on_its_own_clock(tmp_path):
    film(tmp_path / "phone.mp4", None, 1.0)
    result = synchronise(read_session(tmp_path), Reporter())
    assert result.reference == "phone"
    assert result.cameras["phone"].offset_s == 0.0
    assert result.cameras["phone"].verdict == "reliable"


def test_keypoints_are_taken_as_started_together_and_marked_so(tmp_path):
    (tmp_path / "keypoints").mkdir()
    for name in ("front", "left", "right"):
        (tmp_path / "keypoints" / f"{name}.npz").write_bytes(b"")
    (tmp_path / "session.toml").write_text("[offset_s]\nright = 0.2\n")
    result = synchronise(read_session(tmp_path), Reporter())
    left = result.cameras["left"]
    assert (left.offset_s, left.source, left.verdict) == (0.0, "none", "check")
    assert left.reasons
    assert result.cameras["right"].offset_s == 0.2
    assert result.cameras["right"].source == "manual"


def test_offsets_that_contradict_each_other_are_doubted(three_cameras, monkeypatch):
    real = sync.find_offset
    calls = []

    def bend(reference, target, rate_hz):
        calls.append(1)
        found = real(reference, target, rate_hz)
        return found if len(calls) < 3 else sync.replace(found, offset_s=found.offset_s + 0.01)

    monkeypatch.setattr(sync, "find_offset", bend)
    report = Reporter()
    result = synchronise(read_session(three_cameras), report)
    assert result.closure_s == pytest.approx(0.01, abs=5e-4)
    assert {result.cameras[name].verdict for name in ("left", "right")} == {"check"}
    assert any("contradict each other by" in warning for warning in report.warnings)


def test_any_set_of_files_can_be_synchronised(three_cameras):
    videos = {name: three_cameras / f"{name}.mp4" for name in ("left", "right")}
    result = synchronise_videos(videos, "left", Reporter())
    assert result.cameras["right"].offset_s == pytest.approx(TRUE["right"][0] - TRUE["left"][0], abs=1e-3)


def test_cancelling_stops_it(three_cameras):
    with pytest.raises(Cancelled):
        synchronise(read_session(three_cameras), Reporter(is_cancelled=lambda: True))


# --- real recordings


def listen(path: Path) -> np.ndarray:
    if not DATA.is_dir():
        pytest.skip("../shared/data is not there")
    samples = read_audio(path)
    assert samples is not None
    return samples


@pytest.mark.data
@pytest.mark.parametrize(("number", "offset_s"), [(2, 12.25396), (3, 12.23094)])
def test_a_talk_cut_later_is_found_within_half_a_millisecond(number, offset_s):
    folder = DATA / "speech-offset"
    found = find_offset(listen(folder / "timbl_1.mp3"), listen(folder / f"timbl_{number}.mp3"))
    assert found.offset_s == pytest.approx(offset_s, abs=5e-4)
    assert found.confidence >= 0.7
    assert found.verdict == "reliable"
    assert abs(found.drift_ppm) < 3 * found.drift_sigma_ppm


@pytest.mark.data
@pytest.mark.parametrize(("take", "lags"), [("multi_mic1", (143, 159, 198)), ("multi_mic2", (228, 143, 205))])
def test_four_kinds_of_microphone_agree_within_two_samples(take, lags):
    main = listen(DATA / "two-microphones" / take / "main.flac")
    for number, lag in enumerate(lags, start=1):
        found = find_offset(main, listen(DATA / "two-microphones" / take / f"other{number}.flac"))
        assert -found.offset_s * 48000 == pytest.approx(lag, abs=2.0)
        assert found.verdict == "check"
        assert any("share only" in reason for reason in found.reasons)
