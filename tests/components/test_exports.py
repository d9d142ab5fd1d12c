"""Taking the numbers away over HTTP: the file, the page that waits, and failures in words."""

from __future__ import annotations

import io
import re
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from components import routes
from components.exports import take_away
from pipeline.export.formats import FORMATS
from pipeline.files import write_json
from records import models, name_export
from tests.components.test_report_parts import read_text, walk
from tests.records.site import Site, make_session, open_site

WRITE = "import zipfile; zipfile.ZipFile(OUT, 'w').writestr('joints.csv', '1')"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("exports") / "data") as opened:
        yield opened


@pytest.fixture
def run_id(site: Site, tmp_path: Path) -> str:
    recording = site.records.add_recording(make_session(tmp_path / "one"))
    run = site.records.submit_run(recording.id)
    write_json(run.folder / "run.json", {"state": "done", "of": run.id})
    with site.records.writing() as database:
        site.records.change(database, models.Run.id == run.id, state="done")
    return run.id


def let(site: Site, code: str) -> None:
    """Have this Python do ``code`` in place of writing an export; ``OUT`` is where to."""

    def command(run_folder: Path, format_id: str, deidentified: bool, out: Path) -> list[str]:
        return [sys.executable, "-c", f"OUT = {str(out)!r}; {code}"]

    site.records.exports.command = command


def follow(site: Site, address: str) -> Any:
    """The answer once the waiting page has gone where it refreshes to, as a browser would."""
    client = site.browser()
    for _ in range(200):
        answer = client.get(address)
        if answer.mimetype != "text/html" or answer.status_code == 500:
            return answer
        found = re.search(r'http-equiv="refresh" content="\d+; url=([^"]+)"', answer.get_data(as_text=True))
        assert found
        address = found[1]
        time.sleep(0.05)  # a browser waits longer; without a pause 200 looks last no two seconds
    raise AssertionError("the page waits for ever")


def links_of(component: Any) -> list[str]:
    return [part.href for part in walk(component) if getattr(part, "href", None)]


def test_every_format_has_two_plain_links_in_words() -> None:
    found = take_away("a" * 32)
    assert sorted(links_of(found)) == sorted(
        routes.export_url("a" * 32, name_export(entry, closed))
        for entry in FORMATS
        for closed in (False, True)
    )
    text = read_text(found)
    for entry in FORMATS.values():
        assert entry.title in text
        assert entry.contents in text


def test_the_file_comes_by_its_link_and_is_noted(site: Site, run_id: str) -> None:
    let(site, WRITE)
    answer = follow(site, routes.export_url(run_id, "csv.zip"))
    assert answer.status_code == 200
    assert answer.mimetype == "application/zip"
    assert answer.headers["Content-Disposition"] == "attachment; filename=redys-csv.zip"
    assert zipfile.ZipFile(io.BytesIO(answer.data)).namelist() == ["joints.csv"]
    with site.records.reading() as database:
        query = select(models.AuditEvent.actor, models.AuditEvent.object)
        noted = database.execute(query.where(models.AuditEvent.action == "run.export")).all()
    assert ("local", f"{run_id}/csv.zip") in [tuple(row) for row in noted]


def test_asking_only_for_the_head_writes_nothing_and_is_no_download(site: Site, run_id: str) -> None:
    let(site, WRITE)
    address, client = routes.export_url(run_id, "csv.zip"), site.browser()
    assert client.head(address).status_code == 202
    assert site.records.exports.look(run_id, "csv.zip") is None
    assert site.records.exports.prepare(run_id, "csv.zip", wait_s=20.0).state == "ready"
    ready = client.head(address)
    assert (ready.status_code, ready.mimetype, ready.data) == (200, "application/zip", b"")
    with site.records.reading() as database:
        query = select(models.AuditEvent.object).where(models.AuditEvent.action == "run.export")
        assert f"{run_id}/csv.zip" not in database.scalars(query).all()
    assert client.head(routes.export_url(run_id, "bvh.zip")).status_code == 404


def test_one_that_takes_long_gets_a_page_that_goes_on_by_itself(
    site: Site, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let(site, f"import time; time.sleep(3); {WRITE}")
    address = routes.export_url(run_id, "c3d.zip")
    waiting = site.browser().get(address)
    assert waiting.status_code == 202
    text = waiting.get_data(as_text=True)
    assert "being written" in text
    assert f"url={routes.export_url(run_id, 'c3d.zip', waited=True)}" in text
    assert routes.recording_url(site.records.get_run(run_id).recording_id) in text
    assert follow(site, address).mimetype == "application/zip"
    ready = site.browser().get(routes.export_url(run_id, "c3d.zip", waited=True)).get_data(as_text=True)
    assert f'content="0; url={address}"' in ready
    assert "Download it again" in ready


def test_a_failure_is_said_and_can_be_tried_again(site: Site, run_id: str) -> None:
    words = '{"type": "error", "what": "No <hand> here.", "advice": "Record one."}'
    let(site, f"print({words!r}); raise SystemExit(2)")
    address = routes.export_url(run_id, "glb.zip")
    answer = follow(site, address)
    assert answer.status_code == 500
    text = answer.get_data(as_text=True)
    assert "No &lt;hand&gt; here." in text
    assert "Record one." in text
    assert f'href="{address}"' in text
    let(site, WRITE)
    assert follow(site, address).mimetype == "application/zip"


def test_what_is_not_there_and_who_is_not_ours(site: Site, run_id: str) -> None:
    client = site.browser()
    for name in ("bvh.zip", "run.json", "csv.zip.claim.json"):
        assert client.get(f"/export/{run_id}/{name}").status_code == 404
    assert client.get(f"/export/{'0' * 32}/csv.zip").status_code == 404
    for place in ("cross-site", "same-site"):  # the second is another port of this machine
        foreign = {"Sec-Fetch-Site": place}
        assert client.get(routes.export_url(run_id, "csv.zip"), headers=foreign).status_code == 403
