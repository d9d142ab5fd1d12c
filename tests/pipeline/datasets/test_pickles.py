from __future__ import annotations

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline.datasets.pickles import read_array_pickle
from pipeline.errors import DatasetError


def read_bytes(content: bytes, tmp_path: Path):
    path = tmp_path / "some.pkl"
    path.write_bytes(content)
    return read_array_pickle(path)


@settings(max_examples=60, deadline=None)
@given(
    array=npst.arrays(
        dtype=st.sampled_from([np.dtype(t) for t in ("<f4", ">f8", "<i2", "u1", "?", "<U3", "S2", "<c8")]),
        shape=npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    protocol=st.integers(0, 5),
    transposed=st.booleans(),
)
def test_any_plain_array_comes_back_by_every_protocol(tmp_path_factory, array, protocol, transposed):
    array = array.T if transposed else array
    found = read_bytes(pickle.dumps({"a": [array]}, protocol), tmp_path_factory.mktemp("p"))["a"][0]
    assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")  # numpy itself swaps some
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_texts_and_what_numpy_1_wrote_are_read(tmp_path, protocol):
    value = {"n": np.float32(1.5), "t": "Für Elise", "a": np.arange(6.0).reshape(2, 3), "none": None, "k": 3}
    content = pickle.dumps(value, protocol)
    # The older numpy's names are shorter; where they are counted, the count is rewritten as well.
    for room in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + room, b"numpy.core." + room
        content = content.replace(bytes([len(new)]) + new, bytes([len(old)]) + old)
        content = content.replace(b"c" + new, b"c" + old)
    content = b"".join(_without_frames(content))
    assert b"numpy._core" not in content
    found = read_bytes(content, tmp_path)
    assert (found["n"], found["t"], found["none"], found["k"]) == (1.5, "Für Elise", None, 3)
    np.testing.assert_array_equal(found["a"], value["a"])


def _without_frames(content: bytes):
    """Frames carry lengths, which the rewriting has changed; they are optional."""
    if not content.startswith(b"\x80") or content[1] < 4:
        yield content
        return
    yield content[:2]
    assert content[2:3] == b"\x95"
    yield content[11:]


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_something_is_refused_by_name_and_runs_nothing(
    tmp_path, monkeypatch, protocol
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"some\.pkl refers to "):
        read_bytes(pickle.dumps({"left": Evil()}, protocol), tmp_path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(np.array([{"a": 1}], dtype=object)),
        pickle.dumps(np.zeros(2, dtype=[("x", "f4")])),
        b"cos\nsystem\n(S'echo'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c_codecs\nencode\n(V00\nVhex\ntR.",
        b"cnumpy\nndarray\n(I3\ntR.",
        b"Pfile\n.",
        b"not a pickle",
        b"",
    ],
)
def test_anything_but_plain_arrays_is_refused_with_the_files_name(tmp_path, content):
    with pytest.raises(DatasetError, match=r"some\.pkl"):
        read_bytes(content, tmp_path)


def short(number: int) -> bytes:
    return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)


def name(module: str, function: str) -> bytes:
    return f"c{module}\n{function}\n".encode()


def kind(code: str, state: bytes = b"") -> bytes:
    return name("numpy", "dtype") + b"V" + code.encode() + b"\n\x89\x88\x87R" + state


def array(shape: int, of: bytes, content: bytes) -> bytes:
    """A pickle of an array, its parts as they come: numpy's own way of building one."""
    start = name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray")
    state = b"(" + short(1) + short(shape) + b"\x85" + of + b"\x89" + content + b"tb"
    return b"\x80\x03" + start + short(0) + b"\x85C\x01b\x87R" + state + b"."


def type_state(size: int, flags: int) -> bytes:
    return b"(" + short(3) + b"V<\nNNN" + short(size) + short(-1) + short(flags) + b"tb"


def test_a_type_keeps_the_inner_marks_that_numpy_gave_it(tmp_path):
    """With the mark of counted references numpy would free what the file's numbers point to."""
    of = kind("i8", type_state(-1, 0x3F))
    found = read_bytes(array(2, of, b"C\x10" + bytes(16)), tmp_path)
    assert found.dtype.flags == np.dtype("i8").flags
    np.testing.assert_array_equal(found, [0, 0])


@pytest.mark.parametrize(
    "content",
    [
        array(10**12, kind("S0"), b"C\x00"),
        array(10**12, kind("S8", type_state(0, 0)), b"C\x00"),
        array(10**12, kind("f8"), b"C\x00"),
        array(2, kind("i8", type_state(-1, 0x3F)), b"]"),
        b"\x80\x03Nr" + (2**32 - 1).to_bytes(4, "little") + b".",
        b"\x80\x03}N" + b"\x85" * 1_000_000 + b"Ns.",
        b"\x80\x04\x8e" + (10**12).to_bytes(8, "little") + b".",
    ],
    ids=["no size", "size taken", "no content", "objects", "far memo", "deep key", "long bytes"],
)
def test_a_small_file_cannot_ask_for_all_memory_or_all_of_the_stack(tmp_path, content):
    with pytest.raises(DatasetError, match=r"some\.pkl"):
        np.asarray(read_bytes(content, tmp_path), dtype=float)


def test_a_file_cannot_change_the_functions_that_read_it(tmp_path):
    state = b"N}V__defaults__\n" + short(1) + b"\x85s\x86b"
    with pytest.raises(DatasetError, match="changes a function"):
        read_bytes(b"\x80\x03" + name("builtins", "bytes") + state + b".", tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.pkl is missing"):
        read_array_pickle(tmp_path / "nowhere.pkl")


def test_the_test_covers_the_names_that_this_numpy_writes():
    names = {
        arg
        for protocol in (0, 2, 4, 5)
        for _, arg, _ in pickletools.genops(pickle.dumps([np.arange(3.0), np.float32(1)], protocol))
        if isinstance(arg, str) and "multiarray" in arg
    }
    assert names
    assert all("numpy._core" in name for name in names)
