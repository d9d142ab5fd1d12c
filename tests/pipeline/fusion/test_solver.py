from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import Cancelled
from pipeline.fusion import fuse as door
from pipeline.fusion.evidence import triangulate_evidence
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.objective import Objective, Pose, choose_sixd
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.solver import minimise, solve, weigh_robustly
from pipeline.fusion.start import make_guess
from pipeline.progress import Reporter


@pytest.fixture
def problem(make_take, model) -> tuple[Objective, Pose]:
    return make_problem(make_take, model)


def make_problem(make_take, model) -> tuple[Objective, Pose]:
    take = make_take(seconds=0.2, noise_px=3.0, seed=5)
    options = FusionOptions()
    evidence = take.collect(options)
    guess = make_guess(evidence, triangulate_evidence(evidence, options)[0], model, options)
    start = Pose.from_arrays(guess.global_orient, guess.hand_pose, guess.transl_mm)
    return door.make_objective(evidence, fix_shape(model, guess.betas), start, options), start


def minimise_plainly(objective: Objective, start: Pose, iterations: int) -> float:
    """torch.optim.LBFGS on the variables as they are."""
    parts = [start.transl_mm, start.theta_global, start.theta_hand]
    variables = [part.clone().requires_grad_(True) for part in parts]
    optimiser = torch.optim.LBFGS(
        variables, max_iter=iterations, line_search_fn="strong_wolfe", tolerance_change=0, tolerance_grad=0
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = objective.loss(*variables)
        loss.backward()
        return loss

    optimiser.step(closure)
    return float(objective.loss(*variables).detach())


def test_the_minimum_is_no_higher_than_that_of_plain_lbfgs(problem):
    objective, start = problem
    pose, loss, used = minimise(objective, start, 50, False, Reporter())
    assert used <= 50
    assert loss <= minimise_plainly(objective, start, 150) * (1 + 1e-6)
    _, hand_pose, _ = pose.to_matrices()
    theta_hand = choose_sixd(hand_pose, objective.theta_anchor)
    assert float(objective.loss(pose.transl_mm, pose.theta_global, theta_hand)) == pytest.approx(loss)


def test_a_few_steps_are_enough(problem):
    objective, start = problem
    pose, loss, used = minimise(objective, start, 50, False, Reporter())
    assert used <= 15
    _, again, more = minimise(objective, pose, 50, False, Reporter())
    assert more <= 2
    assert again == pytest.approx(loss, rel=1e-6)


def test_a_surface_that_changes_with_the_pose_gets_to_its_minimum_too(make_take, make_double):
    """The curvature leaves MANO's pose blend shapes out; the objective that goes down has them."""
    blended = make_double(blended=True)
    objective, start = make_problem(make_take, blended)
    _, loss, _ = minimise(objective, start, 50, False, Reporter())
    assert loss <= minimise_plainly(objective, start, 150) * (1 + 1e-6)


def test_two_solutions_are_equal_to_the_last_digit(problem):
    objective, start = problem
    one, other = (minimise(objective, start, 50, False, Reporter())[0] for _ in range(2))
    assert torch.equal(one.theta_hand, other.theta_hand)
    assert torch.equal(one.transl_mm, other.transl_mm)


def test_weights_that_have_settled_are_not_set_anew(problem):
    objective, start = problem
    solution = solve(objective, start, FusionOptions(robust_sigmas=1e9), Reporter())
    assert len(solution.losses) == 3


def test_stage_one_holds_the_fingers(problem):
    objective, start = problem
    pose, _, _ = minimise(objective, start, 20, True, Reporter())
    assert torch.allclose(pose.theta_hand, start.normalise().theta_hand, atol=1e-12)
    assert not torch.allclose(pose.transl_mm, start.transl_mm, atol=1e-3)


def test_a_point_far_off_loses_its_weight_and_the_others_keep_theirs(problem):
    objective, start = problem
    pose, _, _ = minimise(objective, start, 30, False, Reporter())
    keypoints = objective.seen.keypoints_px.clone()
    keypoints[0, 4, 8] += 80.0
    other = replace(objective, seen=replace(objective.seen, keypoints_px=keypoints))
    weights = weigh_robustly(other, pose, objective.seen.weights, FusionOptions())
    share = weights / objective.seen.weights.clamp(min=1e-9)
    assert float(share[0, 4, 8]) < 0.05
    assert float(share[0, 5].mean()) > 0.8


def test_a_rough_frame_is_not_taken_for_an_outlier(problem):
    objective, start = problem
    pose, _, _ = minimise(objective, start, 30, False, Reporter())
    shifted = replace(pose, transl_mm=pose.transl_mm + torch.tensor([30.0, 0, 0]))
    weights = weigh_robustly(objective, shifted, objective.seen.weights, FusionOptions())
    assert float(weights.sum() / objective.seen.weights.sum()) > 0.7


def test_cancelling_stops_in_the_middle(problem):
    objective, start = problem
    calls = 0

    def is_cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > 3

    with pytest.raises(Cancelled):
        solve(objective, start, FusionOptions(), Reporter(is_cancelled=is_cancelled))


def test_progress_runs_from_start_to_end_without_going_back(problem):
    objective, start = problem
    heard: list[float] = []
    solve(objective, start, FusionOptions(), Reporter(listen=lambda p: heard.append(p.fraction)))
    assert heard == sorted(heard)
    assert np.max(heard) <= 1.0
