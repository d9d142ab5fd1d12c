"""``evaluate``: a run against the truth of its made session."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.files import write_json


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("evaluate", help="hold a run against the truth of a made session")
    parser.add_argument("run", type=Path)
    parser.add_argument("--truth", type=Path, required=True, help="folder with truth.npz and truth.json")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.set_defaults(work=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from pipeline.evaluation.made_session import evaluate
    from pipeline.results import RunFolder

    evaluation = evaluate(RunFolder(options.run), options.truth)
    print(evaluation.to_text())
    if options.json:
        write_json(options.json, evaluation.to_json())
