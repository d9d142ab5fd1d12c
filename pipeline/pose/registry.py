"""Which detectors and estimators there are, what they need, and whether it is there.

A new network is one file with a class that has the protocol, and one line in `MODELS`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pipeline.errors import ModelError
from pipeline.pose import weights_file
from pipeline.pose.digests import hash_weights, recall_digest
from pipeline.pose.litert import LANDMARK_FILE, PALM_FILE, locate
from pipeline.pose.networks import files
from pipeline.pose.protocols import Detector, Estimator

Role = Literal["detector", "estimator"]


@dataclass(frozen=True)
class ModelEntry:
    """A network that the program can use.

    Attributes
    ----------
    name : str
        As ``session.toml`` has it.
    role : "detector" | "estimator"
    title : str
        For people.
    licence : str
        Of the weights.
    load : callable
        Makes the detector or estimator; raises `ModelError` where a file is missing or wrong.
    files : callable
        The files that it needs; raises `ModelError` where their package is missing.
    place : str
        Where the files come from and go.
    on_gpu : bool
        Works on a GPU where there is one.
    """

    name: str
    role: Role
    title: str
    licence: str
    load: Callable[[], Any]
    files: Callable[[], list[Path]]
    place: str
    on_gpu: bool = False

    def find_fault(self) -> str:
        """What is missing and what to do, in words; empty when all files are there and may be read."""
        try:
            wanted = self.files()
        except ModelError as error:
            return str(error)
        for path in wanted:
            if not path.is_file():
                return f"{path} is missing. {self.place}"
            if not os.access(path, os.R_OK):
                return f"{path} may not be read by this program's user: change its permissions."
        return ""

    def list_files(self) -> list[Path]:
        """Those of its files that are there and may be read."""
        try:
            return [path for path in self.files() if path.is_file() and os.access(path, os.R_OK)]
        except ModelError:
            return []


def _load_mediapipe_detector() -> Detector:
    from pipeline.pose.landmarks import MediaPipeDetector

    return MediaPipeDetector()


def _load_mediapipe_estimator() -> Estimator:
    from pipeline.pose.landmarks import MediaPipeEstimator

    return MediaPipeEstimator()


def _load_redys_estimator() -> Estimator:
    from pipeline.pose.redys import RedysEstimator

    return RedysEstimator()


def _load_wilor_detector() -> Detector:
    from pipeline.pose.networks.detector import WilorDetector

    return WilorDetector()


def _make_network_entry(name: str) -> ModelEntry:
    """HaMeR, WiLoR or Hamba with the user's own weights."""

    def load() -> Estimator:
        from pipeline.pose.networks.estimators import NetworkEstimator

        return NetworkEstimator(name)

    return ModelEntry(
        name,
        "estimator",
        files.TITLES[name],
        files.LICENCES[name],
        load,
        lambda: [*files.list_files(name), locate(LANDMARK_FILE)],
        files.PLACES[name],
        on_gpu=True,
    )


_WHEEL = "In the mediapipe 0.10.21 wheel, which make setup installs for these files alone."

MODELS: tuple[ModelEntry, ...] = (
    ModelEntry(
        "mediapipe",
        "detector",
        "MediaPipe palm detection (full)",
        "Apache-2.0",
        _load_mediapipe_detector,
        lambda: [locate(PALM_FILE), locate(LANDMARK_FILE)],
        _WHEEL,
    ),
    ModelEntry(
        "wilor",
        "detector",
        files.DETECTOR_TITLE,
        files.DETECTOR_LICENCE,
        _load_wilor_detector,
        lambda: [files.locate_detector(), locate(LANDMARK_FILE)],
        files.DETECTOR_PLACE,
        on_gpu=True,
    ),
    ModelEntry(
        "mediapipe",
        "estimator",
        "MediaPipe hand landmarks (full)",
        "Apache-2.0",
        _load_mediapipe_estimator,
        lambda: [locate(LANDMARK_FILE)],
        _WHEEL,
    ),
    ModelEntry(
        "redys",
        "estimator",
        "ReDys hand landmarks (MediaPipe's, trained further)",
        "Apache-2.0, as the original's",
        _load_redys_estimator,
        lambda: [weights_file.locate_weights(), locate(LANDMARK_FILE)],
        weights_file.PLACE,
    ),
    *(_make_network_entry(name) for name in files.FILES),
)


def get_entry(role: Role, name: str) -> ModelEntry:
    """The entry of a name.

    Raises
    ------
    ModelError
        No such detector or estimator; says which there are.
    """
    entries = {entry.name: entry for entry in MODELS if entry.role == role}
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ModelError(
        f"There is no {role} {name}.{hint}",
        f"Choose one of: {', '.join(entries)} ({role} in session.toml, --{role}, REDYS_{role.upper()}).",
    )


def load_detector(name: str) -> Detector:
    """The detector of a name, ready to use; `ModelError` when it or its files are missing."""
    return cast(Detector, _load(get_entry("detector", name)))


def load_estimator(name: str) -> Estimator:
    """The estimator of a name, ready to use; `ModelError` when it or its files are missing."""
    return cast(Estimator, _load(get_entry("estimator", name)))


def _load(entry: ModelEntry) -> Any:
    require(entry)
    return entry.load()


def require(entry: ModelEntry) -> None:
    """Raise `ModelError` if a file of the entry is missing."""
    fault = entry.find_fault()
    if fault:
        raise ModelError(f"The {entry.role} {entry.name} cannot be used: {fault}")


def describe_models(detector: str, estimator: str) -> list[dict[str, Any]]:
    """What a run's record says of the networks it used: role, name, title, licence, sha256 by file name."""
    described = []
    for entry in (get_entry("detector", detector), get_entry("estimator", estimator)):
        require(entry)
        described.append(
            {
                "role": entry.role,
                "name": entry.name,
                "title": entry.title,
                "licence": entry.licence,
                "sha256": {path.name: hash_weights(path) for path in entry.files()},
            }
        )
    return described


def list_models(read_files: bool = True) -> list[dict[str, Any]]:
    """Every network of the registry, for people and pages.

    Parameters
    ----------
    read_files : bool
        Work out digests that are not known yet, which reads gigabytes; otherwise these are None.

    Returns
    -------
    list of dict
        ``role``, ``name``, ``title``, ``licence``, ``place`` (where its files come from and go), ``ready``,
        ``fault`` (what is missing and what to do; empty when ready), ``sha256`` (of the files that are
        there, by name).
    """
    digest = hash_weights if read_files else recall_digest
    return [
        {
            "role": entry.role,
            "name": entry.name,
            "title": entry.title,
            "licence": entry.licence,
            "place": entry.place,
            "ready": not entry.find_fault(),
            "fault": entry.find_fault(),
            "sha256": {path.name: digest(path) for path in entry.list_files()},
        }
        for entry in MODELS
    ]
