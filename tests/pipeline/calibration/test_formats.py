"""Rigs of other programs: there and back, and what is refused."""

from __future__ import annotations

import re
import string
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.calibration.formats import MAX_FOREIGN_BYTES, read_rig_file, write_rig_file
from pipeline.calibration.rig import move_reference
from pipeline.errors import CalibrationError, RedysError, RunFolderError
from pipeline.files import read_json, write_json
from pipeline.results import Camera, Rig
from tests.pipeline.calibration.board_pictures import make_rig_cameras

FOREIGN = (".yaml", ".yml", ".toml")
LETTERS = string.ascii_letters + string.digits + "-_ .\"'#[]{}:\\äß手"

in_px = st.floats(1, 30000)
in_mm = st.floats(-9000, 9000)
coefficients = st.floats(-3, 3)


@st.composite
def rigs(draw: st.DrawFn) -> Rig:
    """Any rig whose cameras stand apart, its first camera not always the reference."""
    names = draw(st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=5, unique=True))
    reference = draw(st.sampled_from(names))
    cameras = {}
    for name in names:
        K = np.diag([draw(in_px), draw(in_px), 1.0])
        K[:2, 2] = draw(in_px), draw(in_px)
        turn = [draw(st.floats(-3.2, 3.2)) for _ in range(3)]
        R, t = Rotation.from_rotvec(turn).as_matrix(), np.array([draw(in_mm) for _ in range(3)])
        if name == reference:
            R, t = np.eye(3), np.zeros(3)
        else:
            assume(np.linalg.norm(t) > 10.1)
        distortion = np.array([draw(coefficients) for _ in range(5)])
        size = draw(st.integers(16, 8000)), draw(st.integers(16, 8000))
        cameras[name] = Camera(name, size, K, distortion, R, t, rms_px=draw(st.floats(0.01, 2)))
    return Rig(reference, cameras)


def assert_same(a: Rig, b: Rig) -> None:
    assert a.reference == b.reference
    assert list(a.cameras) == list(b.cameras)
    for one, other in zip(a.cameras.values(), b.cameras.values(), strict=True):
        assert one.name == other.name
        assert one.size_px == other.size_px
        np.testing.assert_allclose(one.K, other.K, rtol=1e-12)
        np.testing.assert_allclose(one.distortion, other.distortion, rtol=1e-12)
        np.testing.assert_allclose(one.R, other.R, rtol=0, atol=1e-9)
        np.testing.assert_allclose(one.t_mm, other.t_mm, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("suffix", [".json", *FOREIGN])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rig=rigs())
def test_a_rig_comes_back_as_it_was_written(tmp_path: Path, suffix: str, rig: Rig) -> None:
    path = tmp_path / f"rig{suffix}"
    write_rig_file(path, rig)
    back = read_rig_file(path)
    assert_same(rig, back)
    if suffix != ".json":
        assert (back.source, back.verdict) == ("file", "check")
        assert all(np.isnan(camera.rms_px) for camera in back.cameras.values())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rig=rigs(), turn=st.lists(st.floats(0.1, 1), min_size=3, max_size=3), suffix=st.sampled_from(FOREIGN))
def test_a_world_that_is_no_camera_is_moved_into_one_and_said(
    tmp_path: Path, rig: Rig, turn: list[float], suffix: str
) -> None:
    first = next(iter(rig.cameras))
    W, w = Rotation.from_rotvec(turn).as_matrix(), np.array([300.0, -200.0, 100.0])
    moved = {
        name: replace(camera, R=camera.R @ W, t_mm=camera.R @ w + camera.t_mm)
        for name, camera in rig.cameras.items()
    }
    path = tmp_path / f"rig{suffix}"
    write_rig_file(path, Rig(first, moved))
    back = read_rig_file(path)
    assert back.reference == first
    assert any("world" in reason and first in reason for reason in back.reasons)
    expected = move_reference(rig, first)
    for name, camera in back.cameras.items():
        np.testing.assert_allclose(camera.R, expected.cameras[name].R, atol=1e-9)
        np.testing.assert_allclose(camera.t_mm, expected.cameras[name].t_mm, rtol=1e-9, atol=1e-7)


@pytest.fixture
def rig() -> Rig:
    return Rig("front", make_rig_cameras((640, 360)))


def test_our_json_loses_nothing(tmp_path: Path, rig: Rig) -> None:
    left = replace(rig.cameras["left"], rms_px=0.2, coverage=[[1, 0], [2, 3]], left_out_px=0.4, sigma_deg=0.1)
    full = replace(rig, cameras={**rig.cameras, "left": left}, name="Studio", square_error_mm=0.1)
    write_rig_file(tmp_path / "rig.json", full)
    back = read_rig_file(tmp_path / "rig.json")
    assert (back.name, back.verdict, back.source) == ("Studio", "reliable", "checkerboard")
    assert back.cameras["left"].coverage == [[1, 0], [2, 3]]


