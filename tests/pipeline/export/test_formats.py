"""Every format gives back what went in: values, gaps, sides, rate and where the numbers come from."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import struct
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import ezc3d
import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from pynwb import NWBHDF5IO
from scipy.interpolate import CubicSpline

from pipeline.export import bids, c3d, csv_tables, fhir, nwb, opensim, parquet
from pipeline.export.bundle import make_manifest
from pipeline.export.source import ExportSource
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import JOINTS
from pipeline.measures.summary_types import HEADLINES
from pipeline.results import Rig
from tests.pipeline.export.made import NTSC, make_source, odd_sources

MM = 1e-3
"""What a value may be off after a round trip."""


def assert_same(found: Any, wanted: np.ndarray, within: float = MM) -> None:
    found = np.asarray(found, dtype=float)
    assert found.shape == wanted.shape
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert not np.isfinite(wanted).any() or np.nanmax(np.abs(found - wanted)) <= within


def joints_of(source: ExportSource) -> np.ndarray:
    """(T, hands * 21, 3), the right hand first where there are two."""
    return np.concatenate([hand.joints_mm for hand in source.hands.values()], axis=1)


def degrees_of(source: ExportSource) -> np.ndarray:
    return np.concatenate([hand.degrees for hand in source.hands.values()], axis=1)


def labels_of(source: ExportSource, names: tuple[str, ...]) -> list[str]:
    return [f"{'R' if side == 'right' else 'L'}_{name}" for side in source.hands for name in names]


@pytest.fixture
def both() -> ExportSource:
    return make_source(("right", "left"), n_frames=30)


# --- tables --------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(odd_sources)
def test_csv_gives_back_joints_and_gaps(source: ExportSource) -> None:
    with tempfile.TemporaryDirectory() as folder:
        csv_tables.write(source, Path(folder))
        table = pd.read_csv(Path(folder) / "joints.csv")
        sidecar = json.loads((Path(folder) / "tables.json").read_text())
    assert list(table["side"].unique()) == list(source.hands)
    for side, hand in source.hands.items():
        rows = table[table["side"] == side]
        assert list(rows["joint"][: len(JOINTS)]) == list(JOINTS)
        assert_same(
            rows[["x_mm [mm]", "y_mm [mm]", "z_mm [mm]"]].to_numpy().reshape(-1, 21, 3), hand.joints_mm
        )
        assert_same(rows["sigma_mm [mm]"].to_numpy().reshape(-1, 21), hand.sigma_mm)
    columns = sidecar["tables"]["joints.csv"]["columns"]
    assert all(column["meaning"] for column in columns)
    assert sidecar["provenance"]["frame_rate"] == source.rate_text


@settings(max_examples=10)
@given(odd_sources)
def test_parquet_gives_back_joints_units_and_provenance(source: ExportSource) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parquet.write(source, Path(folder))
        table = pd.read_parquet(Path(folder) / "joints.parquet")
        schema = pq.read_schema(Path(folder) / "joints.parquet")
    places = table[["x_mm", "y_mm", "z_mm"]].to_numpy().reshape(len(source.hands), -1, 21, 3)
    for found, hand in zip(places, source.hands.values(), strict=True):
        assert_same(found, hand.joints_mm, 0.0)
    assert schema.field("sigma_mm").metadata[b"unit"] == b"mm"
    assert json.loads(schema.metadata[parquet.PROVENANCE_KEY])["frame_rate"] == source.rate_text


# --- C3D -----------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(odd_sources)
def test_c3d_gives_back_joints_gaps_and_sides(source: ExportSource) -> None:
    with tempfile.TemporaryDirectory() as folder:
        c3d.write(source, Path(folder))
        file = ezc3d.c3d(str(Path(folder) / "joints.c3d"))
    assert file["parameters"]["POINT"]["LABELS"]["value"] == labels_of(source, JOINTS)
    assert file["parameters"]["POINT"]["UNITS"]["value"] == ["mm"]
    assert_same(file["data"]["points"][:3].transpose(2, 1, 0), joints_of(source))


def test_c3d_has_the_exact_rate_the_errors_and_the_provenance(both: ExportSource, tmp_path: Path) -> None:
    c3d.write(both, tmp_path)
    file = ezc3d.c3d(str(tmp_path / "joints.c3d"))
    own = file["parameters"]["REDYS"]
    assert Fraction(own["RATE_FRACTION"]["value"][0]) == NTSC
    assert Fraction(int(own["RATE_NUMERATOR"]["value"][0]), int(own["RATE_DENOMINATOR"]["value"][0])) == NTSC
    assert file["parameters"]["POINT"]["RATE"]["value"][0] == pytest.approx(float(NTSC), rel=1e-7)
    assert own["FIRST_FRAME_S"]["value"][0] == pytest.approx(0.25)
    sigma = np.concatenate([hand.sigma_mm for hand in both.hands.values()], axis=1)
    residual = file["data"]["meta_points"]["residuals"][0].T
    assert np.array_equal(residual < 0, np.isnan(sigma))
    stated = np.minimum(sigma, c3d.LARGEST_RESIDUAL_MM)
    assert np.nanmax(np.abs(residual - stated)) <= 0.51 * c3d.RESIDUAL_STEP_MM
    provenance = json.loads("".join(line[1:-1] for line in own["PROVENANCE"]["value"]))
    assert provenance["subject"] == "P-014"
    assert provenance["hand_model_and_networks"][0]["role"] == "hand model"


def test_the_scale_in_the_header_of_c3d_is_that_of_its_parameters(both: ExportSource, tmp_path: Path) -> None:
    c3d.write(both, tmp_path)
    raw = (tmp_path / "joints.c3d").read_bytes()
    (stated,) = ezc3d.c3d(str(tmp_path / "joints.c3d"))["parameters"]["POINT"]["SCALE"]["value"]
    assert struct.unpack_from("<f", raw, 12)[0] == pytest.approx(stated)


def test_c3d_counts_frames_past_what_its_header_counts(tmp_path: Path) -> None:
    short = make_source(n_frames=10, gaps=0.2)
    n_frames = 65_537
    hand = short.hands["right"]
    again = np.arange(n_frames) % 10
    joints = hand.joints_mm[again] + np.arange(n_frames)[:, None, None] * 0.01
    long = type(short)(
        hands={"right": type(hand)(**{**vars(hand), "joints_mm": joints, "sigma_mm": hand.sigma_mm[again]})},
        time_s=np.arange(n_frames) / float(NTSC), rate=NTSC, tables={}, summary=short.summary,
    )  # fmt: skip
    c3d.write(long, tmp_path)
    file = ezc3d.c3d(str(tmp_path / "joints.c3d"))
    assert_same(file["data"]["points"][:3].transpose(2, 1, 0), joints)
    low, high = file["parameters"]["TRIAL"]["ACTUAL_END_FIELD"]["value"]
    assert (int(low) & 0xFFFF) + (int(high) << 16) == n_frames
    raw = (tmp_path / "joints.c3d").read_bytes()  # as the format's own description reads it, without ezc3d
    first, last = struct.unpack_from("<HH", raw, 6)
    assert (first, last) == (1, 65535)
    start = (struct.unpack_from("<H", raw, 16)[0] - 1) * 512
    points = np.frombuffer(raw, "<f4", n_frames * 21 * 4, start).reshape(n_frames, 21, 4)
    not_measured = np.signbit(points[..., 3])  # the sign of the word that has residual and cameras
    assert_same(np.where(not_measured[..., None], np.nan, points[..., :3]), joints)


def test_uneven_frames_are_put_on_an_even_grid_and_that_is_said(tmp_path: Path) -> None:
    time_s = np.array([0.0, 1, 2, 2.6, 4, 5, 9, 10]) / 60
    source = make_source(n_frames=8, gaps=0.0, rate=Fraction(60), time_s=time_s)
    c3d.write(source, tmp_path)
    file = ezc3d.c3d(str(tmp_path / "joints.c3d"))
    found = file["data"]["points"][:3].transpose(2, 1, 0)
    joints = source.hands["right"].joints_mm
    assert file["parameters"]["REDYS"]["RESAMPLED"]["value"] == ["yes"]
    assert len(found) == 11
    assert_same(found[[0, 1, 2, 4, 5, 9, 10]], joints[[0, 1, 2, 4, 5, 6, 7]])
    assert_same(found[3], CubicSpline([0, 1, 2, 2.6, 4, 5], joints[:6])(3.0))
    assert file["parameters"]["REDYS"]["LARGEST_SHIFT_S"]["value"] == pytest.approx([0.4 / 60])
    said = make_manifest(source, ["csv", "c3d", "opensim"], tmp_path)["even_frames"]
    assert said["opensim"] == said["c3d"] == {"resampled": True, "largest_shift_s": pytest.approx(0.4 / 60)}
    assert np.isnan(found[6:9]).all()


# --- OpenSim -------------------------------------------------------------------------------------


def read_trc(text: str) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Values of the second header line, markers, times and places (T, N, 3): by the format's description."""
    lines = text.split("\n")
    markers = lines[3].split("\t")[2::3]
    rows = [line.split("\t") for line in lines[6:] if line]
    values = [[float(cell) if cell else np.nan for cell in row[2:]] for row in rows]
    places = np.array(values).reshape(len(rows), len(markers), 3)
    return lines[2].split("\t"), markers, np.array([float(row[1]) for row in rows]), places


