"""A rig in words, and the commands that look at rigs and convert them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.calibration.describe import describe_rig, find_centre_mm, measure_coverage, measure_turn_deg
from pipeline.calibration.formats import read_rig_file
from pipeline.results import Camera, Rig, write_rig


def make_rig() -> Rig:
    K = np.array([[1000.0, 0, 319.5], [0, 1010.0, 179.5], [0, 0, 1]])
    front = Camera("front", (640, 360), K, np.zeros(5), np.eye(3), np.zeros(3), rms_px=0.111)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    left = Camera(
        "left", (640, 360), K, np.array([-0.1, 0, 0, 0, 0]), turn, np.array([0.0, -250.0, 0.0]),
        rms_px=0.222, coverage=[[0, 3], [1, 0]], left_out_px=0.333, sigma_deg=0.044, sigma_mm=0.55,
        used=[{"time_s": 1.0, "rms_px": 0.2}], refused=[{"time_s": 2.0, "reason": "blurred"}],
    )  # fmt: skip
    pairs = [{"a": "front", "b": "left", "rms_px": 0.16, "frames": 12}]
    return Rig(
        "front", {"front": front, "left": left}, pairs, -0.05, 0.02, verdict="check", reasons=("Mind left.",)
    )


def test_a_rig_is_said_with_every_figure_that_it_has() -> None:
    said = describe_rig(make_rig())
    expected = (
        "2 cameras, from a checkerboard, check", "Mind left.", "camera left: 640x360 px",
        "1000.00, 1010.00 px", "k1 -0.1", "250.0, 0.0, 0.0 mm from front, turned by 90.00 degrees",
        "0.044 degrees, 0.55 mm", "0.222 px; where the others put the board 0.333 px",
        "50 % of the picture's cells; 1 frames used, 1 refused", "pair front and left: 0.160 px, 12 frames",
        "square: −0.050 mm from what was stated, ± 0.020 mm",
    )  # fmt: skip
    for part in expected:
        assert part in said


def test_the_worst_view_of_each_camera_is_named():
    said = describe_rig(make_rig())
    assert "Camera left: the view at 1.0 s fits worst (0.20 px, usually 0.20 px)." in said
    assert "Camera front: the view" not in said


def test_what_is_not_known_is_a_dash_and_not_a_number() -> None:
    said = describe_rig(make_rig())
    front = said.partition("camera front")[2].partition("camera left")[0]
    assert "expected error – degrees, – mm" in front
    assert "– % of the picture's cells" in front
    assert "nan" not in said


def test_coverage_is_the_share_of_cells_with_a_corner() -> None:
    left = make_rig().cameras["left"]
    assert measure_coverage(left) == 0.5
    assert measure_coverage(replace(left, coverage=[[0, 0]])) == 0
    assert np.isnan(measure_coverage(replace(left, coverage=[])))


def test_a_camera_stands_where_its_centre_projects_to_nothing() -> None:
    left = make_rig().cameras["left"]
    np.testing.assert_allclose(left.R @ find_centre_mm(left) + left.t_mm, 0, atol=1e-12)
    assert measure_turn_deg(left) == pytest.approx(90)


def test_convert_and_show_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rig(tmp_path / "rig.json", make_rig())
    for source, target in (("rig.json", "a.toml"), ("a.toml", "b.yaml"), ("b.yaml", "c.json")):
        assert main(["rig", "convert", str(tmp_path / source), str(tmp_path / target)]) == 0
    back = read_rig_file(tmp_path / "c.json")
    np.testing.assert_allclose(back.cameras["left"].t_mm, [0, -250, 0], atol=1e-9)
    assert back.verdict == "check"
    capsys.readouterr()
    assert main(["rig", "show", str(tmp_path / "a.toml")]) == 0
    assert "from a file, check" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "none.json"], "none.json"),
        (["show", "text.toml"], "text.toml is not TOML"),
        (["convert", "rig.json", "rig.xml"], "cannot be written as .xml"),
        (["convert", "rig.xml", "rig.json"], "rig.xml is no rig"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    write_rig(tmp_path / "rig.json", make_rig())
    (tmp_path / "text.toml").write_text("hello")
    action, *files = arguments
    assert main(["rig", action, *(str(tmp_path / name) for name in files)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "rig.xml").exists()