def test_opencv_reads_what_is_written(tmp_path: Path, rig: Rig) -> None:
    write_rig_file(tmp_path / "rig.yaml", rig)
    storage = cv2.FileStorage(str(tmp_path / "rig.yaml"), cv2.FILE_STORAGE_READ)
    cameras = storage.getNode("cameras")
    assert [cameras.at(i).getNode("name").string() for i in range(cameras.size())] == list(rig.cameras)
    for number, camera in enumerate(rig.cameras.values()):
        node = cameras.at(number)
        np.testing.assert_array_equal(node.getNode("camera_matrix").mat(), camera.K)
        np.testing.assert_array_equal(
            node.getNode("distortion_coefficients").mat().ravel(), camera.distortion
        )
        np.testing.assert_array_equal(node.getNode("R").mat(), camera.R)
        np.testing.assert_array_equal(node.getNode("T").mat().ravel(), camera.t_mm)
        assert node.getNode("image_width").real() == camera.size_px[0]


def test_what_opencv_writes_is_read(tmp_path: Path, rig: Rig) -> None:
    storage = cv2.FileStorage(str(tmp_path / "rig.yml"), cv2.FILE_STORAGE_WRITE)
    storage.startWriteStruct("cameras", cv2.FILE_NODE_SEQ)
    for camera in rig.cameras.values():
        storage.startWriteStruct("", cv2.FILE_NODE_MAP)
        storage.write("name", camera.name)
        storage.write("image_width", camera.size_px[0])
        storage.write("image_height", camera.size_px[1])
        storage.write("camera_matrix", camera.K)
        storage.write("distortion_coefficients", camera.distortion)
        storage.write("R", camera.R)
        storage.write("T", camera.t_mm)
        storage.endWriteStruct()
    storage.endWriteStruct()
    storage.release()
    back = read_rig_file(tmp_path / "rig.yml")
    assert_same(rig, back)
    assert any("taken as mm" in reason for reason in back.reasons)


ANIPOSE = """[cam_0]
name = "a"
size = [ 640, 360,]
matrix = [ [ 500.0, 0.0, 320.0,], [ 0.0, 500.0, 180.0,], [ 0.0, 0.0, 1.0,],]
distortions = [ -0.1, 0.0, 0.0, 0.0, 0.0,]
rotation = [ 0.1, 0.2, 0.3,]
translation = [ 10.0, 20.0, 30.0,]

[cam_1]
name = "b"
size = [ 640, 360,]
matrix = [ [ 500.0, 0.0, 320.0,], [ 0.0, 500.0, 180.0,], [ 0.0, 0.0, 1.0,],]
distortions = [ -0.1, 0.0, 0.0, 0.0, 0.0,]
rotation = [ 0.1, -0.4, 0.3,]
translation = [ 110.0, 20.0, 30.0,]

[metadata]
adjusted = true
error = 0.4
"""


