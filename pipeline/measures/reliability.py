"""Measurement error from test-retest recordings: ICC, SEM and smallest detectable change of every measure.

People are recorded at two or more sessions, with nothing done in between. A session is a day of visit; its
first recording is what counts, since that is what a visit has, and further ones on the same day are repeats,
which give the error within a session: a lower bound, as nothing was set up anew between them.

Sources: McGraw and Wong 1996 (ICC and its intervals), Shrout and Fleiss 1979, Liljequist et al. 2019
(agreement beside consistency), Kanzler et al. 2020 (smallest detectable change under 30 % of the range,
learning from session to session).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from scipy import stats

from pipeline.errors import MeasureError, RunFolderError
from pipeline.files import read_json
from pipeline.hand.joints import Side
from pipeline.measures.reliability_types import FAR_SHARE, MeasureReliability, Reliability, list_mismatches
from pipeline.measures.summary_types import NAN, SideSummary, Summary, read_summary
from pipeline.results import RunFolder
from pipeline.version import PROGRAM_VERSION

MIN_PEOPLE = 3
"""With fewer, the error's own uncertainty is larger than anything it could be held against."""

GOOD_PEOPLE = 20
MAX_MDC_SHARE = 0.3
LEVEL = 0.95


@dataclass(frozen=True)
class StudyRecording:
    """One recording of a study: ``name`` is what messages call it."""

    name: str
    summary: Summary


@dataclass(frozen=True)
class Agreement:
    """People by sessions, two-way analysis of variance with one value a cell.

    Attributes
    ----------
    icc_agreement, icc_low, icc_high : float
        ICC(A,1) and its 95 % interval.
    icc_consistency : float
        ICC(C,1).
    sem : float
        Square root of the residual mean square; for two sessions ``SD(difference) / sqrt(2)``.
    freedom : int
        Degrees of freedom of ``sem``.
    """

    icc_agreement: float
    icc_low: float
    icc_high: float
    icc_consistency: float
    sem: float
    freedom: int


@dataclass(frozen=True)
class _Person:
    """One person's sessions by date; each holds the recordings of that day in the order given."""

    subject: str
    side: Side
    sessions: tuple[tuple[date, tuple[SideSummary, ...]], ...]


def read_study(runs: Sequence[Path]) -> list[StudyRecording]:
    """Read the summaries of run folders; the same folder given twice counts once.

    Raises
    ------
    RunFolderError
        A run is not finished or cannot be read.
    """
    found = []
    for path in dict.fromkeys(Path(run).resolve() for run in runs):
        run = RunFolder(path)
        state = read_json(run.run_json)
        if not isinstance(state, dict) or state.get("state") != "done":
            raise RunFolderError(
                f"The run in {path} is not finished.", "Run the pipeline on its session first."
            )
        found.append(StudyRecording(path.name, read_summary(run.summary_json)))
    return found


def work_out_reliability(
    recordings: Sequence[StudyRecording], provenance: str = "not stated", side: Side = "right"
) -> Reliability:
    """Work out the error of every measure from people recorded at several sessions.

    Parameters
    ----------
    recordings : sequence of StudyRecording
        In the order in which they were made. Of people with more sessions than others the first count.
    provenance : str
        Who was recorded and how.
    side : "right" | "left"
        The hand that counts of people with both hands measured at every session; of others the one there is.

    Raises
    ------
    MeasureError
        Recordings that are not comparable, too few people with two sessions, a recording without a date.
    """
    _check_comparable(recordings)
    usable, left_out = _leave_out(recordings)
    people, too_few = _arrange(usable, side)
    left_out += too_few
    if len(people) < MIN_PEOPLE:
        raise MeasureError(
            f"{len(people)} people were recorded at two sessions; it takes {MIN_PEOPLE} at the very least, "
            f"and {GOOD_PEOPLE} to be worth much. {' '.join(left_out)}".strip(),
            "Give runs of the same people on two days each, with subject and visit in session.toml.",
        )
    sessions = min(len(person.sessions) for person in people)
    if any(len(person.sessions) > sessions for person in people):
        left_out.append(f"Sessions past number {sessions}, which not everybody had.")
    people = [replace(person, sessions=person.sessions[:sessions]) for person in people]
    days = np.diff([[day.toordinal() for day, _ in person.sessions] for person in people], axis=1)
    first = recordings[0].summary
    return Reliability(
        measures=_measure_all(people),
        n_people=len(people),
        provenance=provenance,
        n_sessions=sessions,
        days_apart=float(np.median(days)),
        days_least=float(days.min()),
        days_most=float(days.max()),
        hands=dict(Counter(person.side for person in people)),
        conditions=dict(first.comparability),
        left_out=tuple(left_out),
        n_recordings=sum(len(repeats) for person in people for _, repeats in person.sessions),
        simulated=first.provenance.baseline_simulated,
        program_version=PROGRAM_VERSION,
    )


