"""``study``: the numbers of many runs as long tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.commands.terminal import print_json


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("study", help="write the numbers of many runs as long tables")
    parser.add_argument("plan", type=Path, help="JSON: which runs, and the codes they go by")
    parser.add_argument("--out", type=Path, required=True, help="a file ending in .zip")
    parser.add_argument(
        "--json-progress", action="store_true", help="say the end or the error as one JSON object"
    )
    parser.set_defaults(work=_study)


def _study(options: argparse.Namespace) -> None:
    from pipeline.export.study import write_study
    from pipeline.files import read_json

    write_study(read_json(options.plan), options.out)
    if options.json_progress:
        print_json(type="done", out=str(options.out))
    else:
        print(f"Done: {options.out}")
