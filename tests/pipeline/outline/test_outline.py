"""Masks of the hand: right where they say so, and doubted where they may not be."""

import numpy as np

from pipeline.outline.results import REASONS, read_outlines, write_outlines
from pipeline.results import RunFolder


def share(outline, reason):
    return float((outline.reason == REASONS.index(reason)).mean())


def test_the_mask_is_the_hand_that_was_drawn(filmed):
    outline = filmed.trace(filmed.pictures)
    found = filmed.compare(outline)
    assert found.mean() > 0.88
    assert found.min() > 0.8
    assert outline.confidence.mean() > 0.8


def test_masks_come_back_as_they_were_written(filmed, tmp_path):
    outline = filmed.trace(filmed.pictures)
    run = RunFolder(tmp_path)
    run.outline_npz("front").parent.mkdir()
    write_outlines(run, "front", {"right": outline})
    again = read_outlines(run, "front")["right"]
    assert again.step == outline.step
    assert again.size_px == outline.size_px
    for name in ("time_s", "corner", "shape", "cut_px", "confidence", "reason"):
        np.testing.assert_array_equal(getattr(again, name), getattr(outline, name))
    for frame in range(len(outline.time_s)):
        np.testing.assert_array_equal(again.get_mask(frame), outline.get_mask(frame))
    assert run.outline_npz("front").stat().st_size < 500 * len(outline.time_s)


def test_light_that_changes_slowly_changes_no_mask(filmed):
    light = np.linspace(0.75, 1.1, len(filmed.pictures))[:, None, None, None]
    outline = filmed.trace(np.clip(filmed.pictures * light, 0, 255).astype(np.uint8))
    assert filmed.compare(outline).mean() > 0.85
    assert outline.confidence.mean() > 0.7


def test_a_camera_that_is_pushed_is_not_trusted_from_then_on(filmed):
    pictures = filmed.pictures.copy()
    pictures[20:] = np.roll(pictures[20:], (14, 22), axis=(1, 2))
    outline = filmed.trace(pictures)
    assert outline.confidence[20:].max() < 0.3
    assert outline.confidence[:20].mean() > 0.6
    assert share(outline, "camera or scene moved") > 0.25


def test_before_a_background_of_its_own_colour_the_hand_is_right_or_doubted(filmed, reddish):
    pictures = [reddish(*pair) for pair in zip(filmed.pictures, filmed.cells, strict=True)]
    outline = filmed.trace(np.stack(pictures))
    wrong = filmed.compare(outline) < 0.8
    assert (outline.confidence[wrong] < 0.5).all()


def test_a_hand_that_is_never_away_is_right_or_doubted(filmed):
    frames = np.zeros(len(filmed.pictures), dtype=int)
    still = type(filmed)(
        filmed.pictures[frames],
        filmed.cells[frames],
        type(filmed.track)(**{**vars(filmed.track), "keypoints_px": filmed.track.keypoints_px[frames]}),
        filmed.folder,
    )
    outline = still.trace(still.pictures)
    wrong = still.compare(outline) < 0.8
    assert (outline.confidence[wrong] < 0.5).all()


def test_another_hand_on_top_is_doubted(filmed):
    pictures = filmed.pictures.copy()
    for picture, hand in zip(pictures, filmed.cells, strict=True):
        rows, columns = np.nonzero(hand)
        beside = columns + round(0.45 * np.ptp(columns))
        there = beside < picture.shape[1]
        picture[rows[there], beside[there]] = picture[rows[there], columns[there]]
    outline = filmed.trace(pictures)
    wrong = filmed.compare(outline) < 0.8
    assert wrong.mean() > 0.5
    assert (outline.confidence[wrong] < 0.5).mean() > 0.9


def test_frames_without_the_hand_have_no_mask(filmed):
    points = filmed.track.keypoints_px.copy()
    points[5:9] = np.nan
    track = type(filmed.track)(**{**vars(filmed.track), "keypoints_px": points})
    lost = type(filmed)(filmed.pictures, filmed.cells, track, filmed.folder)
    outline = lost.trace(lost.pictures)
    assert (outline.confidence[5:9] == 0).all()
    assert (outline.shape[5:9] == 0).all()
    assert outline.get_mask(6).size == 0
    assert "hand not found (13% of the frames)" in outline.describe_doubts()
