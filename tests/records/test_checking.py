"""What reads a file that was sent has little memory, nothing to write with, no network, and two cores."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import metadata
from records import checking
from records.checking import Bare, Finding, ToStrip, strip
from settings import ROOT
from tests.pipeline.test_metadata import CANARY, film, take

TRY = """
import json, os, socket, sys
from records.checking import _limit
_limit()
done = {"cores": len(os.sched_getaffinity(0)), "files": 0}
try:
    len(bytearray(1_000_000_000))
    done["memory"] = "enough"
except MemoryError:
    done["memory"] = "refused"
try:
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(2**23))
    done["write"] = "enough"
except OSError:
    done["write"] = "refused"
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=2)
    done["network"] = "reached"
except OSError:
    done["network"] = "refused"
print(json.dumps(done))
"""


def test_a_reader_can_neither_fill_the_memory_nor_the_disk_nor_call_anybody(tmp_path: Path) -> None:
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        trap.listen()
        arguments = [str(tmp_path / "out"), str(trap.getsockname()[1])]
        child = subprocess.run(
            [sys.executable, "-c", TRY, *arguments], cwd=ROOT, capture_output=True, check=True
        )
    done = json.loads(child.stdout)
    assert (done["memory"], done["write"]) == ("refused", "refused")
    assert done["cores"] <= 2
    asked = [sys.executable, "-c", "from records.checking import cut_network; print(cut_network())"]
    may_cut = subprocess.run(asked, cwd=ROOT, capture_output=True, check=True).stdout.strip() == b"True"
    assert (done["network"] == "refused") is may_cut


def test_files_are_stripped_in_one_process_and_what_cannot_be_is_said_by_its_name(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    take(tmp_path / "b.jpg")
    (tmp_path / "c.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(500))
    names = ("a.mp4", "b.jpg", "c.mp4")
    files = [ToStrip(tmp_path / name, tmp_path / f"bare-{name}", f"My {name}") for name in names]
    found = strip(files)
    assert isinstance(found[0], Bare)
    assert isinstance(found[1], Bare)
    assert isinstance(found[2], Finding)
    assert "My c.mp4" in found[2].what
    assert str(tmp_path) not in found[2].what + found[2].advice
    for name in ("a.mp4", "b.jpg"):
        assert CANARY.encode() not in (tmp_path / f"bare-{name}").read_bytes()


def test_a_reader_that_dies_at_a_file_costs_that_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    good = {"removed": [], "sha256_sent": "1", "sha256_kept": "2", "is_truncated": False}

    def die(*arguments: str, read_bytes: int = 0) -> subprocess.CompletedProcess[bytes]:
        sources = arguments[2::2]
        lines = []
        for source in sources:
            if Path(source).name == "b.jpg":
                break
            lines.append(json.dumps(good).encode())
        return subprocess.CompletedProcess([], -11, b"\n".join(lines), b"")

    monkeypatch.setattr(checking, "_work_apart", die)
    (tmp_path / ".unfinished-out-b.jpg").write_bytes(b"half")
    found = strip([ToStrip(tmp_path / name, tmp_path / f"out-{name}", name) for name in names])
    assert [type(one) for one in found] == [Bare, Finding, Bare]
    assert "b.jpg could not be read to its end" in found[1].what  # type: ignore[union-attr]


def test_a_name_that_begins_as_an_option_is_a_name(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    look = checking.look_into(path, "--help.mp4", tmp_path / "kept", was_sent=True)
    assert look.findings[0].what.startswith("--help.mp4: 1.")


def test_a_full_disk_is_the_servers_fault_and_its_folders_are_not_named(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    with pytest.raises(OSError, match="No space left"):
        metadata._copy_tracks(tmp_path / "a.mp4", Path("/dev/full"))
    (tmp_path / "file").write_bytes(b"")
    for name in ("a.mp4", "b.jpg"):
        if name == "b.jpg":
            take(tmp_path / name)
        said = checking._strip_one(ToStrip(tmp_path / name, tmp_path / "file" / "in a file", name))
        assert said.keys() == {"unwritten"}
        assert str(tmp_path) not in said["unwritten"]
