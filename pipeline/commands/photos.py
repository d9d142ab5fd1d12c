"""``photos``: a folder of still pictures into a run folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.commands.run import Bar, print_progress
from pipeline.commands.terminal import listen_for_signals, print_json


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("photos", help="find hands in up to 50 still pictures")
    parser.add_argument("folder", type=Path, help="folder with pictures, or with photos/ and photos.toml")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    for role in ("detector", "estimator"):
        parser.add_argument(
            f"--{role}", help=f"in place of the set's own {role}; the command models lists them"
        )
    parser.add_argument(
        "--json-progress", action="store_true", help="print progress as one JSON object a line"
    )
    parser.set_defaults(work=_work)


def _work(options: argparse.Namespace) -> None:
    from pipeline.photos.work import run_photos

    asked = {"detector": options.detector, "estimator": options.estimator}
    networks = {role: name for role, name in asked.items() if name}
    cancelled = listen_for_signals()
    if options.json_progress:
        run_photos(options.folder, options.out, print_progress, cancelled.is_set, networks)
        print_json(type="done", run=str(options.out))
        return
    with Bar() as bar:
        run_photos(options.folder, options.out, bar.show, cancelled.is_set, networks)
    print(f"Done: {options.out}")
