"""Those who may sign in: argon2id, and the same answer in the same time for a wrong name and password."""

from __future__ import annotations

import contextlib
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
from records.rows import Role, UserRow

if TYPE_CHECKING:
    from records.service import Records

ROLES: Final[tuple[Role, ...]] = get_args(Role)

MINIMUM_PASSWORD = 12
MAXIMUM_PASSWORD = 1024
"""Longer ones would only cost time: hashing a book for everybody who asks is a way to stop the server."""

_PLAIN_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 30.0
FORGET_AFTER_S = 3600.0


class Users:
    """Users of one database."""

    def __init__(self, records: Records) -> None:
        self._records = records
        # argon2id with OWASP's figures: 19 MiB, 2 passes, 1 lane.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

    def add(self, name: str, password: str, role: Role | None = None, actor: str = "command") -> UserRow:
        """Add someone, or give them a new password or role, which ends all their sessions.

        Parameters
        ----------
        name : str
            At most 200 characters.
        password : str
            12 to 1024 characters.
        role : str, optional
            "administrator", "clinician", "researcher" or "viewer". By default "clinician" for who is new,
            and as it was for who is there.
        actor : str
            For the audit.

        Raises
        ------
        UserError
            The name is empty, the password is shorter than 12 characters, or there is no such role.
        """
        name = name.strip()
        if not name or len(name) > 200:
            raise UserError("A user needs a name of at most 200 characters.", "Give one.")
        if not MINIMUM_PASSWORD <= len(password) <= MAXIMUM_PASSWORD:
            raise UserError(
                f"The password has {len(password)} characters.",
                f"Take {MINIMUM_PASSWORD} to {MAXIMUM_PASSWORD}; a sentence is easy to keep in mind.",
            )
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
                user.role = role or user.role or "clinician"
                database.add(user)
                database.add(models.AuditEvent(actor=actor, action="user.set", object=user.id))
        except IntegrityError as error:
            raise UserError(f"{name} was added by someone else just now.", "Try again.") from error
        return _row(user)

    def invite(self, name: str, role: Role, actor: str) -> tuple[UserRow, str]:
        """Add someone new, with a password that is made here and told once.

        Raises
        ------
        UserError
            As `add`, or somebody is called so already.
        """
        if any(user.name == name.strip() for user in self.list()):
            raise UserError(f"There is a user {name.strip()} already.", "Take another name.")
        password = make_password()
        return self.add(name, password, role, actor), password

    def renew_password(self, user_id: str, actor: str) -> str:
        """Give someone a new password, which ends all their sessions; gives it, to be told once.

        Raises
        ------
        NotFound
        """
        password = make_password()
        hashed = self._hasher.hash(password)
        with self._changing(user_id, "user.password", actor) as user:
            user.password_hash = hashed
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
        return _row(user)

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
        return _row(user)

    def end_sessions(self, user_id: str, actor: str) -> UserRow:
        """Sign someone out everywhere.

        Raises
        ------
        NotFound
        """
        with self._changing(user_id, "user.end-sessions", actor) as user:
            user.epoch += 1
        return _row(user)

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

    def change_password(self, user_id: str, old: str, new: str) -> UserRow:
        """Give oneself another password, which ends all one's sessions.

        Raises
        ------
        NotFound
        UserError
            The old one is not right, or the new one is too short.
        """
        user = self.get(user_id)
        if user is None or self.verify(user.name, old) is None:
            raise UserError("The present password is not right.", "Write it again.")
        return self.add(user.name, new, actor=user_id)

    def list(self) -> tuple[UserRow, ...]:
        """Everybody, by name."""
        with self._records.reading() as database:
            return tuple(
                _row(user) for user in database.scalars(select(models.User).order_by(models.User.name))
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
            return None if user is None else _row(user)

    def verify(self, name: str, password: str) -> UserRow | None:
        """Who signs in with this name and password; None if nobody may."""
        with self._records.reading() as database:
            user = database.scalar(select(models.User).where(models.User.name == name.strip()))
        known = user.password_hash if user is not None else self._nobodys_hash
        try:
            self._hasher.verify(known, password[:MAXIMUM_PASSWORD])
        except (VerificationError, InvalidHashError):
            return None
        return _row(user) if user is not None and not user.disabled else None

    @functools.cached_property
    def _nobodys_hash(self) -> str:
        return self._hasher.hash("nobody has this password")


def _row(user: models.User) -> UserRow:
    return UserRow(
        user.id, user.name, user.epoch, user.disabled, cast("Role", user.role), bool(user.totp_secret)
    )


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
