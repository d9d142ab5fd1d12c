"""A site for benchmarks that break things: served as the image serves it, asked as a browser asks it, killed.

`Served` starts and stops it, `Asker` is somebody who uses it over HTTP (uploads, callbacks, pages), `Cluster`
is a PostgreSQL of its own that may be stopped.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from settings import ROOT, Settings

START_S = 90.0
CLEARED = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PROMETHEUS_MULTIPROC_DIR")
OPEN = {"REDYS_HOST": "0.0.0.0", "REDYS_SECOND_FACTOR": "optional"}
"""Surroundings of a site that others sign in to."""

STORE = {"store_url": "REDYS_STORE_URL", "store_endpoint": "REDYS_STORE_ENDPOINT", "host": "REDYS_HOST"}
PIECE_BYTES = 512 * 1024

Server = Literal["gunicorn", "app.py"]


def find_port(ports: range | None = None) -> int:
    """A free port, of these if some are given."""
    for port in ports or [0]:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise SystemExit(f"None of the ports {ports} is free.")


class Served:
    """The site on a data folder.

    Parameters
    ----------
    data : Path
        Its data folder.
    more : mapping of str, optional
        Further surroundings, such as DATABASE_URL.
    before : sequence of str
        What its command is put behind, such as a program that takes rights away.
    port : int
        Where it listens; 0 takes a free one.
    """

    def __init__(
        self, data: Path, more: Mapping[str, str] | None = None, before: Sequence[str] = (), port: int = 0
    ) -> None:
        self.data, self.before = data.resolve(), list(before)
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = port or find_port()
        kept = {k: v for k, v in os.environ.items() if k not in CLEARED and not k.startswith("REDYS_")}
        own = {"REDYS_DATA_DIR": str(self.data), "REDYS_PORT": str(self.port), "OMP_NUM_THREADS": "1"}
        self.environment = kept | own | dict(more or {})
        self.log = self.data.with_name(f"{self.data.name}.server.log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """The settings that the site sees, for a look into its records from outside."""
        said = {name: self.environment[name] for name in CLEARED if name in self.environment}
        said |= {key: self.environment[name] for key, name in STORE.items() if name in self.environment}
        return Settings(data_dir=self.data, _env_file=None, **said)  # type: ignore[call-arg,arg-type]

    @contextlib.contextmanager
    def serving(self, workers: int) -> Iterator[Path]:
        """Serve by so many processes of gunicorn, and stop at the end; gives the log."""
        self.start(workers=workers)
        try:
            yield self.log
        finally:
            self.stop()

    def start(self, server: Server = "gunicorn", workers: int = 2) -> float:
        """Serve, and wait until somebody listens; the seconds that it took."""
        command = [sys.executable, "app.py"]
        if server == "gunicorn":
            options = ["--workers", str(workers), "--worker-class", "gthread", "--threads", "16"]
            bind = ["--bind", f"127.0.0.1:{self.port}"]
            command = [sys.executable, "-m", "gunicorn", "app:server", *bind, *options]
        begun = time.monotonic()
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [*self.before, *command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while time.monotonic() - begun < START_S:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("GET", "/health")
                connection.getresponse().read()
                return time.monotonic() - begun
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"The site did not start: {self.log.read_text()[-2000:]}")

    def processes(self) -> list[psutil.Process]:
        """Every living process of this data folder: servers, supervisors, pipelines, what they started."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get("REDYS_DATA_DIR") == str(self.data)
                if mine and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def find(self, *words: str) -> list[psutil.Process]:
        """Those of its processes whose command has all of these words."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                command = process.cmdline()
                if all(word in command or any(word in each for each in command) for word in words):
                    found.append(process)
        return found

    def kill(self) -> int:
        """Kill -9 everything at once, as a power cut does; gives how many processes there were."""
        killed = 0
        while there := self.processes():
            for process in there:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGSTOP)  # none shall see another's end and act on it
            for process in there:
                with contextlib.suppress(psutil.Error):
                    process.kill()
                    killed += 1
            psutil.wait_procs(there, timeout=5)
        self._reap()
        return killed

    def kill_one(self, process: psutil.Process) -> None:
        """Kill -9 one process."""
        with contextlib.suppress(psutil.Error):
            process.kill()
            process.wait(timeout=5)
        self._reap()

    @property
    def is_up(self) -> bool:
        """Whether its first process lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it as a person would, and whatever of it is left after that."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=40)
        self.kill()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.poll()


