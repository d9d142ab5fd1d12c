"""The command line: ``python -m pipeline COMMAND``; ``--help`` says the rest.

Exit codes: 0 done, 2 something that the person can mend (said in words), 130 cancelled, 141 whoever read
the output has stopped reading.
"""

from __future__ import annotations

import argparse
import os
import select
import sys

from pipeline.commands import (
    baseline,
    evaluate,
    export,
    hand_model,
    models,
    overlay,
    photos,
    reliability,
    rig,
    run,
    score,
    share,
    synth,
)
from pipeline.commands.terminal import print_json
from pipeline.errors import Cancelled, RedysError

COMMANDS = (
    run,
    photos,
    synth,
    evaluate,
    score,
    overlay,
    export,
    share,
    baseline,
    reliability,
    rig,
    models,
    hand_model,
)
"""In the order of the help."""

EXIT_ERROR = 2
EXIT_CANCELLED = 130
EXIT_NOT_READ = 141


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do it, and return the exit code."""
    options = _make_parser().parse_args(arguments)
    try:
        options.work(options)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _has_lost_its_reader():
            raise
        return EXIT_NOT_READ
    except RedysError as error:
        if getattr(options, "json_progress", False):
            print_json(type="error", what=error.what, advice=error.advice)
        else:
            print(f"\nStopped: {error.what}", file=sys.stderr)
            if error.advice:
                print(f"What to do: {error.advice}", file=sys.stderr)
        return EXIT_ERROR
    except (Cancelled, KeyboardInterrupt):
        if getattr(options, "json_progress", False):
            print_json(type="cancelled")
        else:
            print("\nCancelled. Start it again: a run goes on where it stopped.", file=sys.stderr)
        return EXIT_CANCELLED
    return 0


def _has_lost_its_reader() -> bool:
    """Whether what reads the standard output (``| head``) has gone; then nothing more is written to it."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    if not any(state & select.POLLERR for _, state in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_command(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
