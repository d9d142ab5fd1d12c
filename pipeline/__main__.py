"""The command line: ``python -m pipeline COMMAND``; ``--help`` says the rest.

Exit codes: 0 done, 2 something that the person can mend (said in words), 28 the disk is so full that not even
that could be said, 130 cancelled, 141 whoever read the output has stopped reading.
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import sys

from pipeline.commands import (
    baseline,
    evaluate,
    export,
    finish_weights,
    hand_model,
    models,
    overlay,
    photos,
    reliability,
    rig,
    run,
    score,
    share,
    study,
    synth,
    train,
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
    study,
    baseline,
    reliability,
    rig,
    models,
    train,
    finish_weights,
    hand_model,
)
"""In the order of the help."""

EXIT_ERROR = 2
EXIT_DISK_FULL = errno.ENOSPC
EXIT_CANCELLED = 130
EXIT_NOT_READ = 141


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do it, and return the exit code."""
    options = _make_parser().parse_args(arguments)
    try:
        return _work(options)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _let_go_of_output()  # what is left in its buffer would be tried again
        return EXIT_DISK_FULL


def _work(options: argparse.Namespace) -> int:
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
    _let_go_of_output()
    return True


def _let_go_of_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_command(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
