"""FHIR R4: the headline numbers as one preliminary report, for a patient record.

A collection of one DiagnosticReport, one Observation for each headline and hand, the Device (this program)
and the CodeSystem that explains the codes. The codes are this program's own: no other system has any for
these numbers, and none is borrowed. The patient is named by the pseudonym alone. The classes that check the
resources are R4B's, where these resources are as in R4.
"""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Any

from pipeline.export.source import ExportSource
from pipeline.files import write_bytes
from pipeline.hand.joints import Side
from pipeline.measures.summary_types import HEADLINES, INTERVAL_NOTE, Headline

CODE_SYSTEM = "urn:uuid:6f0f6b0e-8e0b-5c1d-9a57-3d2f6d7c4b10"
"""The local code system's address: a number of its own, since this program owns no name on the web."""

SUBJECT_SYSTEM = "urn:uuid:0c7e4f6a-3f0a-5b57-8c55-1b9a4e0d2f31"
"""What a pseudonym is a pseudonym in."""

UCUM = "http://unitsofmeasure.org"
UCUM_CODES = {
    "%": "%",
    "1/min": "/min",
    "°": "deg",
    "": "1",
    "m/s³": "m/s3",
    "m/s²": "m/s2",
    "mm": "mm",
    "s": "s",
}
ABSENT_REASON = "http://terminology.hl7.org/CodeSystem/data-absent-reason"

REPORT_CODE = "movement-report"


def write(source: ExportSource, folder: Path) -> None:
    """Write ``report.fhir.json`` into a folder."""
    write_bytes(folder / "report.fhir.json", to_bundle(source).encode())


def to_bundle(source: ExportSource) -> str:
    """The bundle as JSON text, checked by the classes of ``fhir.resources``."""
    from fhir.resources.R4B.bundle import Bundle

    device = _address()
    observations = [
        (_address(), _observe(source, side, headline, device))
        for side, found in source.summary.sides.items()
        for headline in found.headlines
    ]
    entries = [
        (_address(), _report(source, [address for address, _ in observations])),
        *observations,
        (device, _device(source)),
        (CODE_SYSTEM, _code_system()),
    ]
    bundle = Bundle.model_validate(
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"fullUrl": address, "resource": resource} for address, resource in entries],
        }
    )
    return bundle.model_dump_json(indent=2) + "\n"


def _address() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def _code(code: str, label: str) -> dict[str, Any]:
    return {"coding": [{"system": CODE_SYSTEM, "code": code, "display": label}], "text": label}


def _about(source: ExportSource) -> dict[str, Any]:
    """What report and observations share: status, person, day."""
    shared: dict[str, Any] = {"status": "preliminary"}
    if source.summary.subject.strip():  # a session's file may leave it empty, and FHIR has no empty text
        shared["subject"] = {"identifier": {"system": SUBJECT_SYSTEM, "value": source.summary.subject}}
    if source.summary.visit:
        shared["effectiveDateTime"] = source.summary.visit
    return shared


def _report(source: ExportSource, observations: list[str]) -> dict[str, Any]:
    summary = source.summary
    conclusion = [
        f"Movement of the hand, task {summary.task}; quality of the recording: {summary.quality.verdict}.",
        *summary.quality.reasons,
        *summary.notes,
    ]
    return {
        "resourceType": "DiagnosticReport",
        **_about(source),
        "code": _code(REPORT_CODE, "Report of hand movement from video"),
        "result": [{"reference": address} for address in observations],
        "conclusion": " ".join(conclusion),
    }


def _observe(source: ExportSource, side: Side, headline: Headline, device: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resourceType": "Observation",
        **_about(source),
        "code": _code(headline.id.replace("_", "-"), headline.label),
        "bodySite": {"text": f"{side} hand"},
        "method": {"text": _name_method(source)},
        "device": {"reference": device},
        "note": [{"text": text} for text in (headline.note, INTERVAL_NOTE) if text],
    }
    if math.isfinite(headline.value):
        found["valueQuantity"] = _quantity(headline.value, headline.unit)
    else:
        found["dataAbsentReason"] = {
            "coding": [{"system": ABSENT_REASON, "code": "unknown"}],
            "text": headline.note or "Withheld.",
        }
    ends = (("interval-low", headline.low), ("interval-high", headline.high))
    components = [
        {"code": _code(code, _INTERVAL_LABELS[code]), "valueQuantity": _quantity(value, headline.unit)}
        for code, value in ends
        if math.isfinite(value)
    ]
    if components:
        found["component"] = components
    if headline.reference:
        found["referenceRange"] = [{"text": headline.reference}]
    return found


_INTERVAL_LABELS = {
    "interval-low": "Lower end of the 95 % interval within the recording",
    "interval-high": "Upper end of the 95 % interval within the recording",
}


def _quantity(value: float, unit: str) -> dict[str, Any]:
    # A unit that is not listed is a fault of this table, so it is not passed over.
    return {"value": float(f"{value:.6g}"), "unit": unit or "1", "system": UCUM, "code": UCUM_CODES[unit]}


def _name_method(source: ExportSource) -> str:
    origin = source.summary.provenance
    return (
        f"Video of {len(source.summary.recording.cameras)} cameras at {source.rate_text} frames/s; "
        f"{origin.detector}, {origin.estimator}, preset {origin.preset}; {origin.hand_model}; "
        f"{origin.filter}; "
        f"reference: {origin.baseline} (n = {origin.baseline_n_people}"
        + (", simulated)" if origin.baseline_simulated else ")")
        + (f"; comparability key {source.comparability_key}" if source.comparability_key else "")
    )


def _device(source: ExportSource) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "deviceName": [{"name": "ReDys", "type": "user-friendly-name"}],
        "version": [{"value": source.program_version or "not known"}],
        "note": [{"text": "Software that measures movement; not for diagnosis."}],
    }


def _code_system() -> dict[str, Any]:
    concepts = {REPORT_CODE: "Report of hand movement from video", **_INTERVAL_LABELS}
    concepts |= {key.replace("_", "-"): label for key, (label, _, _) in HEADLINES.items()}
    return {
        "resourceType": "CodeSystem",
        "url": CODE_SYSTEM,
        "name": "ReDysMeasures",
        "status": "draft",
        "content": "complete",
        "concept": [{"code": code, "display": label} for code, label in concepts.items()],
    }
