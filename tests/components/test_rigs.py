"""What is said of calibrated cameras, and the choice of a rig for a new recording."""

from __future__ import annotations

import base64
import itertools
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dash import html
from hypothesis import given
from hypothesis import strategies as st

from components import intake, routes
from components.quality import quality_box
from components.rigs import (
    CHECK_WORDS,
    STEPS,
    cameras_panel,
    draw_coverage,
    rig_report,
    say_coverage,
    say_error,
    say_rig,
)
from components.status import DARK
from pipeline.calibration.formats import read_rig_file, write_rig_file
from pipeline.errors import RedysError
from pipeline.measures.summary import Summary
from pipeline.results import Camera, CameraCheck, Rig, RigCheck, write_rig, write_rig_check
from pipeline.session import read_session
from pipeline.video import VideoWriter
from records import RecordingRow, models
from tests.components.test_report_parts import luminance, read_text, walk
from tests.pipeline.calibration.board_pictures import make_rig_cameras
from tests.records.site import Site, make_session, open_site

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        open_site(tmp_path_factory.mktemp("rigs") / "data") as opened,
        opened.app.server.test_request_context(),
    ):
        yield opened


def make_rig(shift_mm: float = 0.0, **more: Any) -> Rig:
    cameras = make_rig_cameras((640, 360))
    left = cameras["left"]
    cameras["left"] = replace(
        left, t_mm=left.t_mm + shift_mm, rms_px=0.21, left_out_px=0.43, sigma_deg=0.02, sigma_mm=0.4,
        coverage=[[0, 0, 0], [5, 12, 80], [0, 1, 1]], used=[{"time_s": 1.0, "rms_px": 0.2}],
        refused=[{"time_s": 2.0, "reason": "the board is blurred"}] * 2,
    )  # fmt: skip
    return replace(Rig("front", cameras, square_error_mm=-0.05, square_spread_mm=0.02), **more)


def finish_run(site: Site, recording: RecordingRow, rig: Rig | None, check: RigCheck | None = None) -> str:
    run = models.Run(
        id=models.new_id(), recording_id=recording.id, state="done", folder="", finished=models.now()
    )
    run.folder = f"runs/{run.id}"
    with site.records.writing() as database:
        database.add(run)
    folder = site.records.open_run(run.id)
    if rig is not None:
        write_rig(folder.rig_json, rig)
    if check is not None:
        write_rig_check(folder.rig_check_json, check)
    return run.id


# --- the report of a rig -------------------------------------------------------------------------


def test_every_camera_stands_with_its_figures_and_what_is_not_known_is_a_dash() -> None:
    text = read_text(rig_report(make_rig(verdict="check", reasons=("Camera left was refused twice.",))))
    for part in ("0.21 px", "0.43 px", "0.020°, 0.40 mm", "56 %", "1 used, 2 refused", "−0.050 ± 0.020 mm",
                 "check", "Camera left was refused twice.", "2 × the board is blurred"):  # fmt: skip
        assert part in text
    rows = [each for each in walk(rig_report(make_rig())) if isinstance(each, html.Tr)]
    front = next(row for row in rows if read_text(row).startswith("front 640"))
    assert read_text(front).count("–") == 6
    assert "nan" not in text


def test_a_rig_from_the_hand_says_so_with_its_expected_errors() -> None:
    cameras = {name: replace(c, sigma_deg=0.9, sigma_mm=14.0) for name, c in make_rig().cameras.items()}
    text = read_text(rig_report(make_rig(source="hand", scale_sigma=0.03, cameras=cameras, verdict="check")))
    assert "Self-calibrated from the hand" in text
    assert "camera left ± 0.90 degrees and ± 14 mm" in text
    assert text.count("± 3.0 %") == 1
    assert "distance of the hand's points" in text
    assert "board's corners" not in text
    assert "Self-calibrated" not in read_text(rig_report(make_rig()))


def test_the_expected_error_of_a_rig_from_the_hand_is_said_in_one_place() -> None:
    reason = "Self-calibrated from the hand. Expected error 0.9 degrees, 3 % of scale."
    rig = make_rig(source="hand", scale_sigma=0.03, verdict="check", reasons=(reason,))
    alone, under_quality = read_text(rig_report(rig)), read_text(rig_report(rig, is_told=True))
    assert (alone.count(reason), alone.count("degrees and ±")) == (1, 0)
    assert (under_quality.count(reason), under_quality.count("degrees and ±")) == (0, 2)
    doubted = make_rig(verdict="reliable", reasons=("Camera left was refused twice.",))
    assert "refused twice" in read_text(rig_report(doubted, is_told=True))  # the quality box leaves this out


