"""Files of a run over HTTP, browser libraries, health."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import routes
from components.media import VENDOR_FILES
from tests.records.site import Site, make_session, open_site

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("media") / "data") as opened:
        yield opened


@pytest.fixture(scope="module")
def run_id(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    recording = site.records.add_recording(make_session(tmp_path_factory.mktemp("sessions") / "one"))
    run = site.records.submit_run(recording.id)
    web = run.folder / "web"
    web.mkdir(parents=True)
    (web / "mosaic.mp4").write_bytes(CONTENT)
    (web / "vertices.i16").write_bytes(CONTENT)
    (run.folder / "run.json").write_text("{}")
    return run.id


def test_a_file_is_given_whole(site: Site, run_id: str) -> None:
    answer = site.browser().get(routes.media_url(run_id, "mosaic.mp4"))
    assert (answer.status_code, answer.data) == (200, CONTENT)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    blob = site.browser().get(routes.media_url(run_id, "vertices.i16"))
    assert blob.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, 10240),
        ("bytes=-10", 10230, 10240),
        ("bytes=0-99999", 0, 10240),
    ],
)
def test_a_player_gets_the_range_it_asks_for(
    site: Site, run_id: str, wanted: str, start: int, end: int
) -> None:
    answer = site.browser().get(routes.media_url(run_id, "mosaic.mp4"), headers={"Range": wanted})
    assert answer.status_code == 206
    assert answer.data == CONTENT[start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/10240"


def test_sound_is_called_sound_wherever_the_site_runs(site: Site, run_id: str) -> None:
    web = site.records.artefact(run_id, "mosaic.mp4").parent
    (web / "sound_0.flac").write_bytes(b"fLaC")
    (web / "sound_0_peaks.i8").write_bytes(b"peaks")
    kinds = {"sound_0.flac": "audio/flac", "sound_0_peaks.i8": "application/octet-stream"}
    for name, kind in kinds.items():
        answer = site.browser().get(routes.media_url(run_id, name))
        assert (answer.status_code, answer.mimetype) == (200, kind)


def test_a_range_beyond_the_end_is_said(site: Site, run_id: str) -> None:
    answer = site.browser().get(routes.media_url(run_id, "mosaic.mp4"), headers={"Range": "bytes=10240-"})
    assert answer.status_code == 416


def test_an_unchanged_file_is_not_sent_again_and_a_changed_one_is(site: Site, run_id: str) -> None:
    client, address = site.browser(), routes.media_url(run_id, "vertices.i16")
    tag = client.get(address).headers["ETag"]
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
    path = site.records.artefact(run_id, "vertices.i16")
    path.write_bytes(CONTENT + b"more")
    os.utime(path, (1, 1))
    assert client.get(address, headers={"If-None-Match": tag}).data == CONTENT + b"more"


@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "../run.json",
        "%2e%2e/run.json",
        "..%2Frun.json",
        "missing.json",
        "mosaic.mp4/x",
        "a/b.json",
    ],
)
def test_what_is_not_for_the_browser_is_not_there(site: Site, run_id: str, name: str) -> None:
    assert site.browser().get(f"/media/{run_id}/{name}").status_code == 404
    assert site.browser().get(f"/media/{'0' * 32}/mosaic.mp4").status_code == 404


def test_libraries_are_the_listed_ones_only(site: Site) -> None:
    client = site.browser()
    for name in VENDOR_FILES:
        answer = client.get(routes.vendor_url(name))
        assert answer.status_code == 200, name
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        assert answer.headers["Content-Type"].startswith(kind)
    for name in (
        "package.json",
        "../package.json",
        "%2e%2e/settings.py",
        "three/package.json",
        "three/build/",
    ):
        assert client.get(f"/vendor/{name}").status_code == 404, name


@pytest.mark.parametrize("name", ["nonsense/x.js", "dash/../../settings.py", "a%00b/x.js"])
def test_a_library_that_dash_does_not_have_is_not_there(site: Site, name: str) -> None:
    answer = site.browser().get(f"/_dash-component-suites/{name}")
    assert answer.status_code == 404
    assert "Registered" not in answer.get_data(as_text=True)


def test_a_library_that_was_not_installed_says_what_to_do(tmp_path: Path) -> None:
    with open_site(tmp_path / "data", REDYS_NODE_MODULES=str(tmp_path / "none")) as site:
        answer = site.browser().get("/vendor/bootstrap.min.css")
    assert answer.status_code == 503
    assert "make setup" in answer.get_data(as_text=True)


def test_health_says_which_part_fails(tmp_path: Path) -> None:
    with open_site(tmp_path / "data") as site:
        client = site.browser()
        assert client.get("/health").get_json() == {"state": "ok"}
        (tmp_path / "data" / ".health").unlink()
        (tmp_path / "data" / ".health").mkdir()
        failed = client.get("/health")
        assert (failed.status_code, failed.get_json()) == (503, {"part": "disk", "state": "failed"})
        (tmp_path / "data" / ".health").rmdir()
        assert client.get("/health").status_code == 200
        site.records.close()
        database = tmp_path / "data" / "redys.sqlite3"
        for path in tmp_path.joinpath("data").glob("redys.sqlite3*"):
            path.unlink()
        database.mkdir()
        away = client.get("/health")
        assert (away.status_code, away.get_json()) == (503, {"part": "database", "state": "failed"})


def test_a_large_answer_is_packed_for_those_who_can_unpack_it(site: Site) -> None:
    client = site.browser()
    plain = client.get("/_dash-dependencies")
    packed = client.get("/_dash-dependencies", headers={"Accept-Encoding": "gzip, deflate"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 2
    assert "Accept-Encoding" in packed.headers["Vary"]
