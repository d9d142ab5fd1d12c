"""A run shared out: who has nothing to do takes a camera, and nobody is hindered by one who is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from pipeline.files import write_json
from pipeline.parts import mark_path, part_path, write_part
from records import RecordingRow, Records, models, parts
from records.models import new_id
from records.parts import Sharing, parts_path, take_part, work_part
from records.supervise import claim_run, host_name
from settings import Settings
from tests.records.site import make_session

Add = Callable[..., RecordingRow]
CPU = frozenset({"cpu"})


@pytest.fixture
def run_id(add: Add, records: Records) -> str:
    """A run at work here, at the first of three cameras."""
    run = records.submit_run(add("one").id)
    assert claim_run(records, run.id, "main")
    run.folder.mkdir(parents=True)
    names = ("sound", "pose:front", "pose:left", "pose:right", "fusion")
    write_json(run.folder / "run.json", {"plan": [{"name": name} for name in names], "stages": {"sound": {}}})
    return run.id


@pytest.fixture
def sharing(records: Records, run_id: str) -> Sharing:
    return Sharing(records, records.get_run(run_id))


def states(records: Records) -> dict[str, str]:
    with records.reading() as database:
        return {part.stage: part.state for part in database.scalars(select(models.RunPart))}


def test_the_cameras_to_come_are_offered_and_taken_from_the_end(
    records: Records, run_id: str, sharing: Sharing
) -> None:
    sharing.look("sound")
    assert states(records) == {}
    sharing.look("pose:front")
    assert states(records) == {"pose:left": "offered", "pose:right": "offered"}
    part = take_part(records, "elsewhere", "one", CPU)  # type: ignore[arg-type]
    assert part is not None
    assert (part.run_id, part.stage) == (run_id, "pose:right")
    sharing.look("pose:left")  # the run has come to it
    assert states(records) == {"pose:left": "closed", "pose:right": "taken"}
    assert take_part(records, "elsewhere", "two", CPU) is None  # type: ignore[arg-type]
    sharing.end()
    assert states(records) == {}


@pytest.mark.parametrize(("split", "here", "there"), [("machines", 0, 1), ("always", 1, 1), ("never", 0, 0)])
def test_who_may_help_is_a_setting(
    records: Records, run_id: str, monkeypatch: pytest.MonkeyPatch, split: str, here: int, there: int
) -> None:
    with records.writing() as database:
        for stage in ("pose:left", "pose:right"):
            database.add(models.RunPart(id=new_id(), run_id=run_id, stage=stage))
    monkeypatch.setattr(records, "settings", records.settings.model_copy(update={"split": split}))
    assert (take_part(records, host_name(), "two", CPU) is not None) == bool(here)  # type: ignore[arg-type]
    assert (take_part(records, "elsewhere", "two", CPU) is not None) == bool(there)  # type: ignore[arg-type]
    assert take_part(records, "elsewhere", "three", frozenset({"gpu"})) is None


def test_who_counts_is_waited_for_and_who_falls_silent_is_not(
    records: Records, run_id: str, sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(parts.time, "monotonic", lambda: clock[0])
    sharing.look("pose:front")
    part = take_part(records, "elsewhere", "one", CPU)  # type: ignore[arg-type]
    assert part is not None
    mark = mark_path(parts_path(records.get_run(run_id).folder), part.stage)
    for _ in range(3):
        clock[0] += 10.0
        assert parts._beat(records, part)
        mark.unlink(missing_ok=True)
        sharing.look("pose:front")
        assert mark.exists()
    mark.unlink()
    clock[0] += parts.SILENT_S
    sharing.look("pose:front")
    assert not mark.exists()


def test_a_part_of_a_run_that_has_ended_is_given_up(records: Records, run_id: str, sharing: Sharing) -> None:
    sharing.look("pose:front")
    part = take_part(records, "elsewhere", "one", CPU)  # type: ignore[arg-type]
    assert part is not None
    assert parts._beat(records, part)
    with records.writing() as database:
        records.change(database, models.Run.id == run_id, state="done")
    assert not parts._beat(records, part)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_cannot_be_worked_is_closed_and_one_who_leaves_offers_it_again(
    records: Records, run_id: str, sharing: Sharing
) -> None:
    """Through the real command, on files that are no videos."""
    sharing.look("pose:front")
    part = take_part(records, "elsewhere", "one", CPU)  # type: ignore[arg-type]
    assert part is not None
    assert not work_part(records, part, lambda: True)
    assert states(records)[part.stage] == "offered"
    part = take_part(records, "elsewhere", "one", CPU)  # type: ignore[arg-type]
    assert part is not None
    assert not work_part(records, part, lambda: False)
    assert states(records)[part.stage] == "closed"
    assert not part_path(parts_path(records.get_run(run_id).folder), part.stage).exists()


def test_erasing_takes_parts_along(records: Records, run_id: str, sharing: Sharing, tmp_path: Path) -> None:
    sharing.look("pose:front")
    run = records.get_run(run_id)
    left = part_path(parts_path(run.folder), "pose:left")
    left.mkdir(parents=True)
    (left / "left.npz").write_bytes(b"a hand")
    with records.writing() as database:
        records.change(database, models.Run.id == run_id, state="failed")
    pseudonym = records.get_recording(run.recording_id).subject
    records.retention.erase_subject(pseudonym, "local")
    assert not parts_path(run.folder).exists()
    assert states(records) == {}


def test_a_part_comes_through_the_store_where_machines_have_no_disk_in_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_machine(number: int) -> Records:
        url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
        data, store = tmp_path / f"machine-{number}", f"file://{tmp_path / 'store'}"
        return Records(Settings(data_dir=data, DATABASE_URL=url, _env_file=None, store_url=store))  # type: ignore[call-arg]

    def work(helper: Records, part: models.RunPart, session: Path, out: Path, _: object) -> bool:
        assert (session / "front.mp4").is_file()
        made = tmp_path / "made"
        (made / "views").mkdir(parents=True)
        (made / "views" / "right.npz").write_bytes(b"result")
        write_part(out, made, {"key": "k", "outputs": ["views/right.npz"], "seconds": 1.0})
        return True

    (tmp_path / "store").mkdir()
    main, helper = open_machine(1), open_machine(2)
    monkeypatch.setattr(parts, "_see_through", work)
    session = make_session(main.settings.data_dir / "sessions" / "one")
    recording = main.add_recording(session)
    main.store.keep(session)
    run = main.submit_run(recording.id)
    assert claim_run(main, run.id, "main")
    names = ("pose:front", "pose:right")
    write_json(run.folder / "run.json", {"plan": [{"name": name} for name in names], "stages": {}})
    sharing = Sharing(main, main.get_run(run.id))
    sharing.look("pose:front")
    part = take_part(helper, "elsewhere", "one", CPU)  # type: ignore[arg-type]
    assert part is not None
    assert work_part(helper, part, lambda: False)
    folder = parts_path(run.folder)
    assert not part_path(folder, "pose:right").exists()
    sharing.look("pose:front")
    mark = mark_path(folder, "pose:right")
    assert mark.exists()  # the run waits while it is on its way
    sharing._fetching["pose:right"].join()
    sharing.look("pose:front")
    assert not mark.exists()
    assert (part_path(folder, "pose:right") / "views" / "right.npz").read_bytes() == b"result"
    sharing.end()
    assert not folder.exists()
    assert not any("parts" in key for key, _ in main.store.list_keys())
    for records in (main, helper):
        records.close()
