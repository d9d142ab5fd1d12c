"""The formats in which a run's numbers are taken away: names and plain words, without the libraries.

The web process lists them; only the process that writes loads a format's module.
"""

from __future__ import annotations

from dataclasses import dataclass

EXPORT_VERSION = 1
"""Of the manifest and of what every format holds; goes up when a reader of older files would stumble."""


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes
    ----------
    id : str
        Short name of commands, links and manifests.
    title : str
        What people call it.
    contents : str
        What is inside, in plain words.
    module : str
        Where its ``write(source, folder)`` is.
    has_positions : bool
        Whether it holds joints or bones in mm, and so the proportions of a hand.
    is_even : bool
        Whether it holds a frame rate and no times, so that uneven recordings are resampled for it.
    """

    id: str
    title: str
    contents: str
    module: str
    has_positions: bool = True
    is_even: bool = False


FORMATS: dict[str, ExportFormat] = {
    entry.id: entry
    for entry in (
        ExportFormat(
            "csv",
            "Tables for spreadsheets and statistics (CSV)",
            "Joints in mm, angles, speed, acceleration and jerk, frame by frame, each with its error; "
            "a JSON file says what every column means.",
            "pipeline.export.csv_tables",
        ),
        ExportFormat(
            "parquet",
            "Tables for Python, R and Julia (Parquet)",
            "The same tables, smaller and quicker to read, with units inside.",
            "pipeline.export.parquet",
        ),
        ExportFormat(
            "c3d",
            "Movement laboratories (C3D)",
            "The joints as markers in mm, with their error as residual.",
            "pipeline.export.c3d",
            is_even=True,
        ),
        ExportFormat(
            "opensim",
            "OpenSim, OpenCap, Pose2Sim (TRC and MOT)",
            "The joints as markers in mm with Y up (TRC), and the joint angles in degrees (MOT).",
            "pipeline.export.opensim",
            is_even=True,
        ),
        ExportFormat(
            "glb",
            "Moving 3D hand (GLB)",
            "The hand's bones and skin in motion, in a mean hand's shape. For Blender, slides and viewers.",
            "pipeline.export.glb",
        ),
        ExportFormat(
            "bids",
            "Research data set (BIDS Motion)",
            "A folder in the order of the Brain Imaging Data Structure: joints in mm, angles in degrees.",
            "pipeline.export.bids",
        ),
        ExportFormat(
            "nwb",
            "Research archive (NWB)",
            "Joints, their errors, angles and calibrated cameras in one HDF5 file (ndx-pose).",
            "pipeline.export.nwb",
        ),
        ExportFormat(
            "fhir",
            "Patient record (FHIR R4)",
            "The headline numbers with units, intervals and reference as one preliminary report. "
            "No movement data.",
            "pipeline.export.fhir",
            has_positions=False,
        ),
    )
}
"""By id, in the order in which they are offered."""
