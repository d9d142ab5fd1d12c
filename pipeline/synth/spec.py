"""What a made session shall be: the one thing that every part of `pipeline.synth` is drawn from."""

from __future__ import annotations

import datetime
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from pipeline.errors import SessionError
from pipeline.hand.joints import Side

CAMERAS: tuple[str, ...] = ("front", "left", "right")
"""The made cameras; the first is the reference."""

SOUND_RATE_HZ = 48000
"""Sampling rate of the made sound."""

MIN_SECONDS = 1.0
MIN_HEIGHT_PX = 180


@dataclass(frozen=True)
class SynthSpec:
    """A made session, settled by these values alone: equal specs give equal arrays and frames.

    Attributes
    ----------
    seconds : float
        Length of every camera's file.
    size_px : (int, int)
        Width and height, both even (H.264 with 4:2:0 colour asks for it).
    fps : Fraction
        Frame rate of the main take; the checkerboard take has half of it.
    seed : int
        Draws the take: motion, cameras, offsets, sound, noise.
    kind : "healthy" | "dystonic"
    severity : float
        0 to 1: how far dystonic phases go. A healthy take leaves it aside.
    side : "right" | "left"
    subject : int or None
        Draws the person: bone lengths, skin, habits. None takes ``seed``. Two visits of one person
        share it.
    name, visit, task
        Written into ``session.toml``: the person's pseudonym, the day, what is played.
    calibration : bool
        Whether to make the checkerboard takes.
    noise : bool
        Sensor noise in the pictures. Without it the videos are also coded nearly without loss.
    snr_db : float or None
        Signal to noise of every microphone; None draws 12 to 25 dB for each.
    max_offset_s, max_drift_ppm : float
        Bounds of the cameras' start offsets and clock drifts. Offsets of the main take also stay
        within a fifth of it.
    """

    seconds: float = 8.0
    size_px: tuple[int, int] = (1920, 1080)
    fps: Fraction = Fraction(60000, 1001)
    seed: int = 0
    kind: Literal["healthy", "dystonic"] = "dystonic"
    severity: float = 1.0
    side: Side = "right"
    subject: int | None = None
    name: str = "made"
    visit: datetime.date | None = None
    task: str = "piano"
    calibration: bool = True
    noise: bool = True
    snr_db: float | None = None
    max_offset_s: float = 2.0
    max_drift_ppm: float = 60.0

    def check(self) -> None:
        """Raise `SessionError` in words if no session can be made from these values."""
        width, height = self.size_px
        if width % 2 or height % 2 or height < MIN_HEIGHT_PX or width < height:
            raise SessionError(
                f"A made session cannot be {width}x{height}.",
                f"Choose even numbers, at least as wide as high, {MIN_HEIGHT_PX} or higher: 1280x720.",
            )
        if not self.seconds >= MIN_SECONDS:
            raise SessionError(
                f"A made session of {self.seconds} s is too short.",
                f"Choose {MIN_SECONDS:g} s or longer.",
            )
        if not 5 <= self.fps <= 240:
            raise SessionError(f"A made session cannot have {self.fps} frames/s.", "Choose 5 to 240.")
        if not 0 <= self.severity <= 1:
            raise SessionError(f"The severity {self.severity} lies outside 0 to 1.", "Choose 0 to 1.")

    @property
    def n_frames(self) -> int:
        """Frames of every camera's main take."""
        return max(round(self.seconds * self.fps), 2)

    @property
    def calibration_fps(self) -> Fraction:
        """Frame rate of the checkerboard take."""
        return self.fps / 2 if self.fps >= 48 else self.fps

    def frame_times_s(self) -> np.ndarray:
        """Times (T,) of the frames of a main take by its own camera's clock, in s."""
        return np.arange(self.n_frames) / float(self.fps)

    def draw(self, *purpose: str | int) -> np.random.Generator:
        """Random numbers for one purpose of this take; purposes do not disturb each other."""
        return np.random.default_rng([self.seed, *_numbers(purpose)])

    def draw_person(self, *purpose: str | int) -> np.random.Generator:
        """Random numbers for one purpose of this person."""
        subject = self.seed if self.subject is None else self.subject
        return np.random.default_rng([subject, 77, *_numbers(purpose)])


def _numbers(purpose: tuple[str | int, ...]) -> list[int]:
    return [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in purpose]
