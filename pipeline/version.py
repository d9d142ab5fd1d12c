"""The program's version, and that of its numbers, as results carry them."""

from typing import Final

PROGRAM_VERSION: Final = "0.6.0"

METHOD_VERSION: Final = "0.4.0"
"""The version from which on every number comes out alike: raised when any could come out otherwise.

Recordings and studies are held against each other by it, so that a new page does not end a clinic's
reliability study.
"""