def test_an_expected_error_has_two_digits_and_is_never_printed_as_none() -> None:
    said = [say_error(value) for value in (0.0, 4e-4, 0.0186, 0.31, 5.94, 27.2, 147.9, float("nan"))]
    assert said == ["0.000", "under 0.001", "0.019", "0.31", "5.9", "27", "148", "–"]
    tiny = replace(make_rig().cameras["left"], sigma_deg=4e-4, sigma_mm=0.0186)
    rig = make_rig(scale_sigma=1e-6, cameras={**make_rig().cameras, "left": tiny})
    text = read_text(rig_report(rig))
    assert "under 0.001°, 0.019 mm" in text
    assert "± under 0.001 %" not in text
    assert "Expected error of every length under 0.001 %" in text


def test_columns_of_which_nothing_is_known_are_left_out_with_their_explanations() -> None:
    text = read_text(rig_report(Rig("front", make_rig_cameras((640, 360)), source="file", verdict="check")))
    assert "Focal length, px" in text
    for head in ("Left out", "Expected error", "Cells with corners", "Frames"):
        assert head not in text


def test_a_hand_that_calibrated_the_cameras_is_not_said_to_have_been_seen_badly() -> None:
    why = "The cameras' places were worked out from this very hand: it cannot check them."
    text = read_text(rig_report(make_rig(source="hand"), RigCheck("unknown", {}, (why,))))
    assert why in text
    assert "not seen well enough" not in text


@pytest.mark.parametrize("verdict", CHECK_WORDS)
def test_a_check_is_a_word_a_mark_and_its_reasons(verdict: Any) -> None:
    check = RigCheck(
        verdict, {"left": CameraCheck(verdict, 9.3, 1.1, 0.84, 0.04, 4190)}, ("Camera left: why.",)
    )
    report = rig_report(make_rig(), check)
    text = read_text(report)
    assert f"The cameras since the calibration: {CHECK_WORDS[verdict][0]}" in re.sub(r"\s+", " ", text)
    for part in ("Camera left: why.", "9.3 px", "0.84 ± 0.04°"):
        assert part in text
    assert "since the calibration" not in read_text(rig_report(make_rig()))


def test_every_table_can_be_scrolled_by_keyboard_and_has_a_name() -> None:
    frames = [each for each in walk(rig_report(make_rig())) if getattr(each, "role", None) == "region"]
    assert frames
    for frame in frames:
        assert frame.tabIndex == 0
        assert getattr(frame, "aria-label")


@pytest.mark.parametrize("check", CHECK_WORDS)
def test_the_quality_box_says_whether_the_cameras_still_stand(summary: Summary, check: Any) -> None:
    quality = replace(summary.quality, rig_check=check, rig_source="hand", sync_source="hand")
    text = read_text(quality_box(replace(summary, quality=quality)))
    word = {"good": "as calibrated"}.get(check, CHECK_WORDS[check][0])
    assert f"Cameras since the calibration {word}" in text
    assert "self-calibrated" in text
    assert "by the hand's own motion" in text


# --- coverage ------------------------------------------------------------------------------------


def camera_with(coverage: list[list[int]], size_px: tuple[int, int] = (640, 360)) -> Camera:
    return Camera("left", size_px, np.eye(3), np.zeros(5), np.eye(3), np.zeros(3), coverage=coverage)


counts = st.integers(0, 200)
grids = st.integers(1, 9).flatmap(
    lambda columns: st.lists(st.lists(counts, min_size=columns, max_size=columns), min_size=1, max_size=9)
)


@pytest.mark.parametrize("grid", [[[], []], [[1] * 100] * 100])
def test_a_coverage_that_cannot_be_drawn_leaves_the_rest_of_the_report(grid: list[list[int]]) -> None:
    odd = replace(make_rig().cameras["left"], coverage=grid)
    text = read_text(rig_report(make_rig(cameras={**make_rig().cameras, "left": odd})))
    assert "0.21 px" in text
    assert "Where the checkerboard was" not in text


@given(grids, st.sampled_from([(1920, 1080), (1080, 1920), (640, 640)]))
def test_each_cell_is_drawn_where_it_lies_and_as_dark_as_it_is_full(
    grid: list[list[int]], size_px: tuple[int, int]
) -> None:
    drawing = ET.fromstring(draw_coverage(camera_with(grid, size_px)))
    cells = [box for box in drawing.findall(f"{SVG}rect") if box.get("fill", "").startswith("#")]
    stripes = [box for box in drawing.findall(f"{SVG}rect") if box.get("fill") == "url(#empty)"]
    flat = [count for row in grid for count in row]
    assert len(cells) == len(flat)
    assert len(stripes) == flat.count(0)
    across = float(cells[0].get("width", 0)) * len(grid[0])
    down = float(cells[0].get("height", 0)) * len(grid)
    assert across / down == pytest.approx(size_px[0] / size_px[1], rel=0.01)
    for (one, first), (other, second) in itertools.pairwise(zip(flat, cells, strict=True)):
        light, lighter = luminance(first.get("fill", "")), luminance(second.get("fill", ""))
        assert (one - other) * (light - lighter) <= 0


