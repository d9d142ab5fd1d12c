"""What each stage of a run needs, writes and does: the rooms of the pipeline, joined.

`pipeline.run` decides when a stage is run; this file only says what it is. Heavy rooms are imported by the
stage that works in them, so that a resumed run loads only what it still needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import MeasureError
from pipeline.files import hash_file
from pipeline.progress import Reporter
from pipeline.results import (
    RunFolder,
    list_sides,
    read_hand,
    read_rig,
    read_rig_check,
    read_sync,
    read_table,
    read_view,
    write_hand,
    write_rig,
    write_rig_check,
    write_sync,
    write_table,
    write_view,
)
from pipeline.session import Session
from settings import get_settings

if TYPE_CHECKING:
    import numpy as np

    from pipeline.hand.joints import Side
    from pipeline.hand.model import HandModel
    from pipeline.measures.measure import Measures
    from pipeline.outline.results import Outline
    from pipeline.results import HandTrack, ViewTrack


WEB_CONTENTS = 2
"""Counts what the web stage writes: a run of an earlier count is prepared anew when it is taken up again."""


@dataclass(frozen=True)
class Context:
    """What a stage works with: the session, the run folder, whom to report to, how many processes."""

    session: Session
    run: RunFolder
    report: Reporter
    workers: int = 0


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes
    ----------
    name : str
        Stable id, as in ``run.json``.
    label : str
        The work in words, for progress.
    weight : float
        Usual share of the time.
    after : tuple of str
        Stages whose results it reads; ``check`` has none, it only stops a run that cannot end well.
    inputs : tuple of str
        Input files it reads, as `Session.inputs` names them.
    settings : dict
        What of the settings changes its result.
    work : callable
        Does it; returns the files written.
    outputs : tuple of str
        Files that must be there for the stage to count as done, where no earlier run lists them.
    nameless : str
        What its key calls it where neither its name nor those of its inputs change the result, so that a
        camera that gets another name keeps its work; empty where they do.
    """

    name: str
    label: str
    weight: float
    after: tuple[str, ...]
    inputs: tuple[str, ...]
    settings: dict[str, Any]
    work: Callable[[Context], list[Path]]
    outputs: tuple[str, ...] = ()
    nameless: str = ""


def list_stages(session: Session) -> list[Stage]:
    """The stages of a run on this session, in order."""
    settings = session.settings
    videos = tuple(_names(session, session.videos.values()))
    points = tuple(_names(session, session.keypoints.values()))
    takes = tuple(_names(session, session.calibration_videos.values()))
    rig = tuple(_names(session, [session.rig])) if session.rig else ()
    poses = [_pose_stage(session, camera) for camera in session.cameras]
    pose_names = tuple(stage.name for stage in poses)
    outlines = [_outline_stage(session, camera) for camera in session.videos] if settings.outline else []
    whole = settings.model_dump(mode="json")
    calibration = _calibration_stage(session, (*takes, *rig, *videos), pose_names)
    return [
        Stage("check", "Checking the files", 1, (), (*videos, *points, *takes, *rig), whole, _check),
        Stage(
            "sound",
            "Listening for the cameras' common clock",
            2,
            (),
            (*videos, *points),
            {"reference": settings.reference, "offset_s": settings.offset_s, **_renamed(session)},
            _sound,
            ("sound.json", "web/sound.json"),
        ),
        # A board that cannot be read is said before the long work; a rig from the hand needs its points.
        *((*poses, calibration) if calibration.after else (calibration, *poses)),
        *outlines,
        Stage(
            "sync",
            "Bringing the cameras onto one clock",
            1,
            ("sound", "calibration", *pose_names),
            (),
            {"side": settings.side},
            _sync,
            ("sync.json", "rig_check.json"),
        ),
        Stage(
            "fusion",
            "Bringing the views together into one hand",
            20,
            ("sync", "calibration", *pose_names, *(stage.name for stage in outlines)),
            (),
            {
                "side": settings.side,
                "hand_model": _hand_digest(),
                "apply_time_shift": settings.apply_time_shift,
            },
            _fusion,
        ),
        Stage(
            "measures",
            "Measuring the movement",
            3,
            ("fusion",),
            videos,  # their sound tells the strokes
            {**whole, "baseline": _baseline_digest()},
            _measures,
            ("measures.parquet", "angles.parquet", "features.parquet", "rotations.parquet", "summary.json"),
        ),
        Stage(
            "web",
            "Preparing video and 3D for the browser",
            15,
            ("measures",),
            videos,
            {"contents": WEB_CONTENTS},
            _web,
            ("web/index.json",),
        ),
    ]


