"""How often healthy people lie beyond 1, 2 and 3 by chance alone, and how often a reference's own people do.

*Person level*: Crawford and Howell's z of somebody who is no part of the reference follows Student's t with
n - 1 degrees of freedom, n people of the reference.

*Frame level*: the z of the overlay has no correction for a small reference. A frame of somebody new lies
``b + w`` from the reference's mean: ``b`` of the person, whose spread between people is only known from n of
them, ``w`` of the moment. So it passes 3 more often than a normal spread (0.27 %) where people differ more
than moments do, or moments are lopsided. `expect_frames_beyond` works it out for people who are spread
normally and moments that are spread as those of the reference are (to 0.3 of a percentage point for 8 people,
0.1 for 24: ``benchmarks/null_rates.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr
from scipy.stats import chi2
from scipy.stats import t as student

from pipeline.measures.scores import standardise_person
from pipeline.measures.summary_types import NAN

LIMITS = (1, 2, 3)
MIN_PEOPLE_TO_CHECK = 4
_NODES = 64
_NO_VARIANCE = 1e-12
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
    free = n_people - 1
    middle = (np.arange(_NODES) + 0.5) / _NODES
    # The reference knows the spread between people from so few, and its mean likewise.
    between = between_sd**2 * chi2.ppf(middle, free) / free
    of_person = between_sd**2 * (1 + 1 / n_people)
    if np.ndim(moments) == 0:
        reach = limit * np.sqrt(between + float(moments) ** 2)
        return float(2 * ndtr(-reach / np.sqrt(of_person + float(moments) ** 2)).mean())
    away = np.asarray(moments, dtype=float)
    reach = limit * np.sqrt(between + (away**2).mean())[:, None]
    spread = max(np.sqrt(of_person), 1e-9 * float(np.abs(away).max(initial=1e-9)))
    return float((ndtr((-reach - away) / spread) + ndtr((away - reach) / spread)).mean())


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
        all angles with |z| of k or more, frame and person level; the same with ``_error``, its standard error
        (jackknife over people, whose 20 angles go together), and with ``_by_chance``, what the module's text
        gives. ``n_people``. Empty with fewer than `MIN_PEOPLE_TO_CHECK` people.
    """
    count = len(described)
    if count < MIN_PEOPLE_TO_CHECK:
        return {}
    names = [f"{level}_beyond_{limit}" for level in ("frame", "person") for limit in LIMITS]
    seen = {name: np.full((len(described[0]), count, count), np.nan) for name in names}
    expected = {name: np.full((len(described[0]), count), np.nan) for name in names}
    for angle in range(len(described[0])):
        known = np.array([number for number, person in enumerate(described) if person[angle].known])
        if len(known) < 3:  # two others are the fewest that have a spread
            continue
        shares, chances = _check_angle([described[number][angle] for number in known])
        for name in names:
            # Without somebody of whom this angle is not known, all is as it was.
            own = np.diag(shares[name])
            seen[name][angle, known] = own[:, None]
            seen[name][angle][np.ix_(known, known)] = shares[name]
            expected[name][angle, known] = np.where(np.isfinite(own), chances[name], np.nan)
    found = {"n_people": float(count)}
    for name in names:
        found[name] = _mean(np.diagonal(seen[name], axis1=1, axis2=2))
        found[f"{name}_error"] = _jackknife(seen[name])
        found[f"{name}_by_chance"] = _mean(expected[name])
    return found


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _jackknife(shares: np.ndarray) -> float:
    """Standard error of the mean share from those (A, P, P) of each person with each one left out as well."""
    count = shares.shape[1]
    without = np.array([_mean(np.delete(shares[:, :, out], out, axis=1)) for out in range(count)])
    return float(np.sqrt((count - 1) * without.var()))


def _check_angle(people: list[PersonAngle]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """One angle of P people: the share of each beyond each limit, and what chance gives.

    Shares are (P, P): of the person of the row, held against all but that person and that of the column.
    """
    count = len(people)
    means, medians, variances = (
        np.array([getattr(person, name) for person in people]) for name in ("mean", "median", "variance")
    )
    frames = np.stack([person.quantiles for person in people])
    moments = np.quantile(frames - means[:, None], (np.arange(_MOMENTS) + 0.5) / _MOMENTS)
    between = float(means.std(ddof=1))
    rest = ~(np.eye(count, dtype=bool)[:, None] | np.eye(count, dtype=bool))  # of row, column: who is left
    many = rest.sum(axis=2)
    middle = means.mean()
    mean, of_means = _describe_rest(means - middle, rest)
    # What nobody moves and nobody has otherwise has no z.
    spread = _known_spread(rest @ variances / many + of_means)
    of_rest, of_medians = _describe_rest(medians - middle, rest)
    away = (medians - middle)[:, None]
    z = standardise_person(away, of_rest, _known_spread(of_medians), many)
    shares = {}
    for limit in LIMITS:
        ends = middle + np.stack([mean - limit * spread, mean + limit * spread], axis=2)
        inside = np.array([np.diff(np.searchsorted(one, own)) for one, own in zip(frames, ends, strict=True)])
        beyond = 1.0 - inside[..., 0] / frames.shape[1]
        shares[f"frame_beyond_{limit}"] = np.where(np.isfinite(spread), beyond, np.nan)
        shares[f"person_beyond_{limit}"] = np.where(np.isfinite(z), np.abs(z) >= limit, np.nan)
    chances = {f"frame_beyond_{k}": expect_frames_beyond(k, count - 1, between, moments) for k in LIMITS}
    chances |= {f"person_beyond_{k}": expect_persons_beyond(k, count - 1) for k in LIMITS}
    return shares, chances


def _known_spread(variance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.where(variance > _NO_VARIANCE, variance, np.nan))


def _describe_rest(values: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (P, P) of the values (P,) of those who are left, ``rest`` (P, P, P)."""
    many = rest.sum(axis=2)
    mean = rest @ values / many
    squares = np.maximum(rest @ values**2 - many * mean**2, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # one person alone has no spread
        return mean, np.where(many > 1, squares / (many - 1), np.nan)


def find_frame_level(means: np.ndarray, variances: np.ndarray) -> tuple[float, float]:
    """Mean and spread of all frames from each person's mean and variance (P,): people count alike."""
    return float(means.mean()), float(np.sqrt(variances.mean() + means.var(ddof=1)))
