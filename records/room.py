"""How much may be sent: room is reserved when a file is announced, so that several at once find it."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import RedysError
from pipeline.files import read_json
from records.addresses import is_loopback
from settings import Settings

SHORT_BYTES = 20 * 10**9
"""Three cameras for some minutes in 4K; with less the page says how much there is."""


@dataclass(frozen=True)
class Limits:
    """What may be sent.

    Attributes
    ----------
    file_bytes : int
        Longest single file.
    person_bytes : int or None
        Of one person's unfinished uploads together; None where there is one person alone.
    share : float
        Of the disk, for everybody's unfinished uploads together.
    keep_free_share : float
        Of the disk, that stays free: a full one stops the database too.
    """

    file_bytes: int
    person_bytes: int | None = None
    share: float = 0.5
    keep_free_share: float = 0.1


def read_limits(settings: Settings) -> Limits:
    """The limits of an installation; without sign-in there is one person, who has the room of all."""
    person_bytes = None if is_loopback(settings.host) else settings.upload_quota_bytes
    return Limits(
        settings.max_upload_bytes, person_bytes, settings.upload_disk_share, settings.keep_free_share
    )


@dataclass(frozen=True)
class Taken:
    """What unfinished uploads take, in bytes.

    Attributes
    ----------
    announced : int
        Everybody's files as long as they were said to be.
    own : int
        Of them those of one person.
    to_come : int
        What of everybody's has not arrived.
    longest : int
        The longest that is yet to be written anew without its notes, for which it needs its length again.
    """

    announced: int = 0
    own: int = 0
    to_come: int = 0
    longest: int = 0


def measure(incoming: Path, owner: str) -> Taken:
    """What the drafts in a folder take; those that go in this moment are left out."""
    announced = own = to_come = longest = 0
    for mark in incoming.glob("*/draft.json"):
        with contextlib.suppress(RedysError, OSError, KeyError, TypeError, ValueError):
            is_own = read_json(mark).get("owner") == owner
            for part in mark.parent.glob("*.part"):
                length = int(read_json(part.with_suffix(".json"))["length"])
                announced += length
                own += length if is_own else 0
                to_come += max(0, length - part.stat().st_size)
                longest = max(longest, length)
            for bare in mark.parent.glob("*.bare"):
                announced += bare.stat().st_size
                own += bare.stat().st_size if is_own else 0
    return Taken(announced, own, to_come, longest)


@dataclass(frozen=True)
class Room:
    """How many more bytes somebody may announce, by each of the reasons."""

    of_disk: int
    of_all: int
    of_person: int | None

    @property
    def least(self) -> int:
        """The least of them."""
        least = min(self.of_disk, self.of_all)
        return max(0, least if self.of_person is None else min(least, self.of_person))


def find_room(incoming: Path, owner: str, limits: Limits, length: int = 0) -> Room:
    """How much room there is for somebody.

    Parameters
    ----------
    incoming : Path
        The drafts' folder.
    owner : str
        Who asks.
    limits : Limits
        What may be sent.
    length : int
        Of the file that is to come, which is written twice for a moment.
    """
    incoming.mkdir(parents=True, exist_ok=True)
    taken, disk = measure(incoming, owner), shutil.disk_usage(incoming)
    again = max(taken.longest, length)
    return Room(
        of_disk=int(disk.free - limits.keep_free_share * disk.total) - taken.to_come - again,
        of_all=int(limits.share * disk.total) - taken.announced,
        of_person=None if limits.person_bytes is None else limits.person_bytes - taken.own,
    )


def is_disk_full(folder: Path, limits: Limits) -> bool:
    """Whether nothing more is taken in, since too little of the disk is free."""
    disk = shutil.disk_usage(folder)
    return disk.free < limits.keep_free_share * disk.total


def say_bytes(count: int) -> str:
    """A number of bytes for people."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