def _check_comparable(recordings: Sequence[StudyRecording]) -> None:
    for other in recordings[1:]:
        words = (f"in {recordings[0].name}", f"in {other.name}")
        found = list_mismatches(recordings[0].summary.comparability, other.summary.comparability, words)
        if found:
            raise MeasureError(
                f"The recordings are not comparable. {' '.join(found)}",
                "Give recordings of one task, made and worked through in one way.",
            )


def _leave_out(recordings: Sequence[StudyRecording]) -> tuple[list[StudyRecording], list[str]]:
    usable, left_out = [], []
    for recording in recordings:
        if not recording.summary.visit:
            raise MeasureError(
                f"The recording in {recording.name} has no date, so its session is not known.",
                "Write visit = YYYY-MM-DD into its session.toml and run the pipeline on it again.",
            )
        if recording.summary.quality.verdict == "failed":
            left_out.append(f"{recording.name}: its quality check failed.")
        else:
            usable.append(recording)
    return usable, left_out


def _arrange(recordings: Sequence[StudyRecording], side: Side) -> tuple[list[_Person], list[str]]:
    """People with one hand measured at two sessions or more, and in words who has none."""
    by_subject: dict[str, list[Summary]] = {}
    for recording in recordings:
        by_subject.setdefault(recording.summary.subject, []).append(recording.summary)
    people, left_out = [], []
    for subject, summaries in by_subject.items():
        options = [_group(subject, hand, summaries) for hand in dict.fromkeys((side, *_sides(summaries)))]
        best = max(options, key=lambda person: len(person.sessions))
        if len(best.sessions) < 2:
            left_out.append(f"{subject}: only one session.")
        else:
            people.append(best)
    return people, left_out


def _sides(summaries: Iterable[Summary]) -> list[Side]:
    return [side for summary in summaries for side in summary.sides]


def _group(subject: str, side: Side, summaries: Iterable[Summary]) -> _Person:
    days: dict[date, list[SideSummary]] = {}
    for summary in summaries:
        if side in summary.sides:
            days.setdefault(date.fromisoformat(summary.visit), []).append(summary.sides[side])
    return _Person(subject, side, tuple((day, tuple(days[day])) for day in sorted(days)))


# --- measures ------------------------------------------------------------------------------------


def list_values(side: SideSummary) -> dict[str, tuple[str, str, float]]:
    """Label, unit and value of every measure that may change, by id; NaN = withheld."""
    values = {found.id: (found.label, found.unit, found.value) for found in side.headlines}
    values |= {angle.angle: (angle.label, "°", angle.median_deg) for angle in side.angles}
    return values | {
        f"{angle.angle}{FAR_SHARE}": (
            f"{angle.label}, time far from the reference",
            "%",
            100.0 * angle.far_share,
        )
        for angle in side.angles
    }


def _measure_all(people: Sequence[_Person]) -> dict[str, MeasureReliability]:
    every = [
        [[list_values(repeat) for repeat in repeats] for _, repeats in person.sessions] for person in people
    ]
    found = {}
    for name, (label, unit, _) in every[0][0][0].items():
        values = np.array([[_value(session[0], name) for session in person] for person in every])
        repeats = [[_value(repeat, name) for repeat in session] for person in every for session in person]
        empty = MeasureReliability(name, label, unit, 0, within_sem=compute_within_sem(repeats))
        found[name] = _measure(empty, values)
    return found


