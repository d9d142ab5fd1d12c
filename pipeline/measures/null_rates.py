"""How often healthy people lie beyond 1, 2 and 3 by chance alone, and how often a reference's own people do.

*Person level*: Crawford and Howell's z of somebody who is no part of the reference follows Student's t with
n - 1 degrees of freedom, n people of the reference.

*Frame level*: the z of the overlay has no correction for a small reference. A frame of somebody new lies
``b + w`` from the reference's mean: ``b`` of the person, whose spread between people is only known from n of
them, ``w`` of the moment. So it passes 3 more often than a normal spread (0.27 %) where people differ more
than moments do, and less often where moments are many-sided. `expect_frames_beyond` works it out for people
who are spread normally and moments that are spread as those of the reference are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import chi2
from scipy.stats import t as student

from pipeline.measures.scores import score_frames, score_person
from pipeline.measures.summary_types import NAN

LIMITS = (1, 2, 3)
MIN_PEOPLE_TO_CHECK = 4
_NODES = 64
_MOMENTS = 401


@dataclass(frozen=True)
class PersonAngle:
    """One person's values of one angle, degrees; what is not `known` was measured for too little of the time.

    ``quantiles`` (Q,) are evenly spaced from 0 to 1 and stand for the frames: every person counts alike.
    """

    known: bool
    mean: float = NAN
    variance: float = NAN
    median: float = NAN
    p5: float = NAN
    p95: float = NAN
    quantiles: np.ndarray = field(default_factory=lambda: np.empty(0))


def expect_persons_beyond(limit: float, n_people: int) -> float:
    """Share of healthy person-level z beyond ``limit`` to either side, of a reference of ``n_people``."""
    return float(2 * student.sf(limit, n_people - 1)) if n_people > 1 else NAN


def expect_frames_beyond(
    limit: float, n_people: int, between_sd: float, moments: np.ndarray | float
) -> float:
    """Share of a healthy person's frames with frame-level z beyond ``limit`` to either side.

    Parameters
    ----------
    limit : float
        Of |z|.
    n_people : int
        Of the reference; the person is none of them.
    between_sd : float
        Spread between people's means.
    moments : ndarray (K,) or float
        Equally likely distances of a frame from its person's mean, or their standard deviation if they are
        spread normally; in the unit of ``between_sd``.
    """
    if n_people < 2 or not np.isfinite(between_sd):
        return NAN
    middle = (np.arange(_NODES) + 0.5) / _NODES
    if np.ndim(moments) == 0:
        away = float(moments) * ndtri((np.arange(_MOMENTS) + 0.5) / _MOMENTS)
    else:
        away = np.asarray(moments, dtype=float)
    free = n_people - 1
    # The reference knows the spread between people from so few, and its mean likewise.
    found_sd = np.sqrt(between_sd**2 * chi2.ppf(middle, free) / free + (away**2).mean())
    of_person = max(between_sd * np.sqrt(1 + 1 / n_people), 1e-9 * max(np.abs(away).max(initial=0.0), 1e-9))
    reach = limit * found_sd[:, None]
    beyond = ndtr((-reach - away) / of_person) + ndtr((away - reach) / of_person)
    return float(beyond.mean())


def check_leave_one_out(described: Sequence[Sequence[PersonAngle]]) -> dict[str, float]:
    """Hold each person against a reference of the others.

    Parameters
    ----------
    described : sequence of sequence of PersonAngle
        By person and angle.

    Returns
    -------
    dict of float
        For each k of `LIMITS`: ``frame_beyond_k`` and ``person_beyond_k``, shares of frames and of medians of
        all angles with |z| of k or more, frame and person level; the same with ``_error``, its standard
        error, people being what was drawn (a person's 20 angles go together); and with ``_by_chance``, what
        the module's text gives. ``n_people``. Empty with fewer than `MIN_PEOPLE_TO_CHECK` people.
    """
    if len(described) < MIN_PEOPLE_TO_CHECK:
        return {}
    seen = {name: np.full((len(described), len(described[0])), np.nan) for name in _names()}
    expected = {name: np.full((len(described), len(described[0])), np.nan) for name in _names()}
    for angle in range(len(described[0])):
        known = [number for number, person in enumerate(described) if person[angle].known]
        if len(known) < 3:  # two others are the fewest that have a spread
            continue
        people = [described[number][angle] for number in known]
        for name, (share, chance) in _check_angle(people).items():
            seen[name][known, angle] = share
            expected[name][known, angle] = chance
    found = {"n_people": float(len(described))}
    for name in _names():
        by_person = np.array([_mean(row) for row in seen[name]])
        by_person = by_person[np.isfinite(by_person)]
        found[name] = _mean(seen[name])
        found[f"{name}_error"] = (
            float(by_person.std(ddof=1) / np.sqrt(len(by_person))) if len(by_person) > 1 else NAN
        )
        found[f"{name}_by_chance"] = _mean(expected[name])
    return found


def _names() -> list[str]:
    return [f"{level}_beyond_{limit}" for level in ("frame", "person") for limit in LIMITS]


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _check_angle(people: list[PersonAngle]) -> dict[str, tuple[np.ndarray, float]]:
    """One angle: the share of each person (P,) beyond each limit, and what chance gives."""
    count = len(people)
    means = np.array([person.mean for person in people])
    medians = np.array([person.median for person in people])
    variances = np.array([person.variance for person in people])
    frames = np.stack([person.quantiles for person in people])
    rates: dict[str, tuple[np.ndarray, float]] = {}
    frame_z, person_z = np.empty_like(frames), np.empty(count)
    for out in range(count):
        others = np.arange(count) != out
        mean, spread = find_frame_level(means[others], variances[others])
        frame_z[out] = score_frames(frames[out][:, None], np.array([mean]), np.array([spread]))[:, 0]
        of_others = medians[others]
        score = score_person(medians[out], of_others.mean(), of_others.std(ddof=1), count - 1)
        person_z[out] = score.z
    moments = np.quantile(frames - means[:, None], (np.arange(_MOMENTS) + 0.5) / _MOMENTS)
    between = float(means.std(ddof=1))
    for limit in LIMITS:
        rates[f"frame_beyond_{limit}"] = (
            (np.abs(frame_z) >= limit).mean(axis=1),
            expect_frames_beyond(limit, count - 1, between, moments),
        )
        beyond = np.where(np.isfinite(person_z), np.abs(person_z) >= limit, np.nan)
        rates[f"person_beyond_{limit}"] = (beyond, expect_persons_beyond(limit, count - 1))
    return rates


def find_frame_level(means: np.ndarray, variances: np.ndarray) -> tuple[float, float]:
    """Mean and spread of all frames from each person's mean and variance (P,): people count alike."""
    return float(means.mean()), float(np.sqrt(variances.mean() + means.var(ddof=1)))
