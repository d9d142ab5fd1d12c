"""Fuzzed requests to a served site: no answer of 5xx, nothing that the table of roles forbids.

    python -m benchmarks.fuzz --requests 10000 [--seed 1] [--data DATA]

A site of its own with sign-in is served by gunicorn on this computer. Nobody, a link's guest and each role
send seeded requests: every route and every callback, right and wrong in method, address, headers, body,
cookies, token and origin. What counts as a fault:

- an answer of 5xx, none within 10 s, or a callback that says it met a fault of the program;
- a bypass: 2xx for what the table forbids or without a token, a word that was planted in what the role may
  not see, or a change in a table that the role may not change.

The server's own 501 for a transfer coding that is none is counted beside. The worked recordings of a data
folder (`make demo`) stand behind the pages; ends with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import email
import gzip
import json
import random
import re
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, cast

from benchmarks.dashboard_site import find_worked
from benchmarks.served import OPEN, Served, own_data
from records.rows import Role
from tests.records.site import page_body

PASSWORD = "a long enough sentence"
HOST = "redys.example"
LATE_S = 10.0
FAULT = b"This is a fault of the program."
ROLES: tuple[Role, ...] = ("viewer", "researcher", "administrator", "clinician")
SHARES = {
    "nobody": 0.15,
    "guest": 0.1,
    "viewer": 0.15,
    "researcher": 0.15,
    "administrator": 0.15,
    "clinician": 0.3,
}
"""Who sends how much of it."""

MAY_CHANGE = {
    "nobody": {"audit_event"},
    "guest": {"audit_event", "share_link", "share_opening"},
    "viewer": {"audit_event", "sign_in"},
    "researcher": {"audit_event", "sign_in"},
    "administrator": {
        "audit_event",
        "user_account",
        "sign_in",
        "recording",
        "run",
        "share_link",
        "share_opening",
        "subject",
        "visit",
        "mark",
        "correction",
        "clinical_score",
        "rig",
        "retention",
    },
    "clinician": None,
}
"""Tables that may differ after a role's requests; None = all. An administrator purges and erases."""


@dataclass
class Answer:
    """What came back; status 0 = nothing sensible."""

    status: int
    headers: Message
    body: bytes
    seconds: float


@dataclass
class Ask:
    """A request, and what it must not come to."""

    what: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    forbidden: bool
    may_show: frozenset[str] = frozenset()


@dataclass
class Found:
    """What went wrong with a role's requests, and how many answers there were of each status."""

    faults: list[str] = field(default_factory=list)
    bypasses: list[str] = field(default_factory=list)
    statuses: collections.Counter[str] = field(default_factory=collections.Counter)
    slowest_s: float = 0.0


# --- the site ------------------------------------------------------------------------------------


