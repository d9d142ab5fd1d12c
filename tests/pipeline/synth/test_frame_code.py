from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.synth.frame_code import draw_frame_code, encode_frame_code, read_frame_code
from pipeline.video import VideoWriter, read_frames


def make_picture(width, height, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 20, width // 20, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@given(st.integers(0, 65535), st.sampled_from([(1920, 1080), (1280, 720), (640, 360), (1440, 1080)]))
def test_a_drawn_code_is_read_at_full_size_and_at_a_third(index, size):
    image = make_picture(*size)
    draw_frame_code(image, index)
    assert read_frame_code(image) == index
    third = cv2.resize(image, None, fx=1 / 3, fy=1 / 3, interpolation=cv2.INTER_AREA)
    assert read_frame_code(third) == index


@given(st.integers(0, 65535), st.integers(2, 21))
def test_one_wrong_cell_is_never_taken_for_another_frame(index, cell):
    cells = encode_frame_code(index)
    cells[cell] ^= 1
    image = np.kron(cells * np.uint8(235), np.ones((24, 16), np.uint8))
    image = np.pad(image, ((0, 696), (0, 1280 - image.shape[1])))
    assert read_frame_code(image) is None


@given(st.integers(0, 10_000))
def test_a_picture_without_a_code_has_none(seed):
    assert read_frame_code(make_picture(640, 360, seed)) is None


@pytest.mark.parametrize("crf", [20, 30])
def test_the_code_survives_coding_and_shrinking(tmp_path, crf):
    path = tmp_path / "coded.mp4"
    with VideoWriter(path, (640, 360), Fraction(60), crf, preset="ultrafast") as video:
        for index in range(40):
            image = make_picture(640, 360, index)
            draw_frame_code(image, 977 * index)
            video.write(image)
    for frame in read_frames(path):
        assert read_frame_code(frame.image) == 977 * frame.index
        third = cv2.resize(frame.image, (213, 120), interpolation=cv2.INTER_AREA)
        assert read_frame_code(third) == 977 * frame.index