def test_the_steps_differ_in_lightness_so_that_they_hold_without_colour() -> None:
    lights = [1.0, *(luminance(colour) for _, colour, _ in STEPS)]
    for lighter, darker in itertools.pairwise(lights):
        assert (lighter + 0.05) / (darker + 0.05) > 1.4
    assert luminance(DARK) < min(lights)


def test_the_empty_parts_are_said_in_words() -> None:
    said = say_coverage(camera_with([[0, 0, 3], [1, 1, 1], [1, 0, 1]]))
    assert (
        said
        == "Camera left: corners in 67 % of the picture's cells; none at top left, top centre, bottom centre."
    )
    assert "in every part of it" in say_coverage(camera_with([[1, 2], [3, 4]]))
    images = [
        str(getattr(each, "alt", "")) for each in walk(rig_report(make_rig())) if isinstance(each, html.Img)
    ]
    assert any(alt.startswith("Camera left: corners in 56 %") for alt in images)


# --- in a recording's report ---------------------------------------------------------------------


def test_the_rig_of_a_report_is_kept_once_and_then_linked(site: Site, tmp_path: Path) -> None:
    from components.rigs import keep_rig

    recording = site.records.add_recording(make_session(tmp_path / "one"))
    run_id = finish_run(site, recording, make_rig(100.0), RigCheck("good"))
    before = read_text(cameras_panel(recording, run_id))
    assert "Keep this rig" in before
    assert "good" in before
    assert "needs a name" in read_text(keep_rig(1, None, "", run_id))
    assert "Kept as" in read_text(keep_rig(1, None, "Room 100", run_id))
    after = cameras_panel(recording, run_id)
    assert "Keep this rig" not in read_text(after)
    assert "This rig is kept as Room 100" in re.sub(r"\s+", " ", read_text(after))


def test_a_rig_that_is_not_for_others_says_why_instead_of_a_form(site: Site, tmp_path: Path) -> None:
    recording = site.records.add_recording(make_session(tmp_path / "one"))
    refused: dict[str, dict[str, Any]] = {
        "from the hand": {"source": "hand"},
        "failed its own checks": {"verdict": "failed"},
    }
    for why, changes in refused.items():
        text = read_text(cameras_panel(recording, finish_run(site, recording, make_rig(**changes))))
        assert "Keep this rig" not in text
        assert why in text


def test_a_run_without_a_rig_says_what_to_do(site: Site, tmp_path: Path) -> None:
    recording = site.records.add_recording(make_session(tmp_path / "one"))
    text = read_text(cameras_panel(recording, finish_run(site, recording, None)))
    assert "rig.json is missing" in text
    assert "Run the pipeline again" in text


def test_a_kept_rig_is_given_in_three_formats(site: Site, tmp_path: Path) -> None:
    recording = site.records.add_recording(make_session(tmp_path / "one"))
    row = site.records.rigs.keep(finish_run(site, recording, make_rig(200.0)), "Room 200")
    for suffix in (".json", ".yaml", ".toml"):
        answer = site.browser().get(routes.rig_file_url(row.id, suffix))
        assert answer.status_code == 200
        path = tmp_path / f"got{suffix}"
        path.write_bytes(answer.data)
        got = read_rig_file(path).cameras["left"].t_mm
        np.testing.assert_allclose(got, make_rig(200.0).cameras["left"].t_mm, rtol=1e-9)
    for address in (
        f"/rig-file/{row.id}/rig.xml",
        f"/rig-file/{row.id}/.rig.json",
        f"/rig-file/{'0' * 32}/rig.json",
    ):
        assert site.browser().get(address).status_code == 404


def test_a_rig_from_a_file_is_added_by_the_page_or_refused_in_words(site: Site, tmp_path: Path) -> None:
    from pages import rigs as rigs_page  # a page can be imported only once there is a site

    write_rig_file(tmp_path / "lab.toml", make_rig(300.0))
    good = {
        "name": "../../lab.toml",
        "contents": base64.b64encode((tmp_path / "lab.toml").read_bytes()).decode(),
    }
    said, table = rigs_page.add_rig(good, "  ")
    assert "Kept as  lab" in read_text(said)
    assert "lab" in read_text(table)
    bad = {"name": "Mine.toml", "contents": base64.b64encode(b"hello").decode()}
    assert "Mine.toml is not TOML" in read_text(rigs_page.add_rig(bad, "x")[0])
    assert "did not arrive whole" in read_text(
        rigs_page.add_rig({"name": "a.toml", "contents": "%%%"}, "x")[0]
    )


