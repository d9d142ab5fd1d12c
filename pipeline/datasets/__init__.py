"""Readers of published data sets, each in the layout of its makers; what they give follows `pipeline/conventions.md`."""