def _calibration_stage(session: Session, inputs: tuple[str, ...], pose_names: tuple[str, ...]) -> Stage:
    """From the rig or the board alone; where there is neither, from what the cameras saw of the hand."""
    settings = session.settings
    label, weight = "Working out where the cameras stand", 12
    wanted: dict[str, Any] = {
        "reference": settings.reference,
        "cameras": session.cameras,
        **_renamed(session),
    }
    if session.rig or session.calibration_videos or len(session.cameras) == 1:
        wanted |= {"checkerboard": settings.checkerboard.model_dump(), "focal_35mm": settings.focal_35mm}
        # the videos tell the pictures' sizes
        return Stage("calibration", label, weight, (), inputs, wanted, _calibration, ("rig.json",))
    wanted |= {
        "side": settings.side,
        "hand_length_mm": settings.hand_length_mm,
        "focal_35mm": settings.focal_35mm,
        "hand_model": _hand_digest(),
    }
    after = ("sound", *pose_names)
    return Stage("calibration", label, weight, after, inputs, wanted, _calibration_from_hand, ("rig.json",))


def _renamed(session: Session) -> dict[str, Any]:
    """The cameras whose files are called otherwise, for keys that know files by name; nothing without any."""
    stated = {
        "names": session.settings.cameras,
        "calibration_names": session.settings.calibration_cameras,
    }
    return {key: names for key, names in stated.items() if names}


def _names(session: Session, paths: Any) -> list[str]:
    return [path.relative_to(session.path).as_posix() for path in paths]


def _pose_stage(session: Session, camera: str) -> Stage:
    settings = session.settings
    models: list[str] = []
    if session.videos:
        sources, models = [session.videos[camera]], _network_digests(session)
        named = {}
    else:
        sources = [session.keypoints[camera], *([session.rig] if session.rig else [])]  # it tells the size
        named = _renamed(session)
    return Stage(
        f"pose:{camera}",
        f"Finding the hand in camera {camera}",
        30 if session.videos else 1,
        (),
        tuple(_names(session, sources)),
        {
            "preset": settings.preset,
            "side": settings.side,
            "detector": settings.detector,
            "estimator": settings.estimator,
            "networks": models,
            **named,
        },
        lambda context: _pose(context, camera),
        (f"views/{camera}.npz",),
        nameless="pose" if session.videos else "",
    )


def _outline_stage(session: Session, camera: str) -> Stage:
    return Stage(
        f"outline:{camera}",
        f"Tracing the hand's outline in camera {camera}",
        6,
        (f"pose:{camera}",),
        tuple(_names(session, [session.videos[camera]])),
        {},
        lambda context: _outline(context, camera),
        (f"outlines/{camera}.npz",),
    )


def _network_digests(session: Session) -> list[str]:
    """SHA-256 of the files of the networks that find and measure the hand."""
    from pipeline.pose.registry import describe_models

    described = describe_models(session.settings.detector, session.settings.estimator)
    return sorted(digest for model in described for digest in model["sha256"].values())


def _hand_digest() -> str:
    from pipeline.hand.model import load_hand_model

    return load_hand_model().digest