def test_aniposelibs_own_file_is_read_and_its_unit_and_world_are_said(tmp_path: Path) -> None:
    path = tmp_path / "calibration.toml"
    path.write_text(ANIPOSE)
    rig = read_rig_file(path)
    assert (list(rig.cameras), rig.reference, rig.verdict) == (["a", "b"], "a", "check")
    said = " ".join(rig.reasons)
    assert "taken as mm" in said
    assert "world" in said
    R, _ = cv2.Rodrigues(np.array([0.1, -0.4, 0.3]))
    R0, _ = cv2.Rodrigues(np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(rig.cameras["b"].R, R @ R0.T, atol=1e-12)


def test_what_is_written_for_aniposelib_has_its_sections_and_fields(tmp_path: Path, rig: Rig) -> None:
    write_rig_file(tmp_path / "rig.toml", rig)
    raw = tomllib.loads((tmp_path / "rig.toml").read_text())
    assert list(raw) == ["cam_0", "cam_1", "cam_2", "metadata"]
    assert set(raw["cam_1"]) == {"name", "size", "matrix", "distortions", "rotation", "translation"}
    R, _ = cv2.Rodrigues(np.array(raw["cam_1"]["rotation"]))
    np.testing.assert_allclose(R, list(rig.cameras.values())[1].R, atol=1e-12)
    assert raw["metadata"]["adjusted"] is False


TURN, DISTORTION = "rotation = [ 0.1, -0.4, 0.3,]", "distortions = [ -0.1, 0.0, 0.0, 0.0, 0.0,]"
ROW, PLACE = "[ 500.0, 0.0, 320.0,]", "translation = [ 110.0, 20.0, 30.0,]"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (TURN, "", r"camera b: the rotation is missing"),
        (TURN, "rotation = 'up'", r"camera b: the rotation is not made of numbers"),
        (TURN, "rotation = [1.0, nan, 0.0]", r"camera b: the rotation is not finite"),
        ("name = \"b\"", "", r"section cam_1 has no name"),
        ("name = \"b\"", "name = \"a\"", r"two cameras called a"),
        ("name = \"b\"", "name = \"b\"\nfisheye = true", r"camera b is a fisheye camera"),
        (DISTORTION, "distortions = [1, 0, 0, 0, 0, 2, 0, 0]", r"distortion"),
        (ROW, "[ -500.0, 0.0, 320.0,]", r"camera a: the focal length"),
        (ROW, "[ 500.0, 3.0, 320.0,]", r"camera a: the camera matrix"),
        ("size = [ 640, 360,]", "size = [ 0, 360,]", r"camera a: a picture of 0x360"),
        (PLACE, "translation = [ 10, 20]", r"camera b: the translation has shape"),
        ("adjusted = true", "length_unit = \"m\"", r"lengths are in m"),
        ("adjusted = true", "reference = \"c\"", r"reference camera c"),
        ("[cam_1]", "[cam_1", r"is not TOML"),
        ("[cam_0]", "x = 1\n[cam_0]", r"x is not a camera's section"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_toml_is_said_with_file_camera_and_field(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in ANIPOSE
    (tmp_path / "bad.toml").write_text(ANIPOSE.replace(old, new, 1))
    with pytest.raises(CalibrationError, match=said) as caught:
        read_rig_file(tmp_path / "bad.toml")
    assert "bad.toml" in caught.value.what


def test_a_rig_in_metres_is_refused_with_what_to_do(tmp_path: Path, rig: Rig) -> None:
    small = {name: replace(camera, t_mm=camera.t_mm / 1000) for name, camera in rig.cameras.items()}
    for suffix in FOREIGN:
        write_rig_file(tmp_path / f"m{suffix}", replace(rig, cameras=small))
        with pytest.raises(CalibrationError, match="metres"):
            read_rig_file(tmp_path / f"m{suffix}")


def test_a_mirrored_rotation_is_refused(tmp_path: Path, rig: Rig) -> None:
    left = rig.cameras["left"]
    for suffix in (".json", ".yaml"):
        wrong = {**rig.cameras, "left": replace(left, R=np.diag([1.0, 1.0, -1.0]) @ left.R)}
        write_rig_file(tmp_path / f"m{suffix}", replace(rig, cameras=wrong))
        with pytest.raises(RedysError, match="left"):
            read_rig_file(tmp_path / f"m{suffix}")


YAML = "%YAML:1.0\n---\n"
BAD_YAML = {
    "flow": YAML + "cameras: " + "[" * 100_000,
    "maps": YAML + "cameras: " + "{a: " * 20_000 + "1" + "}" * 20_000 + "\n",
    "dashes": YAML + "cameras:\n   " + "- " * 60_000 + "1\n",
    "indent": YAML + "".join(" " * depth + "cameras:\n" for depth in range(650)),
    "cut": YAML + "cameras:\n   -\n      name: a\n      camera_matrix: !!opencv-matrix\n         rows: 3\n",
    "nul": YAML + "cameras: 1\0\n",
    "text": "hello",
    "scalar": YAML + "cameras: 1\n",
    "empty": YAML,
    "numbers": YAML + "cameras: [ 1, 2 ]\n",
    "huge matrix": YAML
    + "cameras:\n   -\n      name: a\n      image_width: 640\n      image_height: 360\n"
    + "      camera_matrix: !!opencv-matrix\n         rows: 300000000\n         cols: 300000\n"
    + "         dt: d\n         data: [ 1., 2. ]\n",
    "object": YAML + "cameras: !!python/object/apply:os.system [ 'echo harm > harm' ]\n",
}


@pytest.mark.parametrize("kind", BAD_YAML)
def test_a_malformed_yaml_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD_YAML[kind])
    start = time.perf_counter()
    with pytest.raises(CalibrationError, match=r"bad\.yaml"):
        read_rig_file(path)
    assert time.perf_counter() - start < 2
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bad.toml", "a = " + "[" * 100_000),
        ("bad.toml", "a" + ".a" * 50_000 + " = 1"),
        ("bad.toml", "[" + '"a" . ' * 40_000 + "a]"),
        ("bad.toml", "a" * 250_000),
        ("bad.toml", "[cam_0]\n" * 2 + "".join(f"[a{n}.b]\n" for n in range(20_000))),
        ("bad.toml", ANIPOSE.replace("640", "9" * 5000, 1)),
        ("bad.toml", "\ufeff\ufeff"),
        ("bad.json", "[" * 200_000),
        ("bad.json", '{"cameras": []}'),
        ("bad.json", '{"cameras": {"a": 1}, "reference": "a"}'),
        ("bad.json", "[]"),
        ("rig.txt", ""),
        ("rig", ""),
    ],
)
def test_a_malformed_file_is_refused_at_once(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    start = time.perf_counter()
    with pytest.raises((CalibrationError, RunFolderError), match=name):
        read_rig_file(path)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("suffix", FOREIGN)
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rig{suffix}"
    with open(path, "wb") as file:
        file.truncate(MAX_FOREIGN_BYTES + 1)
    with pytest.raises(CalibrationError, match="larger than"):
        read_rig_file(path)
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_rig_file(tmp_path / f"none{suffix}")


def test_a_lens_that_json_holds_wrong_is_said_with_its_camera(tmp_path: Path, rig: Rig) -> None:
    K = rig.cameras["left"].K.copy()
    K[0, 0] = np.nan
    wrong = {**rig.cameras, "left": replace(rig.cameras["left"], K=K)}
    write_rig_file(tmp_path / "rig.json", replace(rig, cameras=wrong))
    with pytest.raises(CalibrationError, match=r"camera left: the focal length"):
        read_rig_file(tmp_path / "rig.json")


def test_a_rig_that_nobody_judged_is_to_be_checked_and_an_unknown_word_is_refused(
    tmp_path: Path, rig: Rig
) -> None:
    path = tmp_path / "rig.json"
    write_rig_file(path, rig)
    whole = read_json(path)
    write_json(path, {key: value for key, value in whole.items() if key != "verdict"})
    assert read_rig_file(path).verdict == "check"
    for key, value in (("verdict", "great"), ("verdict", ["reliable"]), ("source", "dream")):
        write_json(path, {**whole, key: value})
        with pytest.raises(CalibrationError, match=key):
            read_rig_file(path)
    write_json(path, {**whole, "cameras": {**whole["cameras"], "left": whole["cameras"]["right"]}})
    with pytest.raises(CalibrationError, match="camera left is called right"):
        read_rig_file(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("pairs",), None),
        (("pairs",), [{"b": "left"}]),
        (("pairs",), [{"a": ["front"], "b": "left"}]),
        (("pairs",), [{"a": "front", "b": "nobody"}]),
        (("pairs",), [{"a": "front", "b": "left", "rms_px": "small"}]),
        (("reasons",), [1]),
        (("cameras", "left", "used"), None),
        (("cameras", "left", "refused"), [{"time_s": 1.0}]),
        (("cameras", "left", "coverage"), [[1, 2], [3]]),
        (("cameras", "left", "coverage"), [[], []]),
        (("cameras", "left", "coverage"), [[1] * 1000] * 500),
    ],
)
def test_a_list_that_json_holds_wrong_is_named(tmp_path: Path, rig: Rig, place, value) -> None:
    path = tmp_path / "rig.json"
    write_rig_file(path, rig)
    whole = read_json(path)
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    write_json(path, whole)
    with pytest.raises(CalibrationError, match=rf"not as this program writes it: {place[-1]}"):
        read_rig_file(path)


