import numpy as np
import pytest

from pipeline.calibration.formats import write_rig_file
from pipeline.errors import PoseError
from pipeline.pose.external import read_keypoints
from pipeline.results import Camera, Rig, write_rig
from pipeline.session import read_session


def _make_arrays(n_frames=5):
    rng = np.random.default_rng(0)
    return {
        "time_s": np.arange(n_frames) / 30,
        "keypoints_px": rng.uniform(100, 500, (n_frames, 21, 2)),
        "sigma_px": np.full((n_frames, 21), 2.0),
        "size_px": np.array([1280, 720]),
    }


def _make_session(folder, arrays, toml=""):
    (folder / "keypoints").mkdir(exist_ok=True)
    np.savez(folder / "keypoints" / "front.npz", **arrays)
    (folder / "session.toml").write_text(toml)
    return read_session(folder)


def test_points_of_another_tool_become_a_track(tmp_path):
    arrays = _make_arrays()
    arrays["keypoints_px"][3] = np.nan
    arrays["keypoints_px"][1, 4] = np.nan
    track = read_keypoints(_make_session(tmp_path, arrays), "front")["right"]
    assert track.size_px == (1280, 720)
    assert list(track.box_state) == ["detected", "detected", "detected", "none", "detected"]
    assert track.time_s == pytest.approx(arrays["time_s"])
    np.testing.assert_allclose(track.keypoints_px, arrays["keypoints_px"], rtol=1e-6)
    assert np.isnan(track.box_px[3]).all()
    assert np.isnan(track.sigma_px[1, 4])
    assert np.isnan(track.score[3])
    low, high = arrays["keypoints_px"][0].min(axis=0), arrays["keypoints_px"][0].max(axis=0)
    assert (track.box_px[0, :2] < low).all()
    assert (track.box_px[0, 2:] > high).all()


def test_the_rig_tells_the_size_before_the_file_does(tmp_path):
    camera = Camera("front", (1920, 1080), np.diag([1500.0, 1500, 1]), np.zeros(5), np.eye(3), np.zeros(3))
    write_rig(tmp_path / "rig.json", Rig("front", {"front": camera}))
    assert read_keypoints(_make_session(tmp_path, _make_arrays()), "front")["right"].size_px == (1920, 1080)


def test_a_rig_of_another_program_tells_the_size_too(tmp_path):
    camera = Camera("front", (1920, 1080), np.diag([1500.0, 1500, 1]), np.zeros(5), np.eye(3), np.zeros(3))
    write_rig_file(tmp_path / "rig.toml", Rig("front", {"front": camera}))
    assert read_keypoints(_make_session(tmp_path, _make_arrays()), "front")["right"].size_px == (1920, 1080)


def test_both_hands_come_from_names_with_their_side(tmp_path):
    arrays = _make_arrays()
    both = {"time_s": arrays["time_s"], "size_px": arrays["size_px"]}
    for side in ("right", "left"):
        both[f"{side}_keypoints_px"] = arrays["keypoints_px"] + (100 if side == "left" else 0)
        both[f"{side}_sigma_px"] = arrays["sigma_px"]
    tracks = read_keypoints(_make_session(tmp_path, both, 'side = "both"'), "front")
    assert set(tracks) == {"right", "left"}
    assert tracks["left"].keypoints_px - tracks["right"].keypoints_px == pytest.approx(100, abs=1e-3)


def test_a_constant_error_is_taken_where_the_file_states_it_and_none_is_assumed(tmp_path):
    arrays = _make_arrays()
    assert (read_keypoints(_make_session(tmp_path, arrays), "front")["right"].offset_sigma_px == 0).all()
    arrays["offset_sigma_px"] = np.linspace(0, 5, 21)
    track = read_keypoints(_make_session(tmp_path, arrays), "front")["right"]
    np.testing.assert_array_equal(track.offset_sigma_px, arrays["offset_sigma_px"])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("time_s", None, "time_s is missing"),
        ("time_s", np.zeros(5), "not ascending"),
        ("time_s", np.array([0, 1, 2, 3, np.nan]), "not ascending"),
        ("time_s", np.zeros(0), "time_s has shape"),
        ("keypoints_px", np.zeros((5, 20, 2)), "shape (5, 20, 2) instead of (5, 21, 2)"),
        ("keypoints_px", np.zeros((4, 21, 2)), "shape (4, 21, 2) instead of (5, 21, 2)"),
        ("keypoints_px", np.full((5, 21, 2), np.nan), "holds no point"),
        ("keypoints_px", np.full((5, 21, 2), "x"), "instead of numbers"),
        ("sigma_px", np.zeros((5, 21)), "not above zero"),
        ("sigma_px", np.full((5, 21), np.nan), "not above zero"),
        ("offset_sigma_px", np.full(21, -1.0), "not 0 or more"),
        ("offset_sigma_px", np.full(20, 1.0), "shape (20,) instead of (21)"),
        ("size_px", None, "size of the pictures"),
        ("size_px", np.array([0, 720]), "not a width and a height"),
    ],
)
def test_a_file_that_is_not_so_is_refused_by_name_and_reason(tmp_path, name, value, said):
    arrays = _make_arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(PoseError) as caught:
        read_keypoints(_make_session(tmp_path, arrays), "front")
    assert "front.npz" in caught.value.what
    assert said in caught.value.what
    assert caught.value.advice


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    session = _make_session(tmp_path, _make_arrays())
    session.keypoints["front"].write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(PoseError, match=r"front\.npz"):
        read_keypoints(session, "front")


def test_pickled_objects_are_refused(tmp_path):
    arrays = _make_arrays()
    arrays["keypoints_px"] = np.array([{"a": 1}] * 5, dtype=object)
    with pytest.raises(PoseError, match=r"front\.npz"):
        read_keypoints(_make_session(tmp_path, arrays), "front")