@dataclass
class World:
    """What is on the site: ids by kind, planted words by who must not see them, states of its pages."""

    port: int
    folder: Path
    ids: dict[str, list[str]]
    canaries: dict[str, str]
    token: str = ""
    states: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def plant(data: Path, folder: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Recordings to be seen, in the trash and erased, each with a word of its own in its free text."""
    from records import get_records

    records = get_records()
    for role in ROLES:
        records.users.add(role, PASSWORD, role)
    ids: dict[str, list[str]] = collections.defaultdict(list)
    canaries: dict[str, str] = {}
    worked = find_worked(data)
    for number, kind in enumerate(("seen", "seen", "trashed", "erased")):
        session, run = worked[number % len(worked)]
        word = canaries.setdefault(kind, f"Canary{kind}{random.Random(number).getrandbits(64):016x}")
        own_session, own_run = folder / f"session-{number}", folder / f"run-{number}"
        shutil.copytree(session, own_session, ignore=shutil.ignore_patterns("calibration", "truth.*"))
        shutil.copytree(run, own_run)
        toml = own_session / "session.toml"
        toml.write_text(re.sub(r'subject = ".*"', f'subject = "{word}"', toml.read_text()))
        summary = own_run / "summary.json"
        summary.write_text(json.dumps(json.loads(summary.read_text()) | {"subject": word}))
        recording = records.add_recording(own_session, f"{word}-title")
        added = records.add_finished_run(recording.id, own_run)
        records.marks.add(recording.id, "note", 1.0, text=f"{word}-note", actor="clinician")
        ids["recording"].append(recording.id)
        ids["run"].append(added.id)
        ids["subject"].append(recording.subject_id)
        if kind == "trashed":
            records.retention.trash(recording.id)
        if kind == "erased":
            records.retention.erase_subject(word, "command")
    records.list_recordings()  # fills in what pages would
    ids["user"] = [user.id for user in records.users.list()]
    return ids, canaries


def share(world: World) -> str:
    """A fresh link of a clinician's to the first recording; its token."""
    from records import get_records

    records = get_records()
    owner = next(user.id for user in records.users.list() if user.name == "clinician")
    row, token = records.shares.create([world.ids["recording"][0]], ["pseudonym"], actor=owner)
    records.shares.wait(row.id, 120)
    world.ids["link"].append(row.id)
    return token


def renew(world: World) -> None:
    """Everybody as at the start: a role may have been disabled by an administrator's requests."""
    from records import get_records

    records = get_records()
    for role in ROLES:
        user = records.users.add(role, PASSWORD, role)
        if user.disabled:
            records.users.set_disabled(user.id, False, "command")
        if user.has_totp:
            records.second_factor.remove(user.id, "command")


def exchange(port: int, raw: bytes) -> Answer:
    """One request over a connection of its own; status 0 where nothing sensible came back."""
    begun = time.perf_counter()
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=LATE_S) as line:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                line.sendall(raw)
                line.shutdown(socket.SHUT_WR)  # a body that says it is longer than it is ends here
            with contextlib.suppress(ConnectionResetError):
                while block := line.recv(1 << 16):
                    received += block
                    if len(received) > 64 << 20:
                        break
    except OSError:
        pass
    seconds = time.perf_counter() - begun
    head, _, body = received.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    headers = email.message_from_string("\n".join(lines[1:]))
    if headers.get("Content-Encoding") == "gzip":
        with contextlib.suppress(OSError, EOFError):
            body = gzip.decompress(body)
    return Answer(status, headers, body, seconds)


# --- who asks ------------------------------------------------------------------------------------


