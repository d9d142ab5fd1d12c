"""``share``: what a collaborator is given of one run or of two."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.commands.terminal import print_json


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("share", help="take out of a run or two what a collaborator may see")
    parser.add_argument("runs", type=Path, nargs="+", help="one run folder, or two, the earlier first")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument(
        "--keep",
        nargs="*",
        default=[],
        choices=("pseudonym", "shape", "video", "notes"),
        help="let through what is left out otherwise",
    )
    parser.add_argument("--mark", default="", help="printed into the video: a code and a date")
    parser.add_argument("--notes", type=Path, help="JSON file with the timelines' notes, a list a run")
    parser.add_argument(
        "--json-progress", action="store_true", help="say the end or the error as one JSON object"
    )
    parser.set_defaults(work=_share)


def _share(options: argparse.Namespace) -> None:
    from pipeline.files import read_json
    from pipeline.results import RunFolder
    from pipeline.sharing import share_runs

    notes = read_json(options.notes) if options.notes else []
    share_runs([RunFolder(run) for run in options.runs], options.out, options.keep, options.mark, notes)
    if options.json_progress:
        print_json(type="done", out=str(options.out))
    else:
        print(f"Done: {options.out}")
