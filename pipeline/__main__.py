"""The command line: ``python -m pipeline COMMAND``; ``--help`` says the rest.

Exit codes: 0 done, 2 something that the person can mend (said in words), 130 cancelled, 141 whoever read
the output has stopped reading.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import Cancelled, RedysError
from pipeline.files import write_json
from pipeline.progress import Progress, Reporter

if TYPE_CHECKING:
    from pipeline.run import RunProgress

EXIT_ERROR = 2
EXIT_CANCELLED = 130
EXIT_NOT_READ = 141


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do it, and return the exit code."""
    options = _make_parser().parse_args(arguments)
    try:
        options.work(options)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _has_lost_its_reader():
            raise
        return EXIT_NOT_READ
    except RedysError as error:
        if getattr(options, "json_progress", False):
            _print_json(type="error", what=error.what, advice=error.advice)
        else:
            print(f"\nStopped: {error.what}", file=sys.stderr)
            if error.advice:
                print(f"What to do: {error.advice}", file=sys.stderr)
        return EXIT_ERROR
    except (Cancelled, KeyboardInterrupt):
        if getattr(options, "json_progress", False):
            _print_json(type="cancelled")
        else:
            print("\nCancelled. What is finished is kept; run it again to go on.", file=sys.stderr)
        return EXIT_CANCELLED
    return 0


def _has_lost_its_reader() -> bool:
    """Whether what reads the standard output (``| head``) has gone; then nothing more is written to it."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    if not any(state & select.POLLERR for _, state in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_synth(commands)
    _add_evaluate(commands)
    _add_overlay(commands)
    _add_export(commands)
    _add_baseline(commands)
    _add_rig(commands)
    _add_models(commands)
    _add_hand_model(commands)
    return parser


# --- run -----------------------------------------------------------------------------------------


def _add_run(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("run", help="work a session folder into a run folder")
    parser.add_argument("session", type=Path, help="folder with front.mp4, left.mp4, ...")
    parser.add_argument("--out", type=Path, help="run folder (default: SESSION/run)")
    parser.add_argument("--workers", type=int, default=0, help="processes for the networks (0: cores)")
    for role in ("detector", "estimator"):
        parser.add_argument(
            f"--{role}", help=f"in place of the session's own {role}; the command models lists them"
        )
    parser.add_argument(
        "--json-progress", action="store_true", help="print progress as one JSON object a line"
    )
    parser.set_defaults(work=_run)


def _run(options: argparse.Namespace) -> None:
    from pipeline.run import run_session

    out = options.out or options.session / "run"
    asked = {"detector": options.detector, "estimator": options.estimator}
    networks = {role: name for role, name in asked.items() if name}
    cancelled = _listen_for_signals()
    if options.json_progress:
        run_session(options.session, out, _print_progress, cancelled.is_set, options.workers, networks)
        _print_json(type="done", run=str(out))
        return
    with _Bar() as bar:
        run_session(options.session, out, bar.show, cancelled.is_set, options.workers, networks)
    print(f"Done: {out}")


def _listen_for_signals() -> threading.Event:
    """An event that Ctrl-C and a polite kill set; a second Ctrl-C stops at once."""
    cancelled = threading.Event()

    def stop(number: int, frame: object) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        cancelled.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return cancelled


class _Bar:
    """A progress bar for the terminal; into a file or a pipe, a line a stage."""

    def __enter__(self) -> _Bar:
        from tqdm import tqdm

        self.stage = ""
        layout = "{percentage:3.0f}% |{bar:30}| {elapsed} {desc}"
        self.bar = tqdm(total=100, bar_format=layout, disable=not sys.stderr.isatty())
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def show(self, progress: RunProgress) -> None:
        if progress.warning:
            self.bar.write(f"Note: {progress.message}")
        elif self.bar.disable:
            if progress.stage != self.stage:
                self.stage = progress.stage
                print(f"{progress.overall:4.0%} {progress.label}", flush=True)
        else:
            left = "" if math.isnan(progress.eta_s) else f", about {progress.eta_s:.0f} s left"
            self.bar.set_description_str(f"{progress.message or progress.label}{left}", refresh=False)
            self.bar.n = round(100 * progress.overall, 1)
            self.bar.refresh()


def _print_progress(progress: RunProgress) -> None:
    if progress.warning:
        _print_json(type="warning", stage=progress.stage, message=progress.message)
        return
    _print_json(
        type="progress",
        stage=progress.stage,
        fraction=round(progress.fraction, 4),
        overall=round(progress.overall, 4),
        message=progress.message or progress.label,
        eta_s=None if math.isnan(progress.eta_s) else round(progress.eta_s, 1),
    )


def _print_json(**fields: object) -> None:
    print(json.dumps(fields, ensure_ascii=False), flush=True)


# --- synth ---------------------------------------------------------------------------------------


def _add_synth(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("synth", help="make a session folder with known truth")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--size", type=_parse_size, default=(1920, 1080), help="1920x1080")
    parser.add_argument("--fps", type=_parse_fps, default=Fraction(60000, 1001), help="59.94, 60, 30000/1001")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--healthy", dest="kind", action="store_const", const="healthy")
    kind.add_argument("--dystonic", dest="kind", action="store_const", const="dystonic")
    parser.add_argument("--severity", type=float, default=1.0, help="0 to 1, of a dystonic hand")
    parser.add_argument("--side", choices=("right", "left"), default="right")
    parser.add_argument("--seed", type=int, default=0, help="of this take: motion, noise, clocks")
    parser.add_argument("--subject", type=int, default=None, help="seed of the person (default: the seed)")
    parser.add_argument("--name", default=None, help="pseudonym in session.toml")
    parser.add_argument("--visit", type=datetime.date.fromisoformat, default=None)
    parser.add_argument("--no-calibration", action="store_true", help="leave the checkerboard take out")
    parser.add_argument("--no-noise", action="store_true", help="no sensor noise")
    parser.set_defaults(work=_synth, kind="dystonic")


def _synth(options: argparse.Namespace) -> None:
    from pipeline.synth.session import SynthSpec, make_session

    spec = SynthSpec(
        seconds=options.seconds,
        size_px=options.size,
        fps=options.fps,
        seed=options.seed,
        subject=options.seed if options.subject is None else options.subject,
        kind=options.kind,
        severity=options.severity,
        side=options.side,
        name=options.name or f"made-{options.seed if options.subject is None else options.subject}",
        visit=options.visit,
        calibration=not options.no_calibration,
        noise=not options.no_noise,
    )
    make_session(options.out, spec, Reporter("synth", _make_plain_listener()))
    print(f"Done: {options.out}")


def _parse_size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 1920x1080") from error
    if min(width, height) < 16 or width % 2 or height % 2:
        raise argparse.ArgumentTypeError(f"{text}: width and height must be even and at least 16")
    return width, height


def _parse_fps(text: str) -> Fraction:
    """A frame rate; 29.97, 59.94 and 119.88 mean the exact 30000/1001 and so on."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text} is not a frame rate") from error
    for whole in (24, 30, 48, 60, 120, 240):
        if abs(rate - Fraction(whole * 1000, 1001)) < Fraction(1, 100) and rate != whole:
            return Fraction(whole * 1000, 1001)
    if not 1 <= rate <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a frame rate between 1 and 1000")
    return rate