class Caller:
    """Somebody with a browser: cookies, and the token that a page's script would say."""

    def __init__(self, world: World, role: str) -> None:
        self.world, self.role = world, role
        self.cookies: dict[str, str] = {}
        self._lock = threading.Lock()

    def enter(self, stale: dict[str, str] | None = None) -> None:
        """Sign in, or open the link, or look at the door; once where several found the same cookies stale."""
        with self._lock:
            if stale is not None and stale is not self.cookies:
                return
            fresh = Caller(self.world, self.role)
            fresh._take(fresh.send("GET", "/sign-in"))
            if self.role in ROLES:
                fresh._sign_in()
            if self.role == "guest":
                body = json.dumps({"token": self.world.token}).encode()
                headers = [("Content-Type", "application/json"), ("X-CSRFToken", fresh.token)]
                answer = fresh.send("POST", "/shared/open", headers, body)
                if answer.status != 200:
                    sys.exit(f"The link did not open ({answer.status}).")
                fresh._take(answer)
            self.cookies = fresh.cookies

    def _sign_in(self) -> None:
        form = {"name": self.role, "password": PASSWORD, "csrf_token": self.token}
        kind = ("Content-Type", "application/x-www-form-urlencoded")
        for _ in range(40):
            answer = self.send("POST", "/sign-in", [kind], urllib.parse.urlencode(form).encode())
            if answer.status == 302:
                self._take(answer)
                return
            time.sleep(1.0)
        sys.exit(f"{self.role} could not sign in ({answer.status}).")

    @property
    def token(self) -> str:
        """What a script of the page would say."""
        return self.cookies.get("__Host-_csrf_token", "")

    def send(
        self, method: str, target: str, headers: list[tuple[str, str]] | None = None, body: bytes = b""
    ) -> Answer:
        """One request with this browser's cookies; headers given replace its own."""
        given = headers or []
        names = {name.lower() for name, _ in given}
        own = [("Host", HOST), ("Connection", "close"), ("User-Agent", "fuzz")]
        own.append(("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        if body or method in ("POST", "PUT", "PATCH"):
            own.append(("Content-Length", str(len(body))))
        if "transfer-encoding" in names:
            own = [each for each in own if each[0] != "Content-Length"]
        said = [*(each for each in own if each[0].lower() not in names), *given]
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in said)
        return exchange(self.world.port, head.encode("utf-8", "surrogateescape") + b"\r\n" + body)

    def _take(self, answer: Answer) -> None:
        for each in answer.headers.get_all("Set-Cookie", []):
            name, _, value = each.partition(";")[0].partition("=")
            if value:
                self.cookies[name.strip()] = value


# --- what is asked -------------------------------------------------------------------------------

DEEP = {"@@deep": 1}
WORDS = (
    "",
    "a" * 100_000,
    "\x00",
    "\ud800",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "%ff",
    "\u202e",
    "<script>alert(1)</script>",
    "'; DROP TABLE run; --",
    "{{7*7}}",
    "٣",
    "=cmd|' /C calc'!A0",
    "2026-02-30",
    "0001-01-01",
    "9999-12-31",
    "nan",
    "1e308",
    "-1",
    "None",
    "0" * 32,
    "f" * 32,
    "index.json",
    "mosaic.mp4",
)
VALUES: tuple[Any, ...] = (
    *WORDS,
    None,
    True,
    False,
    0,
    -1,
    1,
    1.5,
    1e308,
    -1e308,
    5e-324,
    2**31,
    2**53 - 1,
    2**53,
    2**63,
    -(2**63),
    10**40,
    [],
    {},
    [[]],
    [None],
    [{}],
    [1, "a"],
    {"a": 1},
    {"type": "x"},
    {"run_id": 7},
    DEEP,
    {"@@nan": 1},
    {"@@inf": 1},
    {"@@huge": 1},
    ["a"] * 5000,
    {"recording": []},
    {"": ""},
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X" * 300)
HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Range",
        (
            "bytes=0-",
            "bytes=-1",
            "bytes=5-1",
            "bytes=0-0,2-3",
            "bytes=" + "0-1," * 500,
            "bytes=a-b",
            "items=0-1",
            "bytes=99999999999999999999-",
            "bytes=-99999999999999999999",
            "bytes=0-18446744073709551616",
        ),
    ),
    ("If-Range", ('"x"', "W/", "Thu, 99 Foo 9999 99:99:99 GMT", "0")),
    ("If-None-Match", ("*", '"' * 50, 'W/"x", "y', "\t")),
    ("If-Modified-Since", ("Thu, 01 Jan 1970 00:00:00 GMT", "now", "Thu, 01 Jan 99999 00:00:00 GMT")),
    ("If-Match", ("*", "x")),
    ("If-Unmodified-Since", ("Thu, 01 Jan 1970 00:00:00 GMT", "-")),
    ("Content-Length", ("0", "-1", "5", "99999999999", "1e3", "abc", "")),
    ("Transfer-Encoding", ("chunked", "gzip, chunked", "identity", "xchunked", "chunked, chunked")),
    (
        "Content-Type",
        (
            "application/json",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/xml",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "application/offset+octet-stream",
            "application/json; charset=utf-7",
            "application/json; charset=nonsense",
        ),
    ),
    ("Host", ("", "evil.example", "127.0.0.1", "a:b:c", "[::1", "redys.example:99999", "a" * 5000, "[v1.x]")),
    ("Origin", ("null", "http://evil.example", "https://redys.example.evil", "http://[", "x" * 3000)),
    ("Sec-Fetch-Site", ("cross-site", "same-site", "same-origin", "none", "?")),
    (
        "Cookie",
        (
            "",
            "__Host-redys_session=x",
            "__Host-_csrf_token=",
            "__Host-redys_shared=" + "a" * 4000,
            "__Host-redys_shared=\x01",
            "=;=;;",
            "__Host-redys_language=xx",
            "__Host-redys_language=../../de",
            "__Host-redys_session=.eJ.a.b",
        ),
    ),
    ("X-CSRFToken", ("", "x", "\udcff", "a" * 7000)),
    ("X-Forwarded-For", ("127.0.0.1", "::1", "x")),
    ("Accept", ("text/html", "*/*", "text/html;q=x", "")),
    ("Accept-Encoding", ("gzip", "gzip;q=0", "br")),
    ("Accept-Language", ("de", "xx;q=2", "," * 3000, "de;q=nan")),
    ("Authorization", ("Bearer x", "Basic Og==", "Digest", "Bearer \udcff")),
    ("Expect", ("100-continue", "x")),
    ("X-HTTP-Method-Override", ("DELETE",)),
    ("Tus-Resumable", ("1.0.0", "0.2.2", "")),
    ("Upload-Length", ("10", "-1", "999999999999999", "0", "x", "٣")),
    ("Upload-Offset", ("0", "1", "-1", "x", "999999999999999")),
    (
        "Upload-Metadata",
        (
            "filename YS5tcDQ=",
            "filename",
            "filename !!!",
            "filename Li4vLi4vYQ==",
            "filename /w==",
            "filename AA==",
            "filename " + "QUFB" * 3000,
            ",,,",
        ),
    ),
)
QUERIES = (
    "",
    "?",
    "?recording_id=x",
    "?a=1&a=2",
    "?%ff=%ff",
    "?next=//evil.example",
    "?next=https://evil.example",
    "?language=de",
    "?language=../x",
    "?waited=1",
    "?waited=\x00",
    "?columns=9&rows=6",
    "?columns=x",
    "?kind=photos",
    "?folder=/etc&file=passwd",
    "?cacheKey=x&job=1",
    "?job=1&oldJob=1&cancelJob=1",
    "?endId=x",
    "?" + "a=b&" * 2000,
    "?next=%0d%0aSet-Cookie:x=y",
    "?layout=1",
    "?_=1",
)


