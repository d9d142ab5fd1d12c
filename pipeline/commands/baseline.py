"""``baseline``: a reference of healthy people."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.commands.terminal import listen_for_signals, make_plain_listener
from pipeline.progress import Reporter


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
    build.set_defaults(work=_build_baseline)
    simulate = actions.add_parser("simulate", help="make the built-in reference anew, from made people")
    simulate.add_argument("--people", type=int, default=24)
    simulate.add_argument("--seconds", type=float, default=5.0)
    simulate.add_argument(
        "--folder", type=Path, required=True, help="for what is made; a second call goes on"
    )
    simulate.add_argument("--out", type=Path, help="default: the built-in reference's own file")
    simulate.set_defaults(work=_simulate_baseline)


def _build_baseline(options: argparse.Namespace) -> None:
    from pipeline.measures.baseline import build_baseline, describe_baseline, write_baseline
    from pipeline.results import RunFolder
    from pipeline.run import run_session

    runs = []
    cancelled = listen_for_signals()
    for number, path in enumerate(options.sessions, start=1):
        run = RunFolder(path)
        if not run.run_json.is_file():
            print(f"{number} of {len(options.sessions)}: {path}", flush=True)
            run = run_session(path, path / "run", is_cancelled=cancelled.is_set)
        runs.append(run)
    baseline = build_baseline(runs, name=options.name, licence=options.licence, provenance=options.provenance)
    write_baseline(options.out, baseline)
    print(describe_baseline(baseline))
    print(f"Done: {options.out}")


def _simulate_baseline(options: argparse.Namespace) -> None:
    from pipeline.measures.baseline import BUILTIN_BASELINE, describe_baseline, write_baseline
    from pipeline.synth.people import build_simulated_baseline

    out = options.out or BUILTIN_BASELINE
    report = Reporter("baseline", make_plain_listener())
    baseline = build_simulated_baseline(options.folder, report, options.people, options.seconds)
    write_baseline(out, baseline)
    print(describe_baseline(baseline))
    print(f"Done: {out}")