@pytest.mark.parametrize("suffix", [".json", *FOREIGN])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size_px": (120, 68)}, "Camera left has a focal length"),
        ({"size_px": (3840, 2160)}, "Camera left has .*an optical centre"),
        ({"distortion": np.array([-2.0, 0, 0, 0, 0])}, "Camera left: the lens distortion turns back"),
        ({"t_mm": np.zeros(3)}, "Cameras front and left stand 0.0 mm apart"),
    ],
)
def test_an_odd_camera_makes_any_rig_one_to_be_checked(
    tmp_path: Path, rig: Rig, suffix: str, change, words
) -> None:
    path = tmp_path / f"rig{suffix}"
    write_rig_file(path, rig)
    assert not re.search(words, " ".join(read_rig_file(path).reasons))
    odd = {**rig.cameras, "left": replace(rig.cameras["left"], **change)}
    write_rig_file(path, replace(rig, cameras=odd))
    found = read_rig_file(path)
    assert found.verdict == "check"
    assert re.search(words, " ".join(found.reasons))


def test_our_json_in_metres_or_of_another_world_is_refused(tmp_path: Path, rig: Rig) -> None:
    path = tmp_path / "rig.json"
    small = {name: replace(camera, t_mm=camera.t_mm / 1000) for name, camera in rig.cameras.items()}
    write_rig_file(path, replace(rig, cameras=small))
    with pytest.raises(CalibrationError, match="mm apart"):
        read_rig_file(path)
    away = {**rig.cameras, "front": replace(rig.cameras["front"], t_mm=np.array([50.0, 0, 0]))}
    write_rig_file(path, replace(rig, cameras=away))
    with pytest.raises(CalibrationError, match="camera front is said to be the world"):
        read_rig_file(path)
