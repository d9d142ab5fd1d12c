from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.sync.made_sound import TRUE, film, hear


@pytest.fixture(scope="session")
def three_cameras(tmp_path_factory) -> Path:
    """A session folder of three cameras with offsets and drifts `TRUE`."""
    folder = tmp_path_factory.mktemp("session")
    for seed, (name, (offset_s, drift)) in enumerate(TRUE.items()):
        film(folder / f"{name}.mp4", hear(seed, offset_s, drift_ppm=drift))
    return folder
