"""What a page needs to let a person set a camera's offset by eye and ear (in ``web/`` of a run).

Written by the stage "sound", so it is there too for a run that stops later. ``sound.json`` is written last:
a folder without it is an unfinished one.

======================================  ============  =====================================================
file                                    shape         what
======================================  ============  =====================================================
``sound.json``                                        the index, see below
``sound_<n>.flac``                      (N,)          the camera's sound: mono, 16 kHz, 16 bits; sample k is
                                                      at k / 16000 s of the file's own time
``sound_<n>_peaks.i8``                  (P, 2)        lowest and highest sample of every 5 ms; value / 127 of
                                                      ``peak``
``sound_<n>_match.u8``                  (120001,)     value / 255 = seed 000's confidence of the offset
                                                      -60 s + k ms; every camera but the reference
``sound_<n>_fit.u8``                    (120001,)     value / 255 = how well the sounds fit at that offset,
                                                      1 at the best; has no ceiling, so it tells rivals apart
======================================  ============  =====================================================

``<n>`` is the camera's place in ``cameras`` of the index, which is the order of `Session.cameras`: the
reference first. The index (JSON; what is not known is null, a camera without sound has null for files)::

    {
      "schema_version": 1,
      "reference": "front",
      "rate_hz": 16000,             # of the FLAC files
      "peaks_per_s": 200,
      "match": {"first_s": -60.0, "step_s": 0.001, "n": 120001},
      "cameras": [
        {
          "n": 1,
          "name": "left",
          "file": "left.mp4",       # what the person knows it by
          "duration_s": 180.0,      # of the video
          "sound_s": 179.99,        # of the sound; 0 without
          "peak": 0.31,             # largest sample, full scale is 1; 0 without sound
          "sound": "sound_1.flac",
          "peaks": "sound_1_peaks.i8",
          "match": "sound_1_match.u8",
          "fit": "sound_1_fit.u8",
          "offset_s": 1.2345,       # in use as far as the sound stage knows: measured, or given by a person
          "sigma_s": 0.0001,
          "drift_ppm": 12.3,
          "confidence": 1.0,
          "verdict": "reliable",
          "reasons": [],
          "source": "audio"         # audio | manual | reference | none
        }
      ]
    }

``t_reference = t_camera + offset_s + drift_ppm * 1e-6 * t_camera``. The match is seed 000's
``min(1, c[lag] / (20 median|c|))`` with ``offset_s = -lag``: good music reaches its ceiling at many offsets.
The fit is the correlation of sound with a flattened spectrum over what both share. Both are the largest
within half a millisecond of each offset, after the camera's clock was freed of ``drift_ppm``; 0 where both
do not sound at once.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import replace_atomically, write_bytes, write_json
from pipeline.progress import Reporter
from pipeline.results import CameraSync, SyncResult
from pipeline.session import Session
from pipeline.sync.sound import MAX_LAG_S, RATE_HZ, rate_offsets
from pipeline.video import probe, read_audio

WAVEFORMS_SCHEMA_VERSION = 1
INDEX_NAME = "sound.json"
PEAKS_PER_S = 200
MATCH_STEP_S = 1e-3
_NAME = re.compile(r"sound(\.json|_\d+(\.flac|_peaks\.i8|_match\.u8|_fit\.u8))")


def is_waveform_file(name: str) -> bool:
    """Whether a file of ``web/`` is one of these, so that nobody else removes it."""
    return _NAME.fullmatch(name) is not None


def write_waveforms(session: Session, sync: SyncResult, folder: Path, report: Reporter) -> list[Path]:
    """Write the cameras' sound for a page, and how well every offset fits; see the table above.

    Parameters
    ----------
    session : Session
        Its videos' sound is read; a session of keypoints gets an index without files.
    sync : SyncResult
        What the sound told; offset NaN where it told nothing.
    folder : Path
        Where to: ``web/`` of the run. What an earlier run left of these files is replaced or removed.
    report : Reporter
        Hears of the progress.

    Returns
    -------
    list of Path
        The files written, the index last.

    Raises
    ------
    pipeline.errors.VideoError
        A file's sound cannot be decoded.
    pipeline.errors.RunFolderError
        The folder cannot be written.
    """
    index = folder / INDEX_NAME
    index.unlink(missing_ok=True)
    cameras: list[dict[str, Any]] = []
    written: list[Path] = []
    reference: np.ndarray | None = None
    for n, name in enumerate(session.cameras):
        report.update(n / len(session.cameras), f"Preparing the sound of camera {name} for the page")
        samples = read_audio(session.videos[name], RATE_HZ) if name in session.videos else None
        if samples is not None and len(samples) == 0:
            samples = None
        reference = samples if n == 0 else reference
        entry = _describe(n, name, session, samples, sync.cameras[name])
        if samples is not None:
            written += _write_sound(folder, entry, samples)
        if n > 0 and samples is not None and reference is not None:
            written += _write_match(folder, entry, reference, samples, sync.cameras[name])
        cameras.append(entry)
    _remove_others(folder, written)
    write_json(
        index,
        {
            "schema_version": WAVEFORMS_SCHEMA_VERSION,
            "reference": sync.reference,
            "rate_hz": RATE_HZ,
            "peaks_per_s": PEAKS_PER_S,
            "match": {"first_s": -MAX_LAG_S, "step_s": MATCH_STEP_S, "n": _n_offsets()},
            "cameras": cameras,
        },
    )
    report.update(1.0, "The sound is ready for the page")
    return [*written, index]


def find_peaks(samples: np.ndarray) -> np.ndarray:
    """Lowest and highest sample of every 5 ms, (P, 2) int8, 127 = the largest; the last may be short."""
    block = RATE_HZ // PEAKS_PER_S
    starts = np.arange(0, len(samples), block)
    pairs = np.stack([np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)], axis=1)
    largest = float(np.abs(samples).max())
    return np.round(pairs * (127 / largest if largest > 0 else 0.0)).astype(np.int8)


def to_pcm(samples: np.ndarray) -> np.ndarray:
    """Samples (N,) of full scale 1 as int16, clipped: what the FLAC file holds, bit for bit."""
    return np.round(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)


def _describe(
    n: int, name: str, session: Session, samples: np.ndarray | None, clock: CameraSync
) -> dict[str, Any]:
    video = session.videos.get(name)
    return {
        "n": n,
        "name": name,
        "file": (video or session.keypoints[name]).name,
        "duration_s": None if video is None else probe(video).duration_s,
        "sound_s": 0.0 if samples is None else len(samples) / RATE_HZ,
        "peak": 0.0 if samples is None else float(np.abs(samples).max()),
        "sound": None,
        "peaks": None,
        "match": None,
        "fit": None,
        "offset_s": clock.offset_s,
        "sigma_s": clock.sigma_s,
        "drift_ppm": clock.drift_ppm,
        "confidence": clock.confidence,
        "verdict": clock.verdict,
        "reasons": list(clock.reasons),
        "source": clock.source,
    }


def _write_sound(folder: Path, entry: dict[str, Any], samples: np.ndarray) -> list[Path]:
    entry["sound"] = f"sound_{entry['n']}.flac"
    entry["peaks"] = f"sound_{entry['n']}_peaks.i8"
    _write_flac(folder / entry["sound"], to_pcm(samples))
    write_bytes(folder / entry["peaks"], find_peaks(samples).tobytes())
    return [folder / entry["sound"], folder / entry["peaks"]]


def _write_match(
    folder: Path, entry: dict[str, Any], reference: np.ndarray, samples: np.ndarray, clock: CameraSync
) -> list[Path]:
    rated = rate_offsets(reference, samples, clock.drift_ppm, clock.offset_s)
    place = np.round((rated.offset_s + MAX_LAG_S) / MATCH_STEP_S).astype(int)
    inside = (place >= 0) & (place < _n_offsets())
    written = []
    for kind, values in (("match", rated.confidence), ("fit", rated.fit)):
        best = np.zeros(_n_offsets())
        np.maximum.at(best, place[inside], values[inside])
        entry[kind] = f"sound_{entry['n']}_{kind}.u8"
        write_bytes(folder / entry[kind], np.round(255 * best).astype(np.uint8).tobytes())
        written.append(folder / entry[kind])
    return written


def _n_offsets() -> int:
    return round(2 * MAX_LAG_S / MATCH_STEP_S) + 1


def _write_flac(path: Path, samples: np.ndarray) -> None:
    import av

    with replace_atomically(path) as temporary, av.open(str(temporary), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE_HZ)
        stream.layout = "mono"
        stream.format = "s16"
        for start in range(0, len(samples), RATE_HZ):
            part = np.ascontiguousarray(samples[None, start : start + RATE_HZ])
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate = RATE_HZ
            frame.pts = start
            frame.time_base = Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _remove_others(folder: Path, written: list[Path]) -> None:
    """Remove what an earlier run left and this one has not: a camera no longer there, or without sound."""
    names = {path.name for path in written}
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_waveform_file(path.name) and path.name not in names:
            path.unlink()