def _baseline_digest() -> str:
    from pipeline.measures.baseline import BUILTIN_BASELINE

    path = get_settings().baseline or BUILTIN_BASELINE
    if not path.is_file():
        raise MeasureError(
            f"The reference {path} is not there.",
            "Correct REDYS_BASELINE, or unset it to use the built-in one.",
        )
    return hash_file(path)


def _check(context: Context) -> list[Path]:
    from pipeline.checks import require_usable

    require_usable(context.session, context.report)
    return []


def _sound(context: Context) -> list[Path]:
    from pipeline.sync.cameras import get_spans_s, require_overlap, synchronise
    from pipeline.sync.waveforms import write_waveforms

    session, run = context.session, context.run
    sync = synchronise(session, context.report.part(0.0, 0.6))
    write_sync(run.sound_json, sync)
    waveforms = write_waveforms(session, sync, run.web, context.report.part(0.6, 1.0))
    # Last, since the page that sets offsets is the way out of this.
    require_overlap(sync, get_spans_s(session.videos))
    return [run.sound_json, *waveforms]


def _sync(context: Context) -> list[Path]:
    from pipeline.sync.alignment import align

    run = context.run
    sync, check = align(
        read_sync(run.sound_json), read_rig(run.rig_json), _read_views(context), context.report
    )
    write_sync(run.sync_json, sync)
    write_rig_check(run.rig_check_json, check)
    return [run.sync_json, run.rig_check_json]


def _pose(context: Context, camera: str) -> list[Path]:
    tracks: dict[Side, ViewTrack]
    if context.session.videos:
        from pipeline.pose.estimate import estimate_view

        tracks = estimate_view(context.session, camera, context.report, context.workers)
    else:
        from pipeline.pose.external import read_keypoints

        tracks = read_keypoints(context.session, camera)
    write_view(context.run, camera, tracks)
    return [context.run.view_npz(camera)]


def _outline(context: Context, camera: str) -> list[Path]:
    from pipeline.outline.results import write_outlines
    from pipeline.outline.trace import trace_outlines

    tracks = read_view(context.run, camera)
    outlines = trace_outlines(context.session.videos[camera], tracks, context.report)
    for side, outline in outlines.items():
        for doubt in outline.describe_doubts():
            context.report.warn(
                f"Camera {camera}: the outline of the {side} hand is trusted little or not at all: {doubt}."
            )
    write_outlines(context.run, camera, outlines)
    return [context.run.outline_npz(camera)]


def _calibration(context: Context) -> list[Path]:
    from pipeline.calibration.calibrate import calibrate

    write_rig(context.run.rig_json, calibrate(context.session, context.report))
    return [context.run.rig_json]


def _calibration_from_hand(context: Context) -> list[Path]:
    from pipeline.calibration.hand import calibrate_from_hand
    from pipeline.hand.model import load_hand_model

    rig = calibrate_from_hand(
        context.session,
        read_sync(context.run.sound_json),
        _read_views(context),
        load_hand_model(),
        context.report,
    )
    write_rig(context.run.rig_json, rig)
    return [context.run.rig_json]


def _read_views(context: Context) -> dict[str, dict[Side, ViewTrack]]:
    return {camera: read_view(context.run, camera) for camera in context.session.cameras}


def _read_outlines(context: Context) -> dict[str, dict[Side, Outline]] | None:
    from pipeline.outline.results import read_outlines

    if not context.session.settings.outline:
        return None
    return {camera: read_outlines(context.run, camera) for camera in context.session.videos}


def _read_hands(run: RunFolder) -> dict[Side, HandTrack]:
    return {side: read_hand(run, side) for side in list_sides(run)}


def _fusion(context: Context) -> list[Path]:
    from pipeline.fusion.fuse import fuse
    from pipeline.hand.model import load_hand_model

    hands = fuse(
        context.session.settings,
        read_sync(context.run.sync_json),
        read_rig(context.run.rig_json),
        _read_views(context),
        load_hand_model(),
        context.report,
        outlines=_read_outlines(context),
    )
    for side in list_sides(context.run):
        if side not in hands:
            context.run.hand_npz(side).unlink()
    for side, hand in hands.items():
        write_hand(context.run, side, hand)
    return [context.run.hand_npz(side) for side in hands]


