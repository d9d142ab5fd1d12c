"""The words and thresholds for how far a value lies from the reference: one place for the whole program.

The thresholds are seed 000's (section 9): up to 1, between, from 3. The words say what was measured, never
what it means for the person.
"""

from __future__ import annotations

import math
from typing import Literal

Level = Literal["within 1 SD", "1 to 3 SD", "3 SD or more", "cannot tell"]

WITHIN: Level = "within 1 SD"
BETWEEN: Level = "1 to 3 SD"
BEYOND: Level = "3 SD or more"
UNKNOWN: Level = "cannot tell"

LEVELS: tuple[Level, ...] = (WITHIN, BETWEEN, BEYOND, UNKNOWN)
"""Every level, the nearest to the reference first."""

NEAR_SD = 1.0
"""Up to this many standard deviations a value is `WITHIN`."""

FAR_SD = 3.0
"""From this many standard deviations on a value is `BEYOND`."""


def level_of(z: float) -> Level:
    """The level of a signed or unsigned z; NaN is `UNKNOWN`."""
    distance = abs(z)
    if math.isnan(distance):
        return UNKNOWN
    if distance <= NEAR_SD:
        return WITHIN
    return BETWEEN if distance < FAR_SD else BEYOND


def is_certain(low: float, high: float) -> bool:
    """Whether an interval of z lies within one level, so that the level would be the same all through it.

    Parameters
    ----------
    low, high : float
        The interval's ends, signed. NaN = not known, which is not certain.
    """
    if math.isnan(low) or math.isnan(high):
        return False
    inside = low <= 0.0 <= high
    return level_of(low) == level_of(high) and (level_of(low) == WITHIN or not inside)