class Asker:
    """Makes requests of one role; seeded."""

    def __init__(self, world: World, caller: Caller, app: Any, seed: int) -> None:
        self.world, self.caller, self.app = world, caller, app
        self.random = random.Random(f"{seed} {caller.role}")
        self.rules = [rule for rule in app.server.url_map.iter_rules() if rule.endpoint != "sign_out"]
        self.callbacks = [(out, entry) for out, entry in app.callback_map.items() if entry.get("callback")]

    def make(self) -> Ask:
        """The next request."""
        kind = self.random.random()
        if kind < 0.5:
            return self._callback()
        if kind < 0.6:
            return self._upload()
        return self._route()

    def _pick_id(self) -> str:
        kinds = [each for each in self.world.ids.values() if each]
        return self.random.choice(self.random.choice(kinds))

    def _part(self) -> str:
        if self.random.random() < 0.6:
            return self._pick_id()
        names = (
            "index.json",
            "mosaic.mp4",
            "summary.json",
            "..%2frun.json",
            "angles.csv",
            "rig.json",
            "a",
            "de",
            "view",
        )
        word = self.random.choice((*WORDS, *names))
        return word if "%" in word else urllib.parse.quote(word[:9000], safe="", errors="surrogatepass")

    def _route(self) -> Ask:
        rule = self.random.choice(self.rules)
        target = re.sub(r"<[^>]+>", lambda _: self._part(), rule.rule)
        if rule.endpoint == "media" and self.random.random() < 0.7:
            target = f"/media/{self.random.choice(self.world.ids['run'])}/{self.random.choice(self._files())}"
        if rule.endpoint == "shared_data" and self.random.random() < 0.7:
            target = f"/shared/data/a/{self.random.choice(self._files())}"
        if self.random.random() < 0.4:
            query = self.random.choice(QUERIES)
            target += query if self.random.random() < 0.9 else f"?{self._part()}={self._part()}"
        methods = sorted(rule.methods or ())
        method = self.random.choice(methods) if self.random.random() < 0.75 else self.random.choice(METHODS)
        body = b""
        if method not in ("GET", "HEAD") and self.random.random() < 0.7:
            body = write(self.random.choice(VALUES))[: 5 << 20]
        return self._finish("route", method, target, body, "application/json")

    def _files(self) -> tuple[str, ...]:
        return (
            "index.json",
            "mosaic.mp4",
            "vertices_right.i16",
            "joints_right.f32",
            "sound.flac",
            "nothing.json",
        )

    def _upload(self) -> Ask:
        draft = self.random.choice(self.world.ids["draft"] or ["0" * 32])
        file = self.random.choice(self.world.ids["file"] or ["0" * 32])
        target, method = self.random.choice(
            (
                ("/upload", "POST"),
                (f"/upload/{draft}", "POST"),
                (f"/upload/{draft}", "GET"),
                (f"/upload/{draft}/{file}", "HEAD"),
                (f"/upload/{draft}/{file}", "PATCH"),
                (f"/upload/{draft}/{file}", "DELETE"),
                (f"/upload/{draft}/{file}/look", "GET"),
                (f"/upload/{draft}", "OPTIONS"),
            )
        )
        ask = self._finish(
            "upload", method, target, b"x" * self.random.randrange(0, 3000), "application/offset+octet-stream"
        )
        tus = {
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": "0",
            "Upload-Length": "3000",
            "Upload-Metadata": "filename YS5tcDQ=",
        }
        there = {name.lower() for name, _ in ask.headers}
        ask.headers += [each for each in tus.items() if each[0].lower() not in there]
        return ask

    def _callback(self) -> Ask:
        output, entry = self.random.choice(self.callbacks)
        body: Any = self._body(output, entry)
        if self.random.random() < 0.8:
            for _ in range(self.random.choice((1, 1, 1, 2, 4))):
                body = self._mutate(body)
        if self.random.random() < 0.02:
            body = self.random.choice(VALUES)
        data = write(body)
        if self.random.random() < 0.02:
            data = data[: self.random.randrange(len(data) + 1)]
        named = body.get("output") if isinstance(body, dict) else None
        named = named if isinstance(named, str) else ""
        ask = self._finish("callback", "POST", "/_dash-update-component", data, "application/json", named)
        said = json.dumps(body, default=str)
        if "/trash" in said or "pages.trash" in str(entry["callback"].__module__):
            ask.may_show = frozenset({"trashed"})
        return ask

    def _body(self, output: str, entry: dict[str, Any]) -> dict[str, Any]:
        multi = isinstance(entry["output"], (list, tuple))
        outs = entry["output"] if multi else [entry["output"]]
        outputs = [self._known(each.component_id_str(), each.component_property, False) for each in outs]
        inputs = [self._known(each["id"], each["property"]) for each in entry["inputs"]]
        state = [self._known(each["id"], each["property"]) for each in entry["state"]]
        first = inputs[0][0] if inputs and isinstance(inputs[0], list) and inputs[0] else inputs[0]
        changed = []
        if isinstance(first, dict):
            if first["property"] in ("n_clicks", "n_submit", "n_intervals"):
                first["value"] = 1
            if output.startswith(".._pages_content"):
                first["value"] = self._page()
            name = (
                first["id"]
                if isinstance(first["id"], str)
                else json.dumps(first["id"], sort_keys=True, separators=(",", ":"))
            )
            changed = [f"{name}.{first['property']}"]
        return {
            "output": output,
            "outputs": outputs if multi else outputs[0],
            "inputs": inputs,
            "changedPropIds": changed,
            "state": state,
        }

    def _page(self) -> str:
        return self.random.choice(
            (
                "/",
                "/new",
                "/about",
                "/admin",
                "/account",
                "/trash",
                "/links",
                "/photos",
                "/rigs",
                "/x",
                f"/recording/{self._part()}",
                f"/recording/{self._part()}/print",
                f"/recording/{self._part()}/clocks",
                f"/recording/{self._part()}/mark",
                f"/compare/{self._part()}/{self._part()}",
                f"/subject/{self._part()}",
                f"/rigs/{self._part()}",
                f"/photos/{self._part()}",
            )
        )

    def _known(self, written: str, name: str, valued: bool = True) -> Any:
        """A dependency as a page that was seen has it; where none had it, with something made up."""
        wanted = json.loads(written) if written.startswith("{") else None
        if wanted is None:
            seen = self.random.choice(self.world.states.get(written) or [{}])
            found = {"id": written, "property": name}
            return found | {"value": seen.get(name)} if valued else found
        several = any(part in (["ALL"], ["ALLSMALLER"]) for part in wanted.values())
        matching = [
            key
            for key in self.world.states
            if key.startswith("{")
            and (have := json.loads(key)).keys() == wanted.keys()
            and all(isinstance(part, list) or have[one] == part for one, part in wanted.items())
        ]
        if not matching:
            matching = [
                json.dumps(
                    {key: self._pick_id() if isinstance(part, list) else part for key, part in wanted.items()}
                )
            ]
        chosen = (
            self.random.sample(matching, min(len(matching), 3)) if several else [self.random.choice(matching)]
        )
        many: list[dict[str, Any]] = []
        for key in chosen:
            one = {"id": json.loads(key), "property": name}
            seen = self.random.choice(self.world.states.get(key) or [{}])
            value = one["id"] if name == "id" else seen.get(name)
            many.append(one | {"value": value} if valued else one)
        return many if several else many[0]

    def _mutate(self, body: Any) -> Any:
        places = list(_walk(body))
        values = [place for place in places if place and "value" in place]
        place = self.random.choice(values if values and self.random.random() < 0.7 else places)
        value: Any = self.random.choice(VALUES)
        if (
            place in values and self.random.random() < 0.5
        ):  # of its own kind, to be let through to the callback
            old = body
            for key in place:
                old = old[key]
            alike = [each for each in VALUES if type(each) is type(old)]
            value = self.random.choice(alike) if alike else value
        if self.random.random() < 0.25:
            value = self._pick_id()
        return _put(body, place, value, gone=self.random.random() < 0.08)

    def _finish(self, what: str, method: str, target: str, body: bytes, kind: str, output: str = "") -> Ask:
        """Headers right and wrong, and whether the table forbids the whole."""
        headers: list[tuple[str, str]] = []
        if body:
            headers.append(("Content-Type", kind))
        signed = self.random.random() < 0.93
        if signed and method not in ("GET", "HEAD"):
            headers.append(("X-CSRFToken", self.caller.token))
        chosen = (
            0
            if self.random.random() < (0.75 if what == "callback" else 0.45)
            else self.random.randrange(1, 4)
        )
        for name, values in self.random.sample(HEADERS, chosen):
            headers = [each for each in headers if each[0] != name]
            headers.append((name, self.random.choice(values)))
        return Ask(what, method, target, headers, body, self._is_forbidden(method, target, headers, output))

    def _is_forbidden(self, method: str, target: str, headers: list[tuple[str, str]], output: str) -> bool:
        from components import policy

        said = dict(headers)
        safe = method in ("GET", "HEAD", "OPTIONS")
        foreign = said.get("Sec-Fetch-Site") in ("cross-site", "same-site", "?") or said.get(
            "Origin", ""
        ).startswith("http")
        tokenless = said.get("X-CSRFToken") != self.caller.token
        if not safe and (tokenless or foreign):
            return True
        path = urllib.parse.unquote(target.partition("?")[0], errors="replace")
        try:
            endpoint, _ = self.app.server.url_map.bind(HOST).match(path, method=method)
        except Exception:
            return False  # there is no such route, or it is called otherwise
        if endpoint in policy.PUBLIC | policy.LINK or (safe and path.startswith(policy.OWN_CODE)):
            return False
        if endpoint == "metrics" and said.get("Host") == "127.0.0.1" and "X-Forwarded-For" not in said:
            return False  # so asks a program of this machine, which may read the figures
        role = self.caller.role if "Cookie" not in said else "nobody"
        if role not in ROLES:
            return True
        wanted = policy.ENDPOINTS.get(endpoint)
        if endpoint == "/_dash-update-component":
            entry = self.app.callback_map.get(output)
            wanted = (
                policy.callback_permission(entry["callback"]) if entry and entry.get("callback") else None
            )
        return not policy.allows(cast("Role", role), wanted)


