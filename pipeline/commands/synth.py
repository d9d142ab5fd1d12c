"""``synth``: a session folder with known truth."""

from __future__ import annotations

import argparse
import datetime
from fractions import Fraction
from pathlib import Path

from pipeline.commands.terminal import make_plain_listener
from pipeline.progress import Reporter


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
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
    make_session(options.out, spec, Reporter("synth", make_plain_listener()))
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
