"""What the site stands on goes away: said in words with status 503, and answered again without a restart."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisGone
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from components import outages
from pipeline.errors import RedysError, RunFolderError
from records.outages import find_outage
from tests.records.site import Site, open_site, token_of


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("outages") / "data") as opened:
        yield opened


def of_database(words: str) -> OperationalError:
    return OperationalError("SELECT 1", {}, Exception(words))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (of_database("connection refused"), "database does not answer"),
        (of_database("database or disk is full"), "disk is full"),
        (of_database("attempt to write a readonly database"), "cannot be written"),
        (PoolTimeout("QueuePool limit"), "keep up"),
        (RedisGone("refused"), "Redis"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "disk is full"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "cannot be written"),
    ],
)
def test_what_is_away_is_named(error: Exception, words: str) -> None:
    outage = find_outage(error)
    assert outage is not None
    assert words in outage.what
    assert outage.advice


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("INSERT", {}, Exception("UNIQUE")),
        FileNotFoundError(errno.ENOENT, "gone"),
        RunFolderError("run.json is missing.", "Run again."),
        RedysError("No.", ""),
        KeyError("x"),
    ],
)
def test_faults_of_another_kind_are_none(error: Exception) -> None:
    assert find_outage(error) is None


def test_a_file_that_could_not_be_written_says_why_by_its_cause() -> None:
    error = RunFolderError("The disk is full.", "")
    error.__cause__ = OSError(errno.ENOSPC, "full")
    assert find_outage(error) is not None


def test_a_page_is_answered_in_words_while_the_database_is_away_and_shown_when_it_is_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = site.browser()
    headers = token_of(browser)
    address = f"/media/{'0' * 32}/index.json"

    def away(run_id: str, name: str) -> Path:
        raise of_database("the server closed the connection")

    with monkeypatch.context() as broken:
        broken.setattr(site.records, "artefact", away)
        page = browser.get(address, headers={"Accept": "text/html"})
        plain = browser.get(address, headers={"Accept": "*/*"})
    for answer in (page, plain):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == str(outages.AGAIN_S)
        assert "The database does not answer." in answer.text
        assert "Traceback" not in answer.text
        assert "SELECT" not in answer.text
    assert "refresh" in page.text
    assert plain.mimetype == "text/plain"
    assert browser.get(address).status_code == 404
    assert browser.post("/upload", headers=headers).status_code == 201


def test_a_full_disk_refuses_an_upload_in_words(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = site.browser()
    headers = token_of(browser)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr("pipeline.files.os.replace", full)
        refused = browser.post("/upload", headers=headers)
    assert refused.status_code == 503
    assert "disk is full" in refused.text
    assert browser.post("/upload", headers=headers).status_code == 201
