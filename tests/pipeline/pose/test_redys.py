"""The estimator ``redys``: weights of one's own in the original's file, and a sigma that means something.

The weights are made here: the original's, with a sigma that is the same for every joint.
"""

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.errors import ModelError
from pipeline.files import hash_file, write_npz
from pipeline.pose.augmentation import ONE_PASS, PASSES, join_sigmas, measure_hand, run_passes
from pipeline.pose.landmarks import LandmarkNetwork, MediaPipeEstimator
from pipeline.pose.litert import LANDMARK_FILE, locate
from pipeline.pose.redys import RedysEstimator
from pipeline.pose.regions import Region
from pipeline.pose.registry import describe_models, get_entry, list_models, load_estimator
from pipeline.pose.training.finish import WITHIN_2, Misses, fit_factor, mix_weights
from pipeline.pose.training.graph import read_graph
from pipeline.pose.weights_file import OWN_FILE, TrainedWeights, check_source, read_weights, write_weights
from pipeline.progress import Reporter
from pipeline.synth.session import SynthSpec, make_session
from settings import get_settings

SIGMA_PX, FACTOR = 6.0, 1.5


def make_weights() -> TrainedWeights:
    """As a training begins: the depths of the image landmarks state one sigma."""
    original = locate(LANDMARK_FILE)
    graph = read_graph(original)
    head = next(step for step in graph.steps if step.output == graph.outputs[0])
    weight, bias = graph.constants[head.weight].copy(), graph.constants[head.bias].copy()
    weight[2::3], bias[2::3] = 0.0, math.log(SIGMA_PX)
    shares = tuple(np.linspace(0, 0.1, 21).tolist())
    return TrainedWeights({head.weight: weight, head.bias: bias}, hash_file(original), FACTOR, shares)


