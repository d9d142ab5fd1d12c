"""The command line: ``python -m records COMMAND``; ``--help`` says the rest.

Exit codes: 0 done, 2 something that the person can mend (said in words).
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import RedysError
from records import get_records
from records.audit import read_head
from records.logs import set_up_logs
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

    factor = commands.add_parser(
        "forget-second-factor", help="let somebody sign in without a code, who has lost everything"
    )
    factor.add_argument("name")
    factor.set_defaults(work=_forget_factor)

    verify = commands.add_parser("audit-verify", help="walk the audit and say whether it is what was written")
    verify.add_argument("--head", metavar="COUNT:DIGEST", help="a head noted earlier, which must still stand")
    verify.set_defaults(work=_verify_audit)

    head = commands.add_parser("audit-head", help="print the audit's end, to be noted away from this machine")
    head.set_defaults(work=lambda options: print(get_records().audit.head()))

    backup = commands.add_parser(
        "backup", help="copy everything into a folder of backups, while it is in use"
    )
    backup.add_argument("place", type=Path)
    backup.add_argument("--keep-days", type=int, default=35, help="drop older backups (default 35)")
    backup.set_defaults(work=_backup)

    restore = commands.add_parser("restore", help="put a backup in place, and erase again what was erased")
    restore.add_argument("place", type=Path)
    restore.add_argument("--backup", default="", metavar="NAME", help="which one; by default the newest")
    restore.add_argument("--replace", action="store_true", help="remove what is in the data folder now")
    restore.add_argument("--check", action="store_true", help="only read the backup and compare every byte")
    restore.set_defaults(work=_restore)

    purge = commands.add_parser("purge", help="announce what has come due, and remove what has had its time")
    purge.set_defaults(work=_purge)

    erase = commands.add_parser("erase", help="erase a person and everything that was made of them")
    erase.add_argument("pseudonym")
    erase.add_argument("--yes", action="store_true", help="do not ask again")
    erase.set_defaults(work=_erase)

    doctor = commands.add_parser("doctor", help="say what is missing for this installation to work")
    doctor.set_defaults(work=_doctor)

    store = commands.add_parser(
        "store", help="send what waits to the store, and say whether it has everything"
    )
    store.add_argument("--mend", action="store_true", help="send again what is not whole, from copies here")
    store.add_argument(
        "--tidy", action="store_true", help="drop copies of what was erased, and beyond the bound"
    )
    store.add_argument("--make", action="store_true", help="make the bucket or folder, when setting up")
    store.set_defaults(work=_store)

    supervise = commands.add_parser("supervise", help="see a run through, and then those that wait")
    supervise.add_argument("run_id")
    supervise.set_defaults(work=_supervise)

    check = commands.add_parser("check", help="say in JSON what is wrong with a session folder")
    check.add_argument("session", type=Path)
    check.add_argument("--sent", action="store_true", help="with the limits for files that were sent")
    check.set_defaults(work=_check)

    look = commands.add_parser("look", help="say in JSON what one file is, called NAME by who sent it")
    look.add_argument("file", type=Path)
    look.add_argument("name")
    look.add_argument("--board", metavar="9x6", default="", help="the checkerboard's inner corners")
    look.add_argument("--sent", action="store_true", help="with the limits for files that were sent")
    look.set_defaults(work=_look)

    strip = commands.add_parser(
        "strip", help="write files without what they tell of place and person: FILE OUT FILE OUT ..."
    )
    strip.add_argument("paths", type=Path, nargs="+")
    strip.set_defaults(work=_strip)

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
    get_records().store.push_waiting()
    print(f"/recording/{recording.id}")


def _demo(options: argparse.Namespace) -> None:
    """Print the addresses of the demo's report and of its comparison."""
    from records.demo import make_demo  # here, since making sessions loads OpenCV

    settings = get_records().settings
    first, second = make_demo(get_records())
    get_records().store.push_waiting()
    home = f"http://{settings.host}:{settings.port}"
    print("\nThe demo, once the dashboard is up:")
    print(f"  first visit   {home}/recording/{first.id}")
    print(f"  second visit  {home}/recording/{second.id}")
    print(f"  both          {home}/compare/{first.id}/{second.id}\n", flush=True)


def _add_user(options: argparse.Namespace) -> None:
    password = os.environ.get("REDYS_PASSWORD") or getpass.getpass(f"Password for {options.name}: ")
    user = get_records().users.add(options.name, password, options.role)
    print(f"{user.name} may sign in as {user.role}.")


def _forget_factor(options: argparse.Namespace) -> None:
    records = get_records()
    user = next((each for each in records.users.list() if each.name == options.name), None)
    if user is None or not user.has_totp:
        raise RedysError(f"{options.name} has no second factor.", "Look at the list under /admin.")
    records.second_factor.remove(user.id, "command")
    print(f"{user.name} signs in with the password alone, until a second factor is set up again.")


def _verify_audit(options: argparse.Namespace) -> None:
    expected = read_head(options.head) if options.head else None
    head = get_records().audit.verify(expected)
    print(f"The audit is whole: {head.count} events.\n{head}")


