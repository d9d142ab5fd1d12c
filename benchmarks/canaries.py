"""What leaves the house: canaries planted wherever a person or a device writes, and looked for in every byte
that a researcher or somebody with a link is answered.

Two visits of one person are made, worked by the real pipeline, and planted with canaries: pseudonym, title,
task, notes, marks, scores, raters, rigs, cameras, file names, reasons, users, tags of files, a peculiar day
and moment in all usual formats, bytes of the sound and of the picture, SHA-256 of the files. Then a signed-in
researcher walks over every route, page and callback with the clinic's own identifiers and with their own
codes, takes away every export, and a guest opens links to one recording and to both. Archives, tables, HDF5,
packed and base64-coded parts are opened before they are searched, UTF-16 too.

    python -m benchmarks.canaries [--seconds 2] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from tests.records.site import page_body

PLACES: Final = (
    "pseudonym", "title", "task", "note", "tag", "rater", "scorenote", "scorer", "scoreversion", "item",
    "rig", "camera", "folder", "reason", "administrator", "clinician", "colleague", "metadata", "reference",
    "network", "summary", "browserfile",
)  # fmt: skip
DAYS: Final = (datetime.date(2019, 8, 23), datetime.date(2019, 10, 4))
MOMENT: Final = datetime.datetime(2018, 3, 14, 5, 43, 21, tzinfo=datetime.UTC)
"""When everything was added, worked and written, as far as rows and files say."""

PASSWORD: Final = "a long enough sentence"
OPEN: Final = {"REDYS_HOST": "0.0.0.0", "REDYS_SECOND_FACTOR": "optional"}
_PIECE_BYTES: Final = 24
_WAIT_S: Final = 180.0


def canary(place: str) -> str:
    """The word of a place: nobody writes it by chance, and it stands in labels of letters and digits too."""
    return f"Kanari{hashlib.sha256(place.encode()).hexdigest()[:6]}{place}"


def spell_day(day: datetime.date) -> set[str]:
    """A day in all usual formats."""
    d, m = day.day, day.month
    long, short = f"{day:%B}", f"{day:%b}"
    german = {3: "März", 8: "August", 10: "Oktober"}.get(m, long)
    return {
        day.isoformat(), f"{day:%Y%m%d}", f"{day:%Y/%m/%d}", f"{day:%d.%m.%Y}", f"{d}.{m}.{day.year}",
        f"{day:%d/%m/%Y}", f"{day:%m/%d/%Y}", f"{m}/{d}/{day.year}", f"{d} {short} {day.year}",
        f"{d:02d} {short} {day.year}", f"{short} {d}, {day.year}", f"{d} {long} {day.year}",
        f"{long} {d}, {day.year}", f"{d}. {german} {day.year}", f"{day:%Y_%m_%d}", f"{day:%d-%m-%Y}",
        f"{d} {short}<br>{day.year}", f"{day:%y%m%d}T", f"{day:%Y-%j}",
    }  # fmt: skip


def spell_moment(moment: datetime.datetime) -> set[str]:
    """A moment as clocks write it, and as seconds and milliseconds since 1970."""
    second = int(moment.timestamp())
    return spell_day(moment.date()) | {f"{moment:%H:%M:%S}", f"T{moment:%H%M%S}", str(second)}


@dataclass
class Needles:
    """What must not be found, by where it was planted."""

    words: dict[str, set[str]] = field(default_factory=dict)
    pieces: dict[str, set[bytes]] = field(default_factory=dict)

    def add(self, place: str, *words: str) -> None:
        """Words to look for in every spelling."""
        self.words.setdefault(place, set()).update(word for word in words if len(word) > 4)

    def add_packets(self, path: Path) -> None:
        """Bytes out of the middle of a video's packets, of sound and of pictures."""
        import av

        with av.open(str(path)) as video:
            for packet in video.demux():
                data = bytes(packet)
                if len(data) > 4 * _PIECE_BYTES and len(set(data)) > 40:
                    middle = len(data) // 2
                    piece = data[middle : middle + _PIECE_BYTES]
                    self.pieces.setdefault(packet.stream.type, set()).add(piece)

    def compile(self) -> dict[str, re.Pattern[bytes]]:
        """A pattern for each place: UTF-8, UTF-16 of both orders, quoted, base64, raw pieces; all small."""
        found = {}
        for place in sorted({*self.words, *self.pieces}):
            spelt: set[bytes] = set(self.pieces.get(place, ()))
            for word in self.words.get(place, ()):
                spelt |= _spell(word)
            small = sorted({each.lower() for each in spelt})  # without a flag that makes the search slow
            found[place] = re.compile(b"|".join(map(re.escape, small)))
        return found