@settings(max_examples=10)
@given(odd_sources)
def test_trc_gives_back_joints_with_y_up(source: ExportSource) -> None:
    head, markers, time_s, places = read_trc(opensim.to_trc(source, "joints.trc"))
    assert markers == labels_of(source, JOINTS)
    assert_same(places * [1, -1, -1], joints_of(source))
    assert head[2:5] == [str(len(source.time_s)), str(len(markers)), "mm"]
    assert Fraction(float(head[0])).limit_denominator(1001) == source.rate
    assert time_s == pytest.approx(np.arange(len(source.time_s)) / float(source.rate), abs=1e-9)


@settings(max_examples=10)
@given(odd_sources)
def test_mot_gives_back_angles_in_degrees(source: ExportSource) -> None:
    head, body = opensim.to_mot(source).split("endheader\n")
    table = pd.read_csv(io.StringIO(body), sep="\t")
    said = dict(line.split("=", 1) for line in head.splitlines()[1:])
    assert said["inDegrees"] == "yes"
    assert (int(said["nRows"]), int(said["nColumns"])) == table.shape
    assert json.loads(said["redys"])["program"] == "ReDys"
    assert list(table.columns[1:]) == labels_of(source, ANGLES)
    assert_same(table.iloc[:, 1:].to_numpy(), degrees_of(source), 1e-5)


