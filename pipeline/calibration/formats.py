"""Rigs in the formats that tools exchange: our JSON, OpenCV's YAML, aniposelib's TOML; chosen by suffix.

===================  ====================================================================================
``.json``            all of a `Rig`; nothing is lost
``.yaml``, ``.yml``  what ``cv2.FileStorage`` reads and writes: ``reference``, ``length_unit`` and
                     ``cameras``, a sequence of maps with ``name`` and, as OpenCV's samples call them,
                     ``image_width``, ``image_height``, ``camera_matrix``, ``distortion_coefficients``, ``R``,
                     ``T``
``.toml``            what aniposelib's ``CameraGroup.dump`` writes: ``[cam_0]``, ``[cam_1]``, ... with
                     ``name``, ``size``, ``matrix``, ``distortions``, ``rotation`` (axis times angle in rad),
                     ``translation``; ``[metadata]`` with ``adjusted``, ``error``, and of ours ``reference``,
                     ``length_unit``
===================  ====================================================================================

YAML and TOML carry lenses and places alone. How good the calibration was (errors in px, frames used and
refused, coverage, pairs, square, expected errors, verdict, source, name) is lost on the way: a rig read from
them has source "file" and verdict "check", since nobody here knows whether it is reliable. Neither format
says of itself what its lengths are in; where the file does not either, they are taken as mm, and the rig's
reasons say so. A world that is no camera is moved into the first camera (or the one that the file calls its
reference), which is said, too.

Reading executes nothing and is bounded: files are small or refused, nesting is limited.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.calibration.plausible import NEAREST_CAMERAS_MM, list_doubts, measure_distances_mm
from pipeline.errors import CalibrationError, RunFolderError
from pipeline.files import write_bytes
from pipeline.results import Camera, Rig, Verdict, read_rig, write_rig

JSON_SUFFIX = ".json"
YAML_SUFFIXES = (".yaml", ".yml")
TOML_SUFFIX = ".toml"
RIG_SUFFIXES = (JSON_SUFFIX, *YAML_SUFFIXES, TOML_SUFFIX)

VERDICTS = ("reliable", "check", "failed")
SOURCES = ("checkerboard", "file", "hand", "single")

MAX_JSON_BYTES = 2**25
"""Our own files list every calibration frame."""
MAX_FOREIGN_BYTES = 2**18
"""Sixty cameras take a tenth of it, and by indentation alone it cannot nest deep enough to harm a parser."""
MAX_CAMERAS = 64

ROTATION_TOLERANCE = 1e-4
"""Of ``R R^T``: files print R with five digits and more."""

_UNIT = "mm"
_ADVICE = "Export the rig again from the program that made it."


def read_rig_file(path: Path) -> Rig:
    """Read a rig by the suffix of its file.

    Parameters
    ----------
    path : Path
        ``.json``, ``.yaml``, ``.yml`` or ``.toml``.

    Returns
    -------
    Rig
        Lengths in mm, the reference camera is the world. From YAML and TOML: source "file", verdict "check".
        The verdict is "check" at best, too, where lenses or places are odd (`plausible.list_doubts`).

    Raises
    ------
    CalibrationError
        No such format, too large, malformed, or not a rig: names the file, the camera and the field.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == JSON_SUFFIX:
        rig = _read_json(path)
    elif suffix in YAML_SUFFIXES:
        rig = _assemble(path, _read_yaml(path))
    elif suffix == TOML_SUFFIX:
        rig = _assemble(path, _read_toml(path))
    else:
        raise CalibrationError(f"{path.name} is no rig of a known format.", _known_formats())
    for camera in rig.cameras.values():
        _check_camera(path, camera)
    _check_distances(path, rig.cameras)
    return add_doubts(rig, list_doubts(rig.cameras))


def add_doubts(rig: Rig, doubts: Sequence[str]) -> Rig:
    """The rig with more reasons, said once each; with any it is "reliable" no longer."""
    if not doubts:
        return rig
    verdict: Verdict = "failed" if rig.verdict == "failed" else "check"
    return replace(rig, verdict=verdict, reasons=tuple(dict.fromkeys((*rig.reasons, *doubts))))