def _spell(word: str) -> set[bytes]:
    from urllib.parse import quote

    plain = word.encode()
    spelt = {plain, word.encode("utf-16-le"), word.encode("utf-16-be"), quote(word).encode()}
    spelt.add(json.dumps(word)[1:-1].encode())
    for shift in range(3):  # in base64 a word looks different by where it begins
        coded = base64.b64encode(b"\0" * shift + plain + b"\0" * 3)
        spelt.add(coded[4 if shift else 0 : -8])
    return {each for each in spelt if len(each) > 4}


# --- planting ------------------------------------------------------------------------------------


@dataclass
class Planted:
    """A data folder full of canaries: the recordings' and runs' own identifiers, and what to look for."""

    data: Path
    recordings: list[str]
    runs: list[str]
    subjects: list[str]
    needles: Needles


def make_sessions(
    folder: Path,
    seconds: float,
    size_px: tuple[int, int],
    fps: Fraction,
    days: Sequence[datetime.date] = DAYS,
) -> list[Path]:
    """A visit on each day, with canaries in names of files and cameras, in tags and in ``session.toml``."""
    from pipeline.hand.model import load_hand_model
    from pipeline.progress import Reporter
    from pipeline.synth.session import make_session
    from pipeline.synth.spec import SynthSpec

    model, found = load_hand_model(), []
    for number, day in enumerate(days):
        session = folder / f"{canary('folder')}-{number}"
        spec = SynthSpec(
            seconds=seconds, size_px=size_px, fps=fps, seed=3 + number, subject=2, kind="dystonic",
            name=canary("pseudonym"), visit=day, task=canary("task"), calibration=False, max_offset_s=0.1,
        )  # fmt: skip
        make_session(session, spec, Reporter("synth"), model)
        found.append(session)
    return found


def rename_cameras(session: Path) -> None:
    """Call the cameras' files by canaries, and write tags of a device and a place into them."""
    for video in sorted(session.glob("*.mp4")):
        named = video.with_name(f"{canary('camera')}{video.stem}.mp4")
        write_tags(video, named)
        video.unlink()
    toml = session / "session.toml"
    words = toml.read_text(encoding="utf-8")
    words = re.sub(r"(?m)^reference = .*\n", "", words)
    toml.write_text(f'reference = "{canary("camera")}front"\n{words}', encoding="utf-8")


def write_tags(source: Path, out: Path) -> None:
    """Copy a video packet by packet, with canaries as its title, comment, place and moment."""
    import av

    with (
        av.open(str(source)) as video,
        av.open(str(out), "w", options={"movflags": "use_metadata_tags"}) as copy,
    ):
        for name in ("title", "comment", "artist", "com.apple.quicktime.model", "location"):
            copy.metadata[name] = canary("metadata")
        copy.metadata["creation_time"] = MOMENT.isoformat()
        streams = {each.index: copy.add_stream_from_template(each) for each in video.streams}
        for packet in video.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)