# --- BIDS ----------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(odd_sources)
def test_bids_columns_are_the_channels_and_n_a_is_not_measured(source: ExportSource) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bids.write(source, Path(folder))
        motion = Path(folder) / "sub-P014" / "ses-20260302" / "motion"
        stem = "sub-P014_ses-20260302_task-piano_tracksys-redys"
        values = pd.read_csv(
            motion / f"{stem}_motion.tsv", sep="\t", header=None, na_values="n/a", keep_default_na=False
        ).astype(float)
        channels = pd.read_csv(motion / f"{stem}_channels.tsv", sep="\t", keep_default_na=False)
        said = json.loads((motion / f"{stem}_motion.json").read_text())
        description = json.loads((Path(folder) / "dataset_description.json").read_text())
    assert list(channels.columns[:5]) == ["name", "component", "type", "tracked_point", "units"]
    assert len(channels) == values.shape[1] == said["MotionChannelCount"]
    places = values.loc[:, (channels["type"] == "POS").to_numpy()].to_numpy()
    assert_same(places.reshape(len(values), -1, 3), joints_of(source))
    points = channels["tracked_point"][channels["type"] == "POS"]
    assert list(points[::3]) == labels_of(source, JOINTS)
    assert_same(values.loc[:, (channels["type"] == "JNTANG").to_numpy()].to_numpy(), degrees_of(source), 1e-4)
    assert Fraction(said["SamplingFrequencyFraction"]) == source.rate
    assert set(description) >= {"Name", "BIDSVersion"}


def test_labels_of_bids_are_letters_and_digits() -> None:
    assert bids.make_label("P-014 / ä") == "P014"
    assert bids.make_label("???") == "unnamed"


# --- NWB -----------------------------------------------------------------------------------------


@settings(max_examples=4)
@given(odd_sources)
def test_nwb_gives_back_joints_errors_and_angles(source: ExportSource) -> None:
    with tempfile.TemporaryDirectory() as folder:
        nwb.write(source, Path(folder))
        path = Path(folder) / "movement.nwb"
        with NWBHDF5IO(str(path), "r", load_namespaces=True) as file:
            archive = file.read()
            behavior = archive.processing["behavior"]
            for side, hand in source.hands.items():
                pose = behavior[f"{side}_hand"]
                series = [pose.pose_estimation_series[joint] for joint in JOINTS]
                assert_same(np.stack([each.data[:] for each in series], axis=1), hand.joints_mm, 0.0)
                assert_same(np.stack([each.confidence[:] for each in series], axis=1), hand.quality, 0.0)
                assert_same(behavior[f"{side}_joint_sigma"].data[:] * 1e3, hand.sigma_mm)
                assert_same(behavior[f"{side}_angles"].data[:], hand.degrees, 0.0)
                assert np.array_equal(series[3].timestamps[:], source.time_s)
                assert list(pose.skeleton.nodes[:]) == list(JOINTS)
            assert json.loads(archive.notes)["frame_rate"] == source.rate_text
            assert archive.subject.subject_id == "P-014"
        with h5py.File(path) as raw:  # an independent reader: plain HDF5
            first = raw[f"processing/behavior/{next(iter(source.hands))}_hand/wrist/data"]
            assert first.attrs["conversion"] == 1e-3
            assert_same(first[:], next(iter(source.hands.values())).joints_mm[:, 0], 0.0)


