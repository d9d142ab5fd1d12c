"""What a link shows: nothing that was not chosen, to nobody but who has it, until it is taken back."""

from __future__ import annotations

import base64
import datetime
import json
import re
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import flask.testing
import pytest

from components.plain import write_html
from components.shared_view import COOKIE
from pipeline.hand.model import load_hand_model
from pipeline.progress import Reporter
from pipeline.results import RunFolder
from pipeline.share_files import CHOICES
from pipeline.sharing import share_runs
from pipeline.synth.session import make_session
from pipeline.synth.spec import SynthSpec
from records import shares
from tests.browser.conftest import make_run
from tests.records.site import Site, open_site, token_of

CANARY = "Kanarienvogel"
NOTE = f"{CANARY}Note"
PSEUDONYM = f"{CANARY}Person"
DAY = datetime.date(2026, 3, 2)


@dataclass
class Shared:
    """A site with one recording, on which a canary sits wherever a person or a device may write."""

    site: Site
    recording_id: str
    run: RunFolder

    def make(self, choices: Sequence[str] = (), **more: Any) -> tuple[str, str]:
        row, token = self.site.records.shares.create([self.recording_id], choices, **more)
        self.site.records.shares.wait(row.id, 20)
        return row.id, token

    def open(self, token: str) -> flask.testing.FlaskClient:
        client = self.site.browser()
        answer = post(client, token)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return client


def post(client: flask.testing.FlaskClient, token: str, password: str = "") -> Any:
    headers = token_of(client, "/shared")
    return client.post("/shared/open", json={"token": token, "password": password}, headers=headers)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shared")
    spec = SynthSpec(
        seconds=1.0,
        size_px=(320, 180),
        fps=Fraction(30),
        seed=3,
        subject=2,
        kind="healthy",
        name=PSEUDONYM,
        visit=DAY,
        task=f"{CANARY}Task",
        calibration=False,
        max_offset_s=0.1,
    )
    model = load_hand_model()
    session = folder / f"{CANARY}Folder"
    make_session(session, spec, Reporter("synth"), model)
    run = make_run(session, folder / "run", model)
    plant(run)
    with open_site(folder / "data") as site:
        site.records.shares.command = lambda runs, out, choices, mark, notes: copy(
            folder / out.parent.name, runs, out, choices, mark, notes
        )
        row = site.records.add_recording(session, title=f"{CANARY}Title")
        site.records.add_finished_run(row.id, run.path)
        site.records.marks.add(row.id, "note", 0.1, text=NOTE, actor="local")
        yield Shared(site, row.id, run)


def copy(made: Path, runs: list[Path], out: Path, choices: Any, mark: str, notes: Path | None) -> list[str]:
    """Make the folder here, where torch is loaded already, and have it put into its place."""
    written = json.loads(notes.read_text()) if notes else []
    share_runs([RunFolder(run) for run in runs], made, choices, mark, written)
    return ["/bin/mv", str(made), str(out)]


