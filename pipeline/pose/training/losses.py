"""What the training makes small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.pose.landmarks import LOG_SIGMA

TEACHER_SHARE = 0.03
"""How far the original's own answers may be off on real frames: sigma as a share of the palm."""


@dataclass(frozen=True)
class Outputs:
    """A network's answers for N crops: points (N, 21, 2) px, log of sigma (N, 21), presence and right (N,),
    world (N, 21, 3) in m.
    """

    points_px: Tensor
    log_sigma: Tensor
    presence: Tensor
    right: Tensor
    world_m: Tensor


@dataclass(frozen=True)
class Truth:
    """What is true of N crops, as in `shards.Shard`; ``real`` (N,) marks those of photographs."""

    points_px: Tensor
    world_mm: Tensor
    right: Tensor
    present: Tensor
    palm_px: Tensor
    real: Tensor


def split_outputs(values: list[Tensor]) -> Outputs:
    """The four outputs by name. The depth of an image landmark, which nothing reads, holds log sigma."""
    marks = values[0].reshape(-1, 21, 3)
    return Outputs(
        marks[..., :2],
        marks[..., 2].clamp(*LOG_SIGMA),
        values[1][:, 0],
        values[2][:, 0],
        values[3].reshape(-1, 21, 3),
    )


def compute_loss(outputs: Outputs, truth: Truth, canonical_palm_m: float) -> Tensor:
    """The sum of all terms, a mean over crops.

    Points by a Gaussian likelihood that learns its sigma (as "Look Ma, No Markers"), each term times its
    sigma without gradient, so that what is hard is still learned (Seitzer and others, 2022: beta 0.5).
    """
    known = torch.isfinite(truth.points_px).all(dim=2)
    away = (outputs.points_px - torch.nan_to_num(truth.points_px)).square().sum(dim=2)
    away = away + truth.real[:, None] * 2 * (TEACHER_SHARE * truth.palm_px[:, None]).square()
    sigma = outputs.log_sigma.exp()
    likelihood = 2 * outputs.log_sigma + away / (2 * sigma.square())
    points = (likelihood * sigma.detach() * known).sum() / known.sum().clamp(min=1)
    return (
        points
        + 2.0 * _compare(outputs.presence, truth.present)
        + 1.0 * _compare(outputs.right, truth.right)
        + 20.0 * _compare_world(outputs, truth, canonical_palm_m)
    )


def _compare(probability: Tensor, truth: Tensor) -> Tensor:
    known = torch.isfinite(truth)
    if not known.any():
        return probability.sum() * 0
    return functional.binary_cross_entropy(probability[known].clamp(1e-6, 1 - 1e-6), truth[known])


def _compare_world(outputs: Outputs, truth: Truth, canonical_palm_m: float) -> Tensor:
    known = torch.isfinite(truth.world_mm).all(dim=(1, 2))
    if not known.any():
        return outputs.world_m.sum() * 0
    target = truth.world_mm[known]
    palm = target[:, [5, 9, 13, 17]].norm(dim=2).mean(dim=1)
    found = outputs.world_m[known]
    return (found - found[:, :1] - target * (canonical_palm_m / palm)[:, None, None]).abs().sum(dim=2).mean()
