"""``baseline``: a reference of healthy people."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.terminal import listen_for_signals, make_plain_listener
from pipeline.errors import DatasetError, RunFolderError
from pipeline.progress import Reporter

if TYPE_CHECKING:
    from pipeline.measures.baseline import Baseline


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("baseline", help="make a reference from recordings of healthy people")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="from session folders (run first where needed) or run folders")
    build.add_argument("sessions", type=Path, nargs="+")
    build.add_argument("--out", type=Path, required=True)
    build.add_argument("--name", default="local baseline", help="what reports call it")
    build.add_argument("--licence", default="not stated")
    build.add_argument("--provenance", default="not stated", help="who was recorded, how, when")
    build.add_argument("--version", default="1", help="of this reference, as you count")
    build.set_defaults(work=_build_baseline)
    furelise = actions.add_parser(
        "furelise", help="postures of 15 elite pianists, from the FürElise data set"
    )
    furelise.add_argument("folder", type=Path, metavar="DIR", help="with metadata.json and dataset/")
    furelise.add_argument("--out", type=Path, required=True)
    furelise.add_argument("--version", default="1", help="of this reference, as you count")
    furelise.set_defaults(work=_build_furelise)
    pianomotion = actions.add_parser(
        "pianomotion", help="postures of pianists, from the PianoMotion10M data set"
    )
    pianomotion.add_argument("folder", type=Path, metavar="DIR", help="with annotation/")
    pianomotion.add_argument("--out", type=Path, required=True)
    pianomotion.add_argument(
        "--pose",
        choices=("absolute", "from-mean"),
        help="what its poses start from: the flat hand, or MANO's mean pose; without it, what either makes "
        "of the data is printed and nothing is written",
    )
    pianomotion.add_argument("--version", default="1", help="of this reference, as you count")
    pianomotion.set_defaults(work=_build_pianomotion)
    simulate = actions.add_parser("simulate", help="make the built-in reference anew, from made people")
    simulate.add_argument("--people", type=int, default=24)
    simulate.add_argument("--seconds", type=float, default=5.0)
    simulate.add_argument(
        "--folder", type=Path, required=True, help="for what is made; a second call goes on"
    )
    simulate.add_argument("--out", type=Path, help="default: the built-in reference's own file")
    simulate.set_defaults(work=_simulate_baseline)


def _build_baseline(options: argparse.Namespace) -> None:
    from pipeline.measures.baseline import build_baseline
    from pipeline.results import RunFolder
    from pipeline.run import run_session

    _check_out(options.out)
    runs = []
    cancelled = listen_for_signals()
    for number, path in enumerate(options.sessions, start=1):
        run = RunFolder(path)
        if not run.run_json.is_file():
            print(f"{number} of {len(options.sessions)}: {path}", flush=True)
            run = run_session(path, path / "run", is_cancelled=cancelled.is_set)
        runs.append(run)
    baseline = build_baseline(
        runs,
        name=options.name,
        licence=options.licence,
        provenance=options.provenance,
        version=options.version,
    )
    _keep(options.out, baseline)


def _build_furelise(options: argparse.Namespace) -> None:
    from pipeline.datasets.furelise import build_furelise

    _check_out(options.out)
    cancelled = listen_for_signals()
    report = Reporter("baseline", make_plain_listener(), cancelled.is_set)
    _keep(options.out, build_furelise(options.folder, report, options.version))


def _build_pianomotion(options: argparse.Namespace) -> None:
    from pipeline.datasets.pianomotion import (
        build_pianomotion,
        describe_conventions,
        list_sequences,
        require_mano,
    )
    from pipeline.hand.model import load_hand_model, read_mean_pose

    _check_out(options.out)
    sequences = list_sequences(options.folder)
    model = load_hand_model()
    require_mano(model)
    mean_pose = read_mean_pose()
    if options.pose is None:
        print(describe_conventions(sequences, model, mean_pose))
        raise DatasetError(
            "PianoMotion10M does not publish what its poses start from, so nothing is written.",
            "Choose --pose absolute or --pose from-mean by the lines above: the one with hardly anything "
            "beyond what joints can do and with the less twisted hinges.",
        )
    cancelled = listen_for_signals()
    report = Reporter("baseline", make_plain_listener(), cancelled.is_set)
    _keep(
        options.out,
        build_pianomotion(options.folder, options.pose, model, mean_pose, report, options.version),
    )


def _check_out(out: Path) -> None:
    """Refuse a folder as the file to write before the work, which may take hours, and not after it."""
    if out.is_dir():
        raise RunFolderError(f"{out} is a folder.", "Give --out the name of a file.")


def _keep(out: Path, baseline: Baseline) -> None:
    from pipeline.measures.baseline import describe_baseline, write_baseline

    write_baseline(out, baseline)
    print(describe_baseline(baseline))
    print(f"Done: {out}")


def _simulate_baseline(options: argparse.Namespace) -> None:
    from pipeline.measures.baseline import BUILTIN_BASELINE
    from pipeline.synth.people import build_simulated_baseline

    out = options.out or BUILTIN_BASELINE
    report = Reporter("baseline", make_plain_listener())
    _keep(out, build_simulated_baseline(options.folder, report, options.people, options.seconds))