def plant_run(run: Path) -> None:
    """Write canaries into everything of a run that people, files or devices name."""
    path = run / "summary.json"
    summary = json.loads(path.read_text())
    summary["quality"]["reasons"].append(
        f"Camera {canary('camera')} shows the hand in only 7 % of its frames."
    )
    for camera in summary["quality"]["cameras"]:
        camera["reasons"] = [f"{canary('camera')} is doubtful."]
    for name in ("baseline", "baseline_task", "baseline_licence", "baseline_provenance"):
        summary["provenance"][name] = canary("reference")
    summary["provenance"]["baseline_digest"] = hashlib.sha256(b"somebody's").hexdigest()
    summary["provenance"]["detector"] = canary("network")
    summary["comparability"] |= {"reference": canary("reference"), "network": canary("network")}
    summary["comparability"]["something new"] = canary("summary")
    summary["notes"].append(f"The task is {canary('task')}.")
    summary["playing_reference"] = {"timing_sd_ms": canary("reference")}
    left_out = {"start_s": 0, "end_s": 0.1, "seconds": 0.1, "reason": canary("reason"), "side": ""}
    summary["excluded"] = [left_out]
    if summary.get("timing"):
        summary["timing"] |= {"source": canary("camera"), "note": canary("camera")}
    path.write_text(json.dumps(summary))
    index_path = run / "web" / "index.json"
    index = json.loads(index_path.read_text())
    for camera in index["cameras"]:
        camera["name"] += canary("camera")
    index |= {"reference": canary("camera"), "excluded": [left_out], "something_new": canary("browserfile")}
    index_path.write_text(json.dumps(index))
    for blob in (run / "web").glob("*.u8"):
        blob.write_bytes(blob.read_bytes() + canary("browserfile").encode())  # behind what its shape says
    record = json.loads((run / "run.json").read_text())
    record["models"] = [*record.get("models", []), {"role": "detector", "name": canary("network"),
                        "sha256": {canary("network"): "ab" * 32}, "licence": canary("network")}]  # fmt: skip
    (run / "run.json").write_text(json.dumps(record))


def plant_records(records: Any, recording_ids: Sequence[str]) -> None:
    """Write canaries into everything that people enter, and move every row to one moment."""
    from sqlalchemy import text

    for name, role in (
        ("administrator", "administrator"),
        ("clinician", "clinician"),
        ("colleague", "researcher"),
    ):
        records.users.add(canary(name), PASSWORD, role)
    actor = next(user.id for user in records.users.list() if user.name == canary("clinician"))
    for recording_id, day in zip(recording_ids, DAYS, strict=True):
        row = records.get_recording(recording_id)
        records.marks.add(recording_id, "note", 0.1, text=canary("note"), actor=actor)
        records.marks.add(recording_id, "tag", 0.2, text=canary("tag"), actor=actor)
        records.marks.add(
            recording_id,
            "abnormal movement",
            0.1,
            end_s=0.3,
            rater=canary("rater"),
            text=canary("note"),
            actor=actor,
        )
        records.scores.add(
            row.subject_id, "fam", 12.5, day, canary("scorer"), version=canary("scoreversion"), blinded=True,
            note=canary("scorenote"), items={canary("item")[:40]: 1.5, "2": 0.5}, actor=actor,
        )  # fmt: skip
        if row.report_run_id and not records.rigs.list():
            with contextlib.suppress(Exception):  # a made run may have no rig that can be kept
                records.rigs.keep(row.report_run_id, canary("rig"), actor)
    stamp = MOMENT.strftime("%Y-%m-%d %H:%M:%S.%f")
    with records.writing() as database:
        for table, columns in (
            ("recording", ("created",)), ("subject", ("created",)), ("mark", ("created",)),
            ("clinical_score", ("created",)),
            ("run", ("created", "queued", "started", "finished", "heartbeat")),
        ):  # fmt: skip
            for column in columns:
                database.execute(text(f"UPDATE {table} SET {column} = '{stamp}' WHERE {column} IS NOT NULL"))


