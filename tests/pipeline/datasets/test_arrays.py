from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.datasets.arrays import read_hands
from pipeline.errors import DatasetError


@given(hnp.arrays(float, st.tuples(st.integers(0, 4), st.integers(1, 2), st.just(21), st.just(3))))
def test_hands_come_out_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, joints: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "hands.npz"
    np.savez(path, joints_mm=joints, vertices_mm=joints[:, :, :7], time_s=np.arange(len(joints)) / 60)
    hands = read_hands(path)
    np.testing.assert_array_equal(hands.joints_mm, joints)
    np.testing.assert_array_equal(hands.vertices_mm, joints[:, :, :7])
    assert hands.clip is None


def test_one_hand_needs_no_axis(tmp_path: Path) -> None:
    np.savez(tmp_path / "hands.npz", joints_mm=np.ones((5, 21, 3), dtype=np.float32), clip=[0, 0, 0, 1, 1])
    hands = read_hands(tmp_path / "hands.npz")
    assert hands.joints_mm.shape == (5, 1, 21, 3)
    assert hands.vertices_mm is None
    assert hands.clip is not None
    assert hands.clip.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"joints": np.zeros((5, 21, 3))}, r"has no joints_mm \(it has joints\)"),
        ({"joints_mm": np.zeros((5, 20, 3))}, "joints_mm is 5 x 1 x 20 x 3"),
        ({"joints_mm": np.zeros((5, 3, 21, 3))}, "3 hands, not 1 or 2"),
        ({"joints_mm": np.zeros((5, 21, 3)), "time_s": np.zeros(5)}, "does not rise"),
        ({"joints_mm": np.zeros((5, 21, 3)), "time_s": np.arange(4)}, "time_s is 4, not 5"),
        ({"joints_mm": np.zeros((5, 21, 3)), "vertices_mm": np.zeros((4, 9, 3))}, "differ in frames"),
        ({"joints_mm": np.array([{}], dtype=object)}, "no .npz of plain arrays"),
    ],
)
def test_what_is_not_so_laid_out_is_refused_by_name(tmp_path: Path, arrays: dict, message: str) -> None:
    path = tmp_path / "hands.npz"
    np.savez(path, **arrays)
    with pytest.raises(DatasetError, match=message) as caught:
        read_hands(path)
    assert str(path) in caught.value.what


def test_a_file_that_is_missing_or_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="missing"):
        read_hands(tmp_path / "no.npz")
    (tmp_path / "text.npz").write_text("joints")
    with pytest.raises(DatasetError, match=r"text\.npz is no \.npz"):
        read_hands(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DatasetError, match=r"one\.npy is no \.npz"):
        read_hands(tmp_path / "one.npy")


def test_times_rise_within_each_clip(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "hands.npz", joints_mm=np.zeros((4, 21, 3)), time_s=[0, 0.1, 0, 0.1], clip=[3, 3, 8, 8]
    )
    assert read_hands(tmp_path / "hands.npz").time_s is not None


@pytest.mark.parametrize("clip", [[0, 0, np.nan, 1], [0, 0, 0.5, 1], [0, 0, np.inf, 1]])
def test_clips_are_told_apart_by_whole_numbers(tmp_path: Path, clip: list[float]) -> None:
    np.savez(tmp_path / "hands.npz", joints_mm=np.zeros((4, 21, 3)), clip=clip)
    with pytest.raises(DatasetError, match=r"hands\.npz: clip is not of whole numbers"):
        read_hands(tmp_path / "hands.npz")
