"""What holds for every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Machines are noisy, so no example fails for being slow; in CI the same examples are tried every time, so
# that a failure belongs to the change that shows it.
settings.register_profile(
    "redys",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("redys")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no worker is left with it at the end.

    `make unit` gives a worker whole files: what a file makes once for all its tests is made once.
    """
    items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)
