"""Codes that change every half minute, beside the password (TOTP), and codes on paper for a lost phone.

A code is taken once: the step of the last one is kept, and only a later one counts.

Secrets lie in the database sealed with a key that is derived from the installation's (`records.keys`) and is
in no backup. With another key they cannot be read: codes on paper still count, and who has none sets up a
second factor anew (`remove`).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

import pyotp
import segno
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import select, update
from sqlalchemy.engine import CursorResult

from records import models
from records.erasure import scrub
from records.errors import NotFound, UserError
from records.keys import derive_key
from records.users import Backoff

if TYPE_CHECKING:
    from records.service import Records

STEP_S: Final = 30
NEIGHBOURS: Final = (0, -1, 1)
"""Steps that are taken besides the present one: phones' clocks are a little off."""

RECOVERY_CODES: Final = 8
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_SECRET = re.compile(r"[A-Z2-7]{32}")


class SecondFactor:
    """Second factors of the users of one database."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._backoff = Backoff()

    def propose(self) -> str:
        """A fresh secret of 160 bits, as text for an authenticator; nothing is kept before `confirm`."""
        return pyotp.random_base32(32)

    def confirm(self, user_id: str, secret: str, code: str) -> tuple[str, ...]:
        """Keep a secret, once its owner has shown a code of it.

        Returns
        -------
        tuple of str
            Codes that work once each, for a lost phone; told now and never again.

        Raises
        ------
        NotFound
        UserError
            The code is not one of this secret's, or there is a second factor already.
        """
        step = _find_step(secret, code) if _SECRET.fullmatch(secret) else None
        if step is None:
            raise UserError(
                "The code is not right.", "Check that the phone's clock is right, and give the newest code."
            )
        codes = tuple(_make_code() for _ in range(RECOVERY_CODES))
        with self._records.writing() as database:
            user = database.get(models.User, user_id, with_for_update=True)
            if user is None:
                raise NotFound("There is no such user.")
            if user.totp_secret:
                raise UserError("There is a second factor already.", "Remove it first.")
            user.totp_secret, user.totp_step = self._seal(secret), step
            user.recovery = json.dumps([_hash(code) for code in codes])
            database.add(models.AuditEvent(actor=user_id, action="user.second-factor", object=user_id))
        return codes

    def check(self, user_id: str, code: str) -> bool:
        """Whether a code is right, which uses it up. True where somebody has no second factor.

        After a miss the next one counts only when there was a wait, which grows: six digits are few.
        """
        with self._records.reading() as database:
            user = database.get(models.User, user_id)
            if user is None:
                return False
            kept = user.totp_secret
        if not kept:
            return True
        if self._backoff.wait_s(user_id, "") > 0:
            return False
        secret = self._unseal(kept)
        step = _find_step(secret, code) if secret is not None else None
        ok = self._take_step(user_id, step) if step is not None else self._take_recovery(user_id, code)
        (self._backoff.succeeded if ok else self._backoff.failed)(user_id, "")
        return ok

    def remove(self, user_id: str, actor: str) -> None:
        """Do without: by its owner, or by an administrator for who has lost everything. Ends all sessions.

        Raises
        ------
        NotFound
        """
        with self._records.writing() as database:
            user = database.get(models.User, user_id, with_for_update=True)
            if user is None:
                raise NotFound("There is no such user.")
            if not user.totp_secret:
                return
            user.totp_secret, user.recovery = "", ""  # the step stays: an old code must not count again
            user.epoch += 1
            database.add(models.AuditEvent(actor=actor, action="user.second-factor-off", object=user_id))

    def seal_all(self) -> int:
        """Seal what was kept in plain text by an earlier version; how many there were."""
        with self._records.reading() as database:
            plain = [
                each
                for each, kept in database.execute(select(models.User.id, models.User.totp_secret))
                if _SECRET.fullmatch(kept)
            ]
        for user_id in plain:
            with self._records.writing() as database:
                user = database.get_one(models.User, user_id, with_for_update=True)
                if _SECRET.fullmatch(user.totp_secret):
                    user.totp_secret = self._seal(user.totp_secret)
        if plain:
            scrub(self._records)  # the plain text would stay in the database's free pages
        return len(plain)

    def list_unreadable(self) -> tuple[str, ...]:
        """Names of those whose second factor was sealed with another key, and so cannot be checked."""
        with self._records.reading() as database:
            found = database.execute(
                select(models.User.name, models.User.totp_secret)
                .where(models.User.totp_secret != "")
                .order_by(models.User.name)
            ).all()
        return tuple(name for name, kept in found if self._unseal(kept) is None)

    @functools.cached_property
    def _box(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(derive_key(self._records.settings, "totp")))

    def _seal(self, secret: str) -> str:
        return self._box.encrypt(secret.encode()).decode()

    def _unseal(self, kept: str) -> str | None:
        """A secret as it was; None where another key sealed it."""
        if _SECRET.fullmatch(kept):
            return kept  # of an earlier version, until the server starts
        try:
            return self._box.decrypt(kept.encode()).decode()
        except InvalidToken:
            return None

    def _take_step(self, user_id: str, step: int) -> bool:
        """Use a step up: of two who show the same code, one is let in."""
        with self._records.writing() as database:
            done = database.execute(
                update(models.User)
                .where(models.User.id == user_id, models.User.totp_step < step)
                .values(totp_step=step)
            )
            assert isinstance(done, CursorResult)
            return done.rowcount == 1

    def _take_recovery(self, user_id: str, code: str) -> bool:
        digest = _hash(code)
        with self._records.writing() as database:
            user = database.get_one(models.User, user_id, with_for_update=True)
            left = json.loads(user.recovery or "[]")
            if digest not in left:
                return False
            user.recovery = json.dumps([each for each in left if each != digest])
            database.add(models.AuditEvent(actor=user_id, action="user.recovery-code", object=user_id))
            return True


def draw_secret(secret: str, name: str) -> str:
    """The picture that an authenticator reads, as a ``data:`` address of an SVG."""
    address = pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="ReDys")
    picture: str = segno.make(address, error="m").svg_data_uri(scale=4, border=4, light="#fff")
    return picture


def _find_step(secret: str, code: str) -> int | None:
    """The step that a code belongs to; None for none near the present."""
    said = code.replace(" ", "")
    present = int(time.time()) // STEP_S
    maker = pyotp.TOTP(secret, interval=STEP_S)
    found = None
    for offset in NEIGHBOURS:
        if secrets.compare_digest(maker.generate_otp(present + offset).encode(), said.encode()):
            found = present + offset if found is None else found
    return found


def _make_code() -> str:
    """A code of 79 random bits."""
    groups = ["".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4)]
    return "-".join(groups)


def _hash(code: str) -> str:
    """With that many random bits a plain digest is enough."""
    return hashlib.sha256(code.strip().lower().encode()).hexdigest()
