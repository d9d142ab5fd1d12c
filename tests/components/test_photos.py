"""Still pictures on the pages: every state of a set, the words of likely faults, and the files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from dash.development.base_component import Component

from components import photos
from pipeline.files import write_json
from pipeline.photos.failures import REASONS, Reason
from pipeline.photos.results import (
    SCHEMA_VERSION,
    FailureRow,
    HandRow,
    PictureRow,
    summarise_picture,
    write_picture,
    write_points,
)
from records import RunRow, get_records, models
from tests.records.site import Site, open_site
from tests.records.test_photos import make_set

HAND = HandRow(
    side="left",
    side_share=0.9,
    side_votes=(8, 8),
    score=0.97,
    second_look=False,
    box_px=[10.0, 10.0, 90.0, 90.0],
    points_px=[[float(k), float(k)] for k in range(21)],
    sigma_px=[1.5] * 21,
    reprojection_px=2.0,
    joints_mm=[[1.0, 2.0, 3.0]] * 21,
    sigma_mm=[[1.0, 1.0, 2.0]] * 21,
    wrist_mm=[0.0, 0.0, 400.0],
    projected_px=[[1.0, 1.0]] * 21,
)
FAULTS = {
    "truncated": FailureRow("truncated", 2, 1, "joints", (8, 12)),
    "blurred": FailureRow("blurred", 3.4, 2.6, "px of 224"),
    "low confidence": FailureRow("low confidence", 0.41, 0.75, "score"),
    "sides disagree": FailureRow("sides disagree", 5, 7, "votes"),
    "occluded": FailureRow("occluded", 2, 2, "joints", (7, 8)),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("photos") / "data"
    with open_site(data) as opened, opened.app.server.test_request_context("/"):
        opened.app.server.extensions["redys_local"] = True
        yield opened


def write_results(folder: Path, *pictures: PictureRow) -> None:
    for picture in pictures:
        write_picture(folder, picture)
    write_points(folder, pictures)
    values = {
        "schema_version": SCHEMA_VERSION,
        "state": "done",
        "settings": {},
        "hand_length_mm": 191.0,
        "scale_source": "average",
        "hand_model": "built-in hand",
        "versions": {},
        "models": [],
        "warnings": ["4.jpg cannot be read."],
        "pictures": [summarise_picture(picture) for picture in pictures],
    }
    write_json(folder / "photos.json", values)


def finish(folder: Path, *pictures: PictureRow) -> tuple[str, RunRow]:
    """A set whose run has ended with these pictures."""
    records = get_records()
    row = records.photos.add(make_set(folder), "=A set")
    run = records.submit_run(row.id)
    write_results(run.folder, *pictures)
    with records.writing() as database:
        records.change(database, models.Run.id == run.id, state="done", finished=models.now())
    return row.id, records.get_run(run.id)


def show_set(recording_id: str) -> str:
    from pages import photo_set  # only an app that is there lets a page register

    return say(photo_set.layout(recording_id))


def show_list() -> str:
    from pages import photos as page

    return say(page.layout())


def say(part: Any) -> str:
    """All text and addresses of a layout."""
    if isinstance(part, Component):
        values = [getattr(part, name) for name in ("href", "src") if hasattr(part, name)]
        return " ".join([*map(str, values), say(getattr(part, "children", None))])
    if isinstance(part, (list, tuple)):
        return " ".join(say(each) for each in part)
    return "" if part is None else str(part)


PICTURES = (
    PictureRow(
        0, "a.jpg", "k", (100, 100), 1.0, 28.0, hands=(replace(HAND, failures=tuple(FAULTS.values())),)
    ),
    PictureRow(1, "b.jpg", "k", (100, 100), 1.0, 26.0, "picture"),
    PictureRow(2, "4.jpg", "k", what="4.jpg cannot be read as a picture.", advice="Save it again."),
)


def test_an_empty_house_leads_to_the_form() -> None:
    said = say(photos.set_list((), lambda row: 0))
    assert "There are no pictures yet" in said
    assert "#new-set" in said


def test_a_set_that_waits_shows_its_run_and_one_that_never_ran_its_start(site: Site, tmp_path: Path) -> None:
    row = get_records().photos.add(make_set(tmp_path / "set"))
    assert "have not been worked on yet" in show_set(row.id)
    get_records().submit_run(row.id)
    assert "Waiting" in show_set(row.id)
    assert "P-9" in show_list()
    assert "There is no such" in show_set("0" * 32)


def test_everything_that_was_found_is_shown(site: Site, tmp_path: Path) -> None:
    recording, run = finish(tmp_path / "set", *PICTURES)
    said = show_set(recording)
    assert "Hands in 1 of 3 pictures, 1 hands in all." in said
    assert "The scale is not known" in said
    assert "4.jpg cannot be read." in said
    for word in ("index_tip, middle_tip", "3.4 px", "0.41", "5 passes", "index_dip, index_tip"):
        assert word in said
    assert f"/media/{run.id}/thumb_000.jpg" in said
    assert "Neither the whole picture" in said
    assert f"/photo-file/{run.id}/points.csv" in said


def test_no_fault_is_no_proof(site: Site, tmp_path: Path) -> None:
    recording, _ = finish(tmp_path / "set", replace(PICTURES[0], hands=(HAND,)))
    assert "no proof" in show_set(recording)


def test_damaged_results_are_told_and_not_drawn(site: Site, tmp_path: Path) -> None:
    recording, run = finish(tmp_path / "set", *PICTURES)
    (run.folder / "web" / "picture_001.json").write_text('{"number": 1}')
    assert "no record of a picture" in show_set(recording)


def test_every_reason_has_a_mark_a_sentence_and_an_advice() -> None:
    assert get_args(Reason) == REASONS == tuple(FAULTS)
    for reason, failure in FAULTS.items():
        assert photos.REASON_MARKS[reason][1]
        assert photos.ADVICE[reason]
        assert photos.say_failure(failure).endswith(".")


def test_files_are_handed_out_whole_and_nothing_else_is(site: Site, tmp_path: Path) -> None:
    recording, run = finish(tmp_path / "set", *PICTURES)
    client = site.app.server.test_client()
    table = client.get(f"/photo-file/{run.id}/points.csv")
    assert table.status_code == 200
    assert "attachment" in table.headers["Content-Disposition"]
    assert table.text.count("\n") == 22
    assert client.get(f"/photo-file/{run.id}/points_000.csv").status_code == 200
    assert client.get(f"/photo-file/{run.id}/photos.json").json["state"] == "done"
    for name in ("points_001.csv", "run.json", "picture_000.json", "web"):
        assert client.get(f"/photo-file/{run.id}/{name}").status_code == 404
    assert client.get(f"/photo-file/{recording}/points.csv").status_code == 404


FORM = {
    "subject": " P-2 ",
    "visit": "2026-05-01",
    "preset": "standard",
    "detector": "mediapipe",
    "estimator": "mediapipe",
    "hand_length_mm": 180,
    "focal_35mm": None,
}


def start(
    source: str, files: dict[str, Any] | None, folder: str | None, form: dict[str, Any]
) -> tuple[Any, ...]:
    from pages import photos as page

    return page.start(1, source, files, folder, "From a folder", form, 0)


def test_a_folder_on_the_server_becomes_a_set_with_the_form_s_settings(site: Site, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    (folder / "photos.toml").unlink()
    address, request, *_ = start("folder", None, str(folder), FORM)
    row = get_records().photos.list()[0]
    assert address == f"/photos/{row.id}"
    assert (row.subject, row.title, row.run.id if row.run else "") == (
        "P-2",
        "From a folder",
        request["run_id"],
    )
    assert "hand_length_mm = 180" in (folder / "photos.toml").read_text()


def test_own_settings_of_a_folder_are_kept(site: Site, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    start("folder", None, str(folder), FORM)
    assert get_records().photos.list()[0].subject == "P-9"


@pytest.mark.parametrize(
    ("source", "folder", "form", "words"),
    [
        ("upload", None, {}, "No pictures yet."),
        ("folder", None, {}, "No folder was given."),
        ("folder", "/no/such/folder", {}, "is not a folder on the server"),
        ("folder", "", {"hand_length_mm": 5}, "hand_length_mm"),
    ],
)
def test_what_is_missing_is_said_and_nothing_starts(
    site: Site, tmp_path: Path, source: str, folder: str | None, form: dict[str, Any], words: str
) -> None:
    if folder == "":
        made = make_set(tmp_path / "set")
        (made / "photos.toml").unlink()
        folder = str(made)
    before = get_records().photos.list()
    *_, shown = start(source, {}, folder, {**FORM, **form})
    assert words in say(shown)
    assert get_records().photos.list() == before
