import itertools

import numpy as np
import pytest

from pipeline.pose.segments import LEAD_FRAMES, MAX_WASTE, SEGMENT_FRAMES, split


def make_keys(n_frames, every):
    return np.arange(n_frames) % every == 0


@pytest.mark.parametrize("n_frames", [1, 2, 59, 240, 480, 1201, 10790, 216000])
@pytest.mark.parametrize("every", [1, 12, 30, 250, 10**9])
def test_segments_cover_every_frame_once(n_frames, every):
    found = split(make_keys(n_frames, every))
    assert found[0].start == 0
    assert found[-1].stop == n_frames
    assert all(before.stop == after.start for before, after in itertools.pairwise(found))
    assert all(0 <= one.lead <= one.start < one.stop for one in found)


@pytest.mark.parametrize("every", [12, 30, 60])
def test_segments_are_led_in_from_key_frames_and_of_like_length(every):
    found = split(make_keys(10790, every))
    assert all(one.lead % every == 0 and one.start - one.lead == LEAD_FRAMES for one in found[1:])
    lengths = [one.stop - one.start for one in found]
    assert 0.7 * SEGMENT_FRAMES < min(lengths) <= max(lengths) < 1.3 * SEGMENT_FRAMES


def test_a_file_with_a_single_key_frame_is_decoded_a_few_times_at_most():
    found = split(make_keys(10790, 10**9))
    assert len(found) > 2
    assert sum(one.lead for one in found) < 2 * MAX_WASTE * 10790
    assert len(split(make_keys(480, 10**9))) == 2


def test_a_video_without_key_frames_is_decoded_from_its_beginning():
    assert split(np.zeros(480, bool))[0] == (0, 0, 240)
