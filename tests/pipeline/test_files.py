from __future__ import annotations

import builtins
import errno
import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import files
from pipeline.errors import RunFolderError


def fail_with(code: int):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_under_its_name_alone(tmp_path):
    files.write_bytes(tmp_path / "deep" / "a.bin", b"123")
    assert (tmp_path / "deep" / "a.bin").read_bytes() == b"123"
    assert names(tmp_path / "deep") == ["a.bin"]


def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})

    def write_half() -> None:
        with files.replace_atomically(path) as temporary:
            temporary.write_text("{half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_half()
    assert files.read_json(path) == {"old": 1}
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_said_in_words_and_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "sync.json"
    files.write_json(path, {"old": 1})
    monkeypatch.setattr(os, call, fail_with(errno.ENOSPC))
    with pytest.raises(RunFolderError, match=r"disk is full: sync\.json.*Free some space"):
        files.write_json(path, {"new": 2})
    monkeypatch.undo()
    assert files.read_json(path) == {"old": 1}
    assert names(tmp_path) == ["sync.json"]


def test_a_disk_that_fills_up_while_writing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", fail_with(errno.ENOSPC))
    with pytest.raises(RunFolderError, match="disk is full"):
        files.write_bytes(tmp_path / "a.bin", b"123")
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_under_an_archive_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "hand_right.npz"
    files.write_npz(path, time_s=np.arange(3.0))
    monkeypatch.setattr(np, "savez_compressed", fail_with(errno.ENOSPC))
    with pytest.raises(RunFolderError, match="disk is full"):
        files.write_npz(path, time_s=np.arange(9.0))
    assert files.read_npz(path)["time_s"].shape == (3,)
    assert names(tmp_path) == ["hand_right.npz"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_folder_that_cannot_be_written_is_named_with_advice(tmp_path, monkeypatch, code):
    monkeypatch.setattr(files.tempfile, "mkstemp", fail_with(code))
    with pytest.raises(RunFolderError) as caught:
        files.write_bytes(tmp_path / "a.bin", b"1")
    assert str(tmp_path) in caught.value.what
    assert "--out" in caught.value.advice
    assert names(tmp_path) == []


def test_a_path_below_a_file_is_an_error_in_words(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match=r"could not be written"):
        files.write_bytes(tmp_path / "file" / "a.bin", b"1")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(json_values)
def test_json_comes_back_as_it_went(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_json_of_arrays_has_null_for_what_is_not_measured(tmp_path):
    path = tmp_path / "a.json"
    value = {"x": np.array([1.0, np.nan]), "n": np.int64(3), "inf": float("inf"), "p": Path("a/b"), 4: (1, 2)}
    files.write_json(path, value)
    assert json.loads(path.read_text()) == {"x": [1.0, None], "n": 3, "inf": None, "p": "a/b", "4": [1, 2]}


@pytest.mark.parametrize("text", ["", "{half", '{"a": 1', "\x00", "[" * 100_000])
def test_a_broken_json_file_is_named(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"run\.json cannot be read.*Delete it"):
        files.read_json(tmp_path / "run.json")


def test_what_a_killed_process_was_writing_is_swept_away_and_nothing_else(tmp_path):
    path = tmp_path / "web" / "a.json"
    files.write_json(path, {"whole": 1})
    (tmp_path / ".lock").touch()
    child = os.fork()
    if child == 0:
        with files.replace_atomically(path):
            os._exit(9)
    os.waitpid(child, 0)
    assert len(names(tmp_path / "web")) == 2
    files.remove_unfinished(tmp_path)
    assert names(tmp_path / "web") == ["a.json"]
    assert names(tmp_path) == [".lock", "web"]


def test_a_missing_file_is_named(tmp_path):
    for read in (files.read_json, files.read_npz):
        with pytest.raises(RunFolderError, match=r"a\.x is missing"):
            read(tmp_path / "a.x")


def test_arrays_come_back_as_they_went_and_pickles_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    files.write_npz(path, joints_mm=np.ones((2, 21, 3), np.float32), names=np.array(["a", "bc"]))
    back = files.read_npz(path)
    assert back["joints_mm"].dtype == np.float32
    assert back["names"].tolist() == ["a", "bc"]
    np.savez(path, evil=np.array([builtins.print], dtype=object))
    with pytest.raises(RunFolderError, match="cannot be read"):
        files.read_npz(path)


def test_a_cut_archive_is_named(tmp_path):
    path = tmp_path / "front.npz"
    files.write_npz(path, x=np.random.default_rng(0).standard_normal(1000))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RunFolderError, match=r"front\.npz cannot be read"):
        files.read_npz(path)


def test_hashes_tell_files_and_settings_apart(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.hash_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert files.hash_json({"a": 1, "b": np.float64(2)}) == files.hash_json({"b": 2.0, "a": 1})
    assert files.hash_json({"a": 1}) != files.hash_json({"a": 2})


def test_a_single_array_in_place_of_many_is_refused_in_words(tmp_path):
    path = tmp_path / "views.npz"
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(RunFolderError, match=r"views\.npz cannot be read"):
        files.read_npz(path)


def test_an_archive_with_any_byte_changed_is_read_or_refused_in_words(tmp_path):
    path = tmp_path / "hand.npz"
    files.write_npz(path, joints_mm=np.random.default_rng(0).random((4, 21, 3)))
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            files.read_npz(path)
        except RunFolderError as error:
            refused += "hand.npz" in error.what
    assert refused > 100


def test_an_archive_that_claims_more_than_memory_holds_is_refused_in_words(tmp_path):
    words = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"
    head = b"\x93NUMPY\x01\x00" + len(words).to_bytes(2, "little") + words
    with zipfile.ZipFile(tmp_path / "hand.npz", "w") as archive:
        archive.writestr("joints_mm.npy", head)
    with pytest.raises(RunFolderError, match=r"hand\.npz cannot be read"):
        files.read_npz(tmp_path / "hand.npz")
