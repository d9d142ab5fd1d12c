"""Every constant of the fusion, with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FusionOptions:
    """Constants of the fusion. Lengths in mm, pictures in px, times in s, angles in rad.

    Attributes
    ----------
    epsilon : float
        Numerical stability in ``1 / (2 (sigma^2 + epsilon))``, px^2 (seed 000).
    iterations_global : int
        At most so many iterations of stage 1 (seed 000).
    iterations_full : int
        At most so many iterations of stage 2 (seed 000), shared out among ``rounds``.
    rounds : int
        Parts of stage 2; between them views that contradict the hand are weighed anew.
    global_temporal_factor : float
        Stage 1 uses ``10 lambda_temp`` (seed 000).
    lambda_temp : float or None
        Weight of L_temporal in mm^-2. None: from ``surface_speed_m_s``, but never more than
        ``tremor_gain`` allows (`pipeline.fusion.objective.choose_lambda_temp`).
    surface_speed_m_s : float
        The random walk that L_temporal stands for: each of the hand's 16 bones moves at about this speed.
        Fingers at the piano reach 0.3 to 1 m/s, so with sharp points the term all but vanishes.
    tremor_hz, tremor_gain : float
        Whatever the noise, a movement of the whole hand at ``tremor_hz`` keeps at least this share of its
        amplitude: dystonic tremor lies at 5 to 8 Hz. Fingers, which weigh less, keep more.
    smooth_hz, smooth_gain : float
        The smoother after the fit leaves this share of a movement at this frequency, of the hand as of a
        finger (`pipeline.fusion.smoothing`); with L_temporal, 80 % at least of a tremor of 7 Hz.
    smooth_acceleration_m_s2 : float
        What a joint is taken to do anyway, in ordinary playing: where the noise alone would look like less,
        the smoother is weaker.
    anchor_rad : float
        The spread of a joint about its initial pose that L_anchor stands for. A whole rad is weak on
        purpose: it decides only what no picture shows, so dystonic poses stay as they are seen.
    lambda_anchor : float or None
        Weight of L_anchor, without unit. None: ``1 / (2 * 4/3 * anchor_rad^2 * N_obs / N)``.
    hinge_rad : float
        Prior L_axes (not in seed 000): twist and sideways bend of PIP, DIP and thumb IP, which have one
        real degree of freedom; 21 points do not fix the turn of a bone about itself.
    twist_rad, spread_rad : float
        Prior L_axes: twist and spread of the knuckles. Spread is wide: splayed fingers are a sign.
    thumb_twist_rad, thumb_spread_rad : float
        Prior L_axes: the same of the thumb's CMC (a saddle) and MCP.
    bend_rad, bend_extra_rad, bend_least_rad, bend_most_rad : float
        Prior L_axes on bending: nothing between ``bend_least_rad`` (hyperextension) and ``bend_most_rad``,
        beyond them a spread of ``bend_extra_rad``; ``bend_rad`` is the weak pull inside.
    robust_sigmas : float
        A point that lies this many sigmas from the hand counts half (Cauchy weight 1 / (1 + z^2/c^2)).
    rescue_weight : float
        Where fewer than two views with a manual weight see a joint, the views that appendix C silences get
        this weight: a poor second view fixes the depth better than none.
    max_gap_s : float
        Gaps up to this are bridged; in longer ones nothing is measured and the result is NaN.
    start_window_s : float
        The fit starts from triangulated joints of which each is the median over this time: longer than an
        outlier lasts, too short for a finger to play a note in.
    hold_s : float
        Where a single camera is left for longer than this, its rays say where the fit starts; in shorter
        times the frames beside them do.
    shape_sigma : float
        Prior spread of betas, in their own unit (one standard deviation of adults).
    shape_floor_mm : float
        Least standard error of a median bone length.
    shape_systematic : float
        Share of a bone length's spread over the recording that does not average out: an estimator that
        jitters by 5 mm also places its joints some mm from the model's.
    independent_s : float
        Errors of an estimator hang together over about this time; it sets how many frames are independent.
    time_shift_prior_s : float
        How far, as a standard deviation, the pictures of a camera may lie from where its clock puts them:
        phones write sound and pictures up to some tens of ms apart.
    time_shift_most_s : float
        Two frames of 50 a second: more is no residual of a clock but a wrong clock, which is said but never
        taken off.
    apply_time_shift : bool
        Take the views' time shifts off their clocks and fit again. Off: on made sessions the clocks by sound
        are ten times better than what a network's points tell of them.
    min_sigma_px : float
        Least sigma of a keypoint: no estimator, and no interpolation in time, is better.
    model_sigma_mm : float
        Least joint sigma: the model's bone lengths and skin are not the person's to the last part.
    mask_points : float
        L_mask (not in seed 000; seed 001 names it): as how many independent measurements of a distance the
        edge of one mask counts. Its cells hang together: a finger is a millimetre too thick all along.
    mask_sigma_mm : float
        How far the model's silhouette lies from the person's where all is well.
    mask_least_confidence : float
        Masks of less confidence have no say.
    mask_worse : float
        The fit with masks is kept where the points' own evidence (the mean of ``log(1 + z^2 / c^2)``, what
        the robust weights stand for) is worse by no more than this, which is what points cost that lie 1.4
        sigmas off.
    mask_worse_at_worst : float
        And in no stretch of half a second by more than this: what a network misread may well speak against
        the masks for a while.
    """

    epsilon: float = 1e-5
    iterations_global: int = 50
    iterations_full: int = 150
    rounds: int = 5
    global_temporal_factor: float = 10.0
    lambda_temp: float | None = None
    surface_speed_m_s: float = 0.5
    tremor_hz: float = 8.0
    tremor_gain: float = 0.99
    smooth_hz: float = 7.0
    smooth_gain: float = 0.86
    smooth_acceleration_m_s2: float = 1.5
    anchor_rad: float = 1.0
    lambda_anchor: float | None = None
    hinge_rad: float = 0.09
    twist_rad: float = 0.15
    spread_rad: float = 0.35
    thumb_twist_rad: float = 0.3
    thumb_spread_rad: float = 0.4
    bend_rad: float = 2.0
    bend_extra_rad: float = 0.2
    bend_least_rad: float = -0.8
    bend_most_rad: float = 2.1
    robust_sigmas: float = 3.0
    rescue_weight: float = 0.05
    max_gap_s: float = 0.1
    start_window_s: float = 0.15
    hold_s: float = 0.3
    shape_sigma: float = 1.0
    shape_floor_mm: float = 0.1
    shape_systematic: float = 0.5
    independent_s: float = 0.25
    time_shift_prior_s: float = 0.02
    time_shift_most_s: float = 0.04
    apply_time_shift: bool = False
    min_sigma_px: float = 0.02
    model_sigma_mm: float = 0.1
    mask_points: float = 24.0
    mask_sigma_mm: float = 2.0
    mask_least_confidence: float = 0.3
    mask_worse: float = 0.2
    mask_worse_at_worst: float = 0.5