# --- the choice for a new recording --------------------------------------------------------------

FORM = {"subject": "P-9", "side": "right", "preset": "standard"}


@pytest.fixture
def server_folder(site: Site, tmp_path: Path) -> Path:
    return make_session(tmp_path / "folder")


def prepare(folder: Path, **form: Any) -> Path:
    return intake.prepare("folder", {}, str(folder), {**FORM, **form}, "local")


@pytest.fixture(scope="module")
def kept(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Any:
    recording = site.records.add_recording(make_session(tmp_path_factory.mktemp("kept") / "one"))
    return site.records.rigs.keep(finish_run(site, recording, make_rig(400.0)), "Room 400")


@pytest.fixture(autouse=True)
def may_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_may_type", lambda: True)


def test_the_chosen_rig_lies_in_the_session_and_goes_when_the_choice_changes(
    server_folder: Path, kept: Any, site: Site
) -> None:
    prepare(server_folder, places="rig", rig=kept.id, hand_length_mm=182.5)
    session = read_session(server_folder)
    assert session.rig is not None
    assert session.settings.hand_length_mm == 182.5
    recording = site.records.add_recording(server_folder)
    assert recording.rig_id == kept.id
    assert "Room 400" in read_text(
        cameras_panel(recording, finish_run(site, recording, make_rig(source="file")))
    )
    prepare(server_folder, places="hand")
    assert read_session(server_folder).rig is None
    assert read_session(server_folder).settings.hand_length_mm is None


def test_the_hand_alone_is_refused_where_the_folder_says_otherwise(server_folder: Path) -> None:
    (server_folder / "calibration").mkdir()
    with pytest.raises(RedysError, match="calibration"):
        prepare(server_folder, places="hand")
    prepare(server_folder, places="files")
    shutil.rmtree(server_folder / "calibration")
    write_rig_file(server_folder / "rig.toml", make_rig())
    with pytest.raises(RedysError, match=r"rig\.toml"):
        prepare(server_folder, places="hand")


def test_no_rig_or_a_rig_that_is_gone_is_said(server_folder: Path) -> None:
    for rig in (None, "0" * 32):
        with pytest.raises(RedysError, match="rig"):
            prepare(server_folder, places="rig", rig=rig)


@pytest.mark.parametrize("places", ["rig", "hand", "files"])
def test_sent_files_that_a_choice_has_no_use_for_are_left_out_and_named(
    site: Site, kept: Any, tmp_path: Path, places: str
) -> None:
    drafts = site.records.drafts
    draft, sent = drafts.create("local"), []
    write_rig_file(tmp_path / "lab.yaml", make_rig(500.0))
    with VideoWriter(tmp_path / "front.mp4", (64, 48), Fraction(30)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    shutil.copy(tmp_path / "front.mp4", tmp_path / "board.mp4")
    files = (
        ("front.mp4", "video", "front"),
        ("board.mp4", "calibration", "front"),
        ("lab.yaml", "rig", ""),
    )
    for name, kind, camera in files:
        content = (tmp_path / name).read_bytes()
        file = drafts.begin(draft, "local", name, len(content))
        drafts.append(draft, "local", file.id, 0, [content])
        sent.append({"id": file.id, "name": name, "kind": kind, "camera": camera, "complete": True})
    form = {**FORM, "places": places, "rig": kept.id}
    state = {"draft": draft, "files": sent}
    folder = intake.prepare("upload", state, None, form, "local")
    rig = read_session(folder).rig
    said = " ".join(finding.what for finding in intake.say_places("upload", state, form))
    assert (rig and rig.name) == {"rig": "rig.json", "hand": None, "files": "rig.yaml"}[places]
    assert (folder / "calibration").is_dir() == (places == "files")
    assert ("board.mp4, lab.yaml" in said) == (places != "files")


def test_a_choice_says_which_cameras_the_rig_has_and_how_it_last_fared(
    site: Site, kept: Any, tmp_path: Path
) -> None:
    said = intake.describe_places("rig", kept.id)
    assert "cameras front, left, right" in said
    assert "reliable" in said
    folder = make_session(tmp_path / "later")
    site.records.rigs.use(folder, kept.id)
    recording = site.records.add_recording(folder)
    finish_run(site, recording, make_rig(source="file"), RigCheck("moved"))
    assert "last check moved, 2" in say_rig(site.records.rigs.get(kept.id))
    assert "no such rig" in intake.describe_places("rig", None)


def test_without_a_rig_the_choice_is_closed_and_says_how_one_comes_to_be() -> None:
    closed = intake.places_choice(())
    options = next(each.options for each in walk(closed) if getattr(each, "id", "") == "new-places")
    assert [option["value"] for option in options if option.get("disabled")] == ["rig"]
    assert "keep one from the report" in read_text(closed)
