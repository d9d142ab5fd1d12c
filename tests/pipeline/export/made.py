"""A made run as exports see it: known numbers, gaps, one or two hands, of any length."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.export.source import ExportHand, ExportSource
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import JOINTS, Side
from pipeline.hand.model import load_hand_model
from pipeline.hand.rotations import mirror_points
from pipeline.measures.quality_types import QualityReport
from pipeline.measures.summary_types import HEADLINES, Headline, Provenance, Recording, SideSummary, Summary
from pipeline.results import Camera, Rig

NTSC = Fraction(60000, 1001)
NAN = float("nan")


def make_headlines() -> tuple[Headline, ...]:
    """All headlines; the first is withheld."""
    return tuple(
        Headline(key, label, 12.5 if i else NAN, unit, 10.0, 15.0, 8.0, 2.0, "8 ± 2 (simulated, n = 24)",
                 "" if i else "Withheld: too short.", 0.9, worse)
        for i, (key, (label, unit, worse)) in enumerate(HEADLINES.items())
    )  # fmt: skip


def make_summary(sides: Sequence[Side]) -> Summary:
    provenance = Provenance(
        "0.1.0", "built-in hand", "mediapipe", "mediapipe", "standard", "local polynomial", "built-in",
        True, 24, 8.0, "piano", "free", "Made people.", "ab" * 32,
    )  # fmt: skip
    quality = QualityReport(
        "limited", ("Camera secret-phone: far.",), (), {}, "audio", "checkerboard", "reliable"
    )
    side = SideSummary((), (), make_headlines(), (), (), (), ())
    recording = Recording(8.0, 59.94, 480, ("front", "secret-phone"))
    return Summary(
        "P-014", "2026-03-02", "piano", recording, quality, provenance, dict.fromkeys(sides, side),
        {"task": "piano"}, ("Simulated.",),
    )  # fmt: skip


def make_rig() -> Rig:
    camera = {
        "size_px": (640, 480),
        "K": np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]),
        "distortion": np.array([0.1, -0.2, 0, 0, 0]),
        "t_mm": np.zeros(3),
    }
    turn = Rotation.from_euler("y", 40, degrees=True).as_matrix()
    front = Camera(name="front", R=np.eye(3), **camera)  # type: ignore[arg-type]
    other = Camera(name="secret-phone", R=turn, **{**camera, "t_mm": np.array([100.0, -5, 30])})  # type: ignore[arg-type]
    return Rig("front", {"front": front, "secret-phone": other})


def make_hand(side: Side, n_frames: int, missing: np.ndarray, seed: int = 0) -> ExportHand:
    """A hand of a person's own shape in random poses; ``missing`` (T, 21) joints are NaN."""
    random = np.random.default_rng(seed)
    model = load_hand_model()
    betas = random.normal(0, 1, 10)
    orient = Rotation.random(n_frames, random).as_matrix()
    pose = Rotation.from_rotvec(random.normal(0, 0.3, (n_frames * 15, 3))).as_matrix()
    pose = pose.reshape(n_frames, 15, 3, 3)
    place = random.normal((0, 0, 800), 200, (n_frames, 3))
    _, joints = model.pose_arrays(betas, orient, pose, place)
    joints = (mirror_points(joints) if side == "left" else joints).astype(float)
    joints[missing] = np.nan
    degrees = random.uniform(-30, 100, (n_frames, len(ANGLES)))
    degrees[random.random(degrees.shape) < 0.1] = np.nan
    return ExportHand(
        joints_mm=joints,
        sigma_mm=np.where(missing, np.nan, random.uniform(0.2, 30, missing.shape)),
        quality=np.where(missing, 0.0, random.uniform(0.1, 1, missing.shape)),
        betas=betas,
        global_orient=orient,
        hand_pose=pose,
        degrees=degrees,
        sigma_deg=np.where(np.isnan(degrees), np.nan, 2.0),
    )


def make_source(
    sides: Sequence[Side] = ("right",),
    n_frames: int = 12,
    gaps: float = 0.1,
    rate: Fraction = NTSC,
    seed: int = 0,
    time_s: np.ndarray | None = None,
) -> ExportSource:
    """A run of ``n_frames`` even frames (or at ``time_s``), a share ``gaps`` of its joints not measured."""
    random = np.random.default_rng(seed)
    hands = {
        side: make_hand(side, n_frames, random.random((n_frames, len(JOINTS))) < gaps, seed + i)
        for i, side in enumerate(sides)
    }
    if time_s is None:
        time_s = 0.25 + np.arange(n_frames) / float(rate)
    angles = pd.concat(
        pd.DataFrame(
            {
                "side": side,
                "time_s": np.repeat(time_s, len(ANGLES)),
                "angle": np.tile(ANGLES, n_frames),
                "degrees": hand.degrees.ravel().astype(np.float32),
                "valid": np.isfinite(hand.degrees).ravel(),
            }
        )
        for side, hand in hands.items()
    )
    model = load_hand_model()
    return ExportSource(
        hands=hands,
        time_s=time_s,
        rate=rate,
        tables={"angles": angles},
        summary=make_summary(sides),
        models=[{"role": "hand model", "name": model.name, "licence": model.licence, "sha256": model.digest}],
        rig=make_rig(),
        program_version="0.1.0",
        settings_hash="cd" * 32,
    )


SIDES: list[tuple[Side, ...]] = [("right",), ("left",), ("right", "left")]

odd_sources = st.builds(
    make_source,
    sides=st.sampled_from(SIDES),
    n_frames=st.sampled_from([1, 2, 7]),
    gaps=st.sampled_from([0.0, 0.3, 1.0]),
    rate=st.sampled_from([NTSC, Fraction(24), Fraction(240000, 1001)]),
    seed=st.integers(0, 5),
)
"""Odd shapes: one frame, nothing measured, both hands."""