@pytest.fixture(scope="module")
def weights() -> TrainedWeights:
    return make_weights()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the estimator looks for its weights: there is nothing yet."""
    path = tmp_path / "mine.npz"
    monkeypatch.setenv("REDYS_ESTIMATOR_WEIGHTS", str(path))
    get_settings.cache_clear()
    yield path
    get_settings.cache_clear()


@pytest.fixture
def redys(place: Path, weights: TrainedWeights) -> RedysEstimator:
    write_weights(place, weights)
    return RedysEstimator()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)


def test_untouched_weights_answer_as_mediapipe_and_state_their_sigma(redys: RedysEstimator) -> None:
    crops = np.random.default_rng(1).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    ours, theirs = redys.estimate(crops, "right"), MediaPipeEstimator().estimate(crops, "right")
    assert ours.points_px == pytest.approx(theirs.points_px, abs=1e-3)
    assert ours.score == pytest.approx(theirs.score, abs=1e-6)
    assert ours.sigma_px == pytest.approx(np.full((4, 21), SIGMA_PX), rel=1e-3)
    assert theirs.sigma_px is None


def test_trained_weights_change_the_answers(place: Path, weights: TrainedWeights) -> None:
    bias = min(weights.constants, key=lambda tensor: weights.constants[tensor].ndim)
    moved = weights.constants[bias].copy()
    moved[0::3] += np.float16(4)
    write_weights(place, replace(weights, constants=weights.constants | {bias: moved}))
    crops = np.zeros((1, 224, 224, 3), np.uint8)
    ours, theirs = load_estimator("redys").estimate(crops, "right"), LandmarkNetwork().run(crops)
    assert ours.points_px - theirs.points_px == pytest.approx(np.tile([4.0, 0.0], (1, 21, 1)), abs=0.2)


def test_its_sigma_is_in_pixels_of_the_picture(redys: RedysEstimator, image: np.ndarray) -> None:
    region = Region(320, 240, 2 * 224, 0.3)
    found = run_passes(image, region, redys, "right", "minimal")
    assert found.sigma_px is not None
    scale = np.array([passed[0] / 1.3 for passed in PASSES])[:, None]
    assert found.sigma_px == pytest.approx(2 * scale * SIGMA_PX * np.ones(21), rel=1e-3)


def test_a_single_pass_has_its_own_sigma_where_mediapipe_has_none(
    redys: RedysEstimator, image: np.ndarray
) -> None:
    region = Region(320, 240, 224, 0.0)
    ours = measure_hand(image, region, redys, "right", "minimal", ONE_PASS)
    theirs = measure_hand(image, region, MediaPipeEstimator(), "right", "minimal", ONE_PASS)
    assert ours.sigma_px == pytest.approx(np.full(21, SIGMA_PX * FACTOR), rel=1e-3)
    assert np.isnan(theirs.sigma_px).all()
    assert ours.n_passes == theirs.n_passes == 1


def test_the_file_keeps_weights_and_what_was_measured_of_them(place: Path, weights: TrainedWeights) -> None:
    write_weights(place, weights)
    read = read_weights(place)
    assert (read.source_sha256, read.sigma_factor) == (weights.source_sha256, FACTOR)
    assert read.offset_share == pytest.approx(weights.offset_share)
    assert all(np.array_equal(read.constants[name], values) for name, values in weights.constants.items())


def test_the_record_of_a_run_names_weights_and_original_by_digest(
    redys: RedysEstimator, place: Path, weights: TrainedWeights
) -> None:
    described = describe_models("mediapipe", "redys")[1]
    assert described["licence"].startswith("Apache-2.0")
    assert described["sha256"] == {
        "mine.npz": hash_file(place),
        "hand_landmark_full.tflite": weights.source_sha256,
    }
    (listed,) = (one for one in list_models() if one["name"] == "redys")
    assert (listed["role"], listed["ready"]) == ("estimator", True)


def test_without_weights_it_says_what_to_do(place: Path) -> None:
    fault = get_entry("estimator", "redys").find_fault()
    assert str(place) in fault
    assert "python -m pipeline train" in fault
    with pytest.raises(ModelError, match="redys cannot be used"):
        load_estimator("redys")


def test_weights_of_another_original_are_refused(place: Path, weights: TrainedWeights) -> None:
    write_weights(place, replace(weights, source_sha256="0" * 64))
    with pytest.raises(ModelError, match="trained from another file") as caught:
        load_estimator("redys")
    assert "mediapipe 0.10.21" in caught.value.advice


@pytest.mark.parametrize("tensor", [0, 10**6])
def test_weights_that_do_not_fit_are_refused(place: Path, weights: TrainedWeights, tensor: int) -> None:
    write_weights(place, replace(weights, constants={tensor: np.zeros((2, 2))}))
    with pytest.raises(ModelError, match="do not fit"):
        load_estimator("redys")


def test_weights_of_a_training_that_are_not_finished_are_refused(
    place: Path, weights: TrainedWeights
) -> None:
    write_npz(place, **{str(tensor): values for tensor, values in weights.constants.items()})
    with pytest.raises(ModelError, match="do not say what they were trained from") as caught:
        load_estimator("redys")
    assert "finish-weights" in caught.value.advice


def test_a_damaged_file_is_refused(place: Path) -> None:
    place.write_bytes(b"weights")
    with pytest.raises(ModelError, match="missing or damaged"):
        load_estimator("redys")


def test_weights_that_come_with_the_program_are_small_have_a_card_and_fit_the_original() -> None:
    for path in OWN_FILE.parent.glob("*.npz"):
        assert path.stat().st_size <= 12 * 2**20
        assert path.with_suffix(".md").is_file()
        check_source(read_weights(path), locate(LANDMARK_FILE))


# --- sigma of several passes ------------------------------------------------------------------------


def test_passes_that_agree_are_as_sure_as_each_and_not_surer() -> None:
    points = np.zeros((7, 21, 2))
    assert join_sigmas(points, np.full((7, 21), 3.0)) == pytest.approx(np.full(21, 3.0))


def test_passes_that_disagree_are_less_sure() -> None:
    points = np.zeros((2, 21, 2))
    points[1, :, 0] = 8.0
    assert join_sigmas(points, np.full((2, 21), 3.0)) == pytest.approx(np.full(21, np.sqrt(9 + 8)))


def test_nothing_comes_of_a_joint_that_nothing_is_said_of() -> None:
    sigma = np.full((7, 21), 3.0)
    sigma[0, 4] = np.nan
    joined = join_sigmas(np.zeros((7, 21, 2)), sigma)
    assert np.isnan(joined[4])
    assert np.isfinite(np.delete(joined, 4)).all()


# --- the factor of sigma ----------------------------------------------------------------------------


def make_misses(too_sure: float, doubt_px: float = 0.0) -> Misses:
    """Gaussian errors of many sizes, whose sigma is stated ``too_sure`` times too small."""
    random = np.random.default_rng(2)
    sigma = np.exp(random.normal(1.5, 0.5, 20_000))
    error = np.abs(sigma * random.normal(size=len(sigma)) - doubt_px * random.normal(size=len(sigma)))
    return Misses(error, sigma / too_sure, np.full(len(sigma), doubt_px))


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 1.8])
def test_the_factor_makes_a_sigma_true(too_sure: float) -> None:
    misses = make_misses(too_sure)
    assert fit_factor([misses]) == pytest.approx(too_sure, rel=0.03)
    assert misses.cover(too_sure) == pytest.approx(WITHIN_2, abs=0.005)


def test_made_and_real_pictures_have_the_same_say_however_many_they_are() -> None:
    bold, shy = make_misses(2.0), make_misses(1.0)
    few = Misses(*(values[:4000] for values in (bold.error_px, bold.sigma_px, bold.doubt_px)))
    together = fit_factor([few, shy])
    assert together == pytest.approx(fit_factor([bold, shy]), rel=0.03)
    assert 1.0 < together < 2.0


@pytest.mark.pipeline
def test_a_made_session_calibrates_weights_of_a_training(
    place: Path, tmp_path: Path, weights: TrainedWeights, capsys: pytest.CaptureFixture[str]
) -> None:
    session, raw = tmp_path / "session", tmp_path / "raw.npz"
    spec = SynthSpec(seconds=1.0, size_px=(640, 360), fps=Fraction(5), seed=4, calibration=False)
    make_session(session, spec, Reporter(), workers=1)
    write_npz(raw, **{str(tensor): values for tensor, values in weights.constants.items()})
    assert main(["finish-weights", str(raw), str(place), "--made", str(session)]) == 0
    assert "made 95." in capsys.readouterr().out
    assert 0.1 < read_weights(place).sigma_factor < 10


def test_a_sigma_without_meaning_is_refused() -> None:
    misses = make_misses(1.0)
    with pytest.raises(ModelError, match="nothing to do with their errors"):
        fit_factor([replace(misses, error_px=1e6 + misses.error_px)])


def test_half_of_the_way_is_half_of_every_weight() -> None:
    begun = mix_weights(make_weights().constants, 0.0)
    ended = {tensor: values + np.float16(1) for tensor, values in begun.items()}
    for tensor, values in mix_weights(ended, 0.5).items():
        assert np.allclose(values, begun[tensor].astype(float) + 0.5, atol=2e-2)
    assert all(np.array_equal(values, ended[tensor]) for tensor, values in mix_weights(ended, 1.0).items())


def test_weights_of_another_network_are_refused_in_words() -> None:
    tensor = next(iter(make_weights().constants))
    for foreign in ({10**6: np.zeros(3, np.float16)}, {tensor: np.zeros(1, np.float16)}):
        with pytest.raises(ModelError, match="do not belong to MediaPipe's"):
            mix_weights(foreign, 1.0)
