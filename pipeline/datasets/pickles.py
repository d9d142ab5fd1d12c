"""Pickles of numpy arrays, read without running what is inside.

A pickle is a program: it names functions and calls them. Here only those names are known by which numpy (1
and 2, protocols 0 to 5) writes arrays, numbers and their types, each stands for a function of ours that does
just that, and any other name ends the reading before anything is called.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DatasetError

_PLAIN_KINDS = "biufcSU"
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


def read_array_pickle(path: Path) -> Any:
    """What a pickle of dicts, lists, numbers, texts and numpy arrays of plain types holds.

    Raises
    ------
    DatasetError
        The file is missing, is no pickle, or refers to anything else; it is named.
    """
    try:
        with open(path, "rb") as file:
            return _ArrayUnpickler(file, path).load()
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing.", "Give the folder as its makers lay it out.") from error
    except Exception as error:  # a broken pickle raises whatever its instructions run into
        raise DatasetError(
            f"{path} is not a pickle of plain arrays ({type(error).__name__}: {error}).",
            "Get it from its makers again.",
        ) from error


class _Array:
    """Stands for ``numpy.ndarray`` as an argument: nothing in a file can call it."""


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")  # as numpy asks for what Python 2 wrote
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _make_type,
            ("_codecs", "encode"): _encode,
            ("__builtin__", "bytes"): _make_no_bytes,
            ("builtins", "bytes"): _make_no_bytes,
            **dict.fromkeys(((room, "_reconstruct") for room in _NUMPY), _make_empty),
            **dict.fromkeys(((room, "scalar") for room in _NUMPY), _make_number),
            **dict.fromkeys(((room, "_frombuffer") for room in _NUMERIC), _make_array),
        }
        if (module, name) not in known:
            raise DatasetError(
                f"{self._path} refers to {module}.{name}, which arrays do not need; it is not opened.",
                "Get it from its makers again.",
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise DatasetError(f"{self._path} refers to another file; it is not opened.")


def _make_type(code: Any, *flags: Any) -> np.dtype:
    # A copy, as numpy asks for: the next instruction sets its byte order.
    found = np.dtype(code, copy=True) if isinstance(code, str) else None
    if found is None or found.kind not in _PLAIN_KINDS:
        raise ValueError(f"an array of type {code!r}")
    return found


def _make_empty(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """An array without content; the pickle's next instruction sets its state, which numpy checks."""
    if kind is not _Array or tuple(shape) != (0,):
        raise ValueError("an array that is not built as numpy builds it")
    return np.empty(0, dtype=np.int8)


def _make_number(kind: Any, content: Any) -> Any:
    if not isinstance(kind, np.dtype) or kind.kind not in _PLAIN_KINDS:
        raise ValueError("a number of no plain type")
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, dtype=kind, count=1)[0]


def _make_array(content: Any, kind: Any, shape: Any, order: Any, *more: Any) -> np.ndarray:
    if not isinstance(kind, np.dtype) or kind.kind not in _PLAIN_KINDS:
        raise ValueError("an array of no plain type")
    return np.frombuffer(content, dtype=kind).reshape(shape, order="F" if order == "F" else "C")


def _make_no_bytes() -> bytes:
    """How an array without elements is written by protocols before 3; with arguments it fails."""
    return b""


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes for protocols before 3; no other codec is needed."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"text in {encoding!r}")
    return text.encode("latin1")
