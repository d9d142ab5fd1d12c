"""OpenSim's text files: the joints as markers (TRC) and the joint angles in degrees (MOT).

OpenSim has Y up, so markers are turned by half a turn about x: X to the right, Y up and Z towards the
reference camera. An empty cell (TRC) and "nan" (MOT) = not measured. TRC has no place for where the numbers
come from, nor for whether uneven frames were resampled; the manifest has both, the MOT's header the first.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.export.source import LABELS, ExportSource, find_even_frames, state_provenance
from pipeline.files import to_plain, write_bytes
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import JOINTS

Y_UP = np.array([1.0, -1.0, -1.0])
"""Signs that turn the world (y down, z away) by half a turn about x; the same signs turn it back."""

_RATES = ("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units")
_ORIGINAL = ("OrigDataRate", "OrigDataStartFrame", "OrigNumFrames")


def write(source: ExportSource, folder: Path) -> None:
    """Write ``joints.trc`` and ``angles.mot`` into a folder."""
    write_bytes(folder / "joints.trc", to_trc(source, "joints.trc").encode())
    write_bytes(folder / "angles.mot", to_mot(source).encode())


def to_trc(source: ExportSource, name: str) -> str:
    """The joints as TRC text, in mm, at even times; markers are called "R_index_tip"."""
    even = find_even_frames(source.time_s, source.rate)
    joints = np.concatenate([even.take(hand.joints_mm) for hand in source.hands.values()], axis=1) * Y_UP
    markers = [f"{LABELS[side]}_{joint}" for side in source.hands for joint in JOINTS]
    rate, count = repr(float(source.rate)), even.n_frames
    head = [
        ["PathFileType", "4", "(X/Y/Z)", name],
        [*_RATES, *_ORIGINAL],
        [rate, rate, str(count), str(len(markers)), "mm", rate, "1", str(count)],
        ["Frame#", "Time", *(cell for marker in markers for cell in (marker, "", ""))],
        ["", "", *(f"{axis}{number + 1}" for number in range(len(markers)) for axis in "XYZ")],
        [],
    ]
    body = pd.DataFrame(joints.reshape(count, -1))
    body.insert(0, "time", [f"{frame * float(1 / source.rate):.9f}" for frame in range(count)])
    body.insert(0, "frame", np.arange(1, count + 1))
    rows = body.to_csv(sep="\t", header=False, index=False, float_format="%.5f", lineterminator="\n")
    return "\n".join("\t".join(line) for line in head) + "\n" + str(rows)


def to_mot(source: ExportSource) -> str:
    """The signed angles as MOT text, in degrees, at their frames' own times from the first one on."""
    names = [f"{LABELS[side]}_{angle}" for side in source.hands for angle in ANGLES]
    degrees = np.concatenate([hand.degrees for hand in source.hands.values()], axis=1)
    provenance = json.dumps(to_plain(state_provenance(source)), ensure_ascii=True, separators=(",", ":"))
    head = [
        "angles",
        "version=1",
        f"nRows={len(degrees)}",
        f"nColumns={len(names) + 1}",
        "inDegrees=yes",
        f"redys={provenance}",
        "endheader",
    ]
    body = pd.DataFrame(degrees, columns=pd.Index(names))
    body.insert(0, "time", [f"{moment:.9f}" for moment in source.time_s - source.time_s[0]])
    rows = body.to_csv(sep="\t", index=False, float_format="%.6f", na_rep="nan", lineterminator="\n")
    return "\n".join(head) + "\n" + str(rows)
