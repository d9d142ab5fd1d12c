from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.datasets.furelise import FPS, build_furelise, list_pieces, read_motion
from pipeline.errors import DatasetError
from pipeline.hand.angles import ANGLES, compute_angles
from pipeline.hand.joints import SIDES
from pipeline.measures.baseline import read_baseline
from pipeline.progress import Reporter
from tests.pipeline.datasets.made_hands import make_playing_mm

# The data set's world (x to the player, y up the keyboard, z up) from a hand's (x to its little finger,
# y along the fingers, z out of its back).
WORLD_FROM_HAND = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def make_piece(folder: Path, piece: int, person: int, frames: int = 240) -> Path:
    hands = {}
    for side in SIDES:
        joints = make_playing_mm(frames, FPS, seed=100 * person + piece, side=side) / 1000
        hands[side] = {
            "joints": (joints @ WORLD_FROM_HAND.T).astype(np.float32),
            "mano_params": {
                "global_translation": np.zeros((frames, 3)),
                "global_rotation": np.tile(np.eye(3), (frames, 1, 1)),
                "pose": np.zeros((frames, 45)),
                "shape": np.zeros(10),
                "vertices": np.zeros((frames, 4, 3)),
            },
        }
    path = folder / "dataset" / f"{piece:03d}" / "motion.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(hands, 4))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Ten pieces by five people."""
    folder = tmp_path_factory.mktemp("for_elise")
    rows = [{"name": f"No. {n}", "composer": "X", "piece_id": n, "subject_id": n % 5} for n in range(12)]
    (folder / "metadata.json").write_text(json.dumps(rows))
    for piece in range(10):
        make_piece(folder, piece, piece % 5)
    return folder


@pytest.fixture(scope="module")
def reference(made):
    return build_furelise(made, Reporter("baseline"))


def test_pieces_come_by_subject_and_those_not_downloaded_are_left_out(made):
    assert [(one.subject, one.piece) for one in list_pieces(made)] == [
        (s, p) for s in range(5) for p in (s, s + 5)
    ]


def test_both_hands_are_read_in_mm_on_the_data_sets_own_clock(made):
    motion = read_motion(made / "dataset" / "003" / "motion.pkl")
    assert motion.time_s[60] == pytest.approx(60 * 1001 / 60000)
    for side in SIDES:
        made_mm = make_playing_mm(240, FPS, seed=303, side=side)
        np.testing.assert_allclose(motion.joints_mm[side], made_mm @ WORLD_FROM_HAND.T, atol=1e-4)
        np.testing.assert_allclose(
            compute_angles(motion.joints_mm[side], side), compute_angles(made_mm, side), atol=1e-4
        )


def test_the_reference_holds_the_people_the_licence_and_where_it_is_from(reference):
    assert reference.n_people == 5
    assert not reference.simulated
    assert "CC BY-NC 4.0" in reference.licence
    assert "elite pianists" in reference.provenance
    assert reference.fps == pytest.approx(59.94)
    assert reference.n_minutes == pytest.approx(10 * 2 * 240 / FPS / 60, abs=0.01)
    assert {entry.n_people for entry in reference.angles.values()} == {5}
    assert reference.leave_one_out["n_people"] == 5


def test_people_are_pooled_by_subject_over_pieces_and_hands(made, reference):
    column = ANGLES.index("ring_pip_flexion")
    medians = []
    for person in range(5):
        degrees = [
            np.degrees(compute_angles(make_playing_mm(240, FPS, 100 * person + piece, side), side))[:, column]
            for piece in (person, person + 5)
            for side in SIDES
        ]
        medians.append(np.median(np.concatenate(degrees)))
    entry = reference.angles["ring_pip_flexion"]
    assert entry.person_mean_deg == pytest.approx(np.mean(medians), abs=0.2)
    assert entry.person_sd_deg == pytest.approx(np.std(medians, ddof=1), abs=0.2)


def test_it_gives_postures_and_no_movement_at_all(reference):
    assert np.isnan(reference.jerk_reference()).all()
    assert all(joint.n_people == 0 for joint in reference.joints.values())
    assert "no jerk and no acceleration" in reference.posture_only
    told = {name for name, number in reference.headlines.items() if number.n_people}
    assert told == {"posture_share", "posture_bouts", "angle_deviation"}


def test_the_command_writes_it_and_prints_the_check(made, tmp_path, capsys):
    out = tmp_path / "furelise.json"
    assert main(["baseline", "furelise", str(made), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "5 people" in said
    assert "each person against the others" in said
    assert "postures only: FürElise gives no jerk" in said
    assert read_baseline(out).name == "FürElise"


def test_a_folder_as_the_file_to_write_is_refused_before_the_work(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.datasets.furelise.read_motion", None)
    for source in (["furelise", str(made)], ["build", str(made)], ["pianomotion", str(made)]):
        assert main(["baseline", *source, "--out", str(tmp_path)]) == 2
        assert "is a folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_mirrored_hand_and_another_unit_are_refused_with_the_files_name(tmp_path):
    (tmp_path / "metadata.json").write_text('[{"piece_id": 0, "subject_id": 0}]')
    path = make_piece(tmp_path, 0, 0)
    hands = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps({"left": hands["right"]}))
    with pytest.raises(DatasetError, match=r"motion\.pkl \(left\): the fingers of the left hand bend backw"):
        build_furelise(tmp_path, Reporter("baseline"))
    hands["right"]["joints"] *= 100
    path.write_bytes(pickle.dumps({"right": hands["right"]}))
    with pytest.raises(DatasetError, match="which no hand is"):
        build_furelise(tmp_path, Reporter("baseline"))


def test_what_is_missing_or_laid_out_otherwise_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"metadata\.json is missing"):
        list_pieces(tmp_path)
    (tmp_path / "metadata.json").write_text('{"piece": 0}')
    with pytest.raises(DatasetError, match="no list of pieces"):
        list_pieces(tmp_path)
    (tmp_path / "metadata.json").write_text('[{"piece_id": 7, "subject_id": 0}]')
    with pytest.raises(DatasetError, match=r"holds no motion\.pkl"):
        list_pieces(tmp_path)
    path = make_piece(tmp_path, 3, 0)
    with pytest.raises(DatasetError, match="does not say who played"):
        list_pieces(tmp_path)
    path.write_bytes(pickle.dumps({"left": {"joints": np.zeros((5, 20, 3))}}))
    with pytest.raises(DatasetError, match="left hand, is 5 x 20 x 3"):
        read_motion(path)
    path.write_bytes(pickle.dumps({"left": {"joints": np.zeros((5, 21, 3))}, "right": "lost"}))
    with pytest.raises(DatasetError, match="right hand, is no table"):
        read_motion(path)
    path.write_bytes(pickle.dumps({"middle": 1}))
    with pytest.raises(DatasetError, match="neither a left nor a right"):
        read_motion(path)
