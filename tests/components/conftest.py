"""A made report: a summary and moving numbers, without any run."""

from __future__ import annotations

import numpy as np
import pytest

from components.signals import SideSignals, Signals
from pipeline.hand.angles import ANGLE_INFO, ANGLES
from pipeline.hand.joints import FINGERS, JOINTS
from pipeline.measures.levels import is_certain, level_of
from pipeline.measures.quality_types import CameraQuality, HandQuality, QualityReport
from pipeline.measures.summary import (
    HEADLINES,
    SIMULATED_NOTE,
    AngleSummary,
    BriskEvent,
    FingerProfile,
    Headline,
    PostureBout,
    Provenance,
    Recording,
    SideSummary,
    Summary,
    WorstAngle,
)
from pipeline.measures.summary_types import from_plain
from tests.records.mould import mould

__all__ = ["mould"]

NAN = float("nan")
Z = (0.4, -1.8, 3.6, NAN)


def make_angle(angle: str, z: float) -> AngleSummary:
    info = ANGLE_INFO[angle]
    plain = {
        "angle": angle, "label": info.label, "finger": info.finger, "joint": info.joint,
        "median_deg": 30 + 8 * z, "median_low": 29 + 8 * z, "median_high": 31 + 8 * z, "sd_deg": 8.0,
        "range_of_motion_deg": 40.0, "sigma_deg": 2.0, "z": z, "z_low": z - 0.5, "z_high": z + 0.5,
        "level": level_of(z), "certain": is_certain(z - 0.5, z + 0.5), "reference_mean_deg": 30.0,
        "reference_sd_deg": 8.0, "valid_share": 0.9, "note": "",
    }  # fmt: skip
    known = AngleSummary.__dataclass_fields__
    return from_plain(AngleSummary, {key: value for key, value in plain.items() if key in known})


@pytest.fixture
def side_summary() -> SideSummary:
    angles = tuple(make_angle(angle, Z[i % 4]) for i, angle in enumerate(ANGLES))
    headlines = tuple(
        Headline(key, label, 12.5 if i else NAN, unit, 10.0, 15.0, 8.0, 2.0, "8 ± 2 (simulated, n = 24)",
                 "Withheld: too short." if not i else "", 0.9, worse)
        for i, (key, (label, unit, worse)) in enumerate(HEADLINES.items())
    )  # fmt: skip
    return SideSummary(
        angles=angles,
        worst=tuple(
            WorstAngle(angle.angle, angle.z, angle.level, f"{angle.label}: far.") for angle in angles[2:12:4]
        ),
        headlines=headlines,
        fingers=tuple(FingerProfile(finger, 8.0, 1.0, 0.1, 2.0) for finger in FINGERS),
        bouts=(PostureBout("ring_pip_flexion", "ring", "more flexed", 0.5, 0.9, 3.8),),
        brisk=tuple(BriskEvent("index_tip", t, t + 0.08, t + 0.04, 6 + t) for t in np.arange(0, 8, 0.1)),
        jerk_reference=(),
    )


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        "0.1.0", "built-in hand", "mediapipe", "mediapipe", "standard", "local polynomial", "built-in",
        True, 24, 8.0, "piano", "free", "Made people.", "ab" * 32,
    )  # fmt: skip


@pytest.fixture
def summary(side_summary: SideSummary, provenance: Provenance) -> Summary:
    quality = QualityReport(
        "limited",
        ("Camera right: the hand is found in 71 % of its frames.",),
        (CameraQuality("front", 0.9, 1.2, 0.1, 0.0, 0.0, 0.0, "reliable"),
         CameraQuality("right", 0.7, 1.5, 0.1, -1.9, 0.0002, 12.0, "check", ("Low confidence.",))),
        {"right": HandQuality(0.9, 0.5, 0.3, 1.2)},
        "audio", "checkerboard", "reliable", 0.0003, 0.05,
    )  # fmt: skip
    recording = Recording(8.0, 59.94, 480, ("front", "right"))
    return Summary(
        "P-1", "2026-03-02", "piano", recording, quality, provenance, {"right": side_summary},
        {"task": "piano"}, (SIMULATED_NOTE,),
    )  # fmt: skip


@pytest.fixture
def signals() -> Signals:
    time_s = np.arange(480) / 59.94
    random = np.random.default_rng(2)
    jerk = random.random((480, len(JOINTS)))
    jerk[:20] = np.nan
    z = np.sin(time_s)[:, None] * np.linspace(0.5, 5, len(ANGLES))
    side = SideSignals(jerk, 10 * jerk, z, 30 + 8 * z, {angle: (30.0, 8.0) for angle in ANGLES[:19]}, 10.0)
    return Signals(time_s, 59.94, ("front", "right"), {"right": side})