def write_rig_file(path: Path, rig: Rig) -> None:
    """Write a rig by the suffix of its file, whole or not at all.

    Raises
    ------
    CalibrationError
        No such format.
    pipeline.errors.RunFolderError
        The file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == JSON_SUFFIX:
        write_rig(path, rig)
    else:
        write_bytes(path, format_rig(rig, path.suffix.lower()))


def format_rig(rig: Rig, suffix: str) -> bytes:
    """A rig as the text of a YAML or TOML file, in UTF-8.

    Raises
    ------
    CalibrationError
        ``suffix`` is neither.
    """
    if suffix in YAML_SUFFIXES:
        return _format_yaml(rig).encode()
    if suffix == TOML_SUFFIX:
        return _format_toml(rig).encode()
    raise CalibrationError(
        f"A rig cannot be written as {suffix or 'a file without a suffix'}.", _known_formats()
    )


def _known_formats() -> str:
    return "A rig is .json (of this program), .yaml or .yml (OpenCV), or .toml (aniposelib)."


# --- what all formats come to --------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """One camera as a file has it: values unchecked, where they stand for messages."""

    place: str
    name: Any
    size_px: Any
    matrix: Any
    distortion: Any
    rotation: Any
    translation: Any


@dataclass(frozen=True)
class _Contents:
    """A foreign file: its cameras in their order, and what it says of its world and unit."""

    program: str
    entries: list[_Entry]
    reference: Any = None
    unit: Any = None


def _assemble(path: Path, contents: _Contents) -> Rig:
    """The rig of a foreign file, its world moved into a camera."""
    if not contents.entries:
        raise CalibrationError(f"{path.name} holds no camera.", _ADVICE)
    if len(contents.entries) > MAX_CAMERAS:
        raise CalibrationError(f"{path.name} holds more than {MAX_CAMERAS} cameras.", _ADVICE)
    cameras: dict[str, Camera] = {}
    for entry in contents.entries:
        camera = _make_camera(path, entry)
        if camera.name in cameras:
            raise CalibrationError(f"{path.name} holds two cameras called {camera.name}.", _ADVICE)
        cameras[camera.name] = camera
    reasons = [f"The rig came from {contents.program}, which does not say how good the calibration was."]
    reasons += _read_unit(path, contents.unit)
    reference, moved = _find_reference(path, cameras, contents.reference)
    if moved:
        from pipeline.calibration.rig import move_reference  # here, since it reads rigs by this file

        world = Rig("", cameras, source="file", verdict="check")
        cameras = move_reference(world, reference).cameras
        reasons.append(f"The file's world was another than camera {reference}; it was moved there.")
    return Rig(reference, cameras, source="file", verdict="check", reasons=tuple(reasons))


def _make_camera(path: Path, entry: _Entry) -> Camera:
    name = entry.name
    if not isinstance(name, str) or not name or len(name) > 200 or not name.isprintable():
        raise CalibrationError(
            f"{path.name}: {entry.place} has no name.", "Give each camera the name of its video."
        )
    place = f"{path.name}: camera {name}"
    size = _numbers(place, "the picture's size", entry.size_px, ((2,),))
    if not np.array_equal(size, np.round(size)):
        raise CalibrationError(f"{place}: the picture's size is not in whole px.", _ADVICE)
    R = _read_rotation(place, entry.rotation)
    return Camera(
        name=name,
        size_px=(int(size[0]), int(size[1])),
        K=_numbers(place, "the camera matrix", entry.matrix, ((3, 3),)),
        distortion=_read_distortion(place, entry.distortion),
        R=R,
        t_mm=_numbers(place, "the translation", entry.translation, ((3,), (3, 1), (1, 3))).reshape(3),
    )


def _read_distortion(place: str, value: Any) -> np.ndarray:
    """k1 k2 p1 p2 k3 of 4 to 14 coefficients; further ones must be zero."""
    coefficients = _numbers(place, "the distortion", value, None).ravel()
    if coefficients.size not in (4, 5, 8, 12, 14) or coefficients[5:].any():
        raise CalibrationError(
            f"{place}: the distortion has {coefficients.size} coefficients.",
            "This program knows k1 k2 p1 p2 k3. Calibrate again with these alone, or from a checkerboard.",
        )
    return np.concatenate([coefficients, np.zeros(5)])[:5]


def _read_rotation(place: str, value: Any) -> np.ndarray:
    """A rotation (3, 3) from a matrix or from axis times angle in rad (3,)."""
    rotation = _numbers(place, "the rotation", value, ((3, 3), (3,), (3, 1), (1, 3)))
    if rotation.size == 3:
        from scipy.spatial.transform import Rotation

        return np.asarray(Rotation.from_rotvec(rotation.reshape(3)).as_matrix())
    _check_rotation(place, rotation)
    if np.allclose(rotation @ rotation.T, np.eye(3), rtol=0, atol=1e-12):
        return rotation
    U, _, Vt = np.linalg.svd(rotation)  # printed with few digits: the nearest rotation
    return np.asarray(U @ Vt)


def _numbers(place: str, what: str, value: Any, shapes: tuple[tuple[int, ...], ...] | None) -> np.ndarray:
    """Finite numbers in one of the shapes (None: any, at most 64); else a sentence."""
    if value is None:
        raise CalibrationError(f"{place}: {what} is missing.", _ADVICE)
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(f"{place}: {what} is not made of numbers.", _ADVICE) from error
    if (shapes is not None and array.shape not in shapes) or array.size > 64:
        wanted = " or ".join("x".join(map(str, shape)) for shape in shapes or ((14,),))
        raise CalibrationError(f"{place}: {what} has shape {array.shape} instead of {wanted}.", _ADVICE)
    if not np.isfinite(array).all():
        raise CalibrationError(f"{place}: {what} is not finite.", _ADVICE)
    return array


def _read_unit(path: Path, unit: Any) -> list[str]:
    if unit == _UNIT:
        return []
    if unit is not None:
        raise CalibrationError(
            f"{path.name}: its lengths are in {unit}, and only {_UNIT} is taken.",
            f"Give the translations in {_UNIT}, and write length_unit = {_UNIT}.",
        )
    return [f"The file does not say what its lengths are in; they were taken as {_UNIT}."]


def _find_reference(path: Path, cameras: Mapping[str, Camera], stated: Any) -> tuple[str, bool]:
    """The camera that is the world, and whether the world has yet to be moved into it."""
    if stated is not None and stated not in cameras:
        raise CalibrationError(
            f"{path.name}: its reference camera {stated} is not among its cameras ({', '.join(cameras)}).",
            _ADVICE,
        )
    at_home = [name for name, camera in cameras.items() if _is_world(camera)]
    if stated is None:
        return (at_home[0], False) if at_home else (next(iter(cameras)), True)
    return stated, stated not in at_home


def _is_world(camera: Camera, tolerance: float = 1e-12) -> bool:
    """Whether a camera's axes and place (in m) are the world's."""
    is_there = np.abs(camera.t_mm).max() < 1e3 * tolerance
    return bool(np.allclose(camera.R, np.eye(3), rtol=0, atol=tolerance) and is_there)


def _check_distances(path: Path, cameras: Mapping[str, Camera]) -> None:
    """Refuse lengths in metres and files without places: they would pass as a rig far too small."""
    apart = measure_distances_mm(cameras).values()
    if apart and max(apart) < NEAREST_CAMERAS_MM:
        raise CalibrationError(
            f"{path.name}: its cameras stand at most {max(apart):.2g} mm apart, which cameras cannot.",
            "Its translations may be in metres (then multiply them by 1000), or it holds lenses alone.",
        )


def _check_camera(path: Path, camera: Camera) -> None:
    """What every rig must be, whatever it was read from.

    Raises
    ------
    CalibrationError
        Names file, camera and field.
    """
    place = f"{path.name}: camera {camera.name}"
    if not all(16 <= length <= 32768 for length in camera.size_px):
        raise CalibrationError(f"{place}: a picture of {camera.size_px[0]}x{camera.size_px[1]} px.", _ADVICE)
    for what, values in (
        ("distortion", camera.distortion),
        ("translation", camera.t_mm),
        ("rotation", camera.R),
    ):
        if not np.isfinite(values).all():
            raise CalibrationError(f"{place}: the {what} is not finite.", _ADVICE)
    K, focal = camera.K, (camera.K[0, 0], camera.K[1, 1])
    if not (np.isfinite(K).all() and min(focal) > 0):
        raise CalibrationError(f"{place}: the focal length in the camera matrix is not above zero.", _ADVICE)
    if K[1, 0] or not np.array_equal(K[2], [0, 0, 1]) or abs(K[0, 1]) > 1e-9 * focal[0]:
        raise CalibrationError(
            f"{place}: the camera matrix is not of the form fx 0 cx, 0 fy cy, 0 0 1.",
            "This program knows lenses without skew. Calibrate again without it.",
        )
    _check_rotation(place, camera.R)


def _check_rotation(place: str, R: np.ndarray) -> None:
    if not np.allclose(R @ R.T, np.eye(3), rtol=0, atol=ROTATION_TOLERANCE):
        raise CalibrationError(f"{place}: the rotation R is not a rotation.", _ADVICE)
    if np.linalg.det(R) < 0:
        raise CalibrationError(f"{place}: the rotation R mirrors the world.", _ADVICE)


def _read_bounded(path: Path, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise CalibrationError(f"{path.name} cannot be read ({error.strerror or error}).", _ADVICE) from error
    if len(data) > most:
        raise CalibrationError(f"{path.name} is larger than {most // 1024} kB: that is no rig.", _ADVICE)
    return data


def _read_text(path: Path) -> str:
    try:
        text = _read_bounded(path, MAX_FOREIGN_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{path.name} is not text in UTF-8.", _ADVICE) from error
    if "\0" in text:
        raise CalibrationError(f"{path.name} is not text.", _ADVICE)
    return text.replace("\r\n", "\n")


def _read_json(path: Path) -> Rig:
    if path.is_file():
        _read_bounded(path, MAX_JSON_BYTES)
    try:
        rig = read_rig(path)
    except RunFolderError as error:  # whose advice is for a run folder
        raise CalibrationError(
            error.what, f"Copy {path.name} once more from the run it came from."
        ) from error
    except (AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise CalibrationError(f"{path.name} is not a rig of this program.", _ADVICE) from error
    _check_lists(path, rig)
    for what, value, known in (("verdict", rig.verdict, VERDICTS), ("source", rig.source, SOURCES)):
        if value not in known:
            raise CalibrationError(
                f"{path.name}: its {what} is {value!r}, none of {', '.join(known)}.", _ADVICE
            )
    for name, camera in rig.cameras.items():
        if name != camera.name:
            raise CalibrationError(f"{path.name}: camera {name} is called {camera.name}, too.", _ADVICE)
    if not _is_world(rig.cameras[rig.reference], ROTATION_TOLERANCE):
        raise CalibrationError(
            f"{path.name}: camera {rig.reference} is said to be the world, but has a place in another one.",
            _ADVICE,
        )
    return rig


def _check_lists(path: Path, rig: Rig) -> None:
    """That the lists of a JSON file hold what pages and reports take out of them."""
    wrong = []
    if not _are_dicts(rig.pairs, ("a", "b")) or not all(_is_pair(rig, pair) for pair in rig.pairs):
        wrong.append("pairs")
    if not all(isinstance(reason, str) for reason in rig.reasons):
        wrong.append("reasons")
    for name, camera in rig.cameras.items():
        if not _are_dicts(camera.used, ("time_s", "rms_px")):
            wrong.append(f"used of camera {name}")
        if not _are_dicts(camera.refused, ("time_s", "reason")):
            wrong.append(f"refused of camera {name}")
        if not _is_grid(camera.coverage):
            wrong.append(f"coverage of camera {name}")
    if wrong:
        raise CalibrationError(f"{path.name}: not as this program writes it: {', '.join(wrong)}.", _ADVICE)


def _is_pair(rig: Rig, pair: dict[str, Any]) -> bool:
    is_there = all(isinstance(pair[key], str) and pair[key] in rig.cameras for key in ("a", "b"))
    return is_there and _is_number(pair.get("rms_px"))


def _are_dicts(entries: Any, keys: tuple[str, ...]) -> bool:
    if not isinstance(entries, list):
        return False
    return all(isinstance(entry, dict) and all(key in entry for key in keys) for entry in entries)


def _is_number(value: Any) -> bool:
    """A number, or null for what is not known."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


