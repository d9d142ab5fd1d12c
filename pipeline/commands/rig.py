"""``rig``: look at a rig, or write it in another format."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
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
