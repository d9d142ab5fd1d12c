"""``run``: a session folder into a run folder."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.terminal import listen_for_signals, print_json

if TYPE_CHECKING:
    from pipeline.run import RunProgress


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
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
    parser.add_argument("--parts", type=Path, help="folder where others leave stages that they do meanwhile")
    parser.add_argument(
        "--only", metavar="STAGE", help="work one stage alone (pose:left) and leave it in --out as a part"
    )
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input closes, whatever is at work"
    )
    parser.set_defaults(work=_run)


def _run(options: argparse.Namespace) -> None:
    from pipeline.run import run_alone, run_session

    if options.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    out = options.out or options.session / "run"
    asked = {"detector": options.detector, "estimator": options.estimator}
    networks = {role: name for role, name in asked.items() if name}
    cancelled = listen_for_signals()
    if options.only:
        run_alone(options.session, options.only, out, print_progress, cancelled.is_set, options.workers)
        return
    if options.json_progress:
        run_session(
            options.session, out, print_progress, cancelled.is_set, options.workers, networks, options.parts
        )
        print_json(type="done", run=str(out))
        return
    with Bar() as bar:
        run_session(
            options.session, out, bar.show, cancelled.is_set, options.workers, networks, options.parts
        )
    print(f"Done: {out}")


def _end_with_parent() -> None:
    """Whoever started this holds its standard input open; it leads its own group, with its workers in it."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


class Bar:
    """A progress bar for the terminal; into a file or a pipe, a line a stage."""

    def __enter__(self) -> Bar:
        from tqdm import tqdm

        self.stage = ""
        layout = "{percentage:3.0f}% |{bar:30}| {elapsed} {desc}"
        self.bar = tqdm(total=100, bar_format=layout, disable=not sys.stderr.isatty())
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def show(self, progress: RunProgress) -> None:
        """Hear of progress."""
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


def print_progress(progress: RunProgress) -> None:
    """Progress as one JSON object a line, for the program that watches."""
    if progress.warning:
        print_json(type="warning", stage=progress.stage, message=progress.message)
        return
    print_json(
        type="progress",
        stage=progress.stage,
        fraction=round(progress.fraction, 4),
        overall=round(progress.overall, 4),
        message=progress.message or progress.label,
        eta_s=None if math.isnan(progress.eta_s) else round(progress.eta_s, 1),
    )
