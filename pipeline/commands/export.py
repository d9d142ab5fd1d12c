"""``export``: a run's numbers in formats of other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.commands.terminal import print_json


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
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
        "--recoded",
        type=Path,
        metavar="FILE",
        help="JSON with a summary in the place of the run's and a day: leaves out all that a person typed",
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
    run = RunFolder(options.run)
    export_run(run, formats, options.out, options.deidentify, options.own_shape, options.recoded)
    if options.json_progress:
        print_json(type="done", out=str(options.out))
    else:
        print(f"Done: {options.out}")
