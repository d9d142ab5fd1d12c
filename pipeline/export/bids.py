"""BIDS Motion: a data set of one recording in the order of the Brain Imaging Data Structure.

``sub-*/[ses-*/]motion/`` has the time series without a header, the channels in their order, and the sidecar.
Joints are POS channels in mm, angles JNTANG in deg, and LATENCY has each frame's own time in s. No videos:
the standard leaves them out, and they would show the person.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.export.source import LABELS, WORLD, ExportSource, state_provenance
from pipeline.files import write_bytes, write_json
from pipeline.hand.angles import ANGLE_INFO
from pipeline.hand.joints import JOINTS

BIDS_VERSION = "1.10.0"
MISSING = "n/a"
TRACKING_SYSTEM = "redys"

_README = """One recording of hand movement, worked out from ordinary videos by ReDys.

Joints are in mm in the frame of the reference camera (+x right, +y down, +z forward); angles are signed, in
degrees: flexion +, hyperextension -, abduction away from the middle finger +. n/a = not measured.
The numbers describe movement; they are not a diagnosis.
"""


def write(source: ExportSource, folder: Path) -> None:
    """Write the data set into a folder: its root."""
    subject = make_label(source.summary.subject)
    session = make_label(source.summary.visit) if source.summary.visit else ""
    session = session if source.day is None else f"day{source.day}"
    names = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
    task = make_label(source.summary.task)
    stem = "_".join([*names, f"task-{task}", f"tracksys-{TRACKING_SYSTEM}"])
    motion = folder.joinpath(*names, "motion")
    channels, values = _list_channels(source)
    _write_tsv(motion / f"{stem}_motion.tsv", values, header=False)
    _write_tsv(motion / f"{stem}_channels.tsv", channels)
    write_json(motion / f"{stem}_channels.json", _describe_frames())
    write_json(motion / f"{stem}_motion.json", _describe_motion(source, channels))
    write_json(folder / "dataset_description.json", _describe_data_set(source))
    _write_tsv(folder / "participants.tsv", pd.DataFrame({"participant_id": [f"sub-{subject}"]}))
    write_bytes(folder / "README", _README.encode())
    write_bytes(folder / ".bidsignore", b"manifest.json\n")


def make_label(text: str) -> str:
    """A label as BIDS allows it, letters and digits only: "P-014" becomes "P014"; never empty."""
    return re.sub(r"[^A-Za-z0-9]", "", text) or "unnamed"


def _list_channels(source: ExportSource) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The channels' table, and the time series with a column for each of its rows."""
    rows: list[tuple[str, str, str, str, str, str]] = []
    columns: dict[str, np.ndarray] = {}
    for side, hand in source.hands.items():
        for i, joint in enumerate(JOINTS):
            for k, axis in enumerate("xyz"):
                point = f"{LABELS[side]}_{joint}"
                rows.append((f"{point}_{axis}", axis, "POS", point, "mm", "camera"))
                columns[f"{point}_{axis}"] = _to_cells(hand.joints_mm[:, i, k], 4)
        for i, angle in enumerate(ANGLE_INFO.values()):
            name, point = f"{LABELS[side]}_{angle.id}", f"{LABELS[side]}_{angle.joint}"
            rows.append((name, MISSING, "JNTANG", point, "deg", "joint"))
            columns[name] = _to_cells(hand.degrees[:, i], 5)
    rows.append(("latency", MISSING, "LATENCY", MISSING, "s", MISSING))
    columns["latency"] = _to_cells(source.time_s - source.time_s[0], 6)
    names = ["name", "component", "type", "tracked_point", "units", "reference_frame"]
    return pd.DataFrame(rows, columns=pd.Index(names)), pd.DataFrame(columns)


def _to_cells(values: np.ndarray, decimals: int) -> np.ndarray:
    return np.array([f"{value:.{decimals}f}" if np.isfinite(value) else MISSING for value in values])


def _write_tsv(path: Path, table: pd.DataFrame, header: bool = True) -> None:
    write_bytes(path, table.to_csv(sep="\t", index=False, header=header, lineterminator="\n").encode())


def _describe_frames() -> dict[str, Any]:
    return {
        "reference_frame": {
            "Levels": {
                "camera": {"RotationRule": "right-hand", "Description": WORLD},
                "joint": {
                    "Description": "Signed angles between neighbouring bones: flexion +, hyperextension -, "
                    "abduction away from the middle finger +. Zero is this geometry's, not a goniometer's."
                },
            }
        }
    }


def _describe_motion(source: ExportSource, channels: pd.DataFrame) -> dict[str, Any]:
    counts = channels["type"].value_counts()
    duration_s = float(source.time_s[-1] - source.time_s[0])
    known = duration_s > 0
    return {
        "TaskName": source.summary.task,
        "SamplingFrequency": float(source.rate),
        "SamplingFrequencyEffective": (len(source.time_s) - 1) / duration_s if known else float(source.rate),
        "SamplingFrequencyFraction": source.rate_text,
        "TrackingSystemName": TRACKING_SYSTEM,
        "SoftwareVersions": f"ReDys {source.program_version}",
        "RecordingDuration": duration_s,
        "RecordingType": "continuous",
        "MissingValues": MISSING,
        "MotionChannelCount": len(channels),
        "POSChannelCount": int(counts["POS"]),
        "JNTANGChannelCount": int(counts["JNTANG"]),
        "LATENCYChannelCount": int(counts["LATENCY"]),
        "TrackedPointsCount": len(source.hands) * len(JOINTS),
        "ReDys": state_provenance(source),
    }


def _describe_data_set(source: ExportSource) -> dict[str, Any]:
    return {
        "Name": f"Hand movement, {source.summary.task}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "ReDys", "Version": source.program_version}],
    }
