import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pose.augmentation import (
    NOMINAL_SCALE,
    ONE_PASS,
    PASSES,
    aggregate,
    measure_hand,
    state_offset_sigma,
)
from pipeline.pose.protocols import Estimates
from pipeline.pose.regions import Region


def test_the_passes_are_the_seeds_seven():
    assert sorted(PASSES) == sorted(
        [(1.2, 0), (1.3, 0), (1.4, 0), (1.3, 20), (1.3, -20), (1.3, 40), (1.3, -40)]
    )
    assert PASSES[0] == (NOMINAL_SCALE, 0.0) == ONE_PASS[0]


class KnowingEstimator:
    """Answers with the true points, brought into each crop by an affine of its own making."""

    name, input_px, nominal_crop, sigma_scale = "knowing", 224, "any", 2.0
    offset_share: tuple[float, ...] = (0.0,) * 21

    def __init__(self, truth_px, region, noise_px=None, score=None):
        self.truth_px, self.region, self.noise_px, self.score = truth_px, region, noise_px, score

    def estimate(self, crops_bgr, side):
        assert crops_bgr.shape == (len(PASSES), 224, 224, 3)
        points = []
        for row, (scale, degrees) in enumerate(PASSES):
            # the crop as three points tell it: middle, right of the middle, below the middle
            half = self.region.size_px * scale / NOMINAL_SCALE / 2
            angle = self.region.angle_rad + math.radians(degrees)
            right = half * np.array([math.cos(angle), math.sin(angle)])
            down = half * np.array([-math.sin(angle), math.cos(angle)])
            middle = np.array([self.region.x_px, self.region.y_px])
            offsets = self.truth_px - middle
            if self.noise_px is not None:
                offsets = offsets + self.noise_px[row]
            along = np.stack([offsets @ right, offsets @ down], axis=-1) / half**2
            points.append(112 + 112 * along)
        score = np.full(len(PASSES), 0.75) if self.score is None else self.score
        return Estimates(np.stack(points), score, np.full(len(PASSES), 0.25))

    def frame_detection(self, detection):
        raise AssertionError

    def frame_points(self, points_px):
        raise AssertionError


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0, 1280),
    st.floats(0, 720),
    st.floats(100, 1200),
    st.floats(-3.1, 3.1),
    st.sampled_from(["right", "left"]),
)
def test_all_passes_of_a_knowing_estimator_agree_on_the_truth(x, y, size, angle, side):
    region = Region(x, y, size, angle)
    truth = np.random.default_rng(1).uniform(-0.4, 0.4, (21, 2)) * size + [x, y]
    image = np.zeros((720, 1280, 3), np.uint8)
    hand = measure_hand(image, region, KnowingEstimator(truth, region), side, "minimal")
    assert np.abs(hand.points_px - truth).max() < 1e-3
    assert np.abs(hand.sigma_px).max() < 1e-3
    assert (hand.score, hand.right) == (0.75, 0.25)


def test_sigma_is_the_root_of_the_summed_variances_times_the_estimators_scale():
    region = Region(600, 300, 400, 0.5)
    truth = np.random.default_rng(2).uniform(-150, 150, (21, 2)) + np.array([600, 300])
    noise = np.random.default_rng(3).normal(0, 4, (7, 21, 2))
    image = np.zeros((720, 1280, 3), np.uint8)
    hand = measure_hand(image, region, KnowingEstimator(truth, region, noise), "right", "minimal")
    x, y = noise[..., 0], noise[..., 1]
    by_hand = np.sqrt(
        ((x - x.mean(axis=0)) ** 2).sum(axis=0) / 7 + ((y - y.mean(axis=0)) ** 2).sum(axis=0) / 7
    )
    assert hand.sigma_px == pytest.approx(2.0 * by_hand, rel=1e-9)
    assert hand.points_px == pytest.approx(truth + noise.mean(axis=0), rel=1e-9)


def test_the_spread_of_two_passes_a_step_apart_is_half_the_step():
    points = np.zeros((2, 21, 2))
    points[1, :, 0] = 6.0
    points[1, :, 1] = 8.0
    mean, spread = aggregate(points)
    assert mean == pytest.approx(np.tile([3.0, 4.0], (21, 1)))
    assert spread == pytest.approx(np.full(21, 5.0))


def test_a_constant_error_is_stated_in_lengths_of_the_palm_as_most_frames_show_it():
    points = np.zeros((9, 21, 2))
    points[:, [5, 9, 13, 17]] = [60.0, 80.0]
    points[0, :] = np.nan
    points[1, [5, 9, 13, 17]] = 1e4
    share = np.linspace(0, 0.2, 21)
    assert state_offset_sigma(tuple(share), points) == pytest.approx(100 * share)
    assert (state_offset_sigma(tuple(share), np.full((3, 21, 2), np.nan)) == 0).all()


def test_a_single_pass_has_no_spread():
    _, spread = aggregate(np.zeros((1, 21, 2)))
    assert np.isnan(spread).all()


@pytest.mark.parametrize("preset", ["minimal", "standard", "dystonia"])
@pytest.mark.parametrize("size", [180, 300, 500, 900])
def test_the_crops_really_show_what_the_passes_say(size, preset):
    """A disc off the centre, found by its own brightness in each crop, comes back to where it was drawn."""

    class Looking(KnowingEstimator):
        sigma_scale = 1.0

        def estimate(self, crops_bgr, side):
            rows, columns = np.mgrid[:224, :224]
            weights = np.clip(crops_bgr[..., 0].astype(float) - 128, 0, None)  # a preset may lift the ground
            total = weights.sum(axis=(1, 2))
            u, v = (weights * columns).sum(axis=(1, 2)) / total, (weights * rows).sum(axis=(1, 2)) / total
            found = np.repeat(np.stack([u, v], axis=-1)[:, None], 21, axis=1)
            return Estimates(found, np.ones(7), np.ones(7))

    image = np.zeros((720, 1280, 3), np.uint8)
    cv2.circle(image, (651, 333), 25, (255, 255, 255), -1, cv2.LINE_AA)
    region = Region(651 - size / 10, 333 + size / 11, size, 0.2)
    hand = measure_hand(image, region, Looking(None, region), "right", preset)
    assert hand.points_px == pytest.approx(np.tile([651.0, 333.0], (21, 1)), abs=0.15)
    assert hand.sigma_px.max() < 0.25
