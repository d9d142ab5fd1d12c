"""A new run does not do again what the last one did and nothing has changed since."""

import json
import os
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import Cancelled, RedysError
from pipeline.files import hash_file, write_json
from pipeline.results import SCHEMA_VERSION
from pipeline.run import RunProgress, _make_key, run_session
from pipeline.session import SessionSettings, read_session
from pipeline.stages import list_stages
from pipeline.version import PROGRAM_VERSION
from records import RecordingRow, Records
from records.reuse import take_over
from tests.records.site import make_session

Add = Callable[..., RecordingRow]

STAGES = {
    "sound": {"key": "s", "outputs": ["sound.json", "web/sound.json"], "warnings": []},
    "calibration": {"key": "c", "outputs": ["rig.json"], "warnings": []},
    "pose:left": {"key": "p", "outputs": ["views/left.npz"], "warnings": ["dark"]},
    "fusion": {"key": "f", "outputs": ["hand_right.npz"], "warnings": []},
}


def make_run(folder: Path, **changes: object) -> Path:
    for entry in STAGES.values():
        for name in entry["outputs"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
    record = {"schema_version": SCHEMA_VERSION, "state": "failed", "stages": STAGES, **changes}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_views_and_rig_are_taken_and_what_the_clocks_change_is_not(tmp_path: Path) -> None:
    earlier, fresh = make_run(tmp_path / "a"), tmp_path / "b"
    assert take_over(earlier, fresh) == ("calibration", "pose:left")
    found = sorted(str(path.relative_to(fresh)) for path in fresh.rglob("*") if path.is_file())
    assert found == ["rig.json", "run.json", "views/left.npz"]
    record = json.loads((fresh / "run.json").read_text())
    assert record["stages"] == {name: STAGES[name] for name in ("calibration", "pose:left")}


def test_the_earlier_run_stays_as_it_was_when_the_new_one_writes(tmp_path: Path) -> None:
    earlier, fresh = make_run(tmp_path / "a"), tmp_path / "b"
    take_over(earlier, fresh)
    (fresh / "new").write_text("another rig")
    os.replace(fresh / "new", fresh / "rig.json")
    assert (earlier / "rig.json").read_text() == "rig.json"


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": SCHEMA_VERSION + 1},
        {"stages": {}},
        {"stages": {"pose:left": {"key": "p", "outputs": ["views/gone.npz"]}}},
        {"stages": {"pose:left": {"key": "p", "outputs": ["../../etc/passwd"]}}},
        {"stages": {"pose:left": {"key": "p", "outputs": ["/etc/passwd"]}}},
    ],
)
def test_what_is_not_whole_or_not_its_own_is_left(tmp_path: Path, changes: dict[str, object]) -> None:
    assert take_over(make_run(tmp_path / "a", **changes), tmp_path / "b") == ()
    assert take_over(tmp_path / "nothing", tmp_path / "b") == ()
    assert not (tmp_path / "b").exists()


def test_a_disk_that_refuses_costs_time_and_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("full")

    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("shutil.copy2", refuse)
    assert take_over(make_run(tmp_path / "a"), tmp_path / "b") == ()
    assert not (tmp_path / "b").exists()


def test_a_recordings_next_run_starts_from_its_last(add: Add, records: Records) -> None:
    recording = add("one")
    first = records.submit_run(recording.id)
    assert not first.folder.exists()
    records.request_cancel(first.id)
    make_run(first.folder)
    time.sleep(0.002)  # two runs are told apart by when they were made
    second = records.submit_run(recording.id)
    assert (second.folder / "views" / "left.npz").read_text() == "views/left.npz"
    assert records.submit_run(recording.id).id == second.id
    assert [run.id for run in records.list_runs(recording.id)] == [second.id, first.id]


def make_keypoints(folder: Path, cameras: tuple[str, ...] = ("front", "left")) -> Path:
    """A session of keypoints and a rig: its stages up to the clocks are quick, and none is a stand-in."""
    (folder / "keypoints").mkdir(parents=True)
    random = np.random.default_rng(5)
    for camera in cameras:
        points = 200 + 20 * random.standard_normal((30, 21, 2))
        path = folder / "keypoints" / f"{camera}.npz"
        np.savez(path, time_s=np.arange(30) / 30, keypoints_px=points, sigma_px=np.ones((30, 21)))
    lens = {
        "size_px": [640, 480],
        "K": [[500, 0, 319.5], [0, 500, 239.5], [0, 0, 1]],
        "distortion": [0.0] * 5,
    }
    rig = {
        name: {"name": name, **lens, "R": np.eye(3).tolist(), "t_mm": [100.0 * place, 0, 0]}
        for place, name in enumerate(cameras)
    }
    write_json(folder / "rig.json", {"reference": "front", "cameras": rig})
    (folder / "session.toml").write_text("[offset_s]\nleft = 0.05\n")
    return folder


def work(session: Path, out: Path, until: str) -> dict[str, str]:
    """Run until a stage has begun; what was said of each stage, by its name."""
    said: dict[str, str] = {}

    def hear(progress: RunProgress) -> None:
        said.setdefault(progress.stage, progress.message)

    with pytest.raises((Cancelled, RedysError)):
        run_session(session, out, hear, lambda: until in said)
    return said


