"""A file that has arrived is looked into at once, in a process of its own, for who sent it only."""

import base64
import json
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.utils import PlotlyJSONEncoder

from components import intake
from pipeline.session import Checkerboard
from pipeline.video import VideoWriter
from records import checking
from records.checking import Look
from tests.components.test_upload import PIECE, TUS, begin
from tests.records.site import Browser, Site, open_site, token_of


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    with VideoWriter(path, (640, 480), Fraction(25), preset="ultrafast") as writer:
        for level in range(60):
            writer.write(np.full((480, 640, 3), 40 + 2 * level, np.uint8))
    return path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def client(site: Site) -> Browser:
    client = site.browser()
    client.environ_base["HTTP_X_CSRFTOKEN"] = token_of(client)["X-CSRFToken"]
    return client  # type: ignore[return-value]


def send(client: Browser, name: str, data: bytes, part: int | None = None) -> str:
    draft = client.post("/upload").get_json()["draft"]
    address: str = begin(client, draft, name, len(data)).headers["Location"]
    client.patch(address, headers={**PIECE, "Upload-Offset": "0"}, data=data[:part])
    return address


def test_where_a_damaged_rig_lies_on_the_server_is_not_told(site: Site, client: Browser) -> None:
    address = send(client, "desk.json", b"[" * 200_000)
    said = client.get(f"{address}/look").get_json()["findings"]
    assert "desk.json" in said[0]["text"]
    assert str(site.settings.data_dir) not in json.dumps(said)


def test_who_reads_strange_files_finds_no_keys() -> None:
    doors = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "REDYS_METRICS_TOKEN", "AWS_SECRET_ACCESS_KEY",
             "AWS_ACCESS_KEY_ID", "PGPASSWORD")  # fmt: skip
    assert checking.drop_secrets({name: "x" for name in (*doors, "PATH")}) == {"PATH": "x"}


