"""Those who may sign in: argon2id, and the same answer in the same time for a wrong name and password."""

from __future__ import annotations

import contextlib
import datetime
import functools
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from records import models
from records.errors import NotFound, UserError
from records.models import now
from records.passwords import MAXIMUM_PASSWORD, check_password
from records.rows import Role, UserRow
from records.standing import note_standing

if TYPE_CHECKING:
    from records.service import Records

ROLES: Final[tuple[Role, ...]] = get_args(Role)

GIVEN_DAYS = 7
"""A password that somebody was given has to be changed within this; it opens nothing else before."""

_PLAIN_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"

PASSWORD_ENDED = "The password that you were given has ended."
ASK_FOR_ANOTHER = "Ask an administrator for another one."

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 30.0
FORGET_AFTER_S = 3600.0


class Users:
    """Users of one database."""

    def __init__(self, records: Records) -> None:
        self._records = records
        # argon2id with OWASP's figures: 19 MiB, 2 passes, 1 lane.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

    def add(
        self,
        name: str,
        password: str,
        role: Role | None = None,
        actor: str = "command",
        ends: datetime.datetime | None = None,
    ) -> UserRow:
        """Add someone, or give them a new password or role, which ends all their sessions.

        Parameters
        ----------
        name : str
            At most 200 characters.
        password : str
            12 to 1024 characters, and none that is guessed soon.
        role : str, optional
            "administrator", "clinician", "researcher" or "viewer". By default "clinician" for who is new,
            and as it was for who is there.
        actor : str
            For the audit.
        ends : datetime.datetime, optional
            Until when the password is good, UTC: one that the person was given. By default it stays.

        Raises
        ------
        UserError
            The name is empty, the password is too short or guessed soon, or there is no such role.
        """
        name = name.strip()
        if not name or len(name) > 200:
            raise UserError("A user needs a name of at most 200 characters.", "Give one.")
        check_password(password, name)
        if role is not None and role not in ROLES:
            raise UserError(f"There is no role {role}.", f"The roles are {', '.join(ROLES)}.")
        hashed = self._hasher.hash(password)
        try:
            with self._records.writing() as database:
                user = database.scalar(select(models.User).where(models.User.name == name))
                if user is None:
                    user = models.User(id=models.new_id(), name=name, epoch=0, disabled=False)
                else:
                    user.epoch += 1
                user.password_hash = hashed
                user.password_ends = ends
                user.role = role or user.role or "clinician"
                database.add(user)
                database.add(models.AuditEvent(actor=actor, action="user.set", object=user.id))
        except IntegrityError as error:
            raise UserError(f"{name} was added by someone else just now.", "Try again.") from error
        note_standing(self._records, user.id)
        return row_of(user)

    def invite(self, name: str, role: Role, actor: str) -> tuple[UserRow, str]:
        """Add someone new, with a password that is made here, told once and good for 7 days.

        Raises
        ------
        UserError
            As `add`, or somebody is called so already.
        """
        if any(user.name == name.strip() for user in self.list()):
            raise UserError(f"There is a user {name.strip()} already.", "Take another name.")
        password = make_password()
        return self.add(name, password, role, actor, _given_until()), password

    def renew_password(self, user_id: str, actor: str) -> str:
        """Give someone a new password for 7 days, which ends all their sessions; gives it, to be told once.

        Raises
        ------
        NotFound
        """
        password = make_password()
        hashed = self._hasher.hash(password)
        with self._changing(user_id, "user.password", actor) as user:
            user.password_hash = hashed
            user.password_ends = _given_until()
            user.epoch += 1
        return password

    def set_role(self, user_id: str, role: Role, actor: str) -> UserRow:
        """Give someone another role.

        Raises
        ------
        NotFound
        UserError
            It is the last administrator.
        """
        if role not in ROLES:
            raise UserError(f"There is no role {role}.", f"The roles are {', '.join(ROLES)}.")
        with self._changing(user_id, "user.role", actor, keeps=role == "administrator") as user:
            user.role = role
            user.epoch += 1
        return row_of(user)

    def set_disabled(self, user_id: str, disabled: bool, actor: str) -> UserRow:
        """Let someone sign in no more, which ends all their sessions at once; or again.

        Raises
        ------
        NotFound
        UserError
            It is the last administrator.
        """
        action = "user.disable" if disabled else "user.enable"
        with self._changing(user_id, action, actor, keeps=not disabled) as user:
            user.disabled = disabled
            user.epoch += 1
        return row_of(user)

    def end_sessions(self, user_id: str, actor: str) -> UserRow:
        """Sign someone out everywhere.

        Raises
        ------
        NotFound
        """
        with self._changing(user_id, "user.end-sessions", actor) as user:
            user.epoch += 1
        return row_of(user)

    @contextlib.contextmanager
    def _changing(self, user_id: str, action: str, actor: str, keeps: bool = True) -> Iterator[models.User]:
        """A user to change in one transaction; without ``keeps`` somebody else must stay administrator."""
        with self._records.writing() as database:
            everybody = database.scalars(select(models.User).with_for_update()).all()
            user = next((each for each in everybody if each.id == user_id), None)
            if user is None:
                raise NotFound("There is no such user.", "Look at the list again.")
            others = [
                each
                for each in everybody
                if each.id != user_id and each.role == "administrator" and not each.disabled
            ]
            if not keeps and user.role == "administrator" and not others:
                raise UserError(f"{user.name} is the last administrator.", "Make somebody else one first.")
            yield user
            database.add(models.AuditEvent(actor=actor, action=action, object=user.id))
        note_standing(self._records, user_id)

    def change_password(self, user_id: str, old: str, new: str) -> UserRow:
        """Give oneself another password, which ends all one's sessions.

        Raises
        ------
        NotFound
        UserError
            The old one is not right or has ended, or the new one is the same, too short or guessed soon.
        """
        user = self.get(user_id)
        if user is None or self.verify(user.name, old) is None:
            raise UserError("The present password is not right.", "Write it again.")
        if user.has_ended_password:
            raise UserError(PASSWORD_ENDED, ASK_FOR_ANOTHER)
        if secrets.compare_digest(old.encode(), new.encode()):
            raise UserError("The new password is the present one.", "Take another.")
        return self.add(user.name, new, actor=user_id)

    def list(self) -> tuple[UserRow, ...]:
        """Everybody, by name."""
        with self._records.reading() as database:
            return tuple(
                row_of(user) for user in database.scalars(select(models.User).order_by(models.User.name))
            )

    def count(self) -> int:
        """How many may sign in."""
        with self._records.reading() as database:
            active = select(func.count()).select_from(models.User).where(models.User.disabled.is_(False))
            return database.scalar(active) or 0

    def get(self, user_id: str) -> UserRow | None:
        """Someone by id; None if there is nobody."""
        with self._records.reading() as database:
            user = database.get(models.User, user_id)
            return None if user is None else row_of(user)

    def verify(self, name: str, password: str) -> UserRow | None:
        """Who signs in with this name and password; None if nobody may."""
        with self._records.reading() as database:
            user = database.scalar(select(models.User).where(models.User.name == name.strip()))
        known = user.password_hash if user is not None else self._nobodys_hash
        try:
            self._hasher.verify(known, password[:MAXIMUM_PASSWORD])
        except (VerificationError, InvalidHashError):
            return None
        return row_of(user) if user is not None and not user.disabled else None

    @functools.cached_property
    def _nobodys_hash(self) -> str:
        return self._hasher.hash("nobody has this password")