@pytest.mark.pipeline
def test_with_another_offset_the_views_are_not_worked_again(tmp_path: Path) -> None:
    """The pipeline itself finds what was taken over to hold, and only what depends on the clock not."""
    session = make_keypoints(tmp_path / "session")
    first = work(session, tmp_path / "a", until="sync")
    assert not any("kept" in message for message in first.values())
    (session / "session.toml").write_text("[offset_s]\nleft = 0.06\n")
    take_over(tmp_path / "a", tmp_path / "b")
    second = work(session, tmp_path / "b", until="sync")
    kept = {stage for stage, message in second.items() if "kept" in message}
    assert kept == {"calibration", "pose:front", "pose:left"}
    assert {"check", "sound", "sync"} <= second.keys()
    assert json.loads((tmp_path / "b" / "sound.json").read_text())["cameras"]["left"]["offset_s"] == 0.06


def settings_of(toml: str = "") -> dict[str, object]:
    return SessionSettings.model_validate(tomllib.loads(toml)).model_dump(mode="json")


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        ("", "[[exclude]]\nstart_s = 1\nend_s = 2\nreason = 'x'", {"sound", "fusion"}),
        ("", "task = 'banjo'", {"sound", "fusion"}),
        ("", "side = 'both'", {"sound"}),
        ("", "[offset_s]\nleft = 0.1", set()),
        ("", "[cameras]\nleft = 'right'\nright = 'left'", set()),
    ],
)
def test_more_is_taken_where_the_settings_before_it_are_the_same(
    tmp_path: Path, before: str, after: str, more: set[str]
) -> None:
    versions = {"redys": PROGRAM_VERSION}
    earlier = make_run(tmp_path / "a", settings=settings_of(before), versions=versions)
    session = read_session(make_session(tmp_path / "session", after))
    taken = set(take_over(earlier, tmp_path / "b", session))
    assert taken - {"calibration", "pose:left", "pose:right"} == more
    for name in ("sound.json", "web/sound.json", "hand_right.npz"):
        assert (tmp_path / "b" / name).is_file() == any(name in STAGES[each]["outputs"] for each in more)


def test_of_another_program_only_what_takes_long_is_taken(tmp_path: Path) -> None:
    earlier = make_run(tmp_path / "a", settings=settings_of(), versions={"redys": "0.0.0"})
    session = read_session(make_session(tmp_path / "session"))
    assert set(take_over(earlier, tmp_path / "b", session)) == {"calibration", "pose:left"}


def test_a_camera_that_is_called_otherwise_keeps_its_view_and_gets_it_back(tmp_path: Path) -> None:
    """Left and right exchanged, then back again: each view follows its file."""
    stages = {
        f"pose:{name}": {"key": name, "outputs": [f"views/{name}.npz"], "warnings": [f"Camera {name}: dark"]}
        for name in ("front", "left", "right")
    }
    earlier = tmp_path / "a"
    for name in ("front", "left", "right"):
        (earlier / "views").mkdir(parents=True, exist_ok=True)
        (earlier / "views" / f"{name}.npz").write_text(f"points of {name}.mp4")
    record = {"schema_version": SCHEMA_VERSION, "stages": stages, "settings": settings_of()}
    (earlier / "run.json").write_text(json.dumps(record))
    folder = make_session(tmp_path / "session", "[cameras]\nleft = 'right'\nright = 'left'\n")
    swapped = tmp_path / "b"
    assert set(take_over(earlier, swapped, read_session(folder))) == set(stages)
    assert (swapped / "views" / "left.npz").read_text() == "points of right.mp4"
    assert (swapped / "views" / "front.npz").read_text() == "points of front.mp4"
    entry = json.loads((swapped / "run.json").read_text())["stages"]["pose:left"]
    assert entry == {"key": "right", "outputs": ["views/left.npz"], "warnings": ["Camera left: dark"]}
    write_json(swapped / "run.json", {**json.loads((swapped / "run.json").read_text()),
               "settings": settings_of((folder / "session.toml").read_text())})  # fmt: skip
    (folder / "session.toml").unlink()
    back = tmp_path / "c"
    take_over(swapped, back, read_session(folder))
    for name in ("front", "left", "right"):
        assert (back / "views" / f"{name}.npz").read_text() == f"points of {name}.mp4"
    assert json.loads((back / "run.json").read_text())["stages"] == stages


@pytest.mark.pipeline
def test_the_run_itself_keeps_the_views_of_cameras_that_were_exchanged(tmp_path: Path) -> None:
    """What a view is found from is its file's content: under another name its key is the same."""
    folder = make_session(tmp_path / "session")
    for name in ("front", "left", "right"):
        (folder / f"{name}.mp4").write_bytes(name.encode())
    before = {stage.name: stage for stage in list_stages(read_session(folder))}
    (folder / "session.toml").write_text("[cameras]\nleft = 'right'\nright = 'left'\n")
    session = read_session(folder)
    after = {stage.name: stage for stage in list_stages(session)}
    hashes = {name: hash_file(path) for name, path in session.inputs.items()}
    key = {name: _make_key(stage, hashes, {}) for name, stage in after.items() if name.startswith("pose:")}
    assert key["pose:left"] == _make_key(before["pose:right"], hashes, {})
    assert key["pose:front"] == _make_key(before["pose:front"], hashes, {})
    assert key["pose:left"] != key["pose:right"]
    assert _make_key(after["sound"], hashes, {}) != _make_key(before["sound"], hashes, {})
