"""Links for collaborators: opened so often and so long as was said, and not a second or a view longer."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from records import NotFound, Records, models, shares
from records.addresses import cut_address
from records.errors import ShareError
from records.rows import Role
from records.shares import LOCAL, Opened, Refused, hash_token, share_command
from tests.records.site import make_session

MAKE = 'mkdir "$0" && echo "{}" > "$0/share.json"'
SECOND = datetime.timedelta(seconds=1)
PASSWORD = "correct horse"

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def let(records: Records, code: str = MAKE) -> None:
    """Have a shell do ``code`` instead of making the folder ``$0``."""
    records.shares.command = lambda runs, out, *more: ["/bin/sh", "-c", code, str(out)]


@pytest.fixture
def recording_id(records: Records, tmp_path: Path) -> str:
    let(records)
    return add_recording(records, tmp_path / "one", "2026-03-02")


def add_recording(records: Records, folder: Path, visit: str) -> str:
    row = records.add_recording(make_session(folder, f'subject = "P-1"\nvisit = {visit}\n'))
    run = records.submit_run(row.id)
    with records.writing() as database:
        records.change(database, models.Run.id == run.id, state="done")
    return row.id


def make(records: Records, recording_id: str, **more: object) -> tuple[str, str]:
    row, token = records.shares.create([recording_id], **more)  # type: ignore[arg-type]
    records.shares.wait(row.id, 20)
    return row.id, token


class Clock:
    """A clock that the test sets."""

    def __init__(self, at: datetime.datetime) -> None:
        self.at = at

    def __call__(self) -> datetime.datetime:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock(datetime.datetime(2027, 5, 5, 12, tzinfo=datetime.UTC))
    monkeypatch.setattr(shares, "now", found)
    return found


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


def actions(records: Records) -> list[tuple[str, str]]:
    return [(row.action, row.result) for row in reversed(records.audit.list().rows) if "share" in row.action]


def test_a_link_opens_and_neither_token_nor_key_is_kept(records: Records, recording_id: str) -> None:
    link_id, token = make(records, recording_id)
    opened = records.shares.open(token, address="203.0.113.77")
    assert isinstance(opened, Opened)
    assert len(token) == len(opened.key) == 43
    found = records.shares.check(opened.key)
    assert found is not None
    assert found.link_id == link_id
    row = records.shares.get(link_id)
    assert (row.used, row.state, row.openings[0].address) == (1, "open", "203.0.113.0/24")
    records.shares.note_play(found)
    records.shares.note_play(found)
    with records.reading() as database:
        link = database.scalars(select(models.ShareLink)).one()
        opening = database.scalars(select(models.ShareOpening)).one()
    stored = repr([vars(link), vars(opening)])
    assert token not in stored
    assert opened.key not in stored
    assert link.token_hash == hash_token(token)
    assert actions(records) == [("share.create", "ok"), ("share.open", "ok"), ("share.play", "ok")]
    records.audit.verify()


def test_50_at_once_open_a_link_of_one_view_once(records: Records, recording_id: str) -> None:
    link_id, token = make(records, recording_id, max_views=1)
    together = threading.Barrier(50)

    def open_it(_: int) -> bool:
        together.wait()
        return isinstance(records.shares.open(token), Opened)

    with ThreadPoolExecutor(50) as people:
        assert sum(people.map(open_it, range(50))) == 1
    row = records.shares.get(link_id)
    assert (row.used, row.state, len(row.openings)) == (1, "used up", 1)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles", "Europe/Berlin"])
def test_a_link_ends_to_the_second_in_every_zone(
    records: Records, recording_id: str, clock: Clock, set_zone: pytest.MonkeyPatch, zone: str
) -> None:
    set_zone.setenv("TZ", zone)
    time.tzset()
    # Over a leap day, the beginning and the end of summer time here and there, and the year's end.
    for made in (
        "2028-02-28T23:59:59", "2027-03-13T09:30:00", "2027-11-06T09:30:00", "2027-03-27T00:30:00",
        "2027-10-30T23:30:00", "2027-12-31T15:00:00",
    ):  # fmt: skip
        clock.at = datetime.datetime.fromisoformat(made).replace(tzinfo=datetime.UTC)
        link_id, token = make(records, recording_id, days=2)
        end = clock.at + datetime.timedelta(days=2)
        assert records.shares.get(link_id).expires == end
        clock.at = end - SECOND
        opened = records.shares.open(token)
        assert isinstance(opened, Opened)
        assert opened.expires == end
        assert records.shares.check(opened.key) is not None
        clock.at = end
        assert records.shares.check(opened.key) is None
        assert records.shares.open(token) == Refused("closed")
        assert records.shares.get(link_id).state == "expired"
        clock.at = end + SECOND
        assert records.shares.open(token) == Refused("closed")


@on_sqlite
def test_a_clock_that_is_set_back_opens_nothing_again(
    records: Records, recording_id: str, clock: Clock
) -> None:
    start = clock.at
    _, token = make(records, recording_id, days=1)
    clock.at = start + datetime.timedelta(hours=20)
    assert isinstance(records.shares.open(token), Opened)
    clock.at = start + datetime.timedelta(days=1)
    assert records.shares.open(token) == Refused("closed")
    clock.at = start + datetime.timedelta(hours=1)
    assert records.shares.open(token) == Refused("closed")


@on_sqlite
def test_a_clock_that_is_set_back_gives_an_opening_no_time_back(
    records: Records, recording_id: str, clock: Clock
) -> None:
    start = clock.at
    _, token = make(records, recording_id)
    opened = records.shares.open(token)
    assert isinstance(opened, Opened)
    assert opened.expires == start + datetime.timedelta(minutes=30)
    clock.at = start + datetime.timedelta(minutes=29, seconds=59)
    assert records.shares.check(opened.key) is not None
    clock.at = start + datetime.timedelta(minutes=30)
    assert records.shares.check(opened.key) is None
    clock.at = start - datetime.timedelta(days=3)
    assert records.shares.check(opened.key) is None


def test_revoking_ends_what_is_open_at_once_and_removes_the_folder(
    records: Records, recording_id: str
) -> None:
    link_id, token = make(records, recording_id)
    opened = records.shares.open(token)
    assert isinstance(opened, Opened)
    found = records.shares.check(opened.key)
    assert found is not None
    assert found.folder.is_dir()
    with pytest.raises(NotFound):
        records.shares.revoke(link_id, "somebody else")
    assert records.shares.check(opened.key) is not None
    records.shares.revoke(link_id)
    assert records.shares.check(opened.key) is None
    assert records.shares.open(token) == Refused("closed")
    assert not found.folder.exists()
    assert ("share.revoke", "ok") in actions(records)


@on_sqlite
def test_what_is_still_being_prepared_does_not_come_back_after_revoking(
    records: Records, recording_id: str, tmp_path: Path
) -> None:
    let(records, f'echo on > {tmp_path}/begun; sleep 0.5; mkdir -p "$0"; echo "{{}}" > "$0/share.json"')
    row, _ = records.shares.create([recording_id])
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    records.shares.revoke(row.id)
    time.sleep(0.8)
    assert list((records.settings.data_dir / "shares").iterdir()) == []


@on_sqlite
def test_all_of_ones_links_end_together_and_nobody_elses(records: Records, recording_id: str) -> None:
    mine = [make(records, recording_id)[1] for _ in range(2)]
    other = records.users.add("other", "a long enough sentence").id
    _, theirs = make(records, recording_id, actor=other)
    assert records.shares.revoke_all(LOCAL) == 2
    assert [records.shares.open(token) for token in mine] == [Refused("closed")] * 2
    assert isinstance(records.shares.open(theirs), Opened)
    assert [row.owner for row in records.shares.list_own(other)] == [other]


def test_the_links_of_who_was_disabled_open_nothing(records: Records, recording_id: str) -> None:
    owner = records.users.add("owner", "a long enough sentence").id
    link_id, token = make(records, recording_id, actor=owner)
    opened = records.shares.open(token)
    assert isinstance(opened, Opened)
    with records.writing() as database:
        user = database.get(models.User, owner)
        assert user is not None
        user.disabled = True
    assert records.shares.check(opened.key) is None
    assert records.shares.open(token) == Refused("closed")
    assert records.shares.get(link_id).state == "owner disabled"


@on_sqlite
@pytest.mark.parametrize("role", ["viewer", "researcher", "administrator"])
def test_the_links_of_who_may_share_no_more_open_nothing(
    records: Records, recording_id: str, role: Role
) -> None:
    owner = records.users.add("owner", "a long enough sentence").id
    _, token = make(records, recording_id, actor=owner)
    opened = records.shares.open(token)
    assert isinstance(opened, Opened)
    records.users.set_role(owner, role, "test")
    assert records.shares.check(opened.key) is None
    assert records.shares.open(token) == Refused("closed")


@on_sqlite
def test_a_link_made_while_its_recording_went_into_the_trash_opens_nothing(
    records: Records, recording_id: str
) -> None:
    _, token = make(records, recording_id)
    opened = records.shares.open(token)
    assert isinstance(opened, Opened)
    with records.writing() as database:  # as the trash does it, without the links that it knew of
        database.get_one(models.Recording, recording_id).trashed = models.now()
    assert records.shares.check(opened.key) is None
    assert records.shares.open(token) == Refused("closed")


@on_sqlite
def test_what_was_shared_without_sign_in_opens_on_this_machine_alone(
    records: Records, recording_id: str
) -> None:
    _, token = make(records, recording_id)
    records.settings = records.settings.model_copy(update={"host": "0.0.0.0"})
    assert records.shares.open(token) == Refused("closed")
    records.settings = records.settings.model_copy(update={"host": "127.0.0.1"})
    assert isinstance(records.shares.open(token), Opened)


@on_sqlite
def test_links_to_a_recording_that_goes_end_with_it(
    records: Records, recording_id: str, tmp_path: Path
) -> None:
    later = add_recording(records, tmp_path / "two", "2026-06-08")
    row, both = records.shares.create([later, recording_id])
    records.shares.wait(row.id, 20)
    assert [each.id for each in row.recordings] == [recording_id, later]
    _, alone = make(records, recording_id)
    assert records.shares.revoke_of([later], "somebody") == 1
    assert records.shares.open(both) == Refused("closed")
    assert isinstance(records.shares.open(alone), Opened)


@on_sqlite
def test_a_password_is_asked_for_and_a_wrong_one_makes_wait(records: Records, recording_id: str) -> None:
    link_id, token = make(records, recording_id, password=PASSWORD, max_views=1)
    assert records.shares.open(token) == Refused("password")
    assert records.shares.open(token, "wrong horse") == Refused("password")
    wait = records.shares.open(token, PASSWORD)
    assert isinstance(wait, Refused)
    assert wait.why == "wait"
    assert 0 < wait.wait_s <= 0.2
    time.sleep(0.25)
    assert isinstance(records.shares.open(token, PASSWORD), Opened)
    assert records.shares.get(link_id).used == 1


@pytest.mark.parametrize(
    "asked",
    [{"days": 0}, {"days": 31}, {"password": "short"}, {"max_views": 0}, {"choices": ["names"]}],
    ids=str,
)
@on_sqlite
def test_what_cannot_be_is_refused_in_words(
    records: Records, recording_id: str, asked: dict[str, object]
) -> None:
    with pytest.raises(ShareError) as error:
        records.shares.create([recording_id], **asked)  # type: ignore[arg-type]
    assert error.value.advice
    assert records.shares.list_own(LOCAL) == ()


@on_sqlite
def test_a_link_that_could_not_be_prepared_says_so_and_opens_nothing(
    records: Records, recording_id: str
) -> None:
    let(records, """echo '{"type": "error", "what": "No hand.", "advice": "Run it."}'""")
    link_id, token = make(records, recording_id)
    row = records.shares.get(link_id)
    assert (row.state, row.what, row.advice) == ("failed", "No hand.", "Run it.")
    assert records.shares.open(token) == Refused("closed")


@on_sqlite
def test_folders_of_links_that_have_ended_are_swept(
    records: Records, recording_id: str, clock: Clock
) -> None:
    make(records, recording_id, days=1)
    clock.at += datetime.timedelta(days=2)
    link_id, _ = make(records, recording_id)
    there = {path.name for path in (records.settings.data_dir / "shares").iterdir()}
    assert there == {link_id}


def test_the_process_is_told_what_was_chosen_and_nothing_of_a_person() -> None:
    command = share_command([Path("/runs/a")], Path("/out"), ["video"], "ABC234 2026-11-22", None)
    assert command[3:] == ["share", "/runs/a", "--out", "/out", "--mark", "ABC234 2026-11-22",
                           "--json-progress", "--keep", "video"]  # fmt: skip


@pytest.mark.parametrize(
    ("address", "kept"),
    [("203.0.113.77", "203.0.113.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"),
     ("::ffff:203.0.113.77", "203.0.113.0/24"), ("nonsense", "")],
)  # fmt: skip
def test_of_an_address_only_a_part_is_kept(address: str, kept: str) -> None:
    assert cut_address(address) == kept


@on_sqlite
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_the_machines_own_clock_and_zone_move_no_end(
    records: Records, recording_id: str, set_zone: pytest.MonkeyPatch, zone: str
) -> None:
    """The zone changes while links stand: what was written before is read as the same moment."""
    link_id, token = make(records, recording_id, days=1)
    before = records.shares.get(link_id)
    assert before.expires - before.created == datetime.timedelta(days=1)
    set_zone.setenv("TZ", zone)
    time.tzset()
    after = records.shares.get(link_id)
    assert (after.created, after.expires) == (before.created, before.expires)
    assert abs(after.created - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    opened = records.shares.open(token)
    assert isinstance(opened, Opened)
    left = opened.expires - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=29) < left <= datetime.timedelta(minutes=30)
