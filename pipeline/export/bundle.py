"""Writing an export: the formats asked for and a manifest, whole or not at all, as a folder or a ZIP file.

``manifest.json`` says what every file is, its SHA-256, who and what it is of, whether it was de-identified,
and where the numbers come from. One format's files lie beside it; of several each has a folder of its own.
"""

from __future__ import annotations

import datetime
import importlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import RedysError, RunFolderError
from pipeline.export.formats import EXPORT_VERSION, FORMATS
from pipeline.export.source import (
    ExportSource,
    find_even_frames,
    read_source,
    recode_source,
    state_provenance,
)
from pipeline.files import hash_file, read_json, replace_atomically, write_json
from pipeline.measures.summary_types import Summary, from_plain
from pipeline.results import RunFolder

MANIFEST = "manifest.json"
_ZIP_SUFFIX = ".zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""ZIP's first moment: the files' own times would say when the person was looked at."""


def export_run(
    run: RunFolder,
    formats: Sequence[str],
    out: Path,
    deidentify: bool = False,
    own_shape: bool = False,
    recoded: Path | None = None,
) -> Path:
    """Write a run in some formats.

    Parameters
    ----------
    run : RunFolder
        A finished run.
    formats : sequence of str
        Ids of `FORMATS`.
    out : Path
        A folder that is not there yet (or empty), or a file ending in ".zip", which is replaced.
    deidentify, own_shape : bool
        See `pipeline.export.source.read_source`.
    recoded : Path, optional
        JSON file with ``summary``, which stands in the place of the run's, and ``day``: see
        `pipeline.export.source.recode_source`.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    RunFolderError
        No or an unknown format, a run that is not finished, an ``out`` that is in the way or cannot be
        written.
    ModelError
        A format needs the hand model that the run was fused with, and it is not there any more.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise RunFolderError(
            f"There is no format {', '.join(unknown)}." if unknown else "No format was named.",
            f"There are: {', '.join(FORMATS)}.",
        )
    if out.suffix.lower() != _ZIP_SUFFIX and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError(f"{out} is there already.", "Name a new folder, or empty this one.")
    source = read_source(run, deidentify and recoded is None, own_shape)
    if recoded is not None:
        source = _recode(source, recoded)
    return write_export(source, tuple(dict.fromkeys(formats)), out)


def _recode(source: ExportSource, recoded: Path) -> ExportSource:
    told = read_json(recoded)
    return recode_source(source, from_plain(Summary, told["summary"]), told["day"])


def write_export(source: ExportSource, formats: Sequence[str], out: Path) -> Path:
    """Write what `export_run` has read and checked; see there."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out.parent))
    except OSError as error:
        raise _cannot_write(out, error) from error
    try:
        for name in formats:
            folder = work / name if len(formats) > 1 else work
            folder.mkdir(exist_ok=True)
            importlib.import_module(FORMATS[name].module).write(source, folder)
        write_json(work / MANIFEST, make_manifest(source, formats, work))
        if out.suffix.lower() == _ZIP_SUFFIX:
            pack_folder(work, out)
        else:
            work.chmod(0o755)  # temporary folders are their maker's alone
            os.replace(work, out)
    except OSError as error:
        raise _cannot_write(out, error) from error
    except RunFolderError as error:
        if isinstance(error.__cause__, OSError):  # its words are those of a run's files
            raise _cannot_write(out, error.__cause__) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out


def _cannot_write(out: Path, error: OSError) -> RedysError:
    return RunFolderError(
        f"{out} could not be written ({_say_why(error)}).",
        "Free some space, or choose another place, and try again.",
    )


def _say_why(error: OSError) -> str:
    """The system's words in one line; HDF5 puts its own report of many lines in their place."""
    lines = str(error.strerror or error).splitlines()
    return lines[0] if len(lines) == 1 else os.strerror(error.errno) if error.errno else lines[0]


def pack_folder(folder: Path, out: Path) -> None:
    """A folder as a ZIP file, whole or not at all, without the files' own times."""
    with replace_atomically(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in _list_files(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with open(path, "rb") as content, archive.open(entry, "w", force_zip64=True) as packed:
                shutil.copyfileobj(content, packed, 1 << 20)


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- manifest ------------------------------------------------------------------------------------


def make_manifest(source: ExportSource, formats: Sequence[str], folder: Path) -> dict[str, Any]:
    """What an export says of itself, with the SHA-256 of every file in ``folder``."""
    positions = any(FORMATS[name].has_positions for name in formats)
    keeps = ["pseudonym"] + (["date of the visit"] if source.summary.visit else [])
    keeps += ["proportions of the hand"] if positions else []
    keeps = ["the movement itself"] if source.deidentified else keeps
    keeps += ["task (free text)"] if source.summary.task and not source.recoded else []
    return {
        "schema": "redys-export",
        "schema_version": EXPORT_VERSION,
        # Who knows the day of the export often knows the day of the visit.
        "written": "" if source.deidentified else datetime.datetime.now(datetime.UTC).date().isoformat(),
        "formats": {name: FORMATS[name].title for name in formats},
        "deidentified": source.deidentified,
        "identifying_content": keeps,
        "comparability_key": source.comparability_key,
        "provenance": state_provenance(source),
        "even_frames": _state_even_frames(source, formats),
        "files": {
            path.relative_to(folder).as_posix(): {"sha256": hash_file(path), "bytes": path.stat().st_size}
            for path in _list_files(folder)
        },
    }


def _state_even_frames(source: ExportSource, formats: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of the formats that hold a rate and no times, whether they were resampled; others are left out."""
    even = find_even_frames(source.time_s, source.rate)
    said = {"resampled": even.resampled, "largest_shift_s": even.largest_shift_s}
    return {name: said for name in formats if FORMATS[name].is_even}


def check_export(folder: Path) -> list[str]:
    """Names of files that the manifest of an (unpacked) export does not know, or that are not what they were.

    Raises
    ------
    RunFolderError
        There is no manifest, or it is of another schema.
    """
    manifest = read_json(folder / MANIFEST)
    if manifest.get("schema") != "redys-export" or manifest.get("schema_version") != EXPORT_VERSION:
        raise RunFolderError(
            f"{folder / MANIFEST} is not a manifest that this program reads.", "Export the run again."
        )
    stated = manifest["files"]
    present = {path.relative_to(folder).as_posix(): path for path in _list_files(folder)}
    present.pop(MANIFEST)
    wrong = [name for name in stated if name not in present]
    wrong += [
        name
        for name, path in present.items()
        if name not in stated or stated[name]["sha256"] != hash_file(path)
    ]
    return sorted(wrong)