def test_nwb_has_the_calibrated_cameras(both: ExportSource, tmp_path: Path) -> None:
    nwb.write(both, tmp_path)
    assert both.rig is not None
    with NWBHDF5IO(str(tmp_path / "movement.nwb"), "r", load_namespaces=True) as file:
        devices = file.read().devices
        assert set(devices) == set(both.rig.cameras)
        camera = both.rig.cameras["secret-phone"]
        assert_same(devices["secret-phone"].rotation_matrix[:], camera.R, 0.0)
        assert_same(devices["secret-phone"].translation_vector[:], camera.t_mm, 0.0)
        assert_same(devices["secret-phone"].intrinsic_matrix[:], camera.K, 0.0)


# --- FHIR ----------------------------------------------------------------------------------------


def test_nwb_tells_cameras_apart_whose_names_differ_in_forbidden_signs(
    both: ExportSource, tmp_path: Path
) -> None:
    assert both.rig is not None
    cameras = dict(zip(("desk:1", "desk_1"), both.rig.cameras.values(), strict=True))
    nwb.write(dataclasses.replace(both, rig=Rig("desk:1", cameras)), tmp_path)
    with NWBHDF5IO(str(tmp_path / "movement.nwb"), "r", load_namespaces=True) as file:
        assert set(file.read().devices) == {"desk_1", "desk_1_2"}


def test_fhir_of_an_empty_pseudonym_names_nobody(both: ExportSource) -> None:
    source = dataclasses.replace(both, summary=dataclasses.replace(both.summary, subject=""))
    assert '"subject"' not in fhir.to_bundle(source)
    assert '"subject"' in fhir.to_bundle(both)


def test_fhir_is_one_preliminary_report_with_an_observation_for_each_headline(both: ExportSource) -> None:
    bundle: Any = Bundle.model_validate_json(fhir.to_bundle(both))
    by_kind: dict[str, list[Any]] = {}
    for entry in bundle.entry:
        by_kind.setdefault(entry.resource.get_resource_type(), []).append(entry)
    (report,) = [entry.resource for entry in by_kind["DiagnosticReport"]]
    observations = {entry.fullUrl: entry.resource for entry in by_kind["Observation"]}
    headlines = both.summary.sides["right"].headlines
    assert len(observations) == 2 * len(headlines)
    assert [each.reference for each in report.result] == list(observations)
    (device,) = [entry.fullUrl for entry in by_kind["Device"]]
    for found, headline in zip(observations.values(), (*headlines, *headlines), strict=True):
        assert found.status == report.status == "preliminary"
        assert found.subject.identifier.value == "P-014"
        assert found.device.reference == device
        assert found.referenceRange[0].text == headline.reference
        assert "n = 24" in found.referenceRange[0].text
        assert "60000/1001" in found.method.text
        if np.isnan(headline.value):
            assert found.valueQuantity is None
            assert found.dataAbsentReason.text == headline.note
        else:
            assert float(found.valueQuantity.value) == headline.value
            assert found.valueQuantity.code == fhir.UCUM_CODES[headline.unit]
            assert [float(each.valueQuantity.value) for each in found.component] == [10.0, 15.0]
    assert [o.bodySite.text for o in observations.values()] == ["right hand"] * 8 + ["left hand"] * 8


def test_every_headlines_unit_has_its_ucum_code() -> None:
    assert {unit for _, unit, _ in HEADLINES.values()} <= set(fhir.UCUM_CODES)


def test_every_code_of_fhir_is_explained_and_none_is_borrowed(both: ExportSource) -> None:
    text = fhir.to_bundle(both)
    bundle = json.loads(text)
    (system,) = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "CodeSystem"]
    explained = {concept["code"] for concept in system["concept"]}
    used = re.findall(r'"system": "([^"]+)",\s*"code": "([^"]+)"', text)
    allowed = {fhir.CODE_SYSTEM, fhir.ABSENT_REASON, fhir.UCUM}
    assert {name for name, _ in used} <= allowed
    assert {code for name, code in used if name == fhir.CODE_SYSTEM} <= explained
    assert "loinc" not in text.lower()
    assert "snomed" not in text.lower()
