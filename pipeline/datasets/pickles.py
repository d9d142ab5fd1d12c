"""Pickles of numpy arrays, read without running what is inside.

A pickle is a program: it names functions and calls them. Here only those names are known by which numpy (1
and 2, protocols 0 to 5; under Python 2, protocol 2) writes arrays, numbers and their types, each stands for a
function of ours that does just that, and any other name ends the reading before anything is called. What
these functions give takes no state but an array's content and a type's byte order: numpy's own would let a
file set a type's inner marks. Before any of it, the instructions are looked through for those
that make much out of nothing.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DatasetError

_PLAIN_KINDS = "biufcSU"
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_MAX_TUPLES = 10_000
"""An array takes four. Nested deeper than the stack reaches they end the process when they are hashed."""


def read_array_pickle(path: Path) -> Any:
    """What a pickle of dicts, lists, numbers, texts and numpy arrays of plain types holds.

    Raises
    ------
    DatasetError
        The file is missing, is no pickle, or refers to anything else; it is named.
    """
    try:
        with open(path, "rb") as file:
            _look_through(file)
            file.seek(0)
            return _ArrayUnpickler(file, path).load()
    except DatasetError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(f"{path} is missing.", "Give the folder as its makers lay it out.") from error
    except Exception as error:  # a broken pickle raises whatever its instructions run into
        raise DatasetError(
            f"{path} is not a pickle of plain arrays ({type(error).__name__}: {error}).",
            "Get it from its makers again.",
        ) from error


def _look_through(file: Any) -> None:
    """Refuse instructions by which a small file asks for all memory or all of the stack."""
    tuples = 0
    for opcode, argument, place in pickletools.genops(file):
        # Each value that is put away takes a byte at least, and Python makes room for as many as are named.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > (place or 0):
            raise ValueError(f"value {argument} is put away after {place} bytes")
        tuples += opcode.name.startswith("TUPLE")
    if tuples > _MAX_TUPLES:
        raise ValueError(f"{tuples} tuples")


class _Call:
    """A function of ours as a file may call it; it can do nothing else with it."""

    __slots__ = ("_do",)

    def __init__(self, do: Callable[..., Any]) -> None:
        self._do = do

    def __call__(self, *arguments: Any) -> Any:
        return self._do(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("an instruction that changes a function")


class _Type:
    """A type of numbers or texts. Of the state that a file gives it only the byte order is taken."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        _, order, *inner, size, _, _ = state[:8]
        if inner != [None, None, None] or size not in (-1, self.dtype.itemsize):
            raise ValueError("a type that is not built as numpy builds it")
        self.dtype = self.dtype.newbyteorder(order)


class _PlainArray(np.ndarray):
    """An array whose state holds one of our types."""

    def __setstate__(self, state: Any) -> None:
        version, shape, kind, order, content = state
        if not isinstance(kind, _Type):
            raise ValueError("an array of no plain type")
        super().__setstate__((version, shape, kind.dtype, order, content))


_ARRAY = _Call(lambda: None)
"""Stands for ``numpy.ndarray`` as an argument."""


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")  # as numpy asks for what Python 2 wrote
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): _ARRAY,
            ("numpy", "dtype"): _Call(_make_type),
            ("_codecs", "encode"): _Call(_encode),
            ("__builtin__", "bytes"): _Call(_make_no_bytes),
            ("builtins", "bytes"): _Call(_make_no_bytes),
            **dict.fromkeys(((room, "_reconstruct") for room in _NUMPY), _Call(_make_empty)),
            **dict.fromkeys(((room, "scalar") for room in _NUMPY), _Call(_make_number)),
            **dict.fromkeys(((room, "_frombuffer") for room in _NUMERIC), _Call(_make_array)),
        }
        if (module, name) not in known:
            raise DatasetError(
                f"{self._path} refers to {module}.{name}, which arrays do not need; it is not opened.",
                "Get it from its makers again.",
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise DatasetError(f"{self._path} refers to another file; it is not opened.")


def _make_type(code: Any, *flags: Any) -> _Type:
    found = np.dtype(code) if isinstance(code, str) else None
    # Elements of no size would let an array of any length come from nothing.
    if found is None or found.kind not in _PLAIN_KINDS or not found.itemsize:
        raise ValueError(f"an array of type {code!r}")
    return _Type(found)


def _make_empty(kind: Any, shape: Any, code: Any) -> _PlainArray:
    """An array without content; the pickle's next instruction sets its state, which numpy checks."""
    if kind is not _ARRAY or tuple(shape) != (0,):
        raise ValueError("an array that is not built as numpy builds it")
    return _PlainArray(0, dtype=np.int8)


def _make_number(kind: Any, content: Any) -> Any:
    if not isinstance(kind, _Type):
        raise ValueError("a number of no plain type")
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, dtype=kind.dtype, count=1)[0]


def _make_array(content: Any, kind: Any, shape: Any, order: Any, *more: Any) -> np.ndarray:
    if not isinstance(kind, _Type):
        raise ValueError("an array of no plain type")
    return np.frombuffer(content, dtype=kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _make_no_bytes() -> bytes:
    """How an array without elements is written by protocols before 3; with arguments it fails."""
    return b""


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes for protocols before 3; no other codec is needed."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"text in {encoding!r}")
    return text.encode("latin1")