def _value(values: dict[str, tuple[str, str, float]], name: str) -> float:
    return values[name][2] if name in values else NAN


def _measure(empty: MeasureReliability, values: np.ndarray) -> MeasureReliability:
    """All that people by sessions (N, K) tell of one measure; NaN = withheld."""
    known = values[np.isfinite(values).all(axis=1)]
    varies = np.ptp(known, axis=1) > 0
    flags = []
    # Where a measure stays at 0 (or any bound), it says nothing of the error where it does not.
    if not varies.all():
        flags.append(f"{(~varies).sum()} people had one value at all sessions and do not count.")
    known = known[varies]
    if len(known) < MIN_PEOPLE:
        flags.append(f"Not established: {len(known)} people count, and it takes {MIN_PEOPLE}.")
        return replace(empty, n_people=len(known), flags=tuple(flags))
    agreement = compute_agreement(known)
    mdc95 = float(stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt(2) * agreement.sem
    share = mdc95 / float(np.ptp(known))
    bias, low, high = _compute_bias(known)
    if len(known) < GOOD_PEOPLE:
        flags.append(f"Fewer than {GOOD_PEOPLE} people.")
    if share > MAX_MDC_SHARE:
        flags.append(f"The smallest detectable change is over {100 * MAX_MDC_SHARE:.0f} % of the range.")
    if low * high > 0:
        flags.append(f"The last session differs from the first by {bias:+.3g} {empty.unit}".strip() + ".")
    return replace(
        empty,
        n_people=len(known),
        mean=float(known.mean()),
        sd=float(known.std(ddof=1)),
        lowest=float(known.min()),
        highest=float(known.max()),
        icc_agreement=agreement.icc_agreement,
        icc_low=agreement.icc_low,
        icc_high=agreement.icc_high,
        icc_consistency=agreement.icc_consistency,
        sem=agreement.sem,
        mdc95=mdc95,
        limit95=_find_limit(known, agreement),
        bias=bias,
        bias_low=low,
        bias_high=high,
        mdc_share=share,
        flags=tuple(flags),
    )


def _find_limit(values: np.ndarray, agreement: Agreement) -> float:
    """What 95 % of differences between two sessions stay under though nothing changed.

    The error of a measure with a bound, or one that grows with its value, is no normal one: ``1.96`` of its
    standard deviations are passed more often than in 5 %. So the limit is also no less than the 95th
    percentile of the study's own differences at Weibull's plotting position, which a new person's difference
    stays under in 95 % whatever the distribution (Wilks 1941), if people enough were recorded (19).
    """
    by_spread = float(stats.t.ppf((1 + LEVEL) / 2, agreement.freedom)) * math.sqrt(2) * agreement.sem
    differences = np.abs(np.diff(values, axis=1)).ravel()
    return max(by_spread, float(np.quantile(differences, LEVEL, method="weibull")))


def _compute_bias(values: np.ndarray) -> tuple[float, float, float]:
    """Last session minus first over the people, and its 95 % interval."""
    difference = values[:, -1] - values[:, 0]
    mean = float(difference.mean())
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(difference) - 1)) * error
    return mean, mean - half, mean + half


def compute_agreement(values: np.ndarray) -> Agreement:
    """ICC(A,1) with its interval, ICC(C,1) and the standard error of measurement.

    Parameters
    ----------
    values : ndarray (N, K)
        People by sessions, N and K at least 2, none missing.

    Notes
    -----
    McGraw and Wong 1996, tables 4 and 7; the interval's second degrees of freedom are Satterthwaite's.
    """
    n, k = values.shape
    grand = values.mean()
    rows = k * float(((values.mean(axis=1) - grand) ** 2).sum()) / (n - 1)
    columns = n * float(((values.mean(axis=0) - grand) ** 2).sum()) / (k - 1)
    total = float(((values - grand) ** 2).sum())
    freedom = (n - 1) * (k - 1)
    error = max(total - rows * (n - 1) - columns * (k - 1), 0.0) / freedom
    between = rows + (k - 1) * error
    agreement = between + k * (columns - error) / n
    if not (between > 0 and agreement > 0):
        return Agreement(NAN, NAN, NAN, NAN, math.sqrt(error), freedom)
    icc = (rows - error) / agreement
    low, high = _bound_icc(icc, rows, columns, error, n, k)
    return Agreement(icc, low, high, (rows - error) / between, math.sqrt(error), freedom)


