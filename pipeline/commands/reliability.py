"""``reliability``: measurement error from test-retest recordings."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from pipeline.hand.joints import SIDES


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("reliability", help="measurement error from people recorded twice or more")
    parser.add_argument(
        "runs", type=Path, nargs="+", help="run folders, in the order in which they were made"
    )
    parser.add_argument("--out", type=Path, required=True, help="the file that REDYS_RELIABILITY then names")
    parser.add_argument("--provenance", default="not stated", help="who was recorded, how, when")
    parser.add_argument(
        "--side", choices=SIDES, default="right", help="the hand that counts of people with both (right)"
    )
    parser.add_argument("--json", action="store_true", help="print what is in the file in place of a table")
    parser.set_defaults(work=_work)


def _work(options: argparse.Namespace) -> None:
    from pipeline.files import to_plain
    from pipeline.measures.reliability import describe_reliability, read_study, work_out_reliability
    from pipeline.measures.reliability_types import write_reliability

    found = work_out_reliability(read_study(options.runs), options.provenance, options.side)
    write_reliability(options.out, found)
    if options.json:
        print(json.dumps(to_plain(asdict(found)), ensure_ascii=False))
    else:
        print(describe_reliability(found))
        print(f"Done: {options.out}")
