"""What holds for every test."""

from __future__ import annotations

import os

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
