"""NWB with ndx-pose: joints, errors, angles and calibrated cameras in one HDF5 file, for archives.

Joints are in mm with the factor to metres beside them; their confidence (0 to 1) is the share of the evidence
that agrees, and their standard deviations are series of their own. The format demands a time of recording:
the visit's date at midnight UTC, or 1900-01-01 where it is not known or was taken out (with the days since
the first visit added, where those are told). De-identified, the
time at which the file was made is 1900-01-01, too.
"""

from __future__ import annotations

import datetime
import itertools
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.export.source import WORLD, ExportHand, ExportSource, state_provenance
from pipeline.files import replace_atomically, to_plain
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import BONES, JOINTS, Side

if TYPE_CHECKING:
    from pynwb import NWBFile

NO_DATE = datetime.datetime(1900, 1, 1, tzinfo=datetime.UTC)


def write(source: ExportSource, folder: Path) -> None:
    """Write ``movement.nwb`` into a folder."""
    from pynwb import NWBHDF5IO

    archive = _open_archive(source)
    cameras = _add_cameras(archive, source)
    behavior = archive.create_processing_module("behavior", "Hand movement fused from several cameras")
    skeletons = _add_skeletons(behavior, source)
    for side, hand in source.hands.items():
        _add_hand(behavior, source, side, hand, skeletons[side], cameras)
    with replace_atomically(folder / "movement.nwb") as temporary:
        temporary.unlink()  # HDF5 makes its file itself
        with NWBHDF5IO(str(temporary), "w") as file:
            file.write(archive)


def _open_archive(source: ExportSource) -> NWBFile:
    from pynwb import NWBFile
    from pynwb.file import Subject

    visit = source.summary.visit
    date = datetime.datetime.fromisoformat(visit).replace(tzinfo=datetime.UTC) if visit else NO_DATE
    date += datetime.timedelta(days=source.day or 0)
    return NWBFile(
        session_description=f"Hand movement, {source.summary.task}"
        + ("" if visit else "; the date is not known or was taken out"),
        identifier=str(uuid.uuid4()),
        session_start_time=date,
        file_create_date=NO_DATE if source.deidentified else datetime.datetime.now(datetime.UTC),
        subject=Subject(subject_id=source.summary.subject, species="Homo sapiens", sex="U"),
        experiment_description="Hand movement measured from video; not a diagnosis.",
        notes=json.dumps(to_plain(state_provenance(source)), ensure_ascii=False),
        keywords=["hand", "movement", "pose estimation"],
    )


def _add_cameras(archive: NWBFile, source: ExportSource) -> list[Any]:
    from ndx_pose import CalibratedCamera

    cameras: list[Any] = []
    for name, camera in (source.rig.cameras if source.rig else {}).items():
        device = CalibratedCamera(
            name=_free_name(name, [device.name for device in cameras]),
            description=f"{camera.size_px[0]} x {camera.size_px[1]} px; x_cam = R x_world + t, t in mm; "
            "distortion k1 k2 p1 p2 k3 (OpenCV)",
            intrinsic_matrix=camera.K,
            rotation_matrix=camera.R,
            translation_vector=camera.t_mm,
            distortion_coefficients=camera.distortion,
        )
        archive.add_device(device)
        cameras.append(device)
    return cameras


def _free_name(name: str, taken: Sequence[str]) -> str:
    """A name without the signs that HDF5's paths keep to themselves, and which no other camera has."""
    plain = name.replace("/", "_").replace(":", "_")
    names = itertools.chain([plain], (f"{plain}_{i}" for i in itertools.count(2)))
    return next(each for each in names if each not in taken)


def _add_skeletons(behavior: Any, source: ExportSource) -> dict[Side, Any]:
    from ndx_pose import Skeleton, Skeletons

    edges = np.array(BONES, dtype=np.uint8)
    found = {side: Skeleton(name=f"{side}_hand", nodes=list(JOINTS), edges=edges) for side in source.hands}
    behavior.add(Skeletons(skeletons=list(found.values())))
    return found


def _add_hand(
    behavior: Any, source: ExportSource, side: Side, hand: ExportHand, skeleton: Any, cameras: list[Any]
) -> None:
    from ndx_pose import MultiCameraPoseEstimation, PoseEstimation, PoseEstimationSeries
    from pynwb import TimeSeries

    series: list[Any] = []
    for i, joint in enumerate(JOINTS):
        series.append(
            PoseEstimationSeries(
                name=joint,
                description=f"Place of the joint {joint} of the {side} hand; NaN = not measured",
                data=hand.joints_mm[:, i],
                confidence=hand.quality[:, i],
                confidence_definition="Share of the evidence that agrees; 0 = not measured.",
                reference_frame=WORLD,
                unit="meters",
                conversion=1e-3,
                timestamps=series[0] if series else source.time_s,
            )
        )
    views = [
        PoseEstimation(name=device.name, device=device, description="Camera of the rig; no 2D points here.")
        for device in cameras
    ]
    pose = MultiCameraPoseEstimation(
        name=f"{side}_hand",
        pose_estimation_series=series,
        pose_estimations=views,
        description=f"21 joints of the {side} hand; nominal rate {source.rate_text} frames/s",
        scorer=f"{source.summary.provenance.detector}, {source.summary.provenance.estimator}",
        source_software="ReDys",
        source_software_version=source.program_version,
        skeleton=skeleton,
    )
    behavior.add(pose)
    tables = (
        ("joint_sigma", hand.sigma_mm * 1e-3, "m", "standard deviation per axis", JOINTS),
        ("angles", hand.degrees, "degrees", "signed joint angles", ANGLES),
        ("angle_sigma", hand.sigma_deg, "degrees", "standard deviation of the angles", ANGLES),
    )
    for name, values, unit, meaning, columns in tables:
        words = f"{meaning}; NaN = not measured; columns: {', '.join(columns)}"
        behavior.add(
            TimeSeries(name=f"{side}_{name}", data=values, unit=unit, description=words, timestamps=series[0])
        )
