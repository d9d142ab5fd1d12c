"""Tracking against scenes whose hands are known: a picture's first pixel carries its frame number."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.hand.joints import Side
from pipeline.pose import tracking
from pipeline.pose.augmentation import ONE_PASS, PASSES, Measurement
from pipeline.pose.protocols import Detection
from pipeline.pose.regions import Region, bound_points
from pipeline.pose.tracking import (
    HandTracker,
    Tracklet,
    assign_sides,
    count_votes,
    is_one_hand,
    link,
    rank_by_size,
)

FPS = 60.0


@dataclass
class Hand:
    """A hand that moves steadily, is there in some frames, and looks right with some probability."""

    x: float
    y: float = 300.0
    size: float = 100.0
    right: object = 0.9
    there: object = lambda frame: True
    speed: float = 0.0

    def get_points(self, frame):
        grid = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 7), np.linspace(-0.5, 0.5, 3)), axis=-1)
        return grid.reshape(21, 2) * self.size + [self.x + self.speed * frame, self.y]

    def get_right(self, frame):
        return self.right(frame) if callable(self.right) else self.right


class Scene:
    """Detector, estimator and `measure_hand` in one, knowing all."""

    def __init__(self, *hands, detectable=lambda frame: True):
        self.hands, self.detectable = hands, detectable
        self.detections, self.passes, self.shown = 0, [], []

    def detect(self, image):
        self.detections += 1
        frame = int(image[0, 0, 0])
        found = []
        for hand in self.hands:
            if hand.there(frame) and self.detectable(frame):
                points = hand.get_points(frame)
                side: Side = "right" if hand.get_right(frame) >= 0.5 else "left"
                found.append(Detection(bound_points(points), side, 0.9, self.frame_points(points)))
        return found

    def frame_detection(self, detection):
        return detection.region

    def frame_points(self, points):
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        return Region(middle[0], middle[1], 2 * float(np.ptp(points[:, 0])), 0.0)

    def measure(self, image, region, estimator, side, preset, passes):
        frame = int(image[0, 0, 0])
        self.passes.append((frame, len(passes)))
        self.shown.append(side)
        near = [
            hand
            for hand in self.hands
            if hand.there(frame)
            and np.abs(hand.get_points(frame).mean(axis=0) - [region.x_px, region.y_px]).max()
            < region.size_px / 3
        ]
        if not near:
            return Measurement(np.zeros((21, 2)), np.zeros(21), 0.1, 0.5)
        hand = min(near, key=lambda one: abs(one.get_points(frame)[:, 0].mean() - region.x_px))
        sigma = np.full(21, np.nan if len(passes) == 1 else 1.0)
        return Measurement(hand.get_points(frame), sigma, 0.9, hand.get_right(frame))


def run(monkeypatch, scene, n_frames, sides=("right",), fps=FPS):
    monkeypatch.setattr(tracking, "measure_hand", scene.measure)
    tracker = HandTracker(scene, scene, sides, "minimal", fps)
    for frame in range(n_frames):
        tracker.step(frame, np.full((1, 1, 1), frame))
    return tracker.tracklets


def test_a_hand_is_followed_from_its_own_points_with_a_detection_a_second(monkeypatch):
    scene = Scene(Hand(200, speed=2.0))
    tracklets = run(monkeypatch, scene, 180)
    assert len(tracklets) == 1
    assert tracklets[0].frames == list(range(180))
    assert scene.detections == 1 + 179 // 60
    assert {passes for _, passes in scene.passes} == {len(PASSES)}


def test_a_lost_hand_is_looked_for_in_every_frame_and_found_again(monkeypatch):
    scene = Scene(Hand(200, there=lambda frame: not 50 <= frame < 58))
    tracklets = run(monkeypatch, scene, 100)
    assert [(one.frames[0], one.frames[-1]) for one in tracklets] == [(0, 49), (58, 99)]


def test_no_hand_gives_no_track(monkeypatch):
    assert run(monkeypatch, Scene(), 20) == []


def test_a_hand_that_is_not_wanted_gets_one_pass_only(monkeypatch):
    scene = Scene(Hand(200, right=0.9), Hand(900, right=0.1))
    run(monkeypatch, scene, 60)
    later = [passes for frame, passes in scene.passes if frame > 0]
    assert sorted(set(later)) == [len(ONE_PASS), len(PASSES)]
    assert later.count(len(PASSES)) == later.count(len(ONE_PASS)) == 59


def test_both_hands_get_all_passes_where_both_are_wanted(monkeypatch):
    scene = Scene(Hand(200, right=0.9), Hand(900, right=0.1))
    tracklets = run(monkeypatch, scene, 60, ("right", "left"))
    assert {passes for _, passes in scene.passes} == {len(PASSES)}
    chosen = assign_sides(tracklets, ("right", "left"), FPS)
    assert chosen["right"][0].points_px[0][:, 0].mean() == pytest.approx(200)
    assert chosen["left"][0].points_px[0][:, 0].mean() == pytest.approx(900)


def test_from_its_first_frame_on_a_hand_is_shown_to_the_network_as_the_side_it_is(monkeypatch):
    scene = Scene(Hand(200, right=0.1), Hand(600))
    run(monkeypatch, scene, 4, sides=("right", "left"))
    assert scene.shown == ["left", "right"] * 4


def test_where_one_side_is_wanted_the_only_hand_is_shown_as_that_side_whatever_the_votes(monkeypatch):
    scene = Scene(Hand(200, right=lambda frame: 0.9 if frame == 0 else 0.1))
    run(monkeypatch, scene, 6)
    assert set(scene.shown) == {"right"}


def test_two_tracks_that_slide_onto_one_hand_become_one(monkeypatch):
    scene = Scene(Hand(200, right=0.9), Hand(500, right=0.9, there=lambda frame: frame < 30))
    moved = Hand(500, right=0.9, speed=-10.0)
    moved.there = lambda frame: frame < 30
    scene.hands = (scene.hands[0], moved)
    tracklets = run(monkeypatch, scene, 60)
    longest = max(tracklets, key=lambda one: len(one.frames))
    assert longest.frames == list(range(60))
    frames = [frame for one in tracklets for frame in one.frames if frame >= 30]
    assert sorted(frames) == list(range(30, 60))


def make(frames, x=200.0, right=0.9, size=100.0):
    frames = list(frames)
    hand = Hand(x, size=size)
    return Tracklet(
        frames,
        [hand.get_points(0)] * len(frames),
        [np.ones(21)] * len(frames),
        [0.9] * len(frames),
        [right] * len(frames),
    )


def test_votes_are_counted_frame_by_frame():
    assert count_votes([make(range(30), right=0.9), make(range(30, 40), right=0.2)], "right") == 0.75
    assert count_votes([make(range(30), right=0.9), make(range(30, 40), right=0.2)], "left") == 0.25
    assert count_votes([make(range(5), right=math.nan)], "left") == 0.5


def test_a_track_goes_on_after_a_short_loss_in_the_same_place_only():
    chains = link(
        [make(range(0, 50)), make(range(60, 90)), make(range(60, 90), x=800), make(range(200, 220))], FPS
    )
    assert [[one.frames[0] for one in chain] for chain in chains] == [[0, 60], [60], [200]]


def test_the_other_hand_that_comes_into_the_same_place_begins_a_chain_of_its_own():
    right, left = make(range(0, 100)), make(range(110, 200), right=0.1)
    assert link([right, left], FPS) == [[right], [left]]
    cut = make(range(100, 200), right=0.1)  # followed without a break: the end of a segment
    assert link([right, cut], FPS) == [[right, cut]]


def test_the_hand_of_the_other_side_is_not_taken():
    right, left = make(range(100)), make(range(100), x=800, right=0.1, size=300)
    assert assign_sides([right, left], ("right",), FPS) == {"right": [right]}
    assert assign_sides([right, left], ("left",), FPS) == {"left": [left]}


def test_a_confident_other_hand_alone_for_a_while_is_not_taken_either():
    right, left = make(range(50)), make(range(100), x=800, right=0.1)
    assert assign_sides([right, left], ("right",), FPS) == {"right": [right]}


def test_an_odd_pose_does_not_make_a_right_hand_a_left_one():
    """The network errs for a stretch; the votes of the whole track outweigh it."""
    first, odd = make(range(70)), make(range(75, 100), right=0.2)
    other = make(range(100), x=800, right=0.1)
    assert assign_sides([first, odd, other], ("right",), FPS) == {"right": [first, odd]}


def test_the_only_hand_of_a_recording_is_taken_whatever_the_network_calls_it():
    only = make(range(100), right=0.2)
    assert is_one_hand([only])
    assert assign_sides([only], ("right",), FPS) == {"right": [only]}


def test_the_other_hand_that_comes_when_the_first_has_gone_is_not_taken():
    right, left = make(range(100)), make(range(140, 300), x=800, right=0.1)
    assert assign_sides([right, left], ("right",), FPS) == {"right": [right]}
    assert assign_sides([right, left], ("left",), FPS) == {"left": [left]}


def test_a_moment_in_which_the_only_hand_looks_like_the_other_one_is_kept():
    right, odd, unsure = make(range(100)), make(range(140, 160), right=0.1), make(range(200, 300), right=0.1)
    unsure.right[:30] = [0.9] * 30
    assert assign_sides([right, odd, unsure], ("right",), FPS) == {"right": [right, odd, unsure]}


def test_two_hands_at_a_time_are_not_one():
    assert not is_one_hand([make(range(100)), make(range(90, 100), x=800)])
    assert is_one_hand([make(range(100)), make(range(97, 100), x=800)])
    assert not is_one_hand([])


def test_an_unsure_hand_beside_a_sure_one_of_its_side_is_the_other_side():
    sure = make(range(100), right=0.9)
    unsure = make(range(100), x=800, right=0.9)
    unsure.right[:40] = [0.1] * 40
    chosen = assign_sides([unsure, sure], ("right", "left"), FPS)
    assert chosen["right"] == [sure]
    assert chosen["left"] == [unsure]


def test_the_largest_hand_of_a_side_comes_first_but_a_false_alarm_does_not():
    near, far, alarm = make(range(100), size=200), make(range(100), x=700), make(range(2), x=900, size=600)
    assert rank_by_size([far, alarm, near]) == [near, far, alarm]


def test_another_persons_hand_does_not_step_in_where_the_first_is_lost():
    before, after = make(range(40), size=200), make(range(60, 100), size=200)
    other = make(range(100), x=700)
    assert assign_sides([before, other, after], ("right",), FPS) == {"right": [before, after]}
    left = make(range(100), x=1200, right=0.1)
    chosen = assign_sides([before, other, after, left], ("right", "left"), FPS)
    assert chosen == {"right": [before, after], "left": [left]}


def test_a_hand_that_comes_back_elsewhere_is_taken_again():
    before, after = make(range(40)), make(range(70, 100), x=900)
    guest = make(range(90, 100), x=400, size=80)
    assert assign_sides([before, guest, after], ("right",), FPS) == {"right": [before, after]}
