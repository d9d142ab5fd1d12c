"""A long file over a connection that is cut again and again: whether it arrives whole, and what it costs.

    python -m benchmarks.upload [--gigabytes 2] [--cuts 10] [--gunicorn] [--folder FOLDER]

A site of its own is started on a free port, on an empty data folder (below FOLDER, by default the machine's
temporary one). The file is made as it is sent, in pieces as the page sends them (64 MiB); at places drawn by
chance the connection is dropped in the middle of a piece, and the sender asks how far the file is and goes
on. The floor is writing the same bytes to the same disk. Memory is that of the server and its children,
asked for twenty times a second, against what it was after some small files.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from settings import ROOT

MIB = 2**20
PIECE = 64 * MIB
WARM_UP = 64 * MIB
WARM_UPS = 8


def make_block(index: int) -> bytes:
    """The file's bytes from ``index`` MiB on: the same each time, and not to be compressed."""
    return random.Random(index).randbytes(MIB)


def read_part(start: int, stop: int) -> Iterator[bytes]:
    """The file's bytes from ``start`` to ``stop``."""
    while start < stop:
        inside = start % MIB
        part = make_block(start // MIB)[inside : inside + stop - start]
        yield part
        start += len(part)


class Sender:
    """What the browser does: tus 1.0.0 over a connection that may be cut at any byte."""

    def __init__(self, port: int) -> None:
        self.port = port
        answer, _ = self._ask("GET", "/", {"Accept": "text/html"})
        cookie = answer.getheader("Set-Cookie") or ""
        self.cookie = cookie.split(";")[0]
        self.headers = {"X-CSRFToken": self.cookie.partition("=")[2], "Tus-Resumable": "1.0.0"}

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def ask(self, method: str, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        """A request with nothing in it, as a page of the site sends it."""
        return self._ask(method, path, {"Cookie": self.cookie, **self.headers, **headers})

    def begin(self, name: str, length: int) -> str:
        """Announce a file; where to send it."""
        import json

        draft = json.loads(self.ask("POST", "/upload")[1])["draft"]
        meta = f"filename {base64.b64encode(name.encode()).decode()}"
        answer, body = self.ask(
            "POST", f"/upload/{draft}", **{"Upload-Length": str(length), "Upload-Metadata": meta}
        )
        assert answer.status == 201, body
        return str(answer.getheader("Location"))

    def offset(self, address: str) -> int:
        """How far the file is."""
        answer, body = self.ask("HEAD", address)
        assert answer.status == 200, body
        return int(answer.getheader("Upload-Offset") or -1)

    def send(self, address: str, start: int, stop: int, cut: int | None) -> None:
        """Send a piece; at byte ``cut`` of the file the connection is dropped without a word."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=120)
        head = {
            "Host": f"127.0.0.1:{self.port}", "Cookie": self.cookie, **self.headers, "Connection": "close",
            "Content-Type": "application/offset+octet-stream", "Upload-Offset": str(start),
            "Content-Length": str(stop - start),
        }  # fmt: skip
        lines = "".join(f"{key}: {value}\r\n" for key, value in head.items())
        connection.sendall(f"PATCH {address} HTTP/1.1\r\n{lines}\r\n".encode())
        for part in read_part(start, min(stop, cut) if cut else stop):
            connection.sendall(part)
        if cut:
            # No farewell: the other side learns of it by a reset, as of a cable that is pulled.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return
        answer = connection.recv(4096)
        connection.close()
        assert b" 204 " in answer.split(b"\r\n")[0], answer

    def send_all(self, address: str, length: int, cuts: list[int]) -> tuple[int, int]:
        """The whole file; how many bytes had to be sent again, and how often it was cut."""
        waiting, sent_again, made = sorted(cuts), 0, 0
        while (start := self.offset(address)) < length:
            while waiting and waiting[0] <= start:
                waiting.pop(0)
            stop = min(start + PIECE, length)
            cut = waiting[0] if waiting and waiting[0] < stop else None
            self.send(address, start, stop, cut)
            if cut:
                made += 1
                waiting.pop(0)
                sent_again += cut - self._settled(address)
        return sent_again, made

    def _settled(self, address: str) -> int:
        """How far the file is once the server has noticed that the connection is gone."""
        before = -1
        while (now := self.offset(address)) != before:
            before = now
            time.sleep(0.2)
        return now


@dataclass
class Memory:
    """What the server and its children hold in memory, by and by."""

    process: psutil.Process
    most: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def now(self) -> int:
        """Resident bytes now."""
        total = 0
        for each in [self.process, *self.process.children(recursive=True)]:
            try:
                total += each.memory_info().rss
            except psutil.Error:
                continue
        return total

    def watch(self) -> None:
        """Keep the most until `stop`."""
        while not self._stop.wait(0.05):
            self.most = max(self.most, self.now())

    def stop(self) -> None:
        """No more."""
        self._stop.set()


def serve(data: Path, gunicorn: bool) -> tuple[subprocess.Popen[bytes], int]:
    """A site on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"REDYS_DATA_DIR": str(data), "REDYS_PORT": str(port), "REDYS_HOST": "127.0.0.1"}
    command = [sys.executable, "app.py"]
    if gunicorn:
        options = ["--worker-class", "gthread", "--workers", "2", "--threads", "16"]
        command = [sys.executable, "-m", "gunicorn", "app:server", "--bind", f"127.0.0.1:{port}", *options]
    with open(data / "server.log", "wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=os.environ | own, stdout=log, stderr=log)
    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return server, port
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The site did not start.")


def write_plainly(path: Path, length: int) -> float:
    """The floor: seconds to make the same bytes and write them to the same disk."""
    begun = time.perf_counter()
    with open(path, "wb") as file:
        for part in read_part(0, length):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - begun
    path.unlink()
    return seconds


def digest(parts: Iterator[bytes]) -> str:
    """SHA-256 of bytes in parts."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def main() -> None:
    """Send, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--gunicorn", action="store_true", help="two workers, as in the image")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    length = int(options.gigabytes * 2**30)
    cuts = sorted(random.Random(7).sample(range(1, length), options.cuts))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        data = Path(folder)
        floor_s = write_plainly(data / "floor", length)
        server, port = serve(data, options.gunicorn)
        try:
            report(data, Sender(port), Memory(psutil.Process(server.pid)), length, cuts, floor_s)
        finally:
            server.terminate()
            server.wait(timeout=30)


def report(data: Path, sender: Sender, memory: Memory, length: int, cuts: list[int], floor_s: float) -> None:
    """Send the file, and print what became of it."""
    for number in range(WARM_UPS):  # each of several workers loads what it needs at its first
        sender.send_all(sender.begin(f"first{number}.mp4", WARM_UP), WARM_UP, [])
    before = memory.now()
    watching = threading.Thread(target=memory.watch)
    watching.start()
    begun = time.perf_counter()
    address = sender.begin("front.mp4", length)
    sent_again, made = sender.send_all(address, length, cuts)
    seconds = time.perf_counter() - begun
    memory.stop()
    watching.join()
    part = next(data.glob(f"incoming/*/{address.rsplit('/', 1)[1]}.part"))
    with open(part, "rb") as file:
        arrived = digest(iter(lambda: file.read(MIB), b""))
    same = arrived == digest(read_part(0, length))
    rate, floor = length / seconds / 1e6, length / floor_s / 1e6
    whole = "the same" if same else "DIFFERS"
    print(f"{length / 2**30:.2f} GiB, cut {made} times: SHA-256 {whole} ({arrived[:16]})")
    print(f"sent again after cuts: {sent_again / 1e6:.1f} MB")
    print(f"{rate:.0f} MB/s; making and writing the bytes alone {floor:.0f} MB/s ({rate / floor:.2f})")
    print(f"server memory: {before / 1e6:.0f} MB before, at most {memory.most / 1e6:.0f} MB while sending "
          f"({(memory.most - before) / 1e6:+.1f} MB)")  # fmt: skip
    if not same or made != len(cuts):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