def age_files(folder: Path) -> None:
    """Files say that moment too."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("redys.sqlite3"):
            os.utime(path, (MOMENT.timestamp(), MOMENT.timestamp()))


def collect_needles(
    records: Any, sessions: Sequence[Path], recordings: Sequence[str], runs: Sequence[Path]
) -> tuple[Needles, list[str], list[str]]:
    """Everything to look for, with the identifiers of runs and people."""
    needles = Needles()
    for place in PLACES:
        needles.add(place, canary(place)[:40])
    for day in DAYS:
        needles.add("day", *spell_day(day))
    needles.add("moment", *spell_moment(MOMENT))
    rows = [records.get_recording(each) for each in recordings]
    subjects = sorted({row.subject_id for row in rows})
    run_ids = [row.report_run_id for row in rows]
    needles.add("identifier", *recordings, *subjects, *run_ids)
    needles.add("path", str(records.settings.data_dir), *map(str, sessions), *map(str, runs))
    for session in sessions:
        for video in session.glob("*.mp4"):
            needles.add("digest", hashlib.sha256(video.read_bytes()).hexdigest())
            needles.add_packets(video)
    for run in runs:
        needles.add_packets(run / "web" / "mosaic.mp4")
    return needles, run_ids, subjects


# --- looking -------------------------------------------------------------------------------------


@dataclass
class Search:
    """What was searched and what was found."""

    patterns: dict[str, re.Pattern[bytes]]
    answers: Counter[str] = field(default_factory=Counter)
    searched_bytes: Counter[str] = field(default_factory=Counter)
    hits: list[tuple[str, str, str, str]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def look(self, kind: str, name: str, data: bytes, headers: str = "") -> None:
        """Search an answer, and everything that is packed in it."""
        self.answers[kind] += 1
        for part in unpack(data):
            self.searched_bytes[kind] += len(part)
            self._search(kind, name, part)
        # The day of the answer itself is no secret.
        self._search(kind, f"{name} (headers)", re.sub(r"(?im)^(date|expires):.*$", "", headers).encode())

    def _search(self, kind: str, name: str, part: bytes) -> None:
        small = part.lower()
        for place, pattern in self.patterns.items():
            found = pattern.search(small)
            if found:
                around = part[max(0, found.start() - 60) : found.end() + 40]
                self.hits.append((kind, name, place, repr(around)))


def unpack(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """The bytes themselves, and what they hold packed: archives, base64, tables, HDF5."""
    yield data
    if depth > 3:
        return
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                yield f"{entry.filename} {entry.date_time} {entry.comment!r}".encode()
                yield from unpack(archive.read(entry), depth + 1)
    elif data[:2] == b"\x1f\x8b":
        yield from unpack(gzip.decompress(data), depth + 1)
    elif data[:1] in (b"{", b"["):
        with contextlib.suppress(ValueError, RecursionError):  # what it says, however it is escaped
            yield json.dumps(json.loads(data), ensure_ascii=False).encode("utf-8", "surrogatepass")
    elif data[:4] == b"PAR1":
        yield _read_parquet(data)
    elif data[:8] == b"\x89HDF\r\n\x1a\n":
        yield _read_hdf5(data)
    elif b"|" in data and data[1:2] == b"\x50":  # C3D: texts are cut into lines of 120 between bars
        yield re.sub(rb"\|[^|]{0,4}\|", b"", data)
    for coded in re.findall(rb"base64,([A-Za-z0-9+/=]{40,})", data):
        with contextlib.suppress(ValueError):
            yield from unpack(base64.b64decode(coded), depth + 1)


def _read_parquet(data: bytes) -> bytes:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    texts = [str(table.schema.metadata), str(table.schema)]
    texts += [
        str(set(table[name].to_pylist())) for name in table.column_names if "string" in str(table[name].type)
    ]
    return "\n".join(texts).encode()


def _read_hdf5(data: bytes) -> bytes:
    import h5py

    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        found.append(f"{name} {dict(item.attrs)}")
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "OSU":
            found.append(str(item[()]))

    with h5py.File(io.BytesIO(data), "r") as file:
        found.append(str(dict(file.attrs)))
        file.visititems(visit)
    return "\n".join(found).encode()


# --- walking -------------------------------------------------------------------------------------

UPDATE: Final = "/_dash-update-component"


class Walk:
    """A signed-in person who asks for everything with every identifier there is.

    Parameters
    ----------
    site : tests.records.site.Site
    planted : Planted
    search : Search
        Told every answer.
    name : str
        Who signs in.
    is_thorough : bool
        Every identifier at every place; else the first of each kind, and not at all of them.
    """

    def __init__(
        self, site: Any, planted: Planted, search: Search, name: str, is_thorough: bool = True
    ) -> None:
        self.site, self.planted, self.search, self.is_thorough = site, planted, search, is_thorough
        self.client = site.browser("https", "redys.example")
        self._come_in(name)
        self.codes = self._find_codes()
        if not self.codes:
            raise SystemExit("The researcher is shown no recording.")

    def _come_in(self, name: str) -> None:
        self.client.get("/sign-in")
        token = self._token()
        answer = self.client.post("/sign-in", data={"csrf_token": token, "name": name, "password": PASSWORD})
        if answer.status_code not in (302, 303):
            raise SystemExit(f"{name} could not sign in: {answer.status_code}")

    def _token(self) -> str:
        cookie = self.client.get_cookie("__Host-_csrf_token", domain="redys.example")
        return cookie.value if cookie else ""

    def _find_codes(self) -> list[str]:
        page = self.show("/research")
        codes = sorted(set(re.findall(r"/research/recording/([0-9a-f]{32})", page)))
        people = sorted(set(re.findall(r"/research/person/(R-[A-Z2-7]+)", page)))
        return [*codes, *people]

    def ask(self, kind: str, path: str, method: str = "GET", **more: Any) -> Any:
        """Ask, and have the answer searched."""
        answer = self.client.open(path, method=method, headers={"X-CSRFToken": self._token()}, **more)
        name = path if "json" not in more else f"{path} {str(more['json'])[:300]}"
        self.search.look(kind, name, answer.data, str(answer.headers))
        if answer.status_code in (401, 403):
            self.search.refused[kind] += 1
        return answer

    def show(self, path: str, query: str = "") -> str:
        """A page as the browser asks for it."""
        return _plain_text(self.ask("page", UPDATE, "POST", json=page_body(path, query)))

    def walk(self) -> None:
        """Every page, route and callback; then what is theirs, to the last file."""
        most = None if self.is_thorough else 1
        kinds = (self.planted.recordings, self.planted.runs, self.planted.subjects, self.codes)
        identifiers = [each for kind in kinds for each in kind[:most]]
        self._walk_pages(identifiers)
        self._walk_routes(identifiers)
        self._walk_callbacks(identifiers)
        self._walk_own()

    def _walk_pages(self, identifiers: Sequence[str]) -> None:
        import dash

        for page in dash.page_registry.values():
            template = page.get("path_template") or page["path"]
            for path in _fill(template, identifiers):
                self.show(path)
        self.show(f"/{canary('pseudonym')}")

    def _walk_routes(self, identifiers: Sequence[str]) -> None:
        names = ("index.json", "mosaic.mp4", "sound.flac", "time_s.f32", "csv.zip", "csv-deidentified.zip",
                 "rig.json", "rig.toml", "marks.csv", "angles.csv", "tables.json", "a", "0")  # fmt: skip
        for rule in self.site.app.server.url_map.iter_rules():
            if rule.endpoint in ("sign_out", "sign_in") or rule.rule == UPDATE:
                continue
            for path in _fill(rule.rule, [*identifiers, *names], 60 if self.is_thorough else 3):
                for method in sorted((rule.methods or set()) - {"OPTIONS"}):
                    self.ask("route", path, method)

    def _walk_callbacks(self, identifiers: Sequence[str]) -> None:
        """Each callback with each identifier, and the pseudonym, as every value."""
        for output, entry in self.site.app.callback_map.items():
            if not entry.get("callback"):
                continue
            for value in (canary("pseudonym"), None, 1, *identifiers):
                body = _make_body(output, entry, value)
                self.ask("callback", UPDATE, "POST", json=body)

    def _walk_own(self) -> None:
        from pipeline.export.formats import FORMATS

        recordings = [code for code in self.codes if not code.startswith("R-")]
        for code in recordings:
            self._wait_for_view(code)
            self.show(f"/research/recording/{code}")
            index = self.ask("file", f"/research/data/{code}/index.json")
            for name in ["index.json", *index.get_json()["files"]]:
                answer = self.ask("file", f"/research/data/{code}/{name}")
                if answer.status_code != 200:
                    raise SystemExit(f"{name} of the moving hand: {answer.status_code}")
                if name.endswith(".mp4"):
                    _refuse_sound(answer.data)
            for name in FORMATS:
                self._take(f"/research/export/{code}/{name}.zip")
        for earlier in recordings:
            for later in recordings:
                self.show(f"/research/compare/{earlier}/{later}")
        self._take("/research/numbers.zip")
        said = self._find(canary("pseudonym"))
        if "No recording fits" not in said:
            raise SystemExit("A search for the pseudonym gives something.")

    def _find(self, words: str) -> str:
        for output, entry in self.site.app.callback_map.items():
            function = entry.get("callback")
            if function is not None and function.__module__ == "pages.research":
                body = _make_body(output, entry, words)
                return _plain_text(self.ask("callback", UPDATE, "POST", json=body))
        raise SystemExit("There is no search.")

    def _wait_for_view(self, code: str) -> None:
        end = time.monotonic() + _WAIT_S
        while self.client.get(f"/research/data/{code}/index.json").status_code != 200:
            self.show(f"/research/recording/{code}")
            if time.monotonic() > end:
                raise SystemExit("The moving hand was not made.")

    def _take(self, address: str) -> None:
        end = time.monotonic() + _WAIT_S
        answer = self.ask("export", address)
        while answer.status_code == 202 and time.monotonic() < end:
            time.sleep(0.5)
            answer = self.ask("export", address)
        if answer.mimetype != "application/zip":
            raise SystemExit(f"{address}: {answer.status_code} {answer.get_data(as_text=True)[:500]}")


def _fill(rule: str, identifiers: Sequence[str], most: int = 200) -> list[str]:
    """An address with each identifier in each of its places."""
    import itertools

    places = len(re.findall(r"<[^>]+>", rule))
    if not places:
        return [rule]
    found = []
    for chosen in itertools.islice(itertools.product(identifiers, repeat=places), most * places):
        path = rule
        for value in chosen:
            path = re.sub(r"<[^>]+>", value, path, count=1)
        found.append(path)
    return found


def _make_body(output: str, entry: dict[str, Any], value: Any) -> dict[str, Any]:
    """What a browser would send, with the same value everywhere."""

    def fill(each: dict[str, Any]) -> dict[str, Any]:
        key = each["id"]
        if isinstance(key, str) and key.startswith("{"):
            key = {name: value if isinstance(part, list) else part for name, part in json.loads(key).items()}
        return {"id": key, "property": each["property"], "value": value}

    outputs = [part.rpartition(".") for part in output.strip(".").split("...")]
    named = [{"id": name, "property": what.partition("@")[0]} for name, _, what in outputs]
    inputs = [fill(each) for each in entry["inputs"]]
    changed = [f"{each['id']}.{each['property']}" for each in inputs[:1] if isinstance(each["id"], str)]
    return {
        "output": output,
        "outputs": named if len(named) > 1 else named[0],
        "inputs": inputs,
        "state": [fill(each) for each in entry["state"]],
        "changedPropIds": changed,
    }


def _plain_text(answer: Any) -> str:
    """An answer in JSON, as a browser understands it: slashes are written otherwise."""
    return json.dumps(answer.get_json(silent=True), ensure_ascii=False)


def _refuse_sound(data: bytes) -> None:
    import av

    with av.open(io.BytesIO(data), "r") as video:
        if [stream.type for stream in video.streams] != ["video"]:
            raise SystemExit("A video has sound.")
        for frame in video.decode(video=0):
            picture = frame.to_ndarray(format="gray")
            if int(picture.max()) - int(picture.min()) > 8:
                raise SystemExit("A video shows something.")


def open_link(site: Any, search: Search, recording_ids: Sequence[str]) -> None:
    """A guest with a link to which nothing was let through."""
    row, token = site.records.shares.create(recording_ids, (), actor="local")
    with site.records.writing() as database:  # so that it stands on an address that asks to sign in
        from records import models

        link = database.get(models.ShareLink, row.id)
        link.owner = next(user.id for user in site.records.users.list() if user.role == "clinician")
    site.records.shares.wait(row.id, _WAIT_S)
    guest = site.browser("https", "redys.example")
    guest.get("/shared")
    cookie = guest.get_cookie("__Host-_csrf_token", domain="redys.example")
    opened = guest.post(
        "/shared/open",
        json={"token": token, "password": ""},
        headers={"X-CSRFToken": cookie.value if cookie else ""},
    )
    if opened.status_code != 200:
        raise SystemExit(f"The link does not open: {opened.get_data(as_text=True)[:300]}")
    page = guest.get("/shared/view")
    search.look("shared view", "/shared/view", page.data, str(page.headers))
    for part in ("a", "b")[: len(recording_ids)]:
        index = guest.get(f"/shared/data/{part}/index.json")
        for name in ["index.json", *index.get_json()["files"]]:
            answer = guest.get(f"/shared/data/{part}/{name}")
            search.look("shared view", f"{part}/{name}", answer.data, str(answer.headers))
            if name.endswith(".mp4"):
                _refuse_sound(answer.data)


# --- the whole -----------------------------------------------------------------------------------


def plant(
    data: Path, sessions: Sequence[Path], work: Callable[[Path, Path], object]
) -> Callable[[Any], Planted]:
    """Work the sessions, and give what fills a site's records with them.

    ``work(session, run)`` makes a finished run.
    """
    runs = [data.parent / f"{canary('folder')}-run-{number}" for number, _ in enumerate(sessions)]
    for session, run in zip(sessions, runs, strict=True):
        work(session, run)
        plant_run(run)

    def fill(records: Any) -> Planted:
        recordings = []
        for session, run in zip(sessions, runs, strict=True):
            row = records.add_recording(session, title=canary("title"))
            records.add_finished_run(row.id, run)
            recordings.append(row.id)
        plant_records(records, recordings)
        for folder in (*sessions, *runs):
            age_files(folder)
        needles, run_ids, subjects = collect_needles(records, sessions, recordings, runs)
        return Planted(data, recordings, run_ids, subjects, needles)

    return fill


def check(data: Path, fill: Callable[[Any], Planted], is_thorough: bool = True) -> Search:
    """Serve a planted site, walk it as researcher and as guest, and say what was searched and found."""
    from records import get_records
    from tests.records.site import open_site, surroundings

    with surroundings(data, **OPEN):
        planted = fill(get_records())
    with open_site(data, **OPEN) as site:
        site.app.server.config["PROPAGATE_EXCEPTIONS"] = False
        search = Search(planted.needles.compile())
        site.records.users.add("Researcher", PASSWORD, "researcher")
        walk = Walk(site, planted, search, "Researcher", is_thorough)
        walk.walk()
        open_link(site, search, planted.recordings[:1])
        open_link(site, search, planted.recordings)
    return search


def run_pipeline(session: Path, run: Path) -> None:
    """Work a session as the program itself does."""
    words = [sys.executable, "-m", "pipeline", "run", str(session), "--out", str(run)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def report(search: Search) -> int:
    """Print what was searched and found; how many hits."""
    print(f"{'answers of':<14}{'asked':>8}{'refused':>9}{'searched':>16}{'hits':>7}")
    for kind in search.answers:
        hits = sum(hit[0] == kind for hit in search.hits)
        searched = f"{search.searched_bytes[kind]:,} bytes"
        print(f"{kind:<14}{search.answers[kind]:>8}{search.refused[kind]:>9}{searched:>16}{hits:>7}")
    total = sum(search.searched_bytes.values())
    print(f"{len(search.patterns)} kinds of canaries, {total:,} bytes, {len(search.hits)} hits")
    for kind, name, place, around in search.hits[:40]:
        print(f"  {place} in {kind} {name[:160]}: {around[:200]}")
    return len(search.hits)


def main(arguments: Iterable[str] | None = None) -> int:
    """Plant, work, walk, search; exit code 1 where anything was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each made recording")
    parser.add_argument("--folder", type=Path, help="keep everything there (a new folder)")
    options = parser.parse_args(None if arguments is None else list(arguments))
    folder = options.folder or Path(tempfile.mkdtemp(prefix="canaries-"))
    try:
        sessions = make_sessions(folder, options.seconds, (640, 360), Fraction(60000, 1001))
        for session in sessions:
            rename_cameras(session)
        fill = plant(folder / "data", sessions, run_pipeline)
        return 1 if report(check(folder / "data", fill)) else 0
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
