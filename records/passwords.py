"""What a password has to be: long, and none that somebody guesses soon."""

from __future__ import annotations

import re
from typing import Final

from records.errors import UserError

MINIMUM_PASSWORD: Final = 12
MAXIMUM_PASSWORD: Final = 1024
"""Longer ones would only cost time: hashing a book for everybody who asks is a way to stop the server."""

LEAST_SCORE: Final = 3
"""Of zxcvbn's 0 to 4: more than 10^8 guesses, which the waits between tries make years."""

ESTIMATED: Final = 72
"""Letters that the estimate looks at: its time grows faster than the length."""

HOUSE_WORDS: Final = ("redys", "dystonia", "dystonie")

_REASONS: Final = {
    "This is a top-10 common password.": "It is one of the passwords that are tried first.",
    "This is a top-100 common password.": "It is one of the passwords that are tried first.",
    "This is a very common password.": "It is one of the passwords that are tried first.",
    "This is similar to a commonly used password.": (
        "It is much like one of the passwords that are tried first."
    ),
    "A word by itself is easy to guess.": "A single word is guessed soon.",
    "Names and surnames by themselves are easy to guess.": "Names are guessed soon.",
    "Common names and surnames are easy to guess.": "Names are guessed soon.",
    "Straight rows of keys are easy to guess.": "Keys that lie in a row are guessed soon.",
    "Short keyboard patterns are easy to guess.": "Keys that lie in a row are guessed soon.",
    'Repeats like "aaa" are easy to guess.': "The same letters again and again are guessed soon.",
    'Repeats like "abcabcabc" are only slightly harder to guess than "abc".': (
        "The same letters again and again are guessed soon."
    ),
    'Sequences like "abc" or "6543" are easy to guess.': "Letters or digits in their order are guessed soon.",
    "Recent years are easy to guess.": "Years are guessed soon.",
    "Dates are often easy to guess.": "Dates are guessed soon.",
}
"""The estimate's reasons in the words of this program, which are translated."""

_OTHERWISE: Final = "It holds too little that could not be guessed."


def check_password(password: str, name: str) -> None:
    """See to it that a new password is a good one; pasting it and any letters are fine.

    Parameters
    ----------
    password : str
        12 to 1024 characters.
    name : str
        Whose it is: names of people and of this program are the first that is tried.

    Raises
    ------
    UserError
        It is too short, too long, or guessed soon; says why.
    """
    if not MINIMUM_PASSWORD <= len(password) <= MAXIMUM_PASSWORD:
        raise UserError(
            f"The password has {len(password)} characters.",
            f"Take {MINIMUM_PASSWORD} to {MAXIMUM_PASSWORD}; a sentence is easy to keep in mind.",
        )
    from zxcvbn import zxcvbn  # its lists of words are read at the import

    known = [name, *re.split(r"\W+", name), *HOUSE_WORDS]
    found = zxcvbn(password[:ESTIMATED], [word for word in known if word])
    if found["score"] < LEAST_SCORE:
        reason = _REASONS.get(found["feedback"]["warning"], _OTHERWISE)
        raise UserError(
            f"This password is guessed soon. {reason}",
            "Take four words or more that do not belong together, or a sentence of your own.",
        )
