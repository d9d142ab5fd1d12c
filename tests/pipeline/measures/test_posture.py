from __future__ import annotations

import numpy as np
import pytest

from pipeline.hand.angles import ANGLES
from pipeline.measures.posture import find_bouts, mark_bouts

TIME_S = np.arange(300) / 60
COLUMN = ANGLES.index("ring_pip_flexion")


def z_of(values):
    z = np.zeros((300, 20))
    z[:, COLUMN] = values
    return z


def test_a_bout_begins_at_3_and_lasts_until_under_2():
    values = np.zeros(300)
    values[100:160] = 2.5
    values[120:130] = 3.5
    (bout,) = find_bouts(TIME_S, z_of(values))
    assert (bout.angle, bout.finger, bout.direction) == ("ring_pip_flexion", "ring", "more flexed")
    assert bout.start_s == pytest.approx(120 / 60)
    assert bout.end_s == pytest.approx(159 / 60)
    assert bout.peak_z == 3.5


def test_values_that_never_reach_3_or_last_under_200_ms_are_no_bout():
    values = np.zeros(300)
    values[50:150] = 2.9
    values[200:211] = 4.0
    assert find_bouts(TIME_S, z_of(values)) == ()
    values[200:212] = 4.0
    assert len(find_bouts(TIME_S, z_of(values))) == 1


def test_extension_and_flexion_are_bouts_of_their_own():
    values = np.concatenate([np.full(150, 4.0), np.full(150, -5.0)])
    bouts = find_bouts(TIME_S, z_of(values))
    assert [(bout.direction, bout.peak_z) for bout in bouts] == [
        ("more flexed", 4.0),
        ("more extended", -5.0),
    ]


def test_a_bout_goes_on_through_100_ms_not_measured_and_ends_at_a_longer_gap():
    for missing, count in ((5, 1), (20, 2)):
        values = np.full(300, 4.0)
        values[100 : 100 + missing] = np.nan
        assert len(find_bouts(TIME_S, z_of(values))) == count


def test_a_bout_under_way_at_the_start_or_after_a_gap_was_not_seen_to_begin():
    values = np.full(300, 4.0)
    values[50:70] = 0.0
    values[150:170] = np.nan
    bouts = find_bouts(TIME_S, z_of(values))
    assert [bout.begun for bout in bouts] == [False, True, False]


def test_a_recording_cut_into_pieces_has_no_more_beginnings_than_the_whole():
    time_s = np.arange(9000) / 60
    z = np.zeros((len(time_s), 20))
    z[:, COLUMN] = 5 * np.sign(np.sin(2 * np.pi * (time_s + 0.51) / 2.3))
    whole = find_bouts(time_s, z)
    cuts = [slice(start, start + 600) for start in range(0, 9000, 600)]
    pieces = [bout for cut in cuts for bout in find_bouts(time_s[cut], z[cut])]
    assert len(pieces) > len(whole) + 8
    assert sum(bout.begun for bout in pieces) == pytest.approx(sum(bout.begun for bout in whole), abs=3)


def test_marked_frames_are_those_of_the_bouts():
    values = np.zeros(300)
    values[60:120] = -3.5
    marked = mark_bouts(TIME_S, find_bouts(TIME_S, z_of(values)))
    assert marked.sum() == 60
    assert marked[60:120, COLUMN].all()


def test_nothing_measured_has_no_bouts():
    assert find_bouts(TIME_S, np.full((300, 20), np.nan)) == ()
