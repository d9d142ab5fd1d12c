"""A first look into a take: the board that is said is found, and a mistaken one is named."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.preview import PICTURE_WIDTH_PX, draw_middle, preview_board, say_board
from pipeline.session import Checkerboard
from pipeline.video import VideoWriter
from tests.pipeline.calibration.board_pictures import board_pose, draw_board, draw_keys, make_camera

BOARD = Checkerboard(columns=9, rows=6, square_mm=25.0)
SIZE = (640, 360)


def write_film(path: Path, pictures: list[np.ndarray], gop: int = 4) -> Path:
    with VideoWriter(path, SIZE, Fraction(30), crf=20, gop=gop) as writer:
        for picture in pictures:
            writer.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    return path


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames with the board, then twelve of a keyboard."""
    camera = make_camera(size_px=SIZE)
    turns = np.linspace(-20, 20, 12)
    boards = [draw_board(camera, board_pose(BOARD, (turn, turn / 2, 5)), BOARD, 1) for turn in turns]
    keys = [draw_keys(SIZE, np.random.default_rng(seed)) for seed in range(12)]
    return write_film(tmp_path_factory.mktemp("take") / "front.mp4", [*boards, *keys])


def test_the_board_is_found_where_it_is_and_drawn(take: Path) -> None:
    found = preview_board(take, BOARD)
    assert (found.looked, found.found, found.guess) == (24, 12, None)
    said = say_board(found, BOARD, "IMG_1.mov")
    assert (said.level, said.what) == (
        "note",
        "IMG_1.mov: the checkerboard is found in 12 of 24 frames looked at.",
    )
    picture = cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[1] == PICTURE_WIDTH_PX
    colourful = picture.max(axis=2).astype(int) - picture.min(axis=2) > 60
    assert colourful.sum() > 500  # the corners' lines; the film itself is grey


def test_columns_and_rows_the_other_way_round_are_the_same_board(take: Path) -> None:
    assert preview_board(take, Checkerboard(columns=6, rows=9)).found == 12


@pytest.mark.parametrize(
    ("columns", "rows", "advice"),
    [(10, 7, "Squares were counted"), (7, 10, "Squares were counted"), (8, 6, "Set 9 across and 6 down")],
)
def test_a_mistaken_size_is_told_with_the_likely_one(
    take: Path, columns: int, rows: int, advice: str
) -> None:
    board = Checkerboard(columns=columns, rows=rows)
    found = preview_board(take, board)
    assert (found.found, found.guess) == (0, (9, 6))
    said = say_board(found, board, "front.mp4")
    assert said.level == "error"
    assert f"no checkerboard of {columns} x {rows}" in said.what
    assert "one of 9 x 6" in said.what
    assert advice in said.advice


def test_a_film_without_a_board_is_told_so(tmp_path: Path) -> None:
    film = write_film(tmp_path / "keys.mp4", [draw_keys(SIZE, np.random.default_rng(1))] * 8)
    found = preview_board(film, BOARD)
    assert (found.looked, found.found, found.guess) == (8, 0, None)
    said = say_board(found, BOARD, "keys.mp4")
    assert (said.level, "Is it a checkerboard take" in said.advice) == ("error", True)


def test_a_board_seen_in_few_frames_is_warned_of(tmp_path: Path) -> None:
    camera = make_camera(size_px=SIZE)
    board = draw_board(camera, board_pose(BOARD), BOARD, 1)
    keys = draw_keys(SIZE, np.random.default_rng(2))
    said = say_board(
        preview_board(write_film(tmp_path / "a.mp4", [board] * 2 + [keys] * 9), BOARD), BOARD, "a"
    )
    assert (said.level, "only found in 2 of 11 frames" in said.what) == ("warning", True)


def test_a_search_ends_in_time_and_says_how_far_it_came(take: Path) -> None:
    assert preview_board(take, BOARD, longest_s=0.0).looked == 1


def test_the_picture_is_of_the_middle(tmp_path: Path) -> None:
    levels = [np.full((SIZE[1], SIZE[0]), level, np.uint8) for level in np.linspace(20, 220, 21)]
    film = write_film(tmp_path / "grey.mp4", levels, gop=5)
    picture = cv2.imdecode(np.frombuffer(draw_middle(film), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert picture.mean() == pytest.approx(120, abs=8)