_MOST_CELLS = 10_000


def _is_grid(rows: Any) -> bool:
    """Whole numbers, row by row, all rows of one length and none empty; or nothing at all."""
    if not (isinstance(rows, list) and all(isinstance(row, list) and row for row in rows)):
        return False
    if len({len(row) for row in rows}) > 1 or sum(map(len, rows)) > _MOST_CELLS:
        return False
    return all(isinstance(n, int) for row in rows for n in row)


# --- OpenCV --------------------------------------------------------------------------------------

_YAML_HEAD = "%YAML"
_DEEPEST = 8
_MANY_DASHES = re.compile(r"(?:-[ \t]+){4}")


def _read_yaml(path: Path) -> _Contents:
    """A FileStorage file.

    OpenCV's parser recurses without a limit, so what nests deeper than any rig is refused before it.
    """
    text = _read_text(path)
    if not text.startswith(_YAML_HEAD):
        raise CalibrationError(f"{path.name} does not begin with %YAML:1.0, as OpenCV's files do.", _ADVICE)
    if _nests_deep(text):
        raise CalibrationError(f"{path.name} is nested too deeply for a rig.", _ADVICE)
    import cv2  # here, since the web process must not load OpenCV

    try:
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        try:
            cameras = storage.getNode("cameras")
            if not cameras.isSeq():
                raise CalibrationError(
                    f"{path.name}: the list cameras is missing.",
                    "It holds a map a camera: name, image_width, image_height, camera_matrix, "
                    "distortion_coefficients, R, T.",
                )
            count = min(cameras.size(), MAX_CAMERAS + 1)
            entries = [_take_yaml_camera(number, cameras.at(number)) for number in range(count)]
            reference, unit = (_plain(storage.getNode(key)) for key in ("reference", "length_unit"))
        finally:
            storage.release()
    except (cv2.error, SystemError) as error:  # the second is how OpenCV's constructor fails
        raise CalibrationError(f"{path.name} is not YAML as OpenCV writes it.", _ADVICE) from error
    return _Contents("an OpenCV file", entries, reference, unit)


