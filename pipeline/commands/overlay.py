"""``overlay``: each camera's video with the hand drawn in."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.commands.terminal import listen_for_signals, make_plain_listener
from pipeline.progress import Reporter


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("overlay", help="write each camera's video with the hand drawn in")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--out", type=Path, help="folder for front.mp4, ... (default: RUN/overlay)")
    parser.add_argument("--session", type=Path, help="folder of the recordings (default: beside the run)")
    parser.set_defaults(work=_overlay)


def _overlay(options: argparse.Namespace) -> None:
    from pipeline.pose.overlay import write_overlays
    from pipeline.results import RunFolder

    cancelled = listen_for_signals()
    report = Reporter("overlay", make_plain_listener(), cancelled.is_set)
    out = options.out or options.run / "overlay"
    for path in write_overlays(RunFolder(options.run), out, options.session, report):
        print(f"Done: {path}")