def _measures(context: Context) -> list[Path]:
    from pipeline.hand.model import load_hand_model
    from pipeline.measures.baseline import read_baseline
    from pipeline.measures.excluded import exclude_hands, exclude_strokes
    from pipeline.measures.listening import listen
    from pipeline.measures.measure import measure
    from pipeline.measures.summary import summarise, write_summary

    baseline = read_baseline(get_settings().baseline)
    sections = context.session.settings.exclude
    hands = exclude_hands(_read_hands(context.run), sections)
    measures = measure(hands, baseline)
    context.report.update(0.3, "Listening for the strokes")
    sync = read_sync(context.run.sync_json)
    heard = exclude_strokes(listen(context.session.videos, sync), sections)
    context.report.update(0.4, "Working out the report's numbers")
    model = load_hand_model()
    flat_mm = {side: _flat_joints_mm(model, hand.betas) for side, hand in hands.items()}
    summary = summarise(
        settings=context.session.settings,
        sync=sync,
        rig=read_rig(context.run.rig_json),
        views=_read_views(context),
        hands=hands,
        measures=measures,
        baseline=baseline,
        model_name=model.name,
        rig_check=read_rig_check(context.run.rig_check_json),
        heard=heard,
        flat_mm=flat_mm,
    )
    tables = _write_tables(context.run, hands, measures, flat_mm)
    write_summary(context.run.summary_json, summary)
    return [*tables, context.run.summary_json]


def _write_tables(
    run: RunFolder, hands: dict[Side, HandTrack], measures: Measures, flat_mm: dict[Side, np.ndarray]
) -> list[Path]:
    """The tables of the run folder, a row for each hand, time and part; returns their paths."""
    from pipeline.measures.features import tabulate_features
    from pipeline.measures.playing import take_features
    from pipeline.measures.rotations import measure_track, tabulate_rotations

    features = {
        side: (hand.time_s, take_features(hand, measures.hands[side])) for side, hand in hands.items()
    }
    rotations = {side: (hand.time_s, measure_track(hand, flat_mm[side])) for side, hand in hands.items()}
    tables = {
        run.measures_parquet: measures.measures,
        run.angles_parquet: measures.angles,
        run.features_parquet: tabulate_features(features),
        run.rotations_parquet: tabulate_rotations(rotations),
    }
    for path, table in tables.items():
        write_table(path, table)
    return list(tables)


def _flat_joints_mm(model: HandModel, betas: np.ndarray) -> np.ndarray:
    """The joints (21, 3) of the flat hand."""
    import numpy as np

    eye = np.eye(3)[None]
    return model.pose_arrays(betas, eye, np.tile(eye, (1, 15, 1, 1)), np.zeros((1, 3)))[1][0]


def _web(context: Context) -> list[Path]:
    from pipeline.export.web import write_web
    from pipeline.hand.model import load_hand_model
    from pipeline.measures.baseline import read_baseline
    from pipeline.measures.measure import MeasureTables
    from pipeline.sync.waveforms import is_waveform_file

    run = context.run
    tables = MeasureTables(
        read_table(run.measures_parquet),
        read_table(run.angles_parquet),
        features=read_table(run.features_parquet),
        rotations=read_table(run.rotations_parquet) if run.rotations_parquet.is_file() else None,
    )
    write_web(
        context.run,
        context.session,
        read_sync(context.run.sync_json),
        read_rig(context.run.rig_json),
        _read_views(context),
        _read_hands(context.run),
        tables,
        load_hand_model(),
        context.report,
        read_baseline(get_settings().baseline),
    )
    return [
        path
        for path in context.run.web.iterdir()
        if not path.name.startswith(".") and not is_waveform_file(path.name)
    ]
