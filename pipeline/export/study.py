"""The numbers of many recordings as long tables, for statistics: a ZIP of CSV files that says what they hold.

::

    recordings.csv   one row a recording: whose, when in days, how good, worked out by what
    headlines.csv    one row a recording, hand and headline number
    angles.csv       one row a recording, hand and joint angle
    strokes.csv      one row a recording, hand and number of tremor, individuation and key timing
    scores.csv       clinical scales: one row a total or item
    marks.csv        what people marked on the timeline: where, never what they wrote
    columns.json     what every column means

Only numbers and this program's own words go in: who and when come as codes and days, from whoever asks.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from pipeline.errors import RunFolderError
from pipeline.export.bundle import pack_folder
from pipeline.export.tables import title_column, to_csv
from pipeline.files import write_bytes, write_json
from pipeline.measures.summary_types import SideSummary, Summary, read_summary
from pipeline.results import RunFolder
from pipeline.sharing import strip_for_research

STUDY_VERSION: Final = 1

COLUMNS: Final[Mapping[str, str]] = {
    "person": "code of the person; the same in all tables and downloads of one installation",
    "recording": "code of the recording",
    "day": "days from the person's earliest visit that is kept; empty = not known",
    "task": "what was played; a code where the clinic used words of its own",
    "side": "right or left hand; empty = of the whole recording",
    "quality": "verdict on the recording: passed, limited or failed (not to be used)",
    "duration_s": "length in s",
    "frames_per_s": "nominal frame rate",
    "frames": "frames that were worked out",
    "cameras": "how many",
    "program_version": "of ReDys",
    "hand_model": "that was fitted; empty = of the clinic's own",
    "network": "detector, estimator and preset",
    "filter": "of the derivatives",
    "reference": "that the numbers were held against",
    "reference_people": "people in it",
    "reference_simulated": "1 = made motion, not people: not for a patient",
    "reference_digest": "SHA-256 of the reference in the box; empty for a clinic's own",
    "method_version": "of the measures: numbers of two versions should not be mixed",
    "measure": "which number",
    "label": "the same in words",
    "value": "empty = withheld or not known",
    "unit": "of value, low and high",
    "low": "lower end of the 95 % interval within the recording",
    "high": "upper end of the 95 % interval within the recording",
    "reference_mean": "the same number over the reference's people",
    "reference_sd": "its spread between them",
    "reference_mean_deg": "the median of the same angle over the reference's people",
    "reference_sd_deg": "its spread between them",
    "valid_share": "share of the recording that the number rests on, 0 to 1",
    "worse": "which direction counts as worse; empty = neither",
    "angle": "one of 20 joint angles; flexion +, hyperextension -, abduction from the middle finger +",
    "median_deg": "median in degrees",
    "median_low": "lower end of its 95 % interval",
    "median_high": "upper end of its 95 % interval",
    "sd_deg": "standard deviation over time",
    "range_of_motion_deg": "97.5th minus 2.5th percentile",
    "sigma_deg": "measurement error of one frame (SD)",
    "z": "signed distance of the median from the reference's people, in SD between people",
    "z_low": "lower end of its 95 % interval",
    "z_high": "upper end of its 95 % interval",
    "peak_deg": "where the angle is at its farthest: its 5th or 95th percentile",
    "peak_z": "z of peak_deg",
    "far_share": "share of time at 3 SD or more from the reference, 0 to 1",
    "rms_deg": "root mean square distance from the reference's mean",
    "place": "hand or finger that the number is of; of a coupling the striking and the other finger",
    "verdict": "whether it was seen or measured, or cannot be told",
    "scale": "clinical scale",
    "item": "total, or the item of the scale",
    "blinded": "1 = the rater did not know which visit it was; empty = not known",
    "kind": "note, tag, or a movement that a rater judged abnormal",
    "start_s": "on the recording's clock, in s",
    "end_s": "empty = a moment",
    "joint": "of the hand; empty = not said",
}
"""Every column of every table, in words."""

_RECORDING: Final = (
    "recording", "person", "day", "task", "quality", "duration_s", "frames_per_s", "frames", "cameras",
    "program_version", "method_version", "hand_model", "network", "filter", "reference", "reference_people",
    "reference_simulated", "reference_digest",
)  # fmt: skip
_OF: Final = ("recording", "person", "day", "task", "side")
_HEADLINE: Final = (
    *_OF, "measure", "label", "value", "unit", "low", "high", "reference_mean", "reference_sd", "valid_share",
    "worse",
)  # fmt: skip
_ANGLE: Final = (
    *_OF, "angle", "label", "median_deg", "median_low", "median_high", "sd_deg", "range_of_motion_deg",
    "sigma_deg", "z", "z_low", "z_high", "peak_deg", "peak_z", "far_share", "rms_deg", "reference_mean_deg",
    "reference_sd_deg", "valid_share",
)  # fmt: skip
_STROKE: Final = (*_OF, "measure", "place", "verdict", "value", "unit", "low", "high")
_SCORE: Final = ("person", "day", "scale", "item", "value", "blinded")
_MARK: Final = ("recording", "person", "day", "kind", "start_s", "end_s", "side", "joint", "blinded")

Rows = list[dict[str, Any]]


def write_study(plan: Mapping[str, Any], out: Path) -> Path:
    """Write the ZIP, whole or not at all.

    Parameters
    ----------
    plan : mapping
        ``recordings``: a list with run (path of a finished run's folder), recording, person, day and task of
        each; ``scores`` and ``marks``: rows as the tables have them.
    out : Path
        Is replaced.

    Raises
    ------
    RunFolderError
        A run cannot be read, or the file cannot be written.
    """
    tables: dict[str, Rows] = {name: [] for name in ("recordings", "headlines", "angles", "strokes")}
    for asked in plan["recordings"]:
        summary = strip_for_research(
            read_summary(RunFolder(Path(asked["run"])).summary_json),
            asked["person"],
            asked["day"],
            lambda kind, words: "",
        )
        who = {name: asked[name] for name in ("recording", "person", "day", "task")}
        tables["recordings"].append(who | _describe(summary))
        tables["strokes"] += [who | row for row in _list_timing(summary)]
        for side, found in summary.sides.items():
            of = who | {"side": side}
            tables["headlines"] += [of | row for row in _list_headlines(found)]
            tables["angles"] += [of | dataclasses.asdict(angle) for angle in found.angles]
            tables["strokes"] += [of | row for row in _list_strokes(found)]
    tables |= {"scores": list(plan["scores"]), "marks": list(plan["marks"])}
    columns = {
        "recordings": _RECORDING, "headlines": _HEADLINE, "angles": _ANGLE, "strokes": _STROKE,
        "scores": _SCORE, "marks": _MARK,
    }  # fmt: skip
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out.parent))
    except OSError as error:
        raise _cannot_write(out, error) from error
    try:
        for name, rows in tables.items():
            table = pd.DataFrame(rows, columns=pd.Index(columns[name]))
            write_bytes(work / f"{name}.csv", to_csv(_settle(table)).encode())
        write_json(work / "columns.json", _describe_columns(columns))
        pack_folder(work, out)
    except OSError as error:
        raise _cannot_write(out, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out


def _cannot_write(out: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"{out.name} could not be written ({error.strerror or error}).", "Free some space, and try again."
    )


def _settle(table: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers stay whole where some are missing."""
    whole = {name: "Int64" for name in ("day", "frames", "cameras", "reference_people") if name in table}
    truth = {name: "boolean" for name in ("blinded", "reference_simulated") if name in table}
    settled = table.astype(whole | truth)
    for name in truth:
        settled[name] = settled[name].map({True: 1, False: 0}, na_action="ignore").astype("Int64")
    return settled


def _describe(summary: Summary) -> dict[str, Any]:
    origin = summary.provenance
    return {
        "quality": summary.quality.verdict,
        "duration_s": summary.recording.duration_s,
        "frames_per_s": summary.recording.fps,
        "frames": summary.recording.n_frames,
        "cameras": len(summary.recording.cameras),
        "program_version": origin.program_version,
        "method_version": summary.comparability.get("method version", ""),
        "hand_model": origin.hand_model,
        "network": f"{origin.detector}, {origin.estimator}, {origin.preset}",
        "filter": origin.filter,
        "reference": origin.baseline,
        "reference_people": origin.baseline_n_people,
        "reference_simulated": origin.baseline_simulated,
        "reference_digest": origin.baseline_digest,
    }


def _list_headlines(found: SideSummary) -> Iterator[dict[str, Any]]:
    for headline in found.headlines:
        yield {"measure": headline.id, **dataclasses.asdict(headline)}


def _list_strokes(found: SideSummary) -> Iterator[dict[str, Any]]:
    for tremor in found.tremor:
        of = {"place": tremor.site, "verdict": tremor.verdict}
        yield of | _state("tremor_frequency", "Hz", tremor.frequency_hz, tremor.frequency_low_hz,
                          tremor.frequency_high_hz)  # fmt: skip
        yield of | _state("tremor_rms", "mm", tremor.rms_mm, tremor.rms_low_mm, tremor.rms_high_mm)
        yield of | _state("tremor_limit", "mm", tremor.limit_mm)
    if found.individuation is not None:
        for finger in found.individuation.fingers:
            yield {"place": finger.finger} | _state(
                "individuation_index", "", finger.index, finger.low, finger.high
            )
        for pair in found.individuation.couplings:
            yield {"place": f"{pair.striking} {pair.other}"} | _state(
                "coupling", "", pair.share, pair.low, pair.high
            )
    yield _state("log_dimensionless_jerk", "", found.ldlj)


def _list_timing(summary: Summary) -> Iterator[dict[str, Any]]:
    timing = summary.timing
    if timing is None:
        return
    verdict = {"verdict": timing.verdict}
    yield verdict | _state("key_timing_sd", "ms", timing.sd_ms, timing.sd_low_ms, timing.sd_high_ms)
    yield verdict | _state("key_timing_cv", "", timing.cv)
    yield verdict | _state("key_timing_interval", "ms", timing.interval_ms)
    yield verdict | _state("strokes_per_min", "1/min", timing.rate_per_min)


def _state(
    measure: str, unit: str, value: float, low: float = math.nan, high: float = math.nan
) -> dict[str, Any]:
    return {"measure": measure, "unit": unit, "value": value, "low": low, "high": high}


def _describe_columns(tables: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    return {
        "schema": "redys-study",
        "schema_version": STUDY_VERSION,
        "purpose": "Describes movement; it is not a diagnosis.",
        "missing": "empty cell",
        "tables": {
            f"{name}.csv": [{"name": title_column(column), "meaning": COLUMNS[column]} for column in columns]
            for name, columns in tables.items()
        },
    }
