"""What researchers see: codes, days and numbers, and nothing that was typed, in no byte of any answer."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import dash
import pytest

from benchmarks import canaries
from benchmarks.canaries import DAYS, OPEN, PASSWORD, Planted, Search, Walk, canary
from components import policy
from components.policy import ENDPOINTS, GRANTS, PAGES, callback_permission
from pipeline.__main__ import main as pipeline_main
from pipeline.hand.model import load_hand_model
from records import Records, exports, get_records, shares
from records.errors import NotFound
from tests.browser.conftest import make_run
from tests.records.site import Site, open_site, surroundings


class Here:
    """A process that does its work in this one, where torch is loaded already."""

    pid = 1

    def __init__(self, words: Sequence[str], **_: Any) -> None:
        assert list(words[1:3]) == ["-m", "pipeline"]
        self.returncode = pipeline_main(list(words[3:]))

    def poll(self) -> int:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        return self.returncode


@dataclass
class Study:
    site: Site
    planted: Planted
    walk: Walk
    search: Search

    @property
    def records(self) -> Records:
        return self.site.records


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """A site full of canaries, and a researcher who has walked over all of it, and a guest with links."""
    folder = tmp_path_factory.mktemp("research")
    first = canaries.make_sessions(folder, 1.0, (320, 180), Fraction(30), DAYS[:1])[0]
    later = folder / f"{canary('folder')}-1"
    shutil.copytree(first, later)
    toml = (later / "session.toml").read_text()
    (later / "session.toml").write_text(toml.replace(DAYS[0].isoformat(), DAYS[1].isoformat()))
    model = load_hand_model()
    fill = canaries.plant(folder / "data", [first, later], lambda session, run: make_run(session, run, model))
    with pytest.MonkeyPatch.context() as patch:
        for module in (exports, shares):
            patch.setattr(module, "subprocess", _Processes())
        data = folder / "data"
        with surroundings(data, **OPEN):
            planted = fill(get_records())
        with open_site(data, **OPEN) as site:
            search = Search(planted.needles.compile())
            site.records.users.add("Researcher", PASSWORD, "researcher")
            walk = Walk(site, planted, search, "Researcher", is_thorough=False)
            yield Study(site, planted, walk, search)


class _Processes:
    """`subprocess` with processes that are none."""

    Popen = Here
    DEVNULL, STDOUT = subprocess.DEVNULL, subprocess.STDOUT
    TimeoutExpired = subprocess.TimeoutExpired


def test_no_canary_is_in_any_byte_that_a_researcher_is_answered(study: Study) -> None:
    study.walk.walk()
    assert study.search.hits == []
    assert {"page", "route", "callback", "file", "export"} <= set(study.search.answers)
    assert study.search.searched_bytes["export"] > 100_000


def test_the_search_finds_a_canary_however_it_is_packed(study: Study, tmp_path: Path) -> None:
    import base64
    import gzip
    import zipfile

    patterns = study.planted.needles.compile()
    word, day = canary("pseudonym"), "23 Aug 2019"
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", gzip.compress(word.encode("utf-16-le")))
    picture = b'"data:image/svg+xml;base64,' + base64.b64encode(b"<svg>" + b" " * 30 + day.encode()) + b'"'
    letters = "".join(f"\\u{ord(letter):04x}" for letter in word)
    escaped = f'{{"a": "{letters}"}}'
    for data, place in ((packed.read_bytes(), "pseudonym"), (picture, "day"), (escaped.encode(), "pseudonym"),
                        (base64.b64encode(b"?" + word.encode()), "pseudonym")):  # fmt: skip
        found = Search(patterns)
        found.look("made", "made", data)
        assert {hit[2] for hit in found.hits} == {place}, data[:60]


def test_no_canary_is_in_any_byte_of_a_link_to_one_recording_or_to_two(study: Study) -> None:
    for recordings in (study.planted.recordings[:1], study.planted.recordings):
        canaries.open_link(study.site, study.search, recordings)
    assert study.search.hits == []
    assert study.search.searched_bytes["shared view"] > 100_000


def test_people_and_recordings_stand_under_codes_that_stay(study: Study) -> None:
    rows = study.records.research.list_recordings()
    assert [row.day for row in rows] == [0, 42]
    assert len({row.person for row in rows}) == 1
    assert re.fullmatch(r"R-[A-Z2-7]{8}", rows[0].person)
    assert rows[0].task == rows[1].task
    assert re.fullmatch(r"task [A-Z2-7]{8}", rows[0].task)
    again = Records(study.records.settings)
    assert again.research.list_recordings() == rows
    again.close()
    other = study.records.settings.model_copy(update={"data_dir": study.planted.data / "other"})
    foreign = Records(other)
    assert foreign.research.code_person(study.planted.subjects[0]) != rows[0].person


def test_nothing_but_codes_is_searched(study: Study) -> None:
    research = study.records.research
    person = research.list_recordings()[0].person
    assert len(research.list_recordings(person[2:6].lower())) == 2
    for words in (canary("pseudonym"), canary("title"), canary("task"), "2019", study.planted.recordings[0]):
        assert research.list_recordings(words) == ()


def test_the_clinics_own_identifiers_lead_nowhere(study: Study) -> None:
    research = study.records.research
    for identifier in (*study.planted.recordings, *study.planted.runs, *study.planted.subjects, "", "0" * 32):
        with pytest.raises(NotFound):
            research.get(identifier)
        with pytest.raises(NotFound):
            research.list_person(identifier)


def test_what_a_researcher_looked_at_is_written_down_by_its_own_identifier(study: Study) -> None:
    code = study.records.research.list_recordings()[0].id
    study.walk.show(f"/research/recording/{code}")
    events = [(row.actor, row.action, row.object) for row in study.records.audit.list().rows]
    assert ("Researcher", "research.view", study.planted.recordings[0]) in events


def test_numbers_are_the_reports_numbers(study: Study) -> None:
    research = study.records.research
    row = research.list_recordings()[1]
    shown = research.read_summary(row.id)
    original = study.records.read_summary(study.planted.runs[1])
    assert original is not None
    for side, found in original.sides.items():
        assert [each.value for each in shown.sides[side].headlines] == pytest.approx(
            [each.value for each in found.headlines], nan_ok=True
        )
        assert [each.median_deg for each in shown.sides[side].angles] == pytest.approx(
            [each.median_deg for each in found.angles], nan_ok=True
        )
    assert (shown.subject, shown.visit) == (row.person, "day 42")
    scores = research.list_scores(row.person)
    assert {(score.day, score.value, score.items) for score in scores} == {
        (0, 12.5, (("2", 0.5),)), (42, 12.5, (("2", 0.5),)),
    }  # fmt: skip


def test_a_researcher_reaches_no_video_no_picture_and_no_sound(study: Study) -> None:
    assert GRANTS["researcher"] == {"self", "research"}
    for endpoint in ("media", "export", "report_pdf", "marks_file", "photo_file", "rig_file"):
        assert ENDPOINTS[endpoint] not in GRANTS["researcher"]
    for run_id in study.planted.runs:
        for name in ("mosaic.mp4", "index.json", "joints_right.f32"):
            assert study.walk.client.get(f"/media/{run_id}/{name}").status_code == 403


CLASSES = ("viewer", "researcher")


@pytest.mark.parametrize("role", CLASSES)
def test_no_page_has_a_link_or_control_that_the_gate_refuses(study: Study, role: Any) -> None:
    name = f"a {role}"
    study.records.users.add(name, PASSWORD, role)
    walk = Walk.__new__(Walk)
    walk.site, walk.planted, walk.search = study.site, study.planted, Search({})
    walk.client = study.site.browser("https", "redys.example")
    walk._come_in(name)
    codes = [row.id for row in study.records.research.list_recordings()]
    identifiers = {
        "recording_id": study.planted.recordings[0], "recording_a": study.planted.recordings[0],
        "recording_b": study.planted.recordings[1], "subject_id": study.planted.subjects[0],
        "coded": codes[0], "coded_a": codes[0], "coded_b": codes[1], "rig_id": "0" * 32,
        "person": study.records.research.list_recordings()[0].person,
    }  # fmt: skip
    refused = {
        part["id"]
        for entry in study.site.app.callback_map.values()
        if entry.get("callback") and callback_permission(entry["callback"]) not in GRANTS[role]
        for part in entry["inputs"]
        if isinstance(part["id"], str) and part["property"] in ("n_clicks", "value", "contents")
    }
    dead: list[tuple[str, str]] = []
    for module, page in dash.page_registry.items():
        if PAGES[module] not in GRANTS[role] or module == "pages.not_found_404":
            continue
        template = page.get("path_template") or page["path"]
        path = re.sub(r"<([^>]+)>", lambda found: identifiers[found[1]], template)
        drawn = walk.show(path)
        assert policy.REFUSED not in drawn, path
        for address in set(re.findall(r'"href": "(/[^"#]*)', drawn)):
            if address.startswith("/assets"):
                continue
            if policy.REFUSED in walk.show(address) or walk.client.get(address).status_code == 403:
                dead.append((path, address))
        dead += [(path, name) for name in set(re.findall(r'"id": "([^"]+)"', drawn)) & refused]
    assert dead == []
