"""The strokes that a session's sound tells of: which track is listened to, and on which clock."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from pipeline.measures.timing import NOT_HEARD, RATE_HZ, Heard, find_onsets
from pipeline.results import SyncResult
from pipeline.video import read_audio


def listen(videos: dict[str, Path], sync: SyncResult) -> Heard:
    """Onsets in the sound of the reference camera, else of the next in which there are any.

    Parameters
    ----------
    videos : dict of Path
        By camera; empty where a session has keypoints instead.
    sync : SyncResult
        The clocks; a camera whose clock is not known is not listened to.

    Raises
    ------
    pipeline.errors.VideoError
        A file cannot be read.
    """
    known = [name for name in videos if name in sync.cameras and math.isfinite(sync.cameras[name].offset_s)]
    for name in sorted(known, key=lambda camera: (camera != sync.reference, camera)):
        sound = read_audio(videos[name], RATE_HZ)
        onsets = find_onsets(sound) if sound is not None else None
        if sound is not None and onsets is not None and len(onsets.time_s):
            times = sync.to_reference_s(name, onsets.time_s)
            return Heard(replace(onsets, time_s=times), len(sound) / RATE_HZ, name)
    if not known:
        return NOT_HEARD
    return Heard(NOT_HEARD.onsets, reason="The videos have no sound in which a stroke could be heard.")
