"""The command line: ``python -m records COMMAND``; ``--help`` says the rest.

Exit codes: 0 done, 2 something that the person can mend (said in words).
"""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import sys
from pathlib import Path

from pipeline.errors import RedysError
from records import get_records
from records.audit import read_head
from records.users import ROLES

EXIT_ERROR = 2


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do it, and return the exit code."""
    options = _make_parser().parse_args(arguments)
    try:
        options.work(options)
    except RedysError as error:
        print(f"Stopped: {error.what}", file=sys.stderr)
        if error.advice:
            print(f"What to do: {error.advice}", file=sys.stderr)
        return EXIT_ERROR
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m records", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    add = commands.add_parser("add", help="take a session folder into the worklist")
    add.add_argument("session", type=Path)
    add.add_argument("--run-out", type=Path, help="a run folder of it that is finished already")
    add.add_argument("--title", default="")
    add.set_defaults(work=_add)

    user = commands.add_parser("add-user", help="let somebody sign in, or give them a new password")
    user.add_argument("name")
    user.add_argument("--role", choices=ROLES, help="by default clinician, or as it was")
    user.set_defaults(work=_add_user)

    verify = commands.add_parser("audit-verify", help="walk the audit and say whether it is what was written")
    verify.add_argument("--head", metavar="COUNT:DIGEST", help="a head noted earlier, which must still stand")
    verify.set_defaults(work=_verify_audit)

    head = commands.add_parser("audit-head", help="print the audit's end, to be noted away from this machine")
    head.set_defaults(work=lambda options: print(get_records().audit.head()))

    supervise = commands.add_parser("supervise", help="see a run through, and then those that wait")
    supervise.add_argument("run_id")
    supervise.set_defaults(work=_supervise)

    check = commands.add_parser("check", help="say in JSON what is wrong with a session folder")
    check.add_argument("session", type=Path)
    check.set_defaults(work=_check)

    look = commands.add_parser("look", help="say in JSON what one file is, called NAME by who sent it")
    look.add_argument("file", type=Path)
    look.add_argument("name")
    look.add_argument("--board", metavar="9x6", default="", help="the checkerboard's inner corners")
    look.set_defaults(work=_look)

    convert = commands.add_parser("convert-rig", help="say in JSON whether a rig could be read into OUT")
    convert.add_argument("file", type=Path)
    convert.add_argument("out", type=Path)
    convert.set_defaults(work=_convert_rig)

    demo = commands.add_parser("demo", help="make and work through a made person with two visits")
    demo.set_defaults(work=_demo)

    upgrade = commands.add_parser("migrate", help="bring the database's tables to the newest version")
    upgrade.set_defaults(work=lambda options: get_records().engine)
    return parser


def _add(options: argparse.Namespace) -> None:
    """Print the recording's address within the site, for scripts to open."""
    recording = get_records().add_recording(options.session, options.title, actor="command")
    if options.run_out is not None:
        get_records().add_finished_run(recording.id, options.run_out, actor="command")
    print(f"/recording/{recording.id}")


def _demo(options: argparse.Namespace) -> None:
    """Print the addresses of the demo's report and of its comparison."""
    from records.demo import make_demo  # here, since making sessions loads OpenCV

    settings = get_records().settings
    first, second = make_demo(get_records())
    home = f"http://{settings.host}:{settings.port}"
    print("\nThe demo, once the dashboard is up:")
    print(f"  first visit   {home}/recording/{first.id}")
    print(f"  second visit  {home}/recording/{second.id}")
    print(f"  both          {home}/compare/{first.id}/{second.id}\n", flush=True)


def _add_user(options: argparse.Namespace) -> None:
    password = os.environ.get("REDYS_PASSWORD") or getpass.getpass(f"Password for {options.name}: ")
    user = get_records().users.add(options.name, password, options.role)
    print(f"{user.name} may sign in as {user.role}.")


def _verify_audit(options: argparse.Namespace) -> None:
    expected = read_head(options.head) if options.head else None
    head = get_records().audit.verify(expected)
    print(f"The audit is whole: {head.count} events.\n{head}")


def _supervise(options: argparse.Namespace) -> None:
    from records.supervise import drain

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    drain(get_records(), options.run_id)


def _check(options: argparse.Namespace) -> None:
    from records.checking import print_checks

    print_checks(options.session)


def _look(options: argparse.Namespace) -> None:
    from pipeline.session import Checkerboard
    from records.checking import print_look

    columns, _, rows = options.board.partition("x")
    board = Checkerboard(columns=int(columns), rows=int(rows)) if options.board else None
    print_look(options.file, options.name, board)


def _convert_rig(options: argparse.Namespace) -> None:
    from records.checking import print_conversion

    print_conversion(options.file, options.out)


if __name__ == "__main__":
    sys.exit(main())