def _nests_deep(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if depth > _DEEPEST:
            return True
    return _MANY_DASHES.search(text) is not None


def _take_yaml_camera(number: int, node: Any) -> _Entry:
    if not node.isMap():
        return _Entry(f"camera {number + 1} of the list", None, None, None, None, None, None)
    width, height = _plain(node.getNode("image_width")), _plain(node.getNode("image_height"))
    matrices = (_matrix(node.getNode(key)) for key in ("camera_matrix", "distortion_coefficients", "R", "T"))
    size = None if width is None or height is None else [width, height]
    return _Entry(f"camera {number + 1} of the list", _plain(node.getNode("name")), size, *matrices)


def _plain(node: Any) -> Any:
    """A number or a text of a FileStorage; None for anything else."""
    if node.isString():
        return node.string()
    return node.real() if node.isInt() or node.isReal() else None


def _matrix(node: Any) -> Any:
    """A matrix as nested lists; None if there is none, a text if it is no matrix."""
    if node.isNone() or not node.isMap():
        return None if node.isNone() else "no matrix"
    data, sizes = node.getNode("data"), node.getNode("sizes")  # sizes: one-dimensional, by OpenCV 5
    lengths = [sizes.at(i) for i in range(min(sizes.size(), 3))] if sizes.isSeq() else []
    lengths = lengths or [node.getNode("rows"), node.getNode("cols")]
    if not (data.isSeq() and data.size() <= 64 and all(length.isInt() for length in lengths)):
        return "no matrix"
    shape = tuple(int(length.real()) for length in lengths)
    if min(shape) < 1 or math.prod(shape) != data.size():
        return "no matrix"
    items = [data.at(place) for place in range(data.size())]
    if not all(item.isInt() or item.isReal() for item in items):
        return "no matrix"
    return np.array([item.real() for item in items]).reshape(shape)


def _format_yaml(rig: Rig) -> str:
    """FileStorage's YAML, with every digit: written here so that it needs no OpenCV."""
    lines = [
        "%YAML:1.0",
        "---",
        f"reference: {_quote(rig.reference)}",
        f"length_unit: {_quote(_UNIT)}",
        "cameras:",
    ]
    for name, camera in rig.cameras.items():
        lines += [
            "   -",
            f"      name: {_quote(name)}",
            f"      image_width: {camera.size_px[0]}",
            f"      image_height: {camera.size_px[1]}",
        ]
        matrices = (
            ("camera_matrix", camera.K),
            ("distortion_coefficients", camera.distortion.reshape(1, 5)),
            ("R", camera.R),
            ("T", camera.t_mm.reshape(3, 1)),
        )
        for key, matrix in matrices:
            lines += [
                f"      {key}: !!opencv-matrix",
                f"         rows: {matrix.shape[0]}",
                f"         cols: {matrix.shape[1]}",
                "         dt: d",
                f"         data: [ {', '.join(_digits(value) for value in matrix.ravel())} ]",
            ]
    return "\n".join(lines) + "\n"


# --- aniposelib ----------------------------------------------------------------------------------

_LONG_KEY = re.compile(r"""(?<!["'\w-])(?:["'\w-]++[ \t]*+\.[ \t]*+){12}""")
"""A dotted key of so many parts: Python's TOML reader takes quadratic time over them."""


def _read_toml(path: Path) -> _Contents:
    text = _read_text(path)
    if _LONG_KEY.search(text):
        raise CalibrationError(f"{path.name} is nested too deeply for a rig.", _ADVICE)
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"{path.name} is not TOML ({str(error)[:200]}).", "Mend that line.") from error
    metadata = raw.get("metadata", {})
    known = metadata if isinstance(metadata, dict) else {}
    entries = []
    for section, value in raw.items():
        if section == "metadata":
            continue
        if not isinstance(value, dict):
            raise CalibrationError(f"{path.name}: {section} is not a camera's section.", _ADVICE)
        if value.get("fisheye"):
            raise CalibrationError(
                f"{path.name}: camera {value.get('name', section)} is a fisheye camera.",
                "This program knows lenses with k1 k2 p1 p2 k3 alone. Film with another lens.",
            )
        keys = ("name", "size", "matrix", "distortions", "rotation", "translation")
        entries.append(_Entry(f"section {section}", *(value.get(key) for key in keys)))
    return _Contents("an aniposelib file", entries, known.get("reference"), known.get("length_unit"))


