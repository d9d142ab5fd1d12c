"""What a stage's result depends on is in its key: else a change of it would be overlooked."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.pose import registry
from pipeline.session import Session, read_session
from pipeline.stages import Stage, list_stages


@pytest.fixture
def session(tmp_path) -> Session:
    for name in ("front.mp4", "left.mp4", "calibration/front.mp4", "calibration/left.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return read_session(tmp_path)


def get_stage(session: Session, name: str) -> Stage:
    return next(stage for stage in list_stages(session) if stage.name == name)


def test_the_rig_rests_on_the_videos_for_it_is_for_their_picture_sizes(session):
    assert {"front.mp4", "left.mp4", "calibration/front.mp4"} <= set(get_stage(session, "calibration").inputs)


def test_finding_the_hand_rests_on_the_camera_s_own_video_and_on_the_networks(session, monkeypatch):
    stage = get_stage(session, "pose:left")
    assert stage.inputs == ("left.mp4",)
    monkeypatch.setattr(registry, "hash_weights", lambda path: "another network")
    assert get_stage(session, "pose:left").settings != stage.settings


def test_the_outline_is_traced_only_where_it_is_asked_for_and_then_before_the_fit(session):
    assert not any(stage.name.startswith("outline") for stage in list_stages(session))
    (session.path / "session.toml").write_text("outline = true\n")
    asked = read_session(session.path)
    assert get_stage(asked, "outline:left").after == ("pose:left",)
    assert {"outline:front", "outline:left"} <= set(get_stage(asked, "fusion").after)
    assert get_stage(asked, "fusion").settings == get_stage(session, "fusion").settings


def test_keypoints_rest_on_the_rig_where_it_tells_the_size_of_the_pictures(tmp_path: Path):
    (tmp_path / "keypoints").mkdir()
    (tmp_path / "keypoints" / "front.npz").write_bytes(b"")
    (tmp_path / "rig.json").write_text("{}")
    stage = get_stage(read_session(tmp_path), "pose:front")
    assert stage.inputs == ("keypoints/front.npz", "rig.json")


def test_the_sound_stage_is_done_only_with_what_the_page_for_offsets_reads(session):
    assert {"sound.json", "web/sound.json"} <= set(get_stage(session, "sound").outputs)
