"""One picture's hand in space: found again where the points are right, with an error that tells."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import FusionError
from pipeline.evaluation.alignment import fit_similarity
from pipeline.hand.joints import SIDES, Side
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.photos.single_view import SpatialGuess, SpatialHand, fit_hand, measure_average_length
from pipeline.synth.still import Still, make_still


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_hand_model()


def fit(still: Still, model: HandModel, side: Side, scale: float = 1.0, noise_px: float = 1.0) -> SpatialHand:
    """A fit to nearly true points, with a network that guesses directions rightly but of another size."""
    made = still.hands[0]
    random = np.random.default_rng(3)
    points = made.keypoints_px + random.normal(0, noise_px, (21, 2))
    guess = SpatialGuess(0.6 * (made.joints_mm - made.joints_mm[0]))
    return fit_hand(points, np.full(21, noise_px), still.camera, side, model, guess, scale)


@pytest.mark.parametrize("side", SIDES)
def test_true_points_give_the_true_posture(model: HandModel, side: Side) -> None:
    for seed in (0, 5):
        still = make_still(seed, model, (side,))
        hand, true = fit(still, model, side), still.hands[0].joints_mm
        turned = fit_similarity(hand.joints_mm[None], true[None]).apply(hand.joints_mm[None])[0]
        assert np.linalg.norm(turned - true, axis=1).mean() < 6.0
        assert hand.reprojection_px < 6.0  # of 720; the person's proportions are not the average hand's
        projected = still.camera.project(hand.joints_mm + hand.wrist_mm)
        assert projected == pytest.approx(hand.projected_px, abs=0.01)
        assert still.camera.project(hand.vertices_mm).mean(axis=0) == pytest.approx(
            still.hands[0].keypoints_px.mean(axis=0), abs=60
        )


def test_a_mirrored_picture_gives_the_mirrored_hand(model: HandModel) -> None:
    still = make_still(7, model)
    points, width = still.hands[0].keypoints_px, still.camera.size_px[0]
    joints = still.hands[0].joints_mm - still.hands[0].joints_mm[0]
    mirrored = np.stack([width - 1 - points[:, 0], points[:, 1]], axis=1)
    sigma = np.full(21, 2.0)
    a = fit_hand(points, sigma, still.camera, "right", model, SpatialGuess(joints))
    b = fit_hand(mirrored, sigma, still.camera, "left", model, SpatialGuess(joints * [-1, 1, 1]))
    assert a.joints_mm * [-1, 1, 1] == pytest.approx(b.joints_mm, abs=1e-6)
    assert a.vertices_mm * [-1, 1, 1] == pytest.approx(b.vertices_mm, abs=1e-6)
    assert a.sigma_mm == pytest.approx(b.sigma_mm, abs=1e-6)
    assert width - 1 - a.projected_px[:, 0] == pytest.approx(b.projected_px[:, 0], abs=1e-6)


def test_size_scales_lengths_and_their_error_but_not_the_picture(model: HandModel) -> None:
    still = make_still(2, model)
    one, double = (fit(still, model, "right", scale) for scale in (1.0, 2.0))
    assert double.joints_mm == pytest.approx(2 * one.joints_mm)
    assert double.sigma_mm == pytest.approx(2 * one.sigma_mm)
    assert double.projected_px == pytest.approx(one.projected_px)
    assert 170 < measure_average_length(model) < 210


def test_the_error_grows_with_the_noise_and_is_largest_along_the_view(model: HandModel) -> None:
    still = make_still(4, model)
    quiet, loud = (fit(still, model, "right", noise_px=noise).sigma_mm for noise in (1.0, 8.0))
    assert not quiet[0].any()
    assert (loud[1:].mean(axis=0) > 1.5 * quiet[1:].mean(axis=0)).all()
    assert loud[1:, 2].mean() > 1.3 * loud[1:, :2].mean()


def test_without_points_there_is_no_hand(model: HandModel) -> None:
    still = make_still(1, model)
    for guess in (None, SpatialGuess(still.hands[0].joints_mm)):
        with pytest.raises(FusionError):
            fit_hand(np.full((21, 2), np.nan), np.ones(21), still.camera, "right", model, guess)
