"""C3D: the joints as markers, for movement laboratories.

Points are called "R_index_tip" and so on, in mm, float; the residual, which has eight bits, is the joint's
standard deviation per axis in steps of 0.1 mm up to 25.5 mm, and -1 where it was not measured (readers then
give NaN). The group REDYS has what the format has no place for: the exact frame rate as a fraction (the rate
itself is a 32-bit number), the time of the first frame, whether uneven frames were resampled and how far from
their own times at most, the provenance. Frames past 65,535, which the header
cannot count, are counted by the parameters TRIAL:ACTUAL_START_FIELD and ACTUAL_END_FIELD.
"""

from __future__ import annotations

import errno
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.export.source import LABELS, EvenFrames, ExportSource, find_even_frames, state_provenance
from pipeline.files import replace_atomically, to_plain
from pipeline.hand.joints import JOINTS

RESIDUAL_STEP_MM = 0.1
LARGEST_RESIDUAL_MM = 25.5
HEADER_FRAMES = 0xFFFF
"""As many frames as 16 bits count."""

_BLOCK_BYTES, _POINT_BYTES = 512, 16
_HEADER_SCALE, _HEADER_DATA = 12, 16
"""Where the header has the scale (float) and the number of the data's first block (word)."""

_TEXT_BYTES = 120
"""A parameter's text is at most 127 bytes in some readers, so the provenance is cut into lines."""


def write(source: ExportSource, folder: Path) -> None:
    """Write ``joints.c3d`` into a folder."""
    import ezc3d

    even = find_even_frames(source.time_s, source.rate)
    labels = [f"{LABELS[side]}_{joint}" for side in source.hands for joint in JOINTS]
    joints = np.concatenate([even.take(hand.joints_mm) for hand in source.hands.values()], axis=1)
    sigma = np.concatenate([even.take_straight(hand.sigma_mm) for hand in source.hands.values()], axis=1)
    missing = ~np.isfinite(joints).all(axis=-1)

    file = ezc3d.c3d()
    file["data"]["points"] = _to_points(joints)
    file["data"]["meta_points"]["residuals"] = _to_residuals(sigma, missing)
    point = file["parameters"]["POINT"]
    point["LABELS"]["value"] = labels
    point["UNITS"]["value"] = ["mm"]
    point["RATE"]["value"] = [float(source.rate)]
    point["SCALE"]["value"] = [-RESIDUAL_STEP_MM]
    file.add_parameter("POINT", "X_SCREEN", ["+X"])
    file.add_parameter("POINT", "Y_SCREEN", ["-Y"])
    _add_counts(file, even.n_frames)
    _add_own_group(file, source, even)
    with replace_atomically(folder / "joints.c3d") as temporary:
        file.write(str(temporary))
        data = bytearray(temporary.read_bytes())
        _check_whole(data, even.n_frames, len(labels))
        struct.pack_into(
            "<f", data, _HEADER_SCALE, -RESIDUAL_STEP_MM
        )  # ezc3d leaves -1; other readers compare
        if even.n_frames > HEADER_FRAMES:
            _let_readers_past_the_header(data, even.n_frames, len(labels))
        temporary.write_bytes(data)


def _to_points(joints: np.ndarray) -> np.ndarray:
    """(T, N, 3) as ezc3d has points: (4, N, T), the last row 1."""
    points = np.ones((4, joints.shape[1], joints.shape[0]))
    points[:3] = joints.transpose(2, 1, 0)
    return points


def _to_residuals(sigma: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """(T, N) as ezc3d has residuals (1, N, T); it cuts to whole steps, so half a step is added."""
    residuals = np.clip(np.nan_to_num(sigma) + RESIDUAL_STEP_MM / 2, 0.0, LARGEST_RESIDUAL_MM)
    return np.where(missing, -1.0, residuals).T[None]


def _add_counts(file: Any, n_frames: int) -> None:
    """First and last frame as two 16-bit words each, the low one first."""
    for name, count in (("ACTUAL_START_FIELD", 1), ("ACTUAL_END_FIELD", n_frames)):
        file.add_parameter("TRIAL", name, [count & 0xFFFF, count >> 16])
        file["parameters"]["TRIAL"][name]["type"] = 2  # words; ezc3d takes numbers for floats


def _add_own_group(file: Any, source: ExportSource, even: EvenFrames) -> None:
    file.add_parameter("REDYS", "RATE_FRACTION", [source.rate_text])
    file.add_parameter("REDYS", "RATE_NUMERATOR", [float(source.rate.numerator)])
    file.add_parameter("REDYS", "RATE_DENOMINATOR", [float(source.rate.denominator)])
    file.add_parameter("REDYS", "FIRST_FRAME_S", [even.start_s])
    file.add_parameter("REDYS", "RESAMPLED", ["yes" if even.resampled else "no"])
    file.add_parameter("REDYS", "LARGEST_SHIFT_S", [even.largest_shift_s])
    file.add_parameter("REDYS", "RESIDUAL", ["standard deviation per axis, mm"])
    provenance = json.dumps(to_plain(state_provenance(source)), ensure_ascii=True, separators=(",", ":"))
    lines = [provenance[i : i + _TEXT_BYTES] for i in range(0, len(provenance), _TEXT_BYTES)]
    file.add_parameter("REDYS", "PROVENANCE", [f"|{line}|" for line in lines])


def _check_whole(data: bytearray, n_frames: int, n_points: int) -> None:
    """ezc3d says nothing of a disk that is full, and leaves the file cut short."""
    header = len(data) >= _BLOCK_BYTES
    if not header or len(data) < _data_start(data) + n_frames * n_points * _POINT_BYTES:
        raise OSError(errno.EIO, "cut short while it was written; the disk may be full")


def _data_start(data: bytearray) -> int:
    return int((struct.unpack_from("<H", data, _HEADER_DATA)[0] - 1) * _BLOCK_BYTES)


def _let_readers_past_the_header(data: bytearray, n_frames: int, n_points: int) -> None:
    """Make a long file readable to its end.

    ezc3d writes an empty group ROTATION; where a file has one, its own reader trusts the header's 65,535
    frames. Without it, it reads on to the end of the file, and so the padding of the last block goes too.
    """
    start = _data_start(data)
    group = data.index(b"ROTATION", 0, start)
    data[group : group + 8] = b"NO_TURNS"
    del data[start + n_frames * n_points * _POINT_BYTES :]