def _format_toml(rig: Rig) -> str:
    """TOML for aniposelib, whose loader keeps ``metadata`` as it is, so that ours may say more there."""
    lines: list[str] = []
    for number, (name, camera) in enumerate(rig.cameras.items()):
        matrix = ", ".join(f"[ {_join(row)},]" for row in camera.K)
        lines += [
            f"[cam_{number}]",
            f"name = {_quote(name)}",
            f"size = [ {camera.size_px[0]}, {camera.size_px[1]},]",
            f"matrix = [ {matrix},]",
            f"distortions = [ {_join(camera.distortion)},]",
            f"rotation = [ {_join(_rotation_vector(camera.R))},]",
            f"translation = [ {_join(camera.t_mm)},]",
            "",
        ]
    errors = np.array([camera.rms_px for camera in rig.cameras.values()])
    lines += ["[metadata]", "adjusted = false"]
    if np.isfinite(errors).all():
        lines.append(f"error = {_digits(float(errors.mean()))}")
    lines += [f"reference = {_quote(rig.reference)}", f"length_unit = {_quote(_UNIT)}"]
    return "\n".join(lines) + "\n"


def _rotation_vector(R: np.ndarray) -> Iterator[float]:
    from scipy.spatial.transform import Rotation

    return iter(Rotation.from_matrix(R).as_rotvec().tolist())


def _join(values: Any) -> str:
    return ", ".join(_digits(float(value)) for value in values)


def _digits(value: float) -> str:
    """Every digit that it takes to read the same number back."""
    text = repr(float(value))
    return text if "." in text or "e" not in text else text.replace("e", ".0e")


def _quote(text: str) -> str:
    """Text in double quotes as YAML and TOML have it; letters that do not print are left out."""
    plain = "".join(letter for letter in text if letter.isprintable())
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