def plant(run: RunFolder) -> None:
    """Write the canary into everything of a run that people, files or devices name."""
    summary = json.loads(run.summary_json.read_text())
    for camera in summary["quality"]["cameras"]:
        camera["camera"] = f"{CANARY}Camera"
        camera["reasons"] = [f"{CANARY} is doubtful."]
    summary["quality"]["reasons"] = [f"Camera {CANARY} shows the hand in only 7 % of its frames."]
    summary["recording"]["cameras"] = [f"{CANARY}{i}" for i, _ in enumerate(summary["recording"]["cameras"])]
    for hand in summary["quality"]["hands"].values():
        for name in ("joint_reprojection_px", "set_aside", "finger_set_aside", "view_set_aside"):
            hand[name] = {f"{CANARY}{key}": value for key, value in hand[name].items()}
        for each in hand["exclusions"]:
            each["camera"] = CANARY
    for name in ("baseline", "baseline_task", "baseline_licence", "baseline_provenance", "baseline_digest",
                 "detector", "estimator", "hand_model"):  # fmt: skip
        summary["provenance"][name] = f"{CANARY}{name}"
    summary["comparability"] |= {"reference": CANARY, "network": CANARY, "something new": CANARY}
    summary["notes"].append(f"The task is {CANARY}.")
    summary["playing_reference"] = {"timing_sd_ms": CANARY}
    summary["excluded"] = [{"start_s": 0, "end_s": 0.1, "seconds": 0.1, "reason": CANARY, "side": ""}]
    if summary["timing"]:
        summary["timing"]["source"] = CANARY
    run.summary_json.write_text(json.dumps(summary))
    index = json.loads((run.web / "index.json").read_text())
    for camera in index["cameras"]:
        camera["name"] += CANARY
    index["reference"], index["model"], index["excluded"] = CANARY, CANARY, [{"reason": CANARY}]
    index["something_new"] = CANARY
    (run.web / "index.json").write_text(json.dumps(index))
    for path in run.web.glob("*.u8"):
        path.write_bytes(path.read_bytes() + CANARY.encode())  # behind what its shape says
    video = run.web / "mosaic.mp4"
    with av.open(str(video)) as source, av.open(str(video) + ".mp4", "w") as out:
        out.metadata["title"] = out.metadata["comment"] = CANARY
        streams = {each.index: out.add_stream_from_template(each) for each in source.streams}
        assert len(streams) == 2  # pictures and sound
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    shutil.move(str(video) + ".mp4", video)
    assert CANARY.encode() in video.read_bytes()


def read_all(client: flask.testing.FlaskClient) -> bytes:
    """Every byte that a link gives: page, pictures in it, files, headers."""
    found = []
    page = client.get("/shared/view")
    assert page.status_code == 200
    text = page.get_data(as_text=True)
    drawings = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", text)
    found += [text.encode(), *map(base64.b64decode, drawings)]
    index = client.get("/shared/data/a/index.json")
    names = ["index.json", *index.get_json()["files"]]
    for name in names:
        answer = client.get(f"/shared/data/a/{name}")
        assert answer.status_code == 200, name
        found += [answer.data, str(answer.headers).encode()]
    return b"\n".join([*found, str(page.headers).encode()])


def test_no_canary_is_in_any_byte_of_a_shared_view(shared: Shared) -> None:
    link_id, token = shared.make()
    given = read_all(shared.open(token))
    hidden = [CANARY, DAY.isoformat(), shared.recording_id, link_id, token, str(shared.run.path)]
    assert [word for word in hidden if word.lower().encode() in given.lower()] == []
    assert CANARY.encode("utf-16-le") not in given
    assert b"Hand map" in given
    assert b"person" in given.lower()


def test_with_everything_let_through_only_what_was_chosen_is_there(shared: Shared) -> None:
    _, token = shared.make(CHOICES)
    client = shared.open(token)
    given = read_all(client).replace(NOTE.encode(), b"").replace(PSEUDONYM.encode(), b"")
    assert CANARY.encode() not in given
    page = client.get("/shared/view").get_data(as_text=True)
    assert NOTE in page
    assert PSEUDONYM in page


def test_the_video_is_small_marked_and_without_sound(shared: Shared, tmp_path: Path) -> None:
    _, token = shared.make(["video"])
    client = shared.open(token)
    path = tmp_path / "given.mp4"
    path.write_bytes(client.get("/shared/data/a/mosaic.mp4").data)
    index = json.loads((shared.run.web / "index.json").read_text())
    with av.open(str(path)) as video, av.open(str(shared.run.web / "mosaic.mp4")) as whole:
        assert [stream.type for stream in video.streams] == ["video"]
        assert "title" not in video.metadata
        small, large = next(video.decode(video=0)), next(whole.decode(video=0))
        assert small.width * 2 == large.width == index["mosaic"]["size_px"][0]
        changed = small.to_ndarray(format="gray")[-20:, :80].astype(float)
    assert changed.max() - changed.min() > 100  # the mark, in the empty foot of a dark panel or on a picture
    given = client.get("/shared/data/a/index.json").get_json()
    assert [camera["name"] for camera in given["cameras"]] == ["camera 1", "camera 2", "camera 3"]


