"""A recording's ``session.toml`` as a person's own file: edited in place, every other line as it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Comment

from pipeline.errors import SessionError
from records.drafts import FROM_FORM

GONE = "The folder of this recording cannot be opened"
PUT_BACK = "Put it back to where it was, or add the recording again."


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a session folder's settings alone: two people who change two things must both be heard.

    Raises
    ------
    pipeline.errors.SessionError
        The folder is gone.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise SessionError(f"{GONE} ({error.strerror}).", PUT_BACK) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_text(path: Path) -> str:
    """The file as it is, line ends and all; empty where there is none.

    Raises
    ------
    pipeline.errors.SessionError
        It cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SessionError(f"{path} cannot be read ({error}).", "Mend the file.") from error


def open_document(path: Path) -> Any:
    """The file for editing; from here on a person has a hand in it, and the form must not write over it.

    Raises
    ------
    pipeline.errors.SessionError
        It is not TOML, or cannot be read.
    """
    try:
        return tomlkit.parse(read_text(path).removeprefix(f"{FROM_FORM}\n"))
    except TOMLKitError as error:
        raise SessionError(f"{path} cannot be read ({error}).", "Mend the file.") from error


def dump(document: Any) -> str:
    """Its text, which the pipeline can read."""
    text: str = tomlkit.dumps(document)
    tomllib.loads(text)  # what the pipeline reads it with
    return text


def put_value(document: Any, key: str, value: str | None) -> None:
    """Set a key of the file's own (before its first table), or take it away."""
    if value is None:
        if key in document:
            del document[key]
    else:
        document[key] = value  # keeps its place and comment; a new one comes before the tables


def put_table(document: Any, key: str, changes: Mapping[str, Any]) -> None:
    """Set values of a table, and take away those of None; an empty table without comments goes, too."""
    table: Any = document.get(key)
    for name, value in changes.items():
        if value is not None:
            if table is None:
                document[key] = tomlkit.table()
                table = document[key]
            table[name] = value
        elif table is not None and name in table:
            del table[name]
    if table is not None and not table and not _has_comments(table):
        del document[key]


def add_section(document: Any, key: str, values: Mapping[str, Any]) -> None:
    """Add a table to an array of tables."""
    table = tomlkit.table()
    for name, value in values.items():
        if value is not None:
            table[name] = value
    found = document.get(key)
    if found is None:
        array = tomlkit.aot()
        array.append(table)
        document.append(key, array)
    elif isinstance(found, AoT):
        found.append(table)
    else:  # exclude = [{...}], written in one line
        inline = tomlkit.inline_table()
        inline.update(dict(table))
        found.append(inline)


def remove_section(document: Any, key: str, values: Mapping[str, Any]) -> None:
    """Remove the first table of an array that has these values (those of None are not there)."""
    wanted = {name: value for name, value in values.items() if value is not None}
    found = document.get(key) or []
    for place, table in enumerate(found):
        if dict(table.unwrap() if hasattr(table, "unwrap") else table) == wanted:
            del found[place]
            break
    if key in document and not len(found):
        del document[key]


def _has_comments(table: Any) -> bool:
    return any(isinstance(item, Comment) for _, item in getattr(table.value, "body", []))