def write(value: Any) -> bytes:
    """JSON, with what `json` does not write put in by hand."""
    text = json.dumps(value)
    text = text.replace('{"@@deep": 1}', "[" * 3000 + "]" * 3000)
    for mark, word in (("nan", "NaN"), ("inf", "-Infinity"), ("huge", "1e999")):
        text = text.replace(f'{{"@@{mark}": 1}}', word)
    return text.encode()


def _walk(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if len(place) < 8:
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, each in items:
            yield from _walk(each, (*place, key))


def _put(value: Any, place: tuple[Any, ...], new: Any, gone: bool) -> Any:
    """A copy with one place changed, or gone."""
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(place) == 1 and gone:
        del copy[place[0]]
    else:
        copy[place[0]] = _put(copy[place[0]], place[1:], new, gone)
    return copy


# --- what a page has -----------------------------------------------------------------------------


def read_states(world: World, caller: Caller) -> None:
    """Open pages as their script does, and keep what each component of them holds."""
    recordings = world.ids["recording"]
    paths = [
        "/",
        "/new",
        "/about",
        "/account",
        "/trash",
        "/links",
        "/photos",
        "/rigs",
        "/admin",
        *(
            f"/recording/{each}{page}"
            for each in recordings[:2]
            for page in ("", "/print", "/clocks", "/mark")
        ),
        f"/compare/{recordings[0]}/{recordings[1]}",
        f"/subject/{world.ids['subject'][0]}",
    ]
    answer = caller.send("GET", "/_dash-layout")
    _gather(world, json.loads(answer.body) if answer.status == 200 else None)
    for path in paths:
        body = page_body(path)
        headers = [("Content-Type", "application/json"), ("X-CSRFToken", caller.token)]
        answer = caller.send("POST", "/_dash-update-component", headers, json.dumps(body).encode())
        if answer.status != 200:
            sys.exit(f"{caller.role} cannot open {path} ({answer.status}).")
        _gather(world, json.loads(answer.body))


def _gather(world: World, found: Any) -> None:
    if isinstance(found, list):
        for each in found:
            _gather(world, each)
    if isinstance(found, dict):
        identity = found.get("id")
        if isinstance(identity, (str, dict)):
            key = identity if isinstance(identity, str) else json.dumps(identity, sort_keys=True)
            world.states.setdefault(key, []).append(found)
        for each in found.values():
            _gather(world, each)


def begin_uploads(world: World, caller: Caller) -> None:
    """A draft of the caller's with a file in it, so that others' requests have something to reach for."""
    token = ("X-CSRFToken", caller.token)
    answer = caller.send("POST", "/upload", [token])
    draft = json.loads(answer.body)["draft"] if answer.status == 201 else sys.exit("No draft could be begun.")
    tus = [
        token,
        ("Tus-Resumable", "1.0.0"),
        ("Upload-Length", "3000"),
        ("Upload-Metadata", "filename ZnJvbnQubXA0"),
    ]
    answer = caller.send("POST", f"/upload/{draft}", tus)
    world.ids["draft"].append(draft)
    world.ids["file"].append(answer.headers.get("Location", "").rpartition("/")[2])


# --- the run -------------------------------------------------------------------------------------


def read_tables(folder: Path) -> dict[str, set[str]]:
    """The rows of each table of the site's database, as text."""
    place = f"file:{folder / 'redys.sqlite3'}?mode=ro"
    with contextlib.closing(sqlite3.connect(place, uri=True)) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: {repr(row) for row in database.execute(f'SELECT * FROM "{name}"')} for name in names}


