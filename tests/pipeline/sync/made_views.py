"""Tracks of a made hand as a network would give them: true points, noise, gaps, and a bias of the view."""

import functools
from dataclasses import replace

import numpy as np

from pipeline.hand.joints import Side
from pipeline.hand.model import load_hand_model
from pipeline.results import ViewTrack
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import make_take, make_truth, pose_take

SPEC = SynthSpec(seconds=7.0, size_px=(1280, 720), seed=5, calibration=False)


@functools.cache
def get_truth(seed=5, side="right"):
    spec = replace(SPEC, seed=seed, side=side)
    return make_truth(spec, load_hand_model())


def make_track(time_s, points_px, size_px=(1280, 720), noise_px=2.0, seed=0, bias_px=0.0):
    """A track of points (T, 21, 2): ``bias_px`` is a constant error that each joint keeps."""
    random = np.random.default_rng(seed)
    points = points_px + noise_px * random.standard_normal(points_px.shape)
    points = points + bias_px * random.standard_normal(points_px.shape[1:])
    shape = points.shape[:2]
    low, high = np.nanmin(points, axis=1), np.nanmax(points, axis=1)
    return ViewTrack(
        time_s=np.asarray(time_s, dtype=float),
        box_px=np.concatenate([low, high], axis=1).astype(np.float32),
        box_state=np.full(len(time_s), "detected", dtype="U12"),
        keypoints_px=points.astype(np.float32),
        sigma_px=np.full(shape, max(noise_px, 0.5), dtype=np.float32),
        score=np.ones(len(time_s), dtype=np.float32),
        size_px=size_px,
    )


def make_views(truth, noise_px=2.0, seed=0, bias_px=0.0):
    """Views of a truth, by camera and side."""
    return {
        name: {
            truth.side: make_track(
                truth.camera_time_s[name], points, truth.size_px, noise_px, 10 * seed + number, bias_px
            )
        }
        for number, (name, points) in enumerate(truth.keypoints_px.items())
    }


def as_right(track) -> dict[Side, ViewTrack]:
    """A view of this right hand alone."""
    return {"right": track}


def hide(track, frames):
    """The track without what was seen in some frames (slice, indices or bool)."""
    points, sigma = track.keypoints_px.copy(), track.sigma_px.copy()
    points[frames], sigma[frames] = np.nan, np.nan
    return replace(track, keypoints_px=points, sigma_px=sigma)


@functools.cache
def get_repeated(bar_s=1.6, seconds=8.0, seed=5):
    """World joints (T, 21, 3) and frame times of a hand that plays one bar over and over; a small wander."""
    take = make_take(replace(SPEC, seed=seed), load_hand_model())
    time_s = np.arange(round(seconds * 60)) / 60
    phase = 2 * np.pi * time_s / bar_s
    _, joints, _ = pose_take(take, 1.0 + 0.8 * (1 - np.cos(phase)) / 2 + 0.15 * np.sin(2 * phase))
    return time_s, joints