def count_children(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    begun: list[list[str]] = []
    run = subprocess.run

    def count(command: list[str], **values: Any) -> Any:
        begun.append(command)
        return run(command, **values)

    monkeypatch.setattr("records.checking.subprocess.run", count)
    return begun


def test_a_video_is_described_under_its_own_name_with_a_picture_and_once(
    client: Browser, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = send(client, "IMG 0413.mp4", film.read_bytes())
    begun = count_children(monkeypatch)
    answer = client.get(f"{address}/look")
    assert answer.status_code == 200
    said = answer.get_json()
    assert [(one["level"], one["mark"], one["word"]) for one in said["findings"]] == [
        ("note", "●", "Note"), ("warning", "▲", "Mind"), ("warning", "▲", "Mind"),
    ]  # fmt: skip
    texts = [one["text"] for one in said["findings"]]
    assert texts[0] == "IMG 0413.mp4: 2.4 s, 640x480, 25 frames a second, no sound."
    assert "too few to measure movement" in texts[1]
    assert "only 2.4 s long" in texts[2]
    assert base64.b64decode(said["picture"].partition("base64,")[2])[:3] == b"\xff\xd8\xff"
    assert ".part" not in answer.get_data(as_text=True)
    assert client.get(f"{address}/look").get_json() == said
    assert [command[3] for command in begun] == ["look", "strip"]


def test_a_take_is_searched_for_the_board_that_the_form_says(
    client: Browser, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = send(client, "board.mp4", film.read_bytes())
    begun = count_children(monkeypatch)
    said = client.get(f"{address}/look?columns=9&rows=6").get_json()
    assert [one["level"] for one in said["findings"]] == ["note", "error"]  # 25 frames/s do for a board
    assert "no checkerboard of 9 x 6 inner corners is found" in said["findings"][1]["text"]
    client.get(f"{address}/look?columns=9&rows=6")
    client.get(f"{address}/look?columns=8&rows=6")
    assert ["9x6" in " ".join(command) for command in begun if command[3] == "look"] == [True, False]
    for wrong in ("columns=2&rows=6", "columns=9", "columns=x&rows=y"):
        answer = client.get(f"{address}/look?{wrong}")
        assert (answer.status_code, "3 to 40" in answer.get_data(as_text=True)) == (400, True)


def test_what_is_no_video_is_said_to_be_none(client: Browser) -> None:
    said = client.get(f"{send(client, 'left.mp4', b'nonsense')}/look").get_json()
    assert [one["level"] for one in said["findings"]] == ["error"]
    assert said["findings"][0]["text"].startswith("left.mp4 is not a video that can be opened as mp4.")
    assert said["picture"] == ""
    rig = client.get(f"{send(client, 'rig.json', b'[]')}/look").get_json()
    assert rig["findings"][0]["level"] == "error"
    assert "rig.json" in rig["findings"][0]["text"]


def test_only_a_whole_file_is_looked_into_and_only_for_its_owner_from_our_own_page(
    client: Browser, film: Path, site: Site
) -> None:
    address = send(client, "front.mp4", film.read_bytes(), part=1000)
    assert client.get(f"{address}/look").status_code == 409
    whole = send(client, "front.mp4", film.read_bytes())
    assert client.get(f"{whole}/look", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    draft_id, file_id = whole.split("/")[2:4]
    with pytest.raises(checking.RedysError, match="no such upload"):
        site.records.drafts.look_into(draft_id, "somebody else", file_id)


def test_a_removed_file_leaves_no_picture_behind(client: Browser, film: Path, site: Site) -> None:
    address = send(client, "front.mp4", film.read_bytes())
    client.get(f"{address}/look")
    draft = site.settings.data_dir / "incoming" / address.split("/")[2]
    assert len(list(draft.glob("look/*"))) == 1
    assert len(list(draft.glob("*.bare"))) == 1
    client.delete(address, headers=TUS)
    assert [path.name for path in draft.iterdir() if path.is_file()] == ["draft.json"]
    assert list(draft.glob("look/*")) == []


def test_a_reader_that_dies_is_told_as_a_problem_of_the_file(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_work_apart", lambda *_: subprocess.CompletedProcess([], -9, b"", b""))
    look = checking.look_into(film, "a.mp4", tmp_path / "kept")
    assert [finding.level for finding in look.findings] == ["error"]
    assert not (tmp_path / "kept").exists()  # the next look tries again


def test_files_of_a_folder_on_the_server_are_shown_the_same_way(
    client: Browser, film: Path, site: Site, tmp_path: Path
) -> None:
    folder = tmp_path / "visit"
    (folder / "calibration").mkdir(parents=True)
    for name in ("front.mp4", "calibration/front.mp4"):
        (folder / name).write_bytes(film.read_bytes())
    (folder / "notes.txt").write_text("private")
    with site.app.server.test_request_context():
        drawn = json.dumps(intake.folder_files(str(folder)), cls=PlotlyJSONEncoder)
    assert "front.mp4" in drawn
    assert "notes.txt" not in drawn
    ask = {"folder": str(folder), "file": "front.mp4"}
    said = client.get("/look", query_string=ask).get_json()
    assert said["findings"][0]["text"].startswith("front.mp4: 2.4 s")
    for name in ("notes.txt", "../visit/front.mp4", "/etc/passwd", ""):
        assert client.get("/look", query_string=ask | {"file": name}).status_code == 404
    assert client.get("/look", query_string=ask | {"folder": "nowhere"}).status_code == 404


def test_a_folder_with_settings_of_its_own_is_searched_for_its_own_board(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "visit"
    (folder / "calibration").mkdir(parents=True)
    for name in ("front.mp4", "calibration/front.mp4"):
        (folder / name).write_bytes(b"no video")
    (folder / "session.toml").write_text("[checkerboard]\ncolumns = 7\nrows = 5\n")
    asked: list[Checkerboard | None] = []

    def look(path: Path, name: str, kept: Path, board: Checkerboard | None = None) -> Look:
        asked.append(board)
        return Look((), "", (8, 5))

    monkeypatch.setattr(intake, "look_file", look)
    with site.app.server.test_request_context():
        said = intake.look_into(str(folder), "calibration/front.mp4", Checkerboard(columns=9, rows=6))
    assert (asked[0].columns, asked[0].rows) == (7, 5)  # type: ignore[union-attr]
    assert said.board is None  # the form has no say there, so nothing is offered for it