def _bound_icc(icc: float, rows: float, columns: float, error: float, n: int, k: int) -> tuple[float, float]:
    """95 % interval of ICC(A,1) from the mean squares of people, sessions and residual.

    NaN where the formula has none: no residual at all, or people who do not differ in their means.
    """
    if error <= 0 or icc >= 1:
        return NAN, NAN
    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    spread = (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    if spread <= 0:
        return NAN, NAN
    freedom = (a * columns + b * error) ** 2 / spread
    tail = (1 + LEVEL) / 2
    below, above = float(stats.f.ppf(tail, n - 1, freedom)), float(stats.f.ppf(tail, freedom, n - 1))
    rest = k * columns + (k * n - k - n) * error
    low = n * (rows - below * error) / (below * rest + n * rows)
    high = n * (above * rows - error) / (rest + n * above * rows)
    return (low, high) if low < icc < high else (NAN, NAN)


def compute_within_sem(groups: Iterable[Sequence[float]]) -> float:
    """Standard deviation within groups of repeats, pooled: the error within a session, a lower bound.

    Groups of one, and NaN, do not count; NaN if nothing does.
    """
    squares, freedom = 0.0, 0
    for group in groups:
        known = np.array([value for value in group if math.isfinite(value)])
        if len(known) > 1:
            squares += float(((known - known.mean()) ** 2).sum())
            freedom += len(known) - 1
    return math.sqrt(squares / freedom) if freedom else NAN


# --- words ---------------------------------------------------------------------------------------


def describe_reliability(found: Reliability) -> str:
    """The study in a few lines and all measures as a table, flags below by number."""
    hands = " and ".join(f"{count} {side}" for side, count in found.hands.items())
    lines = [
        f"{found.n_people} people ({hands} hands), {found.n_sessions} sessions each, "
        f"{found.days_apart:g} days apart ({found.days_least:g} to {found.days_most:g}), "
        f"{found.n_recordings} recordings" + (", SIMULATED REFERENCE" if found.simulated else ""),
        f"provenance: {found.provenance}",
        *(f"{key}: {value}" for key, value in found.conditions.items()),
        *(f"left out: {words}" for words in found.left_out),
        "",
    ]
    flags = list(dict.fromkeys(flag for entry in found.measures.values() for flag in entry.flags))
    head = (
        "measure",
        "unit",
        "n",
        "ICC(A,1) (95 %)",
        "ICC(C,1)",
        "SEM",
        "MDC95",
        "limit",
        "bias",
        "within",
        "",
    )
    rows = [head, *(_describe(entry, flags) for entry in found.measures.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = [word.ljust(width) if i < 2 else word.rjust(width) for i, (word, width) in
                 enumerate(zip(row[:-1], widths, strict=False))]  # fmt: skip
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    lines += [
        "",
        "limit: what a change is held against, MDC95 with Student's t for so many people, and no less than",
        "95 % of the differences between sessions stay under.",
        "within: standard deviation of repeats within a session, a lower bound of SEM.",
    ]
    return "\n".join([*lines, *(f"{number}) {flag}" for number, flag in enumerate(flags, start=1))])


def _describe(entry: MeasureReliability, flags: Sequence[str]) -> tuple[str, ...]:
    interval = (
        f"{_say(entry.icc_agreement, '.2f')} ({_say(entry.icc_low, '.2f')} to {_say(entry.icc_high, '.2f')})"
    )
    numbers = (entry.sem, entry.mdc95, entry.limit95)
    return (
        entry.id,
        entry.unit,
        str(entry.n_people),
        interval if math.isfinite(entry.icc_agreement) else "-",
        _say(entry.icc_consistency, ".2f"),
        *(_say(value, ".3g") for value in numbers),
        _say(entry.bias, "+.2g"),
        _say(entry.within_sem, ".3g"),
        " ".join(f"{flags.index(flag) + 1})" for flag in entry.flags),
    )


def _say(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"