@contextlib.contextmanager
def own_data() -> Iterator[Path]:
    """A data folder that is gone at the end, for this process and for sites that others sign in to (`OPEN`).

    This process's own surroundings are changed, since it plants what the site shows.
    """
    with tempfile.TemporaryDirectory(prefix="redys-served-") as name:
        data = Path(name) / "data"
        for unwanted in (*CLEARED, "REDYS_SESSION_FOLDERS"):
            os.environ.pop(unwanted, None)
        os.environ |= {"REDYS_DATA_DIR": str(data), **OPEN}
        yield data


# --- somebody who uses it ------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What the site said.

    Attributes
    ----------
    status : int
    text : str
    seconds : float
    headers : mapping
    """

    status: int
    text: str
    seconds: float
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        with contextlib.suppress(ValueError):
            return json.loads(self.text)
        return None


class Asker:
    """A browser's requests without a browser; each raises OSError or HTTPException when it is cut off."""

    def __init__(self, port: int, timeout_s: float = 60.0) -> None:
        self.port, self.timeout_s = port, timeout_s
        self.cookies: dict[str, str] = {}
        self._callbacks: list[dict[str, Any]] = []

    @property
    def token(self) -> str:
        """What a script of the page would say; the cookie's name has a prefix where people sign in."""
        return next((value for name, value in self.cookies.items() if name.endswith("_csrf_token")), "")

    def ask(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
        """One request, with cookies and token as a page of the site sends them."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
        sent = {"Host": f"127.0.0.1:{self.port}", "X-CSRFToken": self.token}
        sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request(method, path, body, {**sent, **{_header(k): v for k, v in headers.items()}})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        return Answer(answer.status, text, time.monotonic() - begun, dict(answer.headers))

    def open(self, path: str = "/") -> Answer:
        """A page's shell, as a browser opens an address."""
        return self.ask("GET", path, Accept="text/html")

    def sign_in(self, name: str, password: str) -> Answer:
        """Sign in by the form."""
        self.open("/sign-in")
        form = f"csrf_token={self.token}&name={name}&password={password.replace(' ', '+')}"
        return self.ask("POST", "/sign-in", form, Content_Type="application/x-www-form-urlencoded")

    def learn(self) -> None:
        """Read what callbacks there are."""
        self._callbacks = self.ask("GET", "/_dash-dependencies").json

    def fire(self, trigger: str, values: Mapping[str, Any], output: str = "") -> Answer:
        """What the browser sends when a property changes.

        Parameters
        ----------
        trigger : str
            "new-check.n_clicks".
        values : mapping
            Of inputs and states by the same names; what is not named is null.
        output : str
            A part of the callback's output, where several listen.
        """
        for callback in self._callbacks:
            names = [f"{each['id']}.{each['property']}" for each in callback["inputs"]]
            if trigger in names and output in callback["output"] and not callback.get("clientside_function"):
                return self._post(callback, trigger, values)
        raise LookupError(f"No callback listens to {trigger}.")

    def show(self, path: str) -> Answer:
        """What a page shows: the callback that draws it."""
        values = {"_pages_location.pathname": path, "_pages_location.search": ""}
        return self.fire("_pages_location.pathname", values, "_pages_content")

    def _post(self, callback: Mapping[str, Any], trigger: str, values: Mapping[str, Any]) -> Answer:
        def fill(each: Mapping[str, str]) -> dict[str, Any]:
            return {**each, "value": values.get(f"{each['id']}.{each['property']}")}

        names = callback["output"]
        many = names.startswith("..")
        outputs = [_output(name) for name in (names[2:-2].split("...") if many else [names])]
        body = {
            "output": names,
            "outputs": outputs if many else outputs[0],
            "inputs": [fill(each) for each in callback["inputs"]],
            "changedPropIds": [trigger],
            "state": [fill(each) for each in callback["state"]],
        }
        return self.ask("POST", "/_dash-update-component", json.dumps(body), Content_Type="application/json")

    # --- uploads -----------------------------------------------------------------------------------

    def begin_draft(self, kind: str = "video") -> str:
        """A new draft."""
        answer = self.ask("POST", f"/upload?kind={kind}")
        return str(_expect(answer, 201).json["draft"])

    def begin_file(self, draft: str, name: str, length: int) -> str:
        """Announce a file; where it is to be sent."""
        meta = f"filename {base64.b64encode(name.encode()).decode()}"
        answer = self.ask(
            "POST", f"/upload/{draft}", Tus_Resumable="1.0.0", Upload_Length=str(length), Upload_Metadata=meta
        )
        return _expect(answer, 201).headers["Location"]

    def find_offset(self, address: str) -> int:
        """How far a file is."""
        answer = self.ask("HEAD", address, Tus_Resumable="1.0.0")
        return int(_expect(answer, 200).headers["Upload-Offset"])

    def send_piece(self, address: str, offset: int, piece: bytes) -> Answer:
        """Send a piece of a file."""
        return self.ask(
            "PATCH", address, piece, Tus_Resumable="1.0.0", Upload_Offset=str(offset),
            Content_Type="application/offset+octet-stream",
        )  # fmt: skip


def _header(name: str) -> str:
    return name.replace("_", "-")


def _output(name: str) -> dict[str, Any]:
    owner, _, prop = name.rpartition(".")
    return {"id": json.loads(owner) if owner.startswith("{") else owner, "property": prop}


def _expect(answer: Answer, status: int) -> Answer:
    if answer.status != status:
        raise UnexpectedAnswer(f"{answer.status}: {answer.text[:300]}")
    return answer


class UnexpectedAnswer(Exception):
    """The site answered, and otherwise than it should."""


# --- a PostgreSQL of its own -----------------------------------------------------------------------


class Cluster:
    """A PostgreSQL cluster in a folder of its own, which may be stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        found = shutil.which("initdb")
        homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if found is None and not homes:
            raise SystemExit("PostgreSQL's programs are missing (Debian: sudo apt-get install postgresql).")
        self._programs = Path(found).parent if found else homes[-1]
        if os.getuid() == 0:
            who = pwd.getpwnam("postgres")
            os.chown(folder, who.pw_uid, who.pw_gid)
        self._run("initdb", "-D", str(folder / "pg"), "-U", "redys", "-A", "trust", "-E", "UTF8", "-N")

    def _run(self, program: str, *arguments: str) -> None:
        """PostgreSQL refuses to be the machine's administrator."""
        apart: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
        path = shutil.which(program) or str(self._programs / program)
        subprocess.run([path, *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/", **apart)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        log = str(self.folder / "pg.log")
        self._run("pg_ctl", "-D", str(self.folder / "pg"), "-o", options, "-l", log, "-w", "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop it: "immediate" is as a kill, "fast" ends connections."""
        self._run("pg_ctl", "-D", str(self.folder / "pg"), "-m", how, "-w", "stop")

    def make_database(self, name: str, mould: str = "template1") -> str:
        """A database, empty or as another one that nobody is connected to; its address."""
        from sqlalchemy import create_engine, text

        url = f"postgresql+psycopg://redys@127.0.0.1:{self.port}"
        server = create_engine(f"{url}/postgres", isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{mould}"'))
        server.dispose()
        return f"{url}/{name}"


@contextlib.contextmanager
def own_cluster(port: int) -> Iterator[Cluster]:
    """A cluster that is at work, and is stopped and forgotten at the end.

    Its folder lies in the system's own one for what is temporary: PostgreSQL's user cannot enter one of ours.
    """
    with tempfile.TemporaryDirectory(prefix="redys-cluster-") as folder:
        cluster = Cluster(Path(folder), port)
        cluster.start()
        try:
            yield cluster
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                cluster.stop()


def wait_for(condition: Any, seconds: float, every_s: float = 0.1) -> bool:
    """Whether a condition comes to hold within so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(every_s)
    return True


def make_random_file(path: Path, length: int, seed: int) -> Path:
    """A file of bytes drawn by chance."""
    path.write_bytes(random.Random(seed).randbytes(length))
    return path
