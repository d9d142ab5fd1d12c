"""``summary.json``: worked out here; its types and its reading are in `pipeline.measures.summary_types`.

Imports neither torch nor OpenCV: the web process reads summaries.
"""

from __future__ import annotations

from pipeline.measures.summary_types import (
    HEADLINES,
    INTERVAL_NOTE,
    SIMULATED_NOTE,
    SUMMARY_VERSION,
    AngleSummary,
    BriskEvent,
    CameraQuality,
    FingerProfile,
    HandQuality,
    Headline,
    JointJerk,
    PostureBout,
    Provenance,
    QualityReport,
    Recording,
    SideSummary,
    Summary,
    WorstAngle,
    count_levels,
    get_headline,
    read_summary,
    write_summary,
)

__all__ = [
    "HEADLINES",
    "INTERVAL_NOTE",
    "SIMULATED_NOTE",
    "SUMMARY_VERSION",
    "AngleSummary",
    "BriskEvent",
    "CameraQuality",
    "FingerProfile",
    "HandQuality",
    "Headline",
    "JointJerk",
    "PostureBout",
    "Provenance",
    "QualityReport",
    "Recording",
    "SideSummary",
    "Summary",
    "WorstAngle",
    "count_levels",
    "get_headline",
    "read_summary",
    "write_summary",
]
