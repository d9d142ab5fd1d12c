"""HaMeR, WiLoR and Hamba as networks of our own that load the published checkpoints.

Written from published facts (layer sizes, names of the weights, formulas), not from anybody's code. Inside
the networks lengths are metres and rotations are matrices; `estimators` speaks px and keeps the conventions.
"""
