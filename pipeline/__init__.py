"""From three videos of a playing hand to a run folder of measured movement.

Runs alone (``python -m pipeline``) and knows nothing of the dashboard above it.
Units, frames and orders: ``conventions.md`` beside this file.
"""