def judge(ask: Ask, answer: Answer, hidden: dict[str, str], found: Found) -> None:
    """Put an answer on the account."""
    found.statuses[f"{ask.what} {answer.status}"] += 1
    found.slowest_s = max(found.slowest_s, answer.seconds)
    told = f"{ask.method} {ask.target[:150]} {ask.headers[:4]!r:.200} {ask.body[:700]!r}"
    if answer.status == 501 and b"xchunked" in repr(ask.headers).encode():
        found.statuses["unknown transfer coding 501"] += 1  # gunicorn's own answer, as RFC 9112 asks (6.1)
    elif answer.status >= 500:
        found.faults.append(f"{answer.status} {told}")
    elif FAULT in answer.body:
        found.faults.append(f"a fault of the program {told}")
    elif answer.seconds > LATE_S and answer.status == 0:
        found.faults.append(f"no answer {told}")
    to_door = answer.headers.get("Location", "").startswith("/sign-in")
    if ask.forbidden and 200 <= answer.status < 400 and not to_door:
        found.bypasses.append(f"{answer.status} for what is forbidden: {told}")
    location = answer.headers.get("Location", "")
    if location and not (location.startswith("/") and not location.startswith("//")):
        found.bypasses.append(f"leads elsewhere ({location[:80]}): {told}")
    for kind, word in hidden.items():
        if kind not in ask.may_show and word.encode() in answer.body and word.encode() not in ask.body:
            found.bypasses.append(f"shows {kind}: {told}")


