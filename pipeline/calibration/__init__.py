"""Calibration: from a filmed checkerboard, or a rig solved before, to cameras with lenses and places."""
