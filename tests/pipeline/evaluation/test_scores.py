"""Scores worked out anew, loop by loop, and by cases whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from pipeline.datasets.arrays import Hands
from pipeline.errors import DatasetError
from pipeline.evaluation.definitions import DEFINITIONS
from pipeline.evaluation.scores import score_hands
from pipeline.files import read_json
from pipeline.hand.joints import JOINTS
from pipeline.version import PROGRAM_VERSION

FRAMES = 130
TIME_S = np.arange(FRAMES) / 60
OFF_MM = np.array([3.0, 0.0, 4.0])


def make_hands(hands: int = 1, seed: int = 0) -> Hands:
    """Moving hands, vertices and all; the joints are the first vertices."""
    random = np.random.default_rng(seed)
    shape = random.normal(0, 40, (hands, 60, 3))
    path = 60 * np.sin(TIME_S[:, None, None, None] * random.uniform(2, 6, (hands, 1, 3)))
    wiggle = 3 * np.sin(TIME_S[:, None, None, None] * random.uniform(5, 20, (hands, 60, 3)))
    vertices = shape + path + wiggle + np.array([0, 0, 500.0])
    return Hands(vertices[:, :, :21], vertices, TIME_S)


def change(hands: Hands, move) -> Hands:
    """The hands with a function applied to joints and vertices."""
    assert hands.vertices_mm is not None
    return Hands(move(hands.joints_mm), move(hands.vertices_mm), hands.time_s, hands.clip)


def score(estimate: Hands, true: Hands, **options: str) -> dict[str, float]:
    return score_hands(estimate, true, "made", **options).values


@pytest.mark.parametrize("hands", [1, 2])
def test_the_truth_itself_has_no_error(hands: int) -> None:
    true = make_hands(hands)
    values = score(true, true)
    pairs = {"mrrpe", "ga_mpjpe_group"}
    assert set(values) == {
        key for key in DEFINITIONS if not key.startswith(("freihand", "interhand", "picture"))
    } - (set() if hands == 2 else pairs)
    for key, value in values.items():
        # The first threshold of an area is 0 mm, and rounding alone may miss that one of 99.5.
        tolerance = 0.5 / 99 + 1e-9 if key.startswith("auc") else 1e-9
        assert value == pytest.approx(float(DEFINITIONS[key].unit == "share"), abs=tolerance), key


def test_a_shifted_hand_is_wrong_where_it_is_and_nowhere_else() -> None:
    true = make_hands()
    values = score(change(true, lambda points: points + OFF_MM), true)
    assert values["mpjpe"] == values["mpvpe"] == pytest.approx(5.0)
    assert values["auc"] == pytest.approx(0.9, abs=0.01)
    assert values["f_5"] < 1
    for key in (
        "mpjpe_root",
        "pa_mpjpe",
        "g_mpjpe_rigid",
        "ga_mpjpe",
        "mpvpe_root",
        "pa_mpvpe",
        "acceleration",
    ):
        assert values[key] == pytest.approx(0, abs=1e-9), key
    assert values["pa_f_5"] == values["pck_10_root"] == 1


def test_a_hand_of_the_wrong_size_is_right_only_with_scale() -> None:
    true = make_hands()
    values = score(change(true, lambda points: 1.1 * points), true)
    for key in ("pa_mpjpe", "pa_mpvpe", "g_mpjpe", "ga_mpjpe", "w_mpjpe_100", "wa_mpjpe_100"):
        assert values[key] == pytest.approx(0, abs=1e-9), key
    for key in ("mpjpe_root", "pa_mpjpe_rigid", "g_mpjpe_rigid", "ga_mpjpe_rigid"):
        assert values[key] > 2, key
    rooted = true.joints_mm - true.joints_mm[:, :, :1]
    assert values["mpjpe_root"] == pytest.approx(0.1 * np.linalg.norm(rooted, axis=-1).mean())


def test_another_world_frame_costs_the_absolute_numbers_alone() -> None:
    true = make_hands()
    turn = Rotation.from_rotvec([0.4, 1.0, -0.3]).as_matrix()
    values = score(change(true, lambda points: points @ turn.T + [10, 20, 30]), true)
    assert values["mpjpe"] > 50
    for key in ("g_mpjpe", "g_mpjpe_rigid", "ga_mpjpe_rigid", "pa_mpjpe_rigid"):
        assert values[key] == pytest.approx(0, abs=1e-9), key


def test_drift_counts_more_the_longer_the_alignment_reaches() -> None:
    true = make_hands()
    drift = 0.5 * np.arange(FRAMES)[:, None, None, None] * np.array([1.0, 0, 0])
    values = score(Hands(true.joints_mm + drift, None, TIME_S), Hands(true.joints_mm, None, TIME_S))
    assert values["mpjpe"] == pytest.approx(0.5 * (FRAMES - 1) / 2)
    assert values["g_mpjpe_rigid"] == pytest.approx(0.5 * ((FRAMES - 1) / 2 - 0.5), rel=0.02)
    assert values["wa_mpjpe_100"] < values["ga_mpjpe"] < values["w_mpjpe_100"] < values["g_mpjpe"]
    assert max(values["pa_mpjpe"], values["acceleration"]) < 1e-9


def register(
    estimate: np.ndarray, true: np.ndarray, scale: bool = True
) -> tuple[np.ndarray, np.ndarray, float]:
    a, b = torch.from_numpy(estimate.reshape(-1, 3)), torch.from_numpy(true.reshape(-1, 3))
    if not scale:
        R, t = roma.rigid_points_registration(a, b)
        return R.numpy(), t.numpy(), 1.0
    R, t, s = roma.rigid_points_registration(a, b, compute_scaling=True)
    return R.numpy(), t.numpy(), float(s)


def distance(a: np.ndarray, b: np.ndarray) -> list[float]:
    return [
        float(np.sqrt(((p - q) ** 2).sum())) for p, q in zip(a.reshape(-1, 3), b.reshape(-1, 3), strict=True)
    ]


def test_numbers_of_clips_are_those_of_a_loop_over_hands_clips_and_pieces() -> None:
    true = make_hands(2)
    random = np.random.default_rng(7)
    clip = np.repeat([4, 2], [110, 20])
    turn = Rotation.from_rotvec([0.2, -0.5, 0.1]).as_matrix()
    joints = 1.2 * true.joints_mm @ turn.T + random.normal(0, 4, true.joints_mm.shape)
    joints += np.cumsum(random.normal(0, 1, (FRAMES, 2, 1, 3)), axis=0)
    values = score(Hands(joints, None, TIME_S), Hands(true.joints_mm, None, TIME_S, clip))
    expected: dict[str, list[float]] = {}
    for hand in (0, 1):
        for start, end in ((0, 110), (110, 130)):
            a, b, t = joints[start:end, hand], true.joints_mm[start:end, hand], TIME_S[start:end]
            for key, first, scale, length in (
                ("g_mpjpe", 2, True, 999), ("g_mpjpe_rigid", 2, False, 999), ("ga_mpjpe", 999, True, 999),
                ("ga_mpjpe_rigid", 999, False, 999), ("w_mpjpe_100", 2, True, 100),
                ("wa_mpjpe_100", 999, True, 100),
            ):  # fmt: skip
                for at in range(0, len(a), length):
                    part, other = a[at : at + length], b[at : at + length]
                    R, shift, size = register(part[:first], other[:first], scale)
                    expected.setdefault(key, []).extend(distance(size * part @ R.T + shift, other))
            for key, root in (("acceleration", 0.0), ("acceleration_root", 1.0)):
                c, d = a - root * a[:, :1], b - root * b[:, :1]
                for i in range(1, len(c) - 1):
                    step = t[i] - t[i - 1]
                    bend = [(x[i + 1] - 2 * x[i] + x[i - 1]) / step**2 / 1e3 for x in (c, d)]
                    expected.setdefault(key, []).extend(distance(bend[0], bend[1]))
    for key, distances in expected.items():
        assert values[key] == pytest.approx(np.mean(distances), rel=1e-7), key
    by_frames = values["acceleration_frames"] * 60**2 / 1e3
    assert values["acceleration"] == pytest.approx(by_frames, rel=1e-9)


def test_two_hands_are_held_together_by_mrrpe_and_the_group() -> None:
    true = make_hands(2)
    apart = true.joints_mm.copy()
    apart[:, 1] += [0.0, 6.0, 8.0]
    values = score(Hands(apart), Hands(true.joints_mm))
    assert values["mrrpe"] == pytest.approx(10.0)
    assert values["pa_mpjpe"] == pytest.approx(0, abs=1e-9)
    assert values["mpjpe"] == pytest.approx(5.0)
    expected = []
    for a, b in zip(apart, true.joints_mm, strict=True):
        R, shift, size = register(a, b)
        expected += distance(size * a @ R.T + shift, b)
    assert values["ga_mpjpe_group"] == pytest.approx(np.mean(expected), rel=1e-7)


def test_another_root_takes_the_wrists_error_out_of_the_others() -> None:
    true = make_hands()
    joints = true.joints_mm.copy()
    joints[:, :, 0] += [7.0, 0, 0]
    estimate = Hands(joints)
    assert score(estimate, true)["mpjpe_root"] == pytest.approx(7.0 * 20 / 21)
    assert score(estimate, true, root="middle_mcp")["mpjpe_root"] == pytest.approx(7.0 / 21)
    assert "middle mcp" in score_hands(estimate, true, "made", root="middle_mcp").define("mpjpe_root")


def test_what_was_not_estimated_lowers_share_and_pck_and_no_mean() -> None:
    true = make_hands()
    joints = true.joints_mm.copy()
    joints[: FRAMES // 2] = np.nan
    card = score_hands(Hands(joints, None, TIME_S), true, "made")
    assert card.share == pytest.approx(0.5)
    assert card.values["pck_20_root"] == card.values["auc"] == pytest.approx(0.5)
    assert card.values["auc_pa"] == pytest.approx(0.5, abs=0.003)
    for key in ("mpjpe", "mpjpe_root", "pa_mpjpe", "ga_mpjpe", "g_mpjpe", "acceleration"):
        assert card.values[key] == pytest.approx(0, abs=1e-9), key


def test_a_truth_without_a_root_says_nothing_of_that_hands_pck() -> None:
    true = make_hands()
    known = true.joints_mm.copy()
    known[:10, :, JOINTS.index("wrist")] = np.nan
    values = score(Hands(true.joints_mm), Hands(known))
    assert values["pck_10_root"] == values["auc_root"] == values["auc"] == 1


def test_meshes_of_other_vertices_have_f_scores_by_the_joints_and_no_mpvpe() -> None:
    true = make_hands()
    assert true.vertices_mm is not None
    turn = Rotation.from_rotvec([0.0, 0.4, 0.2]).as_matrix()
    estimate = Hands(1.2 * true.joints_mm @ turn.T, 1.2 * true.vertices_mm[:, :, ::-1][:, :, :50] @ turn.T)
    card = score_hands(estimate, true, "made")
    assert "mpvpe" not in card.values
    assert card.values["pa_f_5"] == pytest.approx(2 * (50 / 60) / (1 + 50 / 60), abs=0.02)
    assert any("different vertices" in note for note in card.notes)


def test_pictures_without_times_have_no_numbers_of_clips() -> None:
    true = make_hands()
    card = score_hands(Hands(true.joints_mm), Hands(true.joints_mm), "made")
    assert not {"g_mpjpe", "ga_mpjpe", "acceleration", "acceleration_frames"} & set(card.values)
    assert any("time_s" in note for note in card.notes)


def test_estimates_of_other_frames_hands_or_times_are_refused() -> None:
    true = make_hands(2)
    with pytest.raises(DatasetError, match="129 frames, the truth 130"):
        score(Hands(true.joints_mm[1:]), true)
    with pytest.raises(DatasetError, match="1 hands, the truth 2"):
        score(Hands(true.joints_mm[:, :1]), true)
    with pytest.raises(DatasetError, match="no frame"):
        score(Hands(true.joints_mm[:0]), Hands(true.joints_mm[:0], None, TIME_S[:0]))
    with pytest.raises(DatasetError, match="quarter of a frame"):
        score(Hands(true.joints_mm, None, TIME_S + 0.005), true)


def test_each_definition_stands_for_itself() -> None:
    for key, known in DEFINITIONS.items():
        assert known.name, key
        assert known.source, key
        assert known.unit in ("mm", "px", "share", "m/s²", "mm/frame²"), key
        assert known.text.endswith("."), key
        assert "{" not in known.text.replace("{root}", ""), key
        assert not known.text.startswith("The same"), key
    names = [known.name for known in DEFINITIONS.values()]
    assert len(set(names)) == len(names)


def test_table_and_json_say_the_same_with_definition_unit_and_version(tmp_path: Path) -> None:
    true = make_hands()
    joints = true.joints_mm + OFF_MM
    card = score_hands(Hands(joints, None, TIME_S), Hands(true.joints_mm, None, TIME_S), "a against b")
    card.write(tmp_path / "scores.json")
    plain = read_json(tmp_path / "scores.json")
    text = card.to_text()
    assert plain["program_version"] == PROGRAM_VERSION
    assert (plain["of"], plain["frames"], plain["share"]) == ("a against b", FRAMES, 1.0)
    assert [entry["key"] for entry in plain["scores"]] == list(card.values)
    words = " ".join(text.split())
    for entry in plain["scores"]:
        assert entry["value"] == pytest.approx(card.values[entry["key"]])
        assert entry["name"] in text
        assert f"{entry['definition']} [{entry['source']}]" in words
    assert "5.000 mm" in text
    assert max(map(len, text.splitlines())) <= 110
