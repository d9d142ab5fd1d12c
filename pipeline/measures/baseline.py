"""References: what healthy people's hands do, as a file; `pipeline.measures.baseline_build` builds one."""

from __future__ import annotations

import functools
import math
from dataclasses import asdict
from pathlib import Path
from typing import cast

from pipeline.errors import MeasureError, RunFolderError
from pipeline.files import read_json, write_json
from pipeline.measures.baseline_build import (
    MIN_PEOPLE,
    PERCENTILES,
    BaselineLabel,
    PersonData,
    build_baseline,
    build_from_people,
    build_labelled,
    measure_person,
)
from pipeline.measures.baseline_types import (
    BASELINE_VERSION,
    PLAYING_INFO,
    AngleReference,
    Baseline,
    JointReference,
    NumberReference,
)
from pipeline.measures.null_rates import LIMITS, MIN_PEOPLE_TO_CHECK, expect_frames_beyond
from pipeline.measures.summary_types import from_plain

__all__ = [
    "BASELINE_VERSION",
    "BUILTIN_BASELINE",
    "MIN_PEOPLE",
    "PERCENTILES",
    "AngleReference",
    "Baseline",
    "BaselineLabel",
    "JointReference",
    "NumberReference",
    "PersonData",
    "build_baseline",
    "build_from_people",
    "build_labelled",
    "describe_baseline",
    "expect_new_frames_beyond",
    "measure_person",
    "read_baseline",
    "write_baseline",
]

BUILTIN_BASELINE = Path(__file__).with_name("baseline_simulated.json")
"""The built-in reference, worked out from made people (`pipeline.synth.people`)."""


_BUILD_AGAIN = "Build it again with `python -m pipeline baseline`."


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a reference as JSON, whole or not at all."""
    write_json(path, asdict(baseline))


def read_baseline(path: Path | None = None) -> Baseline:
    """Read a reference; without a path the built-in simulated one.

    Raises
    ------
    RunFolderError
        The file is missing or broken.
    MeasureError
        It is no reference of this program, or of another schema.
    """
    return _read_baseline(Path(path or BUILTIN_BASELINE).resolve(), _stamp(Path(path or BUILTIN_BASELINE)))


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


@functools.lru_cache(maxsize=4)
def _read_baseline(path: Path, stamp: int) -> Baseline:
    try:
        raw = read_json(path)
    except RunFolderError as error:
        raise RunFolderError(error.what, _BUILD_AGAIN) from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != BASELINE_VERSION:
        raise MeasureError(
            f"The reference {path.name} has schema {version}; this program reads {BASELINE_VERSION}.",
            _BUILD_AGAIN,
        )
    try:
        return cast(Baseline, from_plain(Baseline, raw))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MeasureError(
            f"{path.name} is not a reference of this program ({error}).", _BUILD_AGAIN
        ) from error


def describe_baseline(baseline: Baseline) -> str:
    """A reference in a few lines: origin, size, what it does not hold, and the leave-one-out check."""
    lines = [
        f"{baseline.name}: {baseline.n_people} people, {baseline.n_minutes:.1f} min of {baseline.task}, "
        f"{baseline.fps:.2f} frames/s"
        + (f", version {baseline.version}" if baseline.version else "")
        + (", SIMULATED" if baseline.simulated else ""),
        f"licence: {baseline.licence}",
        f"provenance: {baseline.provenance}",
        f"filter: {baseline.filter}",
    ]
    if baseline.posture_only:
        lines.append(f"postures only: {baseline.posture_only}")
    if baseline.leave_one_out:
        lines += _describe_check(baseline)
    else:
        lines.append(f"too few people to hold each against the others ({MIN_PEOPLE_TO_CHECK} at least)")
    for name, number in baseline.playing.items():
        kind, _, where = name.partition(":")
        label, unit = PLAYING_INFO.get(kind, (kind, ""))
        spread = f" ± {number.sd:.3g}" if math.isfinite(number.sd) else ""
        lines.append(
            f"{label}{f', {where}' if where else ''}: {number.mean:.3g}{spread} {unit}".rstrip()
            + f" (n = {number.n_people})"
        )
    return "\n".join(lines)


def _describe_check(baseline: Baseline) -> list[str]:
    check = baseline.leave_one_out
    lines = ["each person against the others, share of |z| beyond a limit (± standard error; by chance):"]
    for level, words in (("frame", "frames "), ("person", "medians")):
        parts = []
        for limit in LIMITS:
            name = f"{level}_beyond_{limit}"
            if name not in check:  # an older file
                continue
            error = check.get(f"{name}_error", math.nan)
            chance = check.get(f"{name}_by_chance", math.nan)
            if level == "frame" and not math.isfinite(chance):
                chance = expect_new_frames_beyond(limit, baseline, baseline.n_people - 1)
            sure = f" ± {100 * error:.2f}" if math.isfinite(error) else ""
            parts.append(f"{limit}: {100 * check[name]:.2f}{sure} % ({100 * chance:.2f})")
        lines.append(f"  {words} " + ", ".join(parts))
    return lines


def expect_new_frames_beyond(limit: float, baseline: Baseline, n_people: int | None = None) -> float:
    """Share of a new healthy person's frames with frame-level z beyond ``limit``, mean over the angles.

    From the two spreads of the file alone, so moments are taken as spread normally; ``n_people`` in place of
    the reference's own number.
    """
    rates = []
    for angle in baseline.angles.values():
        if angle.n_people < MIN_PEOPLE:
            continue
        within = math.sqrt(max(angle.frame_sd_deg**2 - angle.person_sd_deg**2, 0.0))
        rates.append(expect_frames_beyond(limit, n_people or angle.n_people, angle.person_sd_deg, within))
    return sum(rates) / len(rates) if rates else math.nan
