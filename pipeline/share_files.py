"""What a share folder's files are called and what its owner may let through; light, for the web process."""

from __future__ import annotations

from typing import Final, Literal

Choice = Literal["pseudonym", "shape", "video", "notes"]
CHOICES: Final[tuple[Choice, ...]] = ("pseudonym", "shape", "video", "notes")
"""What an owner may let through: the pseudonym, the hand's own shape, small video, the timeline's notes."""

SHARE_VERSION: Final = 1
SHARE_FILE: Final = "share.json"
NOTES_FILE: Final = "notes.json"
PARTS: Final = ("a", "b")
"""Folders of the recordings, the earlier first."""
