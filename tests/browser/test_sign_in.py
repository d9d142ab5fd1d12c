"""Signing in and out with a real browser: what it sends of its own accord decides whether the gate opens."""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import update

from records import Records, models
from settings import ROOT, Settings

pytestmark = pytest.mark.browser

PASSWORD = "a long enough sentence"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def guarded_url(data: Path) -> Iterator[str]:
    """A site that demands sign-in, served as the image serves it, but to this computer only."""
    records = Records(Settings(data_dir=data))
    records.users.add("eva", PASSWORD)
    records.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"REDYS_DATA_DIR": str(data), "REDYS_HOST": "0.0.0.0", "REDYS_PORT": str(port)}
    bind = ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "8"]
    with (data / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "app:server", *bind],
            cwd=ROOT,
            env={**os.environ, **own},
            stdout=log,
            stderr=log,
        )
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                    break
                except OSError:
                    assert server.poll() is None, (data / "server.log").read_text()
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=40)


def test_a_person_signs_in_to_the_page_they_asked_for_and_out_again(
    browser: Browser, guarded_url: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{guarded_url}/about")
    expect(page).to_have_url(f"{guarded_url}/sign-in?next=/about")
    page.fill("#name", "eva")
    page.fill("#password", "not the password")
    page.keyboard.press("Enter")
    expect(page.locator("[role=alert]")).to_have_text("The name, the password or the code is not right.")
    page.wait_for_timeout(400)
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{guarded_url}/about")
    expect(page.locator("main h1")).to_have_text("About ReDys")
    expect(page.locator("header")).to_contain_text("eva")
    expect(page.locator(".banner")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{guarded_url}/sign-in")
    page.goto(guarded_url)
    expect(page).to_have_url(f"{guarded_url}/sign-in?next=/")
    context.close()


def test_a_page_that_nobody_touches_signs_its_reader_out_and_brings_them_back(
    browser: Browser, guarded_url: str, data: Path
) -> None:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(f"{guarded_url}/about?a=b")
    page.fill("#name", "eva")
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_have_text("About ReDys")
    page.locator("details.display summary").click()
    page.get_by_role("button", name="Light").click()
    cookies = {cookie["name"] for cookie in context.cookies()}
    assert cookies == {"__Host-redys_session", "__Host-_csrf_token", "__Host-redys_theme"}
    page.wait_for_timeout(500)
    records = Records(Settings(data_dir=data))
    with records.writing() as database:
        begun = models.now() - datetime.timedelta(minutes=31)
        database.execute(update(models.SignIn).values(active=begun))
    records.close()
    expect(page.locator("[role=alert]")).to_contain_text("signed out after 30 minutes", timeout=15_000)
    page.fill("#name", "eva")
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{guarded_url}/about?a=b")
    expect(page.locator("main h1")).to_have_text("About ReDys")
    context.close()