def _backup(options: argparse.Namespace) -> None:
    from records.backup import make_backup

    done = make_backup(get_records(), options.place, options.keep_days)
    print(
        f"{done.folder}: the database and {done.files} files, {done.size_bytes / 1e6:.1f} MB, "
        f"of which {done.copied_bytes / 1e6:.1f} MB are new."
    )
    for name in done.dropped:
        print(f"Dropped {name}, which was older than {options.keep_days} days.")
    _say_outside("Not in the backup, since they lie outside the data folder", done.outside)


def _restore(options: argparse.Namespace) -> None:
    from records.backup import check_backup, find_backup, restore_backup

    if options.check:
        folder = find_backup(options.place, options.backup)
        print(f"{folder} is whole: the database and {check_backup(folder)} files.")
        return
    done = restore_backup(get_records(), options.place, options.backup, options.replace)
    print(
        f"Restored as of {done.made}: the database and {done.files} files. "
        f"Erased again: {done.erased.recordings} recordings.\n"
        "All sessions and share links are ended. Passwords are those of the backup.\n"
        f"Roles and disabled names as they stood last: {done.restood} were changed back."
    )
    if done.unreadable:
        print(
            "Second factors that this SECRET_KEY cannot read: "
            f"{', '.join(done.unreadable)}.\n"
            "Give the SECRET_KEY (or the file secret_key) of before, or let them be set up again: "
            "python -m records forget-second-factor NAME"
        )
    _say_outside("Not in the backup; put them back by other means", done.outside)


def _purge(options: argparse.Namespace) -> None:
    done = get_records().retention.purge("command")
    get_records().drafts.sweep()
    print(f"Announced: {done.noticed}. Removed for good: {done.erased.recordings} recordings.")
    _say_outside("Outside the data folder, yours to delete", done.erased.outside)


def _erase(options: argparse.Namespace) -> None:
    retention = get_records().retention
    plan = retention.plan_erasure(options.pseudonym)
    print(f"{plan.pseudonym}: {plan.recordings} recordings, {plan.runs} runs, {plan.scores} scores.")
    if plan.rigs:
        print(f"These rigs stay under new names: {', '.join(plan.rigs)}.")
    if not options.yes and input("Type the pseudonym again to erase them for good: ") != plan.pseudonym:
        raise RedysError("Nothing was erased: the pseudonym was not the same.", "Try again.")
    done = retention.erase_subject(plan.pseudonym, "command")
    print(
        f"Erased: {done.recordings} recordings and {done.runs} runs, {done.size_bytes / 1e6:.1f} MB.\n"
        "Backups hold them until they are dropped; a restore erases them again."
    )
    _say_outside("Outside the data folder, yours to delete", done.outside)


def _say_outside(words: str, folders: Iterable[object]) -> None:
    found = list(folders)
    if found:
        print(f"{words}:")
    for folder in found:
        print(f"  {folder}")


def _doctor(options: argparse.Namespace) -> None:
    from records.doctor import examine

    found = examine(get_records())
    for each in found:
        print(f"{each.level:<8} {each.part}: {each.what}")
        if each.advice:
            print(f"         {each.advice}")
    missing = sum(each.level == "missing" for each in found)
    if missing:
        raise RedysError(f"{missing} of {len(found)} parts are missing.", "Mend what is said above.")


def _store(options: argparse.Namespace) -> None:
    store = get_records().store
    if not store.is_on:
        print("The data folder is the store (no REDYS_STORE_URL).")
        return
    if options.make:
        store.objects.make()
    store.check()
    found, sent = store.adopt(), 0
    while count := store.push_waiting():
        sent += count
    print(f"Sent: {sent} folders and files, {found} of which the store had never heard of.")
    if options.tidy:
        store.tidy()
    faults = store.verify(options.mend)
    for fault in faults:
        print(f"missing  {fault.key}: {fault.what}")
    kept, waiting = len(store.list_keys()), store.count_waiting()
    print(f"Kept: {kept} folders and files. Newer on other machines: {waiting}.")
    if faults:
        raise RedysError(
            f"{len(faults)} files are not whole in the store.",
            "Run `python -m records store --mend` on each machine that may have them; else restore a backup.",
        )


def _supervise(options: argparse.Namespace) -> None:
    from records.supervise import drain

    records = get_records()
    set_up_logs(records.settings.log == "json")
    drain(records, options.run_id)
    records.retention.purge_daily()


def _check(options: argparse.Namespace) -> None:
    from records.checking import print_checks

    print_checks(options.session, options.sent)


def _look(options: argparse.Namespace) -> None:
    from pipeline.session import Checkerboard
    from records.checking import print_look

    columns, _, rows = options.board.partition("x")
    board = Checkerboard(columns=int(columns), rows=int(rows)) if options.board else None
    print_look(options.file, options.name, board, options.sent)


def _strip(options: argparse.Namespace) -> None:
    from records.checking import print_stripped

    print_stripped(options.paths)


def _convert_rig(options: argparse.Namespace) -> None:
    from records.checking import print_conversion

    print_conversion(options.file, options.out)


if __name__ == "__main__":
    sys.exit(main())
