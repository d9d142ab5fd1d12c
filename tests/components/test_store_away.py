"""What people see of a store that is away, or that has what this machine has not."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from records.store import name_folder
from tests.records.site import Site, make_session, open_site

HTML = {"Accept": "text/html"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "store").mkdir()
    with open_site(tmp_path / "data", REDYS_STORE_URL=f"file://{tmp_path / 'store'}") as opened:
        yield opened


def add_run(site: Site, name: str) -> str:
    """A recording whose run is done and kept."""
    data = site.settings.data_dir
    recording = site.records.add_recording(make_session(data / "sessions" / name, f'subject = "P-{name}"'))
    run = site.records.submit_run(recording.id)
    web = run.folder / "web"
    web.mkdir(parents=True)
    (web / "mosaic.mp4").write_bytes(b"moving pictures" * 100)
    (run.folder / "run.json").write_text("{}")
    from records import models
    from records.models import now

    with site.records.writing() as database:
        site.records.change(database, models.Run.id == run.id, state="done", finished=now())
        site.records.store.note_change(database, run.folder)
    site.records.store.keep(run.folder)
    site.records.store.keep(recording.folder)
    return run.id


def drop_copy(site: Site, run_id: str) -> None:
    """As the housekeeper does after a while."""
    store = site.records.store
    key = f"runs/{run_id}"
    end = time.monotonic() + 20
    while (site.settings.data_dir / key).exists() and time.monotonic() < end:
        os.utime(store._copy_path(name_folder(key)), (1e9, 1e9))
        store.drop_copies(0)  # not while it is still being sent
        time.sleep(0.05)
    assert not (site.settings.data_dir / key).exists()


def test_what_only_the_store_has_is_streamed_as_ever(site: Site) -> None:
    run_id = add_run(site, "one")
    drop_copy(site, run_id)
    answer = site.browser().get(f"/media/{run_id}/mosaic.mp4", headers={"Range": "bytes=0-5"})
    assert (answer.status_code, answer.data) == (206, b"moving")
    assert (site.settings.data_dir / "runs" / run_id / "run.json").is_file()


def test_while_it_is_away_what_is_here_works_and_the_rest_is_said_in_words(
    site: Site, tmp_path: Path
) -> None:
    here, there = add_run(site, "one"), add_run(site, "two")
    drop_copy(site, there)
    site.records.open_run(here)
    site.records.store._fresh.clear()
    (tmp_path / "store").rename(tmp_path / "taken-away")
    browser = site.browser()
    assert browser.get(f"/media/{here}/mosaic.mp4").status_code == 200
    answer = browser.get(f"/media/{there}/mosaic.mp4")
    assert answer.status_code == 503
    assert "store" in answer.text
    assert "Traceback" not in answer.text
    assert str(tmp_path) not in answer.text
    health = browser.get("/health")
    assert (health.status_code, health.json) == (503, {"state": "failed", "part": "store"})
    assert b"redys_well 0.0" in browser.get("/metrics").data
    assert browser.get("/", headers=HTML).status_code == 200
    (tmp_path / "taken-away").rename(tmp_path / "store")
    site.records.store.objects._away_until = 0.0
    assert browser.get(f"/media/{there}/mosaic.mp4").status_code == 200
    assert browser.get("/health").status_code == 200


def test_an_upload_ends_while_it_is_away_and_is_kept_later(site: Site, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "taken-away")
    recording = site.records.add_recording(make_session(site.settings.data_dir / "sessions" / "three"))
    run = site.records.submit_run(recording.id)
    assert run.state == "queued"
    assert b"redys_store_waiting_folders 1.0" in site.browser().get("/metrics").data
    (tmp_path / "taken-away").rename(tmp_path / "store")
    site.records.store.objects._away_until = 0.0
    shutil.rmtree(tmp_path / "data" / "runs", ignore_errors=True)
    with site.records.writing() as database:
        from records import models

        site.records.change(database, models.Run.id == run.id, state="cancelled")
    assert site.records.store.push_waiting() >= 0
    while site.records.store.is_waiting(recording.folder):
        site.records.store.push_waiting()
    manifest = next((tmp_path / "store" / name_folder("sessions/three") / "manifests").glob("*.json"))
    assert set(json.loads(manifest.read_text())["files"]) == {"front.mp4", "left.mp4", "right.mp4"}