def row_of(user: models.User) -> UserRow:
    """Someone as callers see them."""
    return UserRow(
        user.id,
        user.name,
        user.epoch,
        user.disabled,
        cast("Role", user.role),
        bool(user.totp_secret),
        user.password_ends,
    )


def _given_until() -> datetime.datetime:
    return now() + datetime.timedelta(days=GIVEN_DAYS)


def make_password() -> str:
    """A password of 98 random bits, without letters that are taken for others."""
    groups = ["".join(secrets.choice(_PLAIN_LETTERS) for _ in range(5)) for _ in range(4)]
    return "-".join(groups)


class Backoff:
    """How long a name from an address must wait after failed sign-ins: 0.2 s, doubling to 30 s.

    Never a lasting lock, which would let anybody shut anybody out. Kept in memory: a restart forgets it.
    """

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    def wait_s(self, name: str, address: str) -> float:
        """Seconds until the next try is looked at; 0 = at once."""
        count, last = self._failures.get((name, address), (0, 0.0))
        if not count:
            return 0.0
        delay = min(FIRST_DELAY_S * 2 ** (count - 1), LONGEST_DELAY_S)
        return max(0.0, last + delay - time.monotonic())

    def failed(self, name: str, address: str) -> None:
        """A try went wrong."""
        count, _ = self._failures.get((name, address), (0, 0.0))
        moment = time.monotonic()
        self._failures[(name, address)] = (min(count + 1, 32), moment)
        if len(self._failures) > 10_000:
            recent = {k: v for k, v in self._failures.items() if moment - v[1] < FORGET_AFTER_S}
            self._failures = recent if len(recent) <= 10_000 else {}

    def succeeded(self, name: str, address: str) -> None:
        """The right password forgives."""
        self._failures.pop((name, address), None)
