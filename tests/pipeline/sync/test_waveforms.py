from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import SyncError
from pipeline.files import read_json
from pipeline.progress import Reporter
from pipeline.results import RunFolder
from pipeline.session import read_session
from pipeline.stages import Context, _sound
from pipeline.sync.cameras import synchronise
from pipeline.sync.sound import RATE_HZ, rate_offsets
from pipeline.sync.waveforms import find_peaks, is_waveform_file, to_pcm, write_waveforms
from pipeline.video import read_audio
from records.service import _ARTEFACT, ARTEFACT_SUFFIXES
from tests.pipeline.sync.made_sound import SECONDS, TRUE, film, hear


@pytest.fixture(scope="module")
def written(three_cameras, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "web"
    session = read_session(three_cameras)
    sync = synchronise(session, Reporter())
    files = write_waveforms(session, sync, folder, Reporter())
    return session, sync, folder, files, read_json(folder / "sound.json")


def listen(path: Path) -> np.ndarray:
    samples = read_audio(path, RATE_HZ)
    assert samples is not None
    return samples


def decode(path: Path) -> tuple[np.ndarray, int]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
        return np.concatenate(frames), container.streams.audio[0].rate


def test_the_sound_comes_back_sample_by_sample(written):
    session, _, folder, _, index = written
    for n, name in enumerate(session.cameras):
        entry = index["cameras"][n]
        assert (entry["n"], entry["name"], entry["file"]) == (n, name, f"{name}.mp4")
        samples, rate_hz = decode(folder / entry["sound"])
        expected = listen(session.videos[name])
        assert rate_hz == index["rate_hz"] == 16000
        np.testing.assert_array_equal(samples, to_pcm(expected))
        assert np.abs(samples / 32767 - np.clip(expected, -1, 1)).max() <= 0.5 / 32767 + 1e-7
        assert entry["sound_s"] == pytest.approx(len(samples) / 16000)
        assert entry["duration_s"] == pytest.approx(SECONDS)


def test_loud_sound_is_clipped_and_not_wrapped_round():
    np.testing.assert_array_equal(
        to_pcm(np.array([-3.0, -1.0, 0.0, 1.0, 3.0])), [-32767, -32767, 0, 32767, 32767]
    )


def test_the_peaks_are_the_lowest_and_highest_of_every_five_milliseconds(written):
    session, _, folder, _, index = written
    entry = index["cameras"][1]
    samples = listen(session.videos[entry["name"]])
    peaks = np.fromfile(folder / entry["peaks"], np.int8).reshape(-1, 2) / 127 * entry["peak"]
    assert len(peaks) == int(np.ceil(len(samples) / 80))
    for block in (0, 7, len(peaks) - 1):
        own = samples[80 * block : 80 * block + 80]
        np.testing.assert_allclose(peaks[block], [own.min(), own.max()], atol=entry["peak"] / 127)
    assert np.abs(peaks).max() == pytest.approx(np.abs(samples).max(), rel=1e-6)


def test_peaks_of_silence_are_flat():
    assert not find_peaks(np.zeros(1000)).any()


def read_u8(folder: Path, name: str) -> np.ndarray:
    return np.fromfile(folder / name, np.uint8)


@pytest.mark.parametrize("n", [1, 2])
def test_the_fit_is_highest_at_the_offset_and_the_match_there_is_the_confidence(written, n):
    _, sync, folder, _, index = written
    entry, grid = index["cameras"][n], index["match"]
    clock = sync.cameras[entry["name"]]
    match, fit = read_u8(folder, entry["match"]), read_u8(folder, entry["fit"])
    assert len(match) == len(fit) == grid["n"] == 120001
    best = int(fit.argmax())
    assert grid["first_s"] + grid["step_s"] * best == pytest.approx(TRUE[entry["name"]][0], abs=1.5e-3)
    assert (fit[best], np.sum(fit == 255)) == (255, 1)
    assert entry["offset_s"] == clock.offset_s
    assert match[best] / 255 == pytest.approx(clock.confidence, abs=5e-3)
    for values in (match, fit):
        assert np.median(values) / 255 < 0.2
        assert not values[:40000].any()  # more than 20 s away from each other they do not sound at once


def test_every_offset_s_confidence_is_the_formula():
    random = np.random.default_rng(1)
    event = random.standard_normal(3000)
    rated = rate_offsets(event[:2000], event[300:2600] + 3 * random.standard_normal(2300), 0.0, np.nan, 1000)
    assert rated.offset_s[rated.confidence.argmax()] == pytest.approx(0.3)
    # at half of all offsets |c| is below its median: the formula gives less than a twentieth there
    assert np.mean(np.abs(rated.confidence) < 1 / 20) == pytest.approx(0.75, abs=0.1)


def test_a_microphone_wired_the_other_way_round_matches_too():
    reference, target = hear(1, 0.0), -hear(2, 0.7)
    for known_s in (0.7, np.nan):
        rated = rate_offsets(reference, target, 0.0, known_s)
        assert rated.offset_s[rated.fit.argmax()] == pytest.approx(0.7, abs=1e-3)
        assert rated.confidence[rated.fit.argmax()] == 1.0


def test_names_are_those_that_the_site_serves_and_the_index_comes_last(written):
    _, _, folder, files, index = written
    assert files[-1].name == "sound.json"
    assert {path.name for path in folder.iterdir()} == {path.name for path in files}
    assert len(files) == 3 + 3 + 2 + 2 + 1
    for path in files:
        assert is_waveform_file(path.name)
        assert _ARTEFACT.fullmatch(path.name)
        assert path.suffix in ARTEFACT_SUFFIXES
    assert not is_waveform_file("joints_right.f32")
    assert index["cameras"][0]["match"] is None


def test_a_camera_without_sound_has_no_files_and_what_it_had_is_removed(three_cameras, tmp_path):
    for name in ("front", "right"):
        (tmp_path / f"{name}.mp4").write_bytes((three_cameras / f"{name}.mp4").read_bytes())
    film(tmp_path / "left.mp4", None)
    folder = tmp_path / "web"
    folder.mkdir()
    for name in ("sound_1.flac", "sound_7_match.u8", "index.json"):
        (folder / name).write_bytes(b"old")
    session = read_session(tmp_path)
    write_waveforms(session, synchronise(session, Reporter()), folder, Reporter())
    index = json.loads((folder / "sound.json").read_text())
    left = index["cameras"][1]
    assert (left["name"], left["sound"], left["peaks"], left["fit"]) == ("left", None, None, None)
    assert (left["offset_s"], left["sigma_s"], left["confidence"]) == (None, None, None)
    assert (left["verdict"], left["source"], left["reasons"]) == (
        "failed",
        "none",
        ["left.mp4 has no sound."],
    )
    assert not (folder / "sound_1.flac").exists()
    assert not (folder / "sound_7_match.u8").exists()
    assert (folder / "index.json").read_bytes() == b"old"
    assert index["cameras"][2]["match"] == "sound_2_match.u8"


def test_keypoints_get_an_index_without_files(tmp_path):
    (tmp_path / "keypoints").mkdir()
    for name in ("front", "left"):
        (tmp_path / "keypoints" / f"{name}.npz").write_bytes(b"")
    session = read_session(tmp_path)
    files = write_waveforms(session, synchronise(session, Reporter()), tmp_path / "web", Reporter())
    assert [path.name for path in files] == ["sound.json"]
    entry = read_json(files[0])["cameras"][1]
    assert (entry["name"], entry["file"], entry["duration_s"], entry["sound"]) == (
        "left",
        "left.npz",
        None,
        None,
    )


def test_the_stage_leaves_the_sound_for_the_page_even_where_the_offsets_cannot_be(tmp_path):
    """The page that sets offsets is the way out of an offset that was mistyped."""
    for name in ("front", "left"):
        film(tmp_path / f"{name}.mp4", hear(1, 0.0, 2.0), 2.0)
    (tmp_path / "session.toml").write_text("[offset_s]\nleft = 30.0\n")
    session, run = read_session(tmp_path), RunFolder(tmp_path / "run")
    with pytest.raises(SyncError, match="did not record together"):
        _sound(Context(session, run, Reporter()))
    index = read_json(run.web / "sound.json")
    assert index["cameras"][1]["source"] == "manual"
    assert (run.web / index["cameras"][1]["match"]).is_file()


def test_the_stage_counts_as_done_only_with_all_its_files(three_cameras, tmp_path):
    session, run = read_session(three_cameras), RunFolder(tmp_path)
    outputs = _sound(Context(session, run, Reporter()))
    assert {*run.web.iterdir(), run.sound_json} == set(outputs)
