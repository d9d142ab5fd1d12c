"""Health, figures and the log: they say how the server does, and nothing about anybody."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.sessions import SecureCookieSessionInterface
from sqlalchemy.exc import OperationalError

from components import operations
from pipeline.errors import RedysError
from records import get_records
from records.logs import LEFT_OUT, JsonLines
from tests.components.test_security import OPEN, come_in
from tests.records.site import Site, open_site, surroundings

CANARY = "Kanarienvogel-7431"
PASSWORD = "a long enough sentence"
TOKEN = {"Authorization": "Bearer of-figures"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("operations") / "data"
    values = {**OPEN, "REDYS_METRICS_TOKEN": "of-figures", "REDIS_URL": "redis://127.0.0.1:1"}
    with surroundings(data, **OPEN):
        for name, role in (("somebody", "clinician"), ("keeper", "administrator")):
            get_records().users.add(name, PASSWORD, role)  # type: ignore[arg-type]
    with open_site(data, **values) as opened:
        # The queue does not answer; who is signed in is known all the same.
        opened.app.server.session_interface = SecureCookieSessionInterface()
        yield opened


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the log holds, as it is written."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(self.format(record))

    handler = Keep()
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    with caplog.at_level(logging.INFO):
        yield said
    root.removeHandler(handler)


# --- health --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "error"),
    [("database", OperationalError("", {}, Exception(CANARY))), ("disk", OSError(28, CANARY))],
)
def test_health_names_the_part_that_does_not_answer_and_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch, part: str, error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(site.records, "check_health", fail)
    answer = site.browser().get("/health")
    assert (answer.status_code, answer.get_json()) == (503, {"state": "failed", "part": part})


def test_health_touches_the_queue(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.browser().get("/health").get_json() == {"state": "failed", "part": "queue"}
    monkeypatch.setattr(operations, "check_redis", lambda url: None)
    assert site.browser().get("/health").get_json() == {"state": "ok"}


# --- figures -------------------------------------------------------------------------------------


def test_figures_are_for_this_machine_the_token_and_administrators(site: Site) -> None:
    away = site.browser("https", "redys.example")
    assert away.get("/metrics").status_code == 401
    assert away.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert away.get("/metrics", headers=TOKEN).status_code == 200
    here = site.browser()
    assert here.get("/metrics").status_code == 200
    assert here.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401
    for name, status in (("somebody", 403), ("keeper", 200)):
        client = site.browser("https", "redys.example")
        come_in(client, name)
        assert client.get("/metrics").status_code == status


def test_figures_count_requests_and_runs_and_name_nobody(site: Site) -> None:
    client = site.browser()
    client.get(f"/health?name={CANARY}")
    client.get(f"/{CANARY}")
    said = client.get("/metrics").get_data(as_text=True)
    assert re.search(r'redys_requests_total\{endpoint="health",method="GET",status="503"\} [1-9]', said)
    assert 'redys_runs{state="queued"} 0.0' in said
    assert "redys_disk_free_bytes" in said
    assert "redys_request_seconds_bucket" in said
    assert CANARY not in said
    assert "somebody" not in said


# --- the log -------------------------------------------------------------------------------------


def test_each_request_is_a_line_of_ids_and_numbers(site: Site, lines: list[str]) -> None:
    client = site.browser("https", "redys.example")
    come_in(client)
    lines.clear()
    answer = client.get(f"/media/{'a' * 32}/{CANARY}.mp4?who={CANARY}")
    user = next(row for row in site.records.audit.list().rows if row.action == "sign-in")
    (line,) = [json.loads(each) for each in lines if '"endpoint": "media"' in each]
    assert line["request"] == answer.headers["X-Request-ID"]
    assert (line["method"], line["status"]) == ("GET", 404)
    assert line["seconds"] >= 0
    assert re.fullmatch(r"[0-9a-f]{32}", line["actor"])
    assert user.actor == "somebody"
    assert "somebody" not in "".join(lines)


def test_nothing_that_a_person_wrote_is_in_the_log(
    site: Site, lines: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = site.browser("https", "redys.example")
    come_in(client)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"no file {CANARY}.mp4")

    monkeypatch.setattr(site.records, "artefact", fail)
    monkeypatch.setitem(site.app.server.config, "PROPAGATE_EXCEPTIONS", False)
    assert client.get(f"/media/{'a' * 32}/{CANARY}.mp4").status_code == 500
    own, foreign = logging.getLogger("components.jobs"), logging.getLogger("somelibrary")
    own.warning("%s has no verdict: %s", tmp_path / CANARY, RedysError(CANARY))
    own.warning("run %s: %d of %.1f", "b" * 32, 3, 0.5)
    lines.append(JsonLines().format(own.makeRecord(own.name, 30, "", 1, "%d", (CANARY,), None)))
    foreign.error(f"could not open {CANARY}")
    foreign.error("could not open %s", CANARY)
    said = "\n".join(lines)
    assert CANARY not in said
    assert "run " + "b" * 32 + ": 3 of 0.5" in said
    assert LEFT_OUT in said
    wrong = [json.loads(line) for line in lines if '"RuntimeError"' in line]
    assert wrong
    assert any("test_operations.py" in where for where in wrong[0]["where"])