def hidden_from(role: str, world: World) -> dict[str, str]:
    """Words that must be in no answer to a role."""
    wanted = {
        "clinician": ("erased",),  # may bring back what is in the trash
        "viewer": ("erased", "trashed"),
        "researcher": ("erased", "trashed"),
        "guest": ("erased", "trashed"),  # the link shows the pseudonym, as its owner chose
        "administrator": ("erased", "seen"),  # the trash is listed for who keeps the house
    }.get(role, ("erased", "trashed", "seen"))
    return {kind: world.canaries[kind] for kind in wanted}


def fuzz_role(world: World, app: Any, role: str, count: int, seed: int, threads: int) -> Found:
    """Send a role's requests and look at what comes back, and at the database before and after."""
    found = Found()
    renew(world)
    if role == "guest":
        world.token = share(world)
    caller = Caller(world, role)
    caller.enter()
    asker = Asker(world, caller, app, seed)
    hidden = hidden_from(role, world)
    before = read_tables(world.folder)
    made, lock = [0], threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if made[0] >= count:
                    return
                made[0] += 1
                ask = asker.make()
            cookies = caller.cookies
            answer = caller.send(ask.method, ask.target, ask.headers, ask.body)
            with lock:
                judge(ask, answer, hidden, found)
            own = {"Cookie", "User-Agent", "X-Forwarded-For"}
            if answer.status == 401 and role in ROLES and not own & {each[0] for each in ask.headers}:
                found.statuses["signed in anew"] += 1
                caller.enter(cookies)

    with ThreadPoolExecutor(threads) as pool:
        for each in [pool.submit(work) for _ in range(threads)]:
            each.result()
    after = read_tables(world.folder)
    allowed = MAY_CHANGE[role]
    changed = {name for name in after if after[name] != before.get(name)}
    if allowed is not None and changed - allowed:
        for name in sorted(changed - allowed):
            rows = sorted(before.get(name, set()) ^ after[name])
            done = sorted(after["audit_event"] - before["audit_event"], key=lambda row: "user" not in row)
            found.bypasses.append(f"{role} changed {name}: {rows[:4]}; the audit has {done[:3]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="a data folder with the demo's worked recordings"
    )
    parser.add_argument("--port", type=int, default=8160)
    parser.add_argument("--threads", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2, help="processes of gunicorn")
    parser.add_argument("--show", type=int, default=10, help="how many findings to print in full")
    parser.add_argument("--roles", nargs="*", default=list(SHARES), choices=list(SHARES))
    options = parser.parse_args()
    with own_data() as folder:
        return run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> int:
    """Plant, serve, ask as everybody, and print what was found."""
    ids, canaries = plant(options.data, folder)
    world = World(options.port, folder, ids, canaries)
    from app import make_app

    app = make_app()
    app.server.test_client().get("/sign-in")  # Dash adds its own callbacks at the first request
    bad = 0
    begun = time.perf_counter()
    with Served(folder, OPEN, port=options.port).serving(options.workers) as log:
        clinician = Caller(world, "clinician")
        clinician.enter()
        read_states(world, clinician)
        administrator = Caller(world, "administrator")
        administrator.enter()
        read_states(world, administrator)
        begin_uploads(world, clinician)
        total = sum(SHARES[role] for role in options.roles)
        for role in options.roles:
            count = round(options.requests * SHARES[role] / total)
            found = fuzz_role(world, app, role, count, options.seed, options.threads)
            bad += len(found.faults) + len(found.bypasses)
            said = ", ".join(f"{status} {times}" for status, times in sorted(found.statuses.items()))
            print(
                f"{role}: {count} requests, {len(found.faults)} faults, {len(found.bypasses)} bypasses, "
                f"slowest {found.slowest_s:.1f} s\n    {said}",
                flush=True,
            )
            for each in [*found.faults, *found.bypasses][: options.show]:
                print(f"    ! {each}", flush=True)
        words = log.read_text(errors="replace")
        traces = words.count("Traceback (most recent call last)")
        kept = Path(tempfile.gettempdir()) / "redys-fuzz-server.log"
        kept.write_text(words)
    seconds = time.perf_counter() - begun
    print(
        f"{options.requests} requests in {seconds:.0f} s: {bad} faults and bypasses; "
        f"{traces} tracebacks in {kept}"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
