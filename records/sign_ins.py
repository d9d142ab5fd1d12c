"""Who is signed in: the server's own list, so that an end holds for every copy of a cookie.

A cookie carries a random key, of which only a hash is kept here with when the sign-in began and when the
person last did something. Signing out takes the entry away; a new role or password ends it by the user's
epoch.
"""

from __future__ import annotations

import datetime
import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import delete, select, update

from records import models
from records.models import now
from records.rows import UserRow
from records.users import row_of

if TYPE_CHECKING:
    from records.service import Records

HOURS: Final = 12
"""A sign-in lasts a working day; the person signs in again after it."""

NOTED_EVERY_S: Final = 20.0
"""What a person does is written down this often at most: each page asks for several things at once."""

SKEW_S: Final = 300.0
"""Clocks of machines that serve together may differ by this; what began later is none of ours."""

State = Literal["open", "idle", "over"]


@dataclass(frozen=True)
class SignIn:
    """One sign-in.

    Attributes
    ----------
    id : str
        Hash of its key.
    user : UserRow
    state : str
        "open"; "idle": nobody did anything for too long; "over": its day has passed.
    active : datetime.datetime
        When the person last did something, UTC.
    """

    id: str
    user: UserRow
    state: State
    active: datetime.datetime


class SignIns:
    """The sign-ins of one database."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @property
    def idle_minutes(self) -> int:
        """After how long without anything that a person does a sign-in ends."""
        return self._records.settings.idle_minutes

    def begin(self, user_id: str) -> str:
        """Begin one; gives its key, which is kept nowhere here."""
        key = secrets.token_urlsafe(32)
        moment = now()
        with self._records.writing() as database:
            database.add(models.SignIn(id=_hash(key), user_id=user_id, begun=moment, active=moment))
        return key

    def find(self, key: str) -> SignIn | None:
        """A sign-in by its key; None if there is none, or it was ended."""
        wanted = select(models.SignIn, models.User).join(models.User).where(models.SignIn.id == _hash(key))
        with self._records.reading() as database:
            found = database.execute(wanted).one_or_none()
            if found is None:
                return None
            return SignIn(found[0].id, row_of(found[1]), self._state(found[0]), found[0].active)

    def _state(self, entry: models.SignIn) -> State:
        lasted_s = (now() - entry.begun).total_seconds()
        if not -SKEW_S <= lasted_s <= HOURS * 3600:
            return "over"
        idle_s = (now() - entry.active).total_seconds()
        return "idle" if idle_s > self.idle_minutes * 60 else "open"

    def note(self, sign_in: SignIn) -> None:
        """The person has done something."""
        moment = now()
        if (moment - sign_in.active).total_seconds() < NOTED_EVERY_S:
            return
        entry = models.SignIn.id == sign_in.id
        with self._records.writing() as database:
            database.execute(update(models.SignIn).where(entry).values(active=moment))

    def end(self, key: str) -> None:
        """End one, for whoever has its key."""
        with self._records.writing() as database:
            database.execute(delete(models.SignIn).where(models.SignIn.id == _hash(key)))

    def drop_old(self) -> int:
        """Take away those that are over; how many."""
        before = now() - datetime.timedelta(hours=HOURS + 1)
        with self._records.writing() as database:
            done = database.execute(delete(models.SignIn).where(models.SignIn.begun < before))
            return int(getattr(done, "rowcount", 0))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