def test_the_hand_has_mean_proportions_unless_its_own_are_chosen(shared: Shared) -> None:
    def read(choices: Sequence[str]) -> bytes:
        client = shared.open(shared.make(choices)[1])
        return bytes(client.get("/shared/data/a/joints_right.f32").data)

    own = (shared.run.web / "joints_right.f32").read_bytes()
    assert read(["shape"]) == own
    assert read([]) != own


def test_taken_back_while_it_plays_the_next_range_is_refused(shared: Shared) -> None:
    link_id, token = shared.make()
    client = shared.open(token)
    part = {"Range": "bytes=0-99"}
    assert client.get("/shared/data/a/mosaic.mp4", headers=part).status_code == 206
    shared.site.records.shares.revoke(link_id)
    begun = time.monotonic()
    for path in ("/shared/data/a/mosaic.mp4", "/shared/data/a/vertices_right.i16", "/shared/view"):
        assert client.get(path, headers=part).status_code == 404
    assert time.monotonic() - begun < 1.0


def test_unknown_ended_taken_back_and_used_up_links_are_answered_alike(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = {
        "ended": shared.make(days=1),
        "taken back": shared.make(),
        "used up": shared.make(max_views=1),
    }
    shared.site.records.shares.revoke(links["taken back"][0])
    shared.open(links["used up"][1])
    tokens = {name: token for name, (_, token) in links.items()} | {"unknown": "x" * 43}
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1, seconds=1)
    monkeypatch.setattr(shares, "now", lambda: later)
    client = shared.site.browser()
    headers = token_of(client, "/shared")
    said: dict[str, Any] = {}
    took: dict[str, list[float]] = {name: [] for name in tokens}
    for _ in range(12):
        for name, token in tokens.items():
            begun = time.perf_counter()
            answer = client.post("/shared/open", json={"token": token, "password": ""}, headers=headers)
            took[name].append(time.perf_counter() - begun)
            kept = [pair for pair in answer.headers if pair[0] not in ("Date", "X-Request-ID")]
            said[name] = (answer.status_code, answer.data, kept)
    assert said["unknown"][0] == 404
    assert all(each == said["unknown"] for each in said.values()), said
    medians = {name: statistics.median(times) for name, times in took.items()}
    assert max(medians.values()) < 3 * min(medians.values()), medians


def test_the_cookie_goes_back_to_these_addresses_alone_and_nothing_is_indexed(shared: Shared) -> None:
    _, token = shared.make()
    client = shared.site.browser()
    cookie = next(each for each in post(client, token).headers.getlist("Set-Cookie") if COOKIE in each)
    for part in ("Path=/shared", "HttpOnly", "SameSite=Strict"):
        assert part in cookie
    age = re.search(r"Max-Age=(\d+)", cookie)
    assert age is not None
    assert 0 < int(age[1]) <= 1800
    for path in ("/shared", "/shared/view", "/shared/data/a/index.json"):
        answer = client.get(path)
        assert "noindex" in answer.headers["X-Robots-Tag"]
        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert client.post("/shared/close", headers=token_of(client, "/shared")).status_code == 204
    assert client.get("/shared/view").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["a/summary.json", "a/../share.json", "a/%2e%2e/summary.json", "share.json/x", "b/index.json",
     "c/index.json", "a/.index.json", "a/index.json%00.mp4"],
)  # fmt: skip
def test_nothing_but_the_files_of_the_moving_hand_is_given(shared: Shared, path: str) -> None:
    client = shared.open(shared.make()[1])
    answer = client.get(f"/shared/data/{path}")  # what is no address of a file is the program's empty frame
    assert answer.status_code == 404 or (answer.mimetype == "text/html" and b"_dash" in answer.data)


def test_a_password_is_asked_for_and_never_said_before(shared: Shared) -> None:
    _, token = shared.make(password="correct horse")
    client = shared.site.browser()
    assert post(client, token).get_json()["why"] == "password"
    assert post(client, token, "correct horse").status_code == 200


def test_a_plain_page_takes_no_component_that_needs_dash() -> None:
    from dash import dcc, html

    assert write_html(html.P(["a < b", html.Br(), html.B("c", className="d")])) == (
        '<p>a &lt; b<br><b class="d">c</b></p>'
    )
    with pytest.raises(TypeError):
        write_html(html.P(dcc.Link("x", href="/")))
