"""The site as a whole: every page draws itself whatever the address says, and the parts are wired."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dash
import pytest

from app import make_app, make_celery, make_manager
from components import ids, routes
from pipeline.errors import RedysError
from records import get_records
from settings import get_settings
from tests.records.site import (
    Site,
    inline_scripts,
    make_session,
    open_site,
    page_body,
    surroundings,
    token_of,
)

JUNK = {"utm_source": "x", "__proto__": "1", "subject_id": "../../etc", "recording_id": "'; DROP TABLE run"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site") / "data") as opened:
        yield opened


def walk(component: Any) -> Iterator[Any]:
    """A component and everything in it."""
    if isinstance(component, (list, tuple)):
        for each in component:
            yield from walk(each)
    elif isinstance(component, dash.development.base_component.Component):
        yield component
        yield from walk(getattr(component, "children", None))


def ask(site: Site, path: str, search: str = "") -> Any:
    """What Dash's own page callback answers for an address."""
    client = site.browser()
    header = token_of(client)
    client.get("/_dash-layout")
    body = page_body(path, search)
    return client.post("/_dash-update-component", json=body, headers=header)


@pytest.mark.parametrize(
    "path", ["/", "/new", "/about", "/subject/unknown", "/subject/" + "0" * 32, "/recording/x", "/nonsense"]
)
@pytest.mark.parametrize("search", ["", "?utm_source=x&subject_id=EVIL&recording_id=%27&a=b"])
def test_every_address_is_answered_with_a_page(site: Site, path: str, search: str) -> None:
    answer = ask(site, path, search)
    assert answer.status_code == 200, answer.data[:500]
    drawn = json.dumps(answer.json["response"]["_pages_content"]["children"])
    assert '"H1"' in drawn


def test_every_layout_can_be_drawn_without_arguments_and_with_junk(site: Site) -> None:
    with site.app.server.test_request_context("/"):
        for page in dash.page_registry.values():
            layout = page["layout"]
            if callable(layout):
                layout()
                layout(**JUNK)


def test_ids_are_used_once_on_a_page_and_come_from_one_file(site: Site) -> None:
    known = {value for name, value in vars(ids).items() if name.isupper() and isinstance(value, str)}
    plain = {"new-tasks", "new-folders", "upload-cameras", "_pages_content"}
    with site.app.server.test_request_context("/"):
        from components.shell import layout as shell

        for page in dash.page_registry.values():
            if page["module"] not in ("pages.worklist", "pages.new", "pages.subject", "pages.about"):
                continue
            drawn = [*walk(shell()), *walk(page["layout"]())]
            used = [each.id for each in drawn if isinstance(getattr(each, "id", None), str)]
            assert len(used) == len(set(used))
            assert {each for each in used if not each.startswith("_pages")} <= known | plain


def test_the_first_page_names_no_other_host_and_every_inline_script_is_allowed(site: Site) -> None:
    client = site.browser()
    for _ in range(2):  # the hashes must hold on the very first answer and after it
        page = client.get("/")
        text = page.get_data(as_text=True)
        policy = page.headers["Content-Security-Policy"]
        from components.security import _hash_of

        scripts = inline_scripts(text)
        assert len(scripts) >= 3
        assert all(_hash_of(script) in policy for script in scripts)
        assert "unsafe-eval" not in policy
        assert 'src="http' not in text
        assert 'href="http' not in text


def test_what_the_browser_asks_for_is_there(site: Site) -> None:
    client = site.browser()
    for path in (
        "/_dash-layout", "/_dash-dependencies", "/assets/00_bridge.js", "/assets/modules/upload.mjs",
        "/assets/css/app.css", "/vendor/bootstrap.min.css", "/vendor/tus.min.js",
        "/vendor/three/build/three.module.js", "/vendor/three/build/three.core.js",
        "/vendor/three/examples/jsm/controls/OrbitControls.js",
    ):  # fmt: skip
        assert client.get(path).status_code == 200, path


def test_modules_are_not_included_twice(site: Site) -> None:
    assert ".mjs" not in site.browser().get("/").get_data(as_text=True)


def test_the_worklist_shows_what_is_there(site: Site, tmp_path: Path) -> None:
    recording = site.records.add_recording(make_session(tmp_path / "s", 'subject = "<b>P-77</b>"\n'))
    drawn = json.dumps(ask(site, "/").json)
    assert routes.recording_url(recording.id) in drawn
    assert "<b>P-77</b>" in drawn  # as text: React escapes it
    assert "Not started" in drawn
    person = json.dumps(ask(site, routes.subject_url(recording.subject_id)).json)
    assert routes.recording_url(recording.id) in person


def test_an_open_address_without_users_is_not_served(tmp_path: Path) -> None:
    with surroundings(tmp_path, REDYS_HOST="0.0.0.0"), pytest.raises(RedysError, match="add-user"):
        make_app()


def test_the_database_being_away_is_a_sentence(tmp_path: Path) -> None:
    url = "postgresql://x:secret@127.0.0.1:1/none"
    with surroundings(tmp_path, REDYS_HOST="0.0.0.0", DATABASE_URL=url), pytest.raises(RedysError) as raised:
        make_app()
    assert "secret" not in str(raised.value)


def test_background_work_is_kept_by_diskcache_in_a_folder_of_its_own(tmp_path: Path) -> None:
    with surroundings(tmp_path):
        manager = make_manager(get_settings())
    assert isinstance(manager, dash.DiskcacheManager)
    assert Path(manager.handle.directory) == tmp_path / "cache" / "jobs"
    assert manager.handle.eviction_policy == "none"
    assert manager.cache_by is None


@pytest.mark.filterwarnings("ignore:Task name")  # each app of this process registers the same task
def test_with_redis_background_work_goes_to_celery(tmp_path: Path) -> None:
    with surroundings(tmp_path, REDIS_URL="redis://127.0.0.1:6379/9"):
        settings = get_settings()
        app = make_app(settings, get_records())
        celery = make_celery(settings)
        manager: Any = app._background_manager
        assert isinstance(manager, dash.CeleryManager)
        assert celery.conf.task_acks_late
        assert celery.conf.worker_prefetch_multiplier == 1
        tasks = [name for name in manager.handle.tasks if name.startswith("background_callback_")]
        assert len(tasks) == 1
