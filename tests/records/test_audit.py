"""The audit: a chain that shows what was altered, dropped, moved or cut off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from records import Records
from records.audit import FIRST, REFUSALS_IN_FULL, Head, Refusals, read_head
from records.errors import AuditError

PASSWORD = "a sentence that is easy to keep"


@pytest.fixture
def written(records: Records) -> Records:
    for number in range(6):
        records.note("local", "run.export", f"run-{number}")
    return records


def tamper(records: Records, statement: str) -> None:
    """As somebody would who has the database's file: past its triggers."""
    with records.engine.begin() as connection:
        if records.engine.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
            connection.execute(text(statement))
            connection.execute(text("SET session_replication_role = origin"))
        else:
            for trigger in ("audit_event_no_update", "audit_event_no_delete"):
                connection.execute(text(f"DROP TRIGGER {trigger}"))
            connection.execute(text(statement))


def test_an_audit_that_nobody_touched_is_whole(written: Records) -> None:
    head = written.audit.verify()
    assert head == written.audit.head() == read_head(str(head))
    assert head.count == 6
    assert head.digest != FIRST


@pytest.mark.parametrize("verb", ["UPDATE audit_event SET object = 'x'", "DELETE FROM audit_event"])
def test_the_database_itself_refuses_changes(written: Records, verb: str) -> None:
    with pytest.raises(DBAPIError, match="only added to"), written.engine.begin() as connection:
        connection.execute(text(verb))
    assert written.audit.verify().count == 6


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit_event SET actor = 'nobody' WHERE id = 3", "Event 3 .* not what was written"),
        ("UPDATE audit_event SET role = 'viewer' WHERE id = 1", "Event 1 .* not what was written"),
        ("DELETE FROM audit_event WHERE id = 4", "Event 4 .* dropped, added or moved"),
        ("DELETE FROM audit_event WHERE id = 1", "Event 1 .* dropped, added or moved"),
        ("UPDATE audit_event SET id = 100 WHERE id = 2", "Event 2 .* dropped, added or moved"),
    ],
)
def test_what_was_changed_past_the_database_is_found(written: Records, statement: str, words: str) -> None:
    tamper(written, statement)
    with pytest.raises(AuditError, match=words):
        written.audit.verify()


def test_an_end_that_was_cut_off_shows_against_a_head_noted_elsewhere(written: Records) -> None:
    noted = written.audit.head()
    tamper(written, "DELETE FROM audit_event WHERE id > 4")
    assert written.audit.verify().count == 4  # whole in itself
    with pytest.raises(AuditError, match="cut off"):
        written.audit.verify(noted)
    with pytest.raises(AuditError, match="not the one that the noted head names"):
        written.audit.verify(Head(3, "1" * 64))


def test_the_chain_goes_on_after_a_noted_head(written: Records) -> None:
    noted = written.audit.head()
    written.note("local", "run.export", "another")
    assert written.audit.verify(noted).count == 7


@pytest.mark.parametrize("words", ["", "6", "6:abc", "x:" + "0" * 64])
def test_a_head_that_is_none_is_told(words: str) -> None:
    with pytest.raises(AuditError, match="no head"):
        read_head(words)


def test_many_who_write_at_once_make_one_chain(records: Records) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: records.note("local", "recording.open", str(number)), range(40)))
    assert records.audit.verify().count == 40


def test_an_event_says_the_role_that_its_actor_had_then(records: Records) -> None:
    user = records.users.add("Ada", PASSWORD, "viewer")
    records.note(user.id, "sign-in")
    records.users.add("Ada", PASSWORD, "researcher")
    records.note(user.id, "sign-in")
    found = [(row.actor, row.role) for row in records.audit.list().rows if row.action == "sign-in"]
    assert found == [("Ada", "researcher"), ("Ada", "viewer")]
    records.audit.verify()


def test_who_asks_in_vain_all_night_does_not_fill_the_audit(records: Records) -> None:
    for _ in range(100):
        records.shares.open("x" * 43, "", "203.0.113.7")
    records.shares.open("x" * 43, "", "198.51.100.7")  # another part of the network counts by itself
    for _ in range(100):
        records.audit.note_refusal("somebody", "request.media")
    rows = records.audit.list(limit=500).rows
    shared = [row for row in rows if row.action == "share.open"]
    assert len(shared) == REFUSALS_IN_FULL + 1 + 1
    assert {row.object for row in shared} == {"", "number 100 of this hour"}
    assert len([row for row in rows if row.action == "request.media"]) == REFUSALS_IN_FULL + 1
    records.audit.verify()


def test_of_many_refusals_of_a_kind_each_tenfold_number_is_written() -> None:
    refusals = Refusals()
    written = [number for number in range(1, 10**4 + 1) if refusals.words("a") is not None]
    assert written == [*range(1, REFUSALS_IN_FULL + 1), 100, 1000, 10**4]


def test_refusals_are_written_in_full_again_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [0.0]
    monkeypatch.setattr("records.audit.time.monotonic", lambda: moment[0])
    refusals = Refusals(in_full=1)
    assert [refusals.words("a") for _ in range(3)] == ["", None, None]
    moment[0] = 3600.0
    assert refusals.words("a") == ""
