"""The program's version, as results carry it."""

PROGRAM_VERSION = "0.4.0"
