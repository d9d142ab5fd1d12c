"""The moving numbers of a run as the browser's files hold them: small, quick to read, without tables."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import RunFolderError
from pipeline.export.web import MISSING_I16, WEB_SCHEMA_VERSION, decode_values
from pipeline.files import read_json
from pipeline.hand.joints import Side
from pipeline.results import RunFolder


@dataclass(frozen=True)
class SideSignals:
    """One hand over time.

    Attributes
    ----------
    jerk : ndarray (T, 21)
        Score 0 to 1 relative to this recording. NaN = cannot tell, here and below.
    acceleration : ndarray (T, 21)
        m/s², up to the top of its scale.
    z : ndarray (T, 20)
        Signed, by frame, -6 to 6.
    degrees : ndarray (T, 20)
    bands : dict
        By angle id: mean and SD of the reference's postures in degrees, where it has them.
    acceleration_top : float
        Top of the scale, m/s².
    """

    jerk: np.ndarray
    acceleration: np.ndarray
    z: np.ndarray
    degrees: np.ndarray
    bands: dict[str, tuple[float, float]]
    acceleration_top: float


@dataclass(frozen=True)
class LeftOut:
    """A section that a person excluded: start and end in s, and the hand; "" = both."""

    start_s: float
    end_s: float
    side: str


@dataclass(frozen=True)
class Signals:
    """A run over time: ``time_s`` (T,) of the reference camera's frames, each hand, and what was left out."""

    time_s: np.ndarray
    fps: float
    cameras: tuple[str, ...]
    sides: dict[Side, SideSignals]
    excluded: tuple[LeftOut, ...] = ()

    @property
    def duration_s(self) -> float:
        """Time of the last frame."""
        return float(self.time_s[-1]) if len(self.time_s) else 0.0

    @property
    def frame_s(self) -> float:
        """How long one frame lasts."""
        return 1.0 / self.fps if self.fps > 0 else 0.0

    def frame_at(self, time_s: float) -> int:
        """The frame nearest to a time."""
        return int(np.abs(self.time_s - time_s).argmin()) if len(self.time_s) else 0


def read_signals(run: RunFolder) -> Signals:
    """Read a run's ``web`` folder.

    Raises
    ------
    RunFolderError
        It is missing, unfinished, or of another schema.
    """
    index = run.web / "index.json"
    if not index.is_file():
        raise RunFolderError(
            "The video and the moving hand of this recording are not ready.",
            "Run the pipeline again; it goes on where it stopped.",
        )
    return _read(run, index.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read(run: RunFolder, changed: int) -> Signals:
    index = read_json(run.web / "index.json")
    if index.get("schema_version") != WEB_SCHEMA_VERSION:
        raise RunFolderError(
            f"{run.web} has schema {index.get('schema_version')}; this page reads {WEB_SCHEMA_VERSION}.",
            "Run the pipeline again on the session.",
        )
    return Signals(
        time_s=_read_array(run, index, "time_s.f32").astype(float),
        fps=index["fps"][0] / index["fps"][1],
        cameras=tuple(camera["name"] for camera in index["cameras"]),
        sides={side: _read_side(run, index, side) for side in index["sides"]},
        excluded=tuple(
            LeftOut(each["start_s"], each["end_s"], each["side"] or "") for each in index.get("excluded", ())
        ),
    )


def _read_side(run: RunFolder, index: dict[str, Any], side: str) -> SideSignals:
    ranges = index["ranges"][side]
    values = {
        name: decode_values(
            _read_array(run, index, f"{name}_{side}.u8"), ranges[name]["low"], ranges[name]["high"]
        )
        for name in ("jerk", "acceleration", "z")
    }
    hundredths = _read_array(run, index, f"angles_{side}.i16")
    return SideSignals(
        **values,
        degrees=np.where(hundredths == MISSING_I16, np.nan, hundredths / 100.0),
        bands={angle: (band[0], band[1]) for angle, band in index.get("bands", {}).get(side, {}).items()},
        acceleration_top=float(ranges["acceleration"]["high"]),
    )


def _read_array(run: RunFolder, index: dict[str, Any], name: str) -> np.ndarray:
    entry = index["files"][name]
    try:
        array = np.fromfile(run.web / name, dtype=np.dtype(entry["dtype"]).newbyteorder("<"))
        return array.reshape(entry["shape"])
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{run.web / name} cannot be read ({error}).", "Run the pipeline again on the session."
        ) from error