def _make_plain_listener() -> Callable[[Progress], None]:
    last = -1

    def hear(progress: Progress) -> None:
        nonlocal last
        if progress.warning:
            print(f"Note: {progress.message}", flush=True)
        elif (tenth := int(progress.fraction * 10)) != last:
            last = tenth
            print(f"{10 * tenth:3d}% {progress.message}", flush=True)

    return hear


# --- evaluate ------------------------------------------------------------------------------------


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("evaluate", help="hold a run against the truth of a made session")
    parser.add_argument("run", type=Path)
    parser.add_argument("--truth", type=Path, required=True, help="folder with truth.npz and truth.json")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.set_defaults(work=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from pipeline.evaluate import evaluate
    from pipeline.results import RunFolder

    evaluation = evaluate(RunFolder(options.run), options.truth)
    print(evaluation.to_text())
    if options.json:
        write_json(options.json, evaluation.to_json())


# --- overlay -------------------------------------------------------------------------------------


def _add_overlay(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("overlay", help="write each camera's video with the hand drawn in")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--out", type=Path, help="folder for front.mp4, ... (default: RUN/overlay)")
    parser.add_argument("--session", type=Path, help="folder of the recordings (default: beside the run)")
    parser.set_defaults(work=_overlay)


def _overlay(options: argparse.Namespace) -> None:
    from pipeline.pose.overlay import write_overlays
    from pipeline.results import RunFolder

    cancelled = _listen_for_signals()
    report = Reporter("overlay", _make_plain_listener(), cancelled.is_set)
    out = options.out or options.run / "overlay"
    for path in write_overlays(RunFolder(options.run), out, options.session, report):
        print(f"Done: {path}")


# --- export --------------------------------------------------------------------------------------


def _add_export(commands: argparse._SubParsersAction) -> None:
    from pipeline.export.formats import FORMATS

    parser = commands.add_parser("export", help="write a run's numbers in formats of other programs")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--format",
        dest="formats",
        nargs="+",
        required=True,
        metavar="FORMAT",
        choices=(*FORMATS, "all"),
        help=f"one or more of {', '.join(FORMATS)}, or all",
    )
    parser.add_argument("--out", type=Path, required=True, help="a new folder, or a file ending in .zip")
    parser.add_argument(
        "--deidentify",
        action="store_true",
        help="leave out pseudonym, date, cameras' names and the hand's proportions",
    )
    parser.add_argument(
        "--own-shape", action="store_true", help="keep the person's own shape in the moving 3D hand"
    )
    parser.add_argument(
        "--json-progress", action="store_true", help="say the end or the error as one JSON object"
    )
    parser.set_defaults(work=_export)


def _export(options: argparse.Namespace) -> None:
    from pipeline.export.bundle import export_run
    from pipeline.export.formats import FORMATS
    from pipeline.results import RunFolder

    formats = list(FORMATS) if "all" in options.formats else options.formats
    export_run(RunFolder(options.run), formats, options.out, options.deidentify, options.own_shape)
    if options.json_progress:
        _print_json(type="done", out=str(options.out))
    else:
        print(f"Done: {options.out}")


# --- baseline ------------------------------------------------------------------------------------


def _add_baseline(commands: argparse._SubParsersAction) -> None:
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
    cancelled = _listen_for_signals()
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
    report = Reporter("baseline", _make_plain_listener())
    baseline = build_simulated_baseline(options.folder, report, options.people, options.seconds)
    write_baseline(out, baseline)
    print(describe_baseline(baseline))
    print(f"Done: {out}")


# --- rig -----------------------------------------------------------------------------------------


def _add_rig(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("rig", help="look at a rig, or write it in another format")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="cameras, errors, verdict")
    show.add_argument("file", type=Path, help="a .json, .yaml (OpenCV) or .toml (aniposelib)")
    show.set_defaults(work=_show_rig)
    convert = actions.add_parser("convert", help="write a rig in the format that OUT's suffix names")
    convert.add_argument("file", type=Path, metavar="IN")
    convert.add_argument("out", type=Path, metavar="OUT")
    convert.set_defaults(work=_convert_rig)


def _show_rig(options: argparse.Namespace) -> None:
    from pipeline.calibration.describe import describe_rig
    from pipeline.calibration.formats import read_rig_file

    print(describe_rig(read_rig_file(options.file)))


def _convert_rig(options: argparse.Namespace) -> None:
    from pipeline.calibration.formats import read_rig_file, write_rig_file

    rig = read_rig_file(options.file)
    write_rig_file(options.out, rig)
    if options.out.suffix.lower() != ".json":
        print("Lenses and places only: this format has no room for errors, coverage and verdict.")
    elif options.file.suffix.lower() != ".json":
        for reason in rig.reasons:
            print(f"Note: {reason}")
    print(f"Done: {options.out}")


# --- models --------------------------------------------------------------------------------------


def _add_models(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "models", help="the networks: ready or what is missing, place, licence, SHA-256"
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(work=_show_models)


def _show_models(options: argparse.Namespace) -> None:
    from pipeline.pose.registry import list_models

    models = list_models()
    if options.json:
        print(json.dumps(models, indent=2, ensure_ascii=False))
        return
    print(f"{'ROLE':11}{'NAME':11}{'READY':7}{'LICENCE'}")
    for model in models:
        ready = "yes" if model["ready"] else "no"
        print(f"{model['role']:11}{model['name']:11}{ready:7}{model['licence']}")
        notes = [model["title"], model["fault"] or model["place"]]
        notes += [f"SHA-256 {digest} {name}" for name, digest in model["sha256"].items()]
        print(*(f"{'':22}{note}" for note in notes), sep="\n")


# --- hand-model ----------------------------------------------------------------------------------


def _add_hand_model(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("hand-model", help="make the built-in hand from its npm package")
    parser.set_defaults(work=_make_hand_model)


def _make_hand_model(options: argparse.Namespace) -> None:
    from pipeline.hand.builtin import GLB_IN_PACKAGE, make_builtin_hand
    from settings import get_settings

    settings = get_settings()
    out = settings.models_dir / "builtin" / "hand.npz"
    make_builtin_hand(settings.node_modules / GLB_IN_PACKAGE, out)
    print(f"Done: {out}")


if __name__ == "__main__":
    sys.exit(main())
