"""How a made hand moves: keystrokes, travel, tremor, and the dystonic phases of seed 000.

Everything is a function of the reference clock's time, smooth to its second derivative, so that each
camera sees it at its own true instants.

Sources: minimum-jerk strokes (Flash and Hogan 1985); dystonic postures, jerks and tremor: seed 000,
section 1, challenge 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import roma
import torch

from pipeline.hand.joints import FINGERS, MANO_POSE_JOINTS
from pipeline.hand.model import HandModel
from pipeline.synth.person import Axes, Person, find_axes, make_person
from pipeline.synth.spec import SynthSpec

# The template (fingers -x, back +y, thumb +z) laid palm down on the piano (fingers +Y, back +Z, thumb -X).
PIANO_R_TEMPLATE = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

PRESS_DEPTH_MM = 9.0
"""How far a key goes down."""

REST_HEIGHT_MM = 7.0
"""Height of the fingertips' skin over the keys between strokes."""

LEAD_S = 3.5
"""How far before 0 and after the end things move: other cameras start earlier or end later."""

DYSTONIC_PHASES: tuple[str, ...] = (
    "index curled, middle extended",
    "ring curled, thumb and pinky splayed",
    "sustained posture with tremor",
)
"""Names of the dystonic phases, in the order in which they come."""

ORDINARY = "ordinary"

_ENSLAVED = 0.18
"""Share of a finger's stroke that its neighbours take along."""


@dataclass(frozen=True)
class Stroke:
    """One keystroke: the tone starts at ``onset_s``, when the key is down.

    ``down_s`` and ``up_s`` are the durations of the way down and up, ``hold_s`` the rest between.
    """

    onset_s: float
    finger: int
    strength: float
    down_s: float
    hold_s: float
    up_s: float


@dataclass(frozen=True)
class Phase:
    """A stretch of the recording with one name; "ordinary" or one of `DYSTONIC_PHASES`."""

    start_s: float
    end_s: float
    name: str


@dataclass(frozen=True)
class Burst:
    """An involuntary jerk of one finger."""

    time_s: float
    finger: int
    amplitude: float
    width_s: float


@dataclass(frozen=True)
class Pose:
    """Poses at T times, in the piano's frame.

    Attributes
    ----------
    orient : ndarray (T, 3, 3)
        Rotation of the template in the piano's frame.
    hand_pose : ndarray (T, 15, 3, 3)
    wrist_mm : ndarray (T, 3)
    """

    orient: np.ndarray
    hand_pose: np.ndarray
    wrist_mm: np.ndarray


@dataclass(frozen=True)
class _Wave:
    """A sum of sines: amplitude (K,), hertz (K,), phase (K,)."""

    amplitude: np.ndarray
    hertz: np.ndarray
    phase: np.ndarray

    def __call__(self, time_s: np.ndarray) -> np.ndarray:
        angle = 2 * np.pi * time_s[:, None] * self.hertz + self.phase
        return (self.amplitude * np.sin(angle)).sum(axis=1)


@dataclass
class Motion:
    """The movement of one take; `at` gives poses at any times of the reference clock."""

    spec: SynthSpec
    person: Person
    axes: Axes
    strokes: list[Stroke]
    phases: list[Phase]
    bursts: list[Burst]
    rest_flexion: np.ndarray
    rest_wrist_mm: np.ndarray
    waves: dict[str, _Wave] = field(default_factory=dict)
    moves: list[tuple[float, float, np.ndarray]] = field(default_factory=list)

    def press(self, time_s: np.ndarray) -> np.ndarray:
        """How far each finger's own stroke is down (T, 5): 0 at rest, 1 on the key's bed, below 0 lifted."""
        down = np.zeros((len(time_s), len(FINGERS)))
        for stroke in self.strokes:
            near = (time_s > stroke.onset_s - 1.0) & (time_s < stroke.onset_s + 2.0)
            if near.any():
                down[near, stroke.finger] += stroke.strength * _stroke_profile(time_s[near], stroke)
        return down

    def amount(self, time_s: np.ndarray, name: str) -> np.ndarray:
        """How far (T,) a dystonic phase is in force, 0 to the severity; rises and falls within 0.25 s."""
        total = np.zeros(len(time_s))
        for phase in self.phases:
            if phase.name == name:
                total += _ramp(time_s, phase.start_s, 0.25) - _ramp(time_s, phase.end_s - 0.25, 0.25)
        return total * self.spec.severity

    def angles(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flexion (T, 15), abduction (T, 15) and the thumb's press (T,) in rad."""
        flexion = np.tile(self.rest_flexion, (len(time_s), 1))
        abduction = np.tile(self.person.rest_abduction, (len(time_s), 1))
        own = self.press(time_s)
        dystonic = sum(self.amount(time_s, name) for name in DYSTONIC_PHASES)
        own = own * (1 - 0.45 * np.asarray(dystonic))[:, None]
        thumb = self._play(time_s, own, flexion)
        self._tremble(time_s, np.asarray(dystonic), flexion)
        self._twist(time_s, flexion, abduction)
        for burst in self.bursts:
            pulse = burst.amplitude * _pulse(time_s, burst.time_s, burst.width_s)
            for part, share in (("mcp", 1.0), ("pip", 0.7), ("dip", 0.3)):
                _add(flexion, burst.finger, part, pulse * share)
        return _limit(flexion), abduction, thumb

    def _play(self, time_s: np.ndarray, own: np.ndarray, flexion: np.ndarray) -> np.ndarray:
        down = own.copy()
        down[:, 1:-1] += _ENSLAVED * own[:, 2:]
        down[:, 2:] += _ENSLAVED * own[:, 1:-1]
        for finger in range(1, len(FINGERS)):
            sway = self.waves[f"sway_{finger}"](time_s)
            _add(flexion, finger, "mcp", 0.24 * down[:, finger] + sway)
            _add(flexion, finger, "pip", 0.05 * down[:, finger] - 0.6 * sway)
            _add(flexion, finger, "dip", 0.03 * down[:, finger])
        _add(flexion, 0, "ip", 0.08 * down[:, 0] + self.waves["sway_0"](time_s))
        return 0.15 * down[:, 0] + 0.5 * self.waves["sway_0"](time_s)

    def _tremble(self, time_s: np.ndarray, dystonic: np.ndarray, flexion: np.ndarray) -> None:
        tremor = self.waves["tremor"](time_s) * dystonic
        strong = 1.0 + self.amount(time_s, DYSTONIC_PHASES[2])
        for finger in range(len(FINGERS)):
            physiological = self.waves[f"physiological_{finger}"](time_s)
            _add(flexion, finger, "mcp", physiological + tremor * strong * (0.8 + 0.1 * finger))

    def _twist(self, time_s: np.ndarray, flexion: np.ndarray, abduction: np.ndarray) -> None:
        """Pull the joints towards the dystonic postures, each as far as its phase is in force."""
        for name, posture in _POSTURES.items():
            amount = self.amount(time_s, name)
            for joint, (bend, spread) in posture.items():
                column = MANO_POSE_JOINTS.index(joint)
                flexion[:, column] += amount * (bend - flexion[:, column])
                abduction[:, column] += amount * spread

    def at(self, time_s: np.ndarray) -> Pose:
        """Poses at times (T,) of the reference clock."""
        flexion, abduction, thumb = self.angles(time_s)
        bend = _turn(flexion[..., None] * self.axes.flexion)
        spread = _turn(abduction[..., None] * self.axes.abduction)
        hand_pose = spread @ bend
        base = MANO_POSE_JOINTS.index("thumb_cmc")
        hand_pose[:, base] = _turn(thumb[:, None] * self.axes.thumb_press) @ hand_pose[:, base]
        dystonic = np.asarray(sum(self.amount(time_s, name) for name in DYSTONIC_PHASES))
        tremor = self.waves["wrist_tremor"](time_s) * dystonic
        pitch = self.person.rest_pitch + self.waves["pitch"](time_s) + 0.020 * tremor
        roll = self.waves["roll"](time_s) + 0.015 * tremor + 0.12 * dystonic
        yaw = self.waves["yaw"](time_s) - 0.10 * dystonic
        turns = [_turn(angle[:, None] * np.eye(3)[axis]) for angle, axis in ((yaw, 2), (roll, 1), (pitch, 0))]
        orient = turns[0] @ turns[1] @ turns[2] @ PIANO_R_TEMPLATE
        wrist = np.tile(self.rest_wrist_mm, (len(time_s), 1))
        for axis, name in enumerate("xyz"):
            wrist[:, axis] += self.waves[f"travel_{name}"](time_s)
            wrist[:, axis] += self.waves[f"physiological_{name}"](time_s)
        for start, length, step in self.moves:
            wrist += _ramp(time_s, start, length)[:, None] * step
        wrist[:, 2] += 1.2 * tremor + 10.0 * dystonic
        return Pose(orient, hand_pose, wrist)


# What each dystonic phase drives joints to: (flexion in rad, added spread in rad).
_POSTURES: dict[str, dict[str, tuple[float, float]]] = {
    DYSTONIC_PHASES[0]: {
        "index_mcp": (1.05, 0.05),
        "index_pip": (1.75, 0.0),
        "index_dip": (0.95, 0.0),
        "middle_mcp": (-0.12, 0.0),
        "middle_pip": (0.03, 0.0),
        "middle_dip": (0.0, 0.0),
    },
    DYSTONIC_PHASES[1]: {
        "ring_mcp": (1.0, 0.0),
        "ring_pip": (1.7, 0.0),
        "ring_dip": (0.9, 0.0),
        "thumb_cmc": (-0.35, 0.25),
        "thumb_mcp": (-0.05, 0.0),
        "thumb_ip": (-0.1, 0.0),
        "pinky_mcp": (0.0, -0.40),
        "pinky_pip": (0.15, 0.0),
        "pinky_dip": (0.05, 0.0),
    },
    DYSTONIC_PHASES[2]: {
        "index_mcp": (0.1, 0.15),
        "index_pip": (1.2, 0.0),
        "middle_mcp": (0.7, 0.0),
        "middle_pip": (1.1, 0.0),
        "pinky_mcp": (0.05, -0.25),
        "pinky_pip": (0.4, 0.0),
        "thumb_ip": (0.9, 0.0),
    },
}


def make_motion(spec: SynthSpec, model: HandModel) -> Motion:
    """Draw the movement of a take."""
    person = make_person(spec, model.n_betas)
    axes = find_axes(model, person.betas)
    random = spec.draw("motion")
    phases = _draw_phases(spec)
    motion = Motion(
        spec=spec,
        person=person,
        axes=axes,
        strokes=_draw_strokes(spec),
        phases=phases,
        bursts=_draw_bursts(spec, phases),
        rest_flexion=person.rest_flexion.copy(),
        rest_wrist_mm=np.zeros(3),
        waves=_draw_waves(random),
        moves=_draw_moves(spec),
    )
    _lay_on_keys(motion, model)
    return motion


def _draw_phases(spec: SynthSpec) -> list[Phase]:
    """Ordinary and dystonic stretches in turn, each 1 to 2 s; one ordinary stretch if healthy."""
    if spec.kind == "healthy":
        return [Phase(0.0, spec.seconds, ORDINARY)]
    random = spec.draw("phases")
    phases: list[Phase] = []
    time, number = 0.0, 0
    while spec.seconds - time > 1e-9:
        name = ORDINARY if len(phases) % 2 == 0 else DYSTONIC_PHASES[number % len(DYSTONIC_PHASES)]
        number += name != ORDINARY
        length = random.uniform(1.0, 1.4) if name == ORDINARY else random.uniform(1.3, 2.0)
        end = time + length
        if spec.seconds - end < 1.0:
            end = spec.seconds if spec.seconds - time <= 2.0 else time + (spec.seconds - time) / 2
        phases.append(Phase(time, end, name))
        time = end
    return phases


def _draw_strokes(spec: SynthSpec) -> list[Stroke]:
    """Two to four strokes a second in a natural, never repeating rhythm; a finger lifts before it strikes."""
    random = spec.draw("strokes")
    strokes: list[Stroke] = []
    time, finger = -LEAD_S, int(random.integers(5))
    free = np.full(len(FINGERS), -np.inf)
    while time < spec.seconds + LEAD_S:
        time += random.uniform(0.24, 0.5)
        steps = random.choice([-2, -1, 1, 2], p=[0.18, 0.32, 0.32, 0.18])
        finger = int(np.clip(finger + steps, 0, 4)) if 0 <= finger + steps <= 4 else int(finger - steps)
        down, hold, up = random.uniform(0.06, 0.1), random.uniform(0.06, 0.2), random.uniform(0.1, 0.15)
        if time - down - 0.15 < free[finger]:
            continue
        strokes.append(Stroke(time, finger, random.uniform(0.9, 1.1), down, hold, up))
        free[finger] = time + hold + up
    return strokes


def _draw_bursts(spec: SynthSpec, phases: list[Phase]) -> list[Burst]:
    random = spec.draw("bursts")
    bursts = []
    for phase in phases:
        if phase.name == ORDINARY:
            continue
        for time in np.arange(phase.start_s + 0.2, phase.end_s - 0.15, 0.45):
            amplitude = random.uniform(0.25, 0.45) * random.choice([-1, 1]) * spec.severity
            start = float(time + random.uniform(0, 0.25))
            bursts.append(Burst(start, int(random.integers(1, 5)), amplitude, random.uniform(0.1, 0.16)))
    return bursts


def _draw_moves(spec: SynthSpec) -> list[tuple[float, float, np.ndarray]]:
    """Shifts of the hand along the keys, a minimum-jerk way each, never farther than 45 mm off."""
    random = spec.draw("moves")
    moves, place, time = [], 0.0, -LEAD_S
    while time < spec.seconds + LEAD_S:
        time += random.uniform(0.9, 1.9)
        target = random.uniform(-45, 45)
        target = place + np.clip(target - place, -50, 50)
        length = 0.25 + abs(target - place) / 120
        moves.append((time, length, np.array([target - place, random.normal(0, 2), 0.0])))
        place = target
    return moves


def _draw_waves(random: np.random.Generator) -> dict[str, _Wave]:
    def wave(amplitude: float, low: float, high: float, count: int = 4) -> _Wave:
        weights = random.uniform(0.5, 1.0, count)
        return _Wave(
            amplitude * weights / np.sqrt((weights**2).sum()),
            random.uniform(low, high, count),
            random.uniform(0, 2 * np.pi, count),
        )

    waves = {
        "tremor": wave(0.05, 5.0, 8.0, 3),
        "wrist_tremor": wave(1.0, 5.0, 8.0, 3),
        "pitch": wave(0.03, 0.1, 0.5),
        "roll": wave(0.04, 0.1, 0.5),
        "yaw": wave(0.05, 0.1, 0.4),
        "travel_x": wave(3.0, 0.1, 0.4),
        "travel_y": wave(5.0, 0.1, 0.5),
        "travel_z": wave(2.0, 0.1, 0.5),
    }
    for axis in "xyz":
        waves[f"physiological_{axis}"] = wave(0.05, 8.0, 12.0, 3)
    for finger in range(len(FINGERS)):
        waves[f"sway_{finger}"] = wave(0.03, 0.2, 0.9)
        waves[f"physiological_{finger}"] = wave(0.0015, 8.0, 12.0, 3)
    return waves


def _lay_on_keys(motion: Motion, model: HandModel) -> None:
    """Set the wrist's height and each finger's knuckle so that all tips rest just over the keys."""
    time = np.zeros(1)
    still = {name: _Wave(np.zeros(1), np.ones(1), np.zeros(1)) for name in motion.waves}
    quiet = Motion(
        motion.spec, motion.person, motion.axes, [], [], [],
        motion.rest_flexion, np.zeros(3), still, [],
    )  # fmt: skip
    tips = np.array([4, 8, 12, 16, 20])
    _, flat = model.pose_arrays(
        motion.person.betas, np.eye(3)[None], np.tile(np.eye(3), (1, 15, 1, 1)), np.zeros((1, 3))
    )
    wrist_template = flat[0, 0]

    def reach() -> np.ndarray:
        pose = quiet.at(time)
        _, joints = model.pose_arrays(
            motion.person.betas, pose.orient, pose.hand_pose, pose.wrist_mm - wrist_template
        )
        return joints[0]

    joints = reach()
    motion.rest_wrist_mm[2] = REST_HEIGHT_MM - joints[tips[1:], 2].mean()
    quiet.rest_wrist_mm[2] = motion.rest_wrist_mm[2]
    for _ in range(4):  # Newton steps on four knuckles that hardly know of each other
        height = reach()[tips, 2]
        for finger in range(1, len(FINGERS)):
            column = MANO_POSE_JOINTS.index(f"{FINGERS[finger]}_mcp")
            motion.rest_flexion[column] += np.clip((height[finger] - REST_HEIGHT_MM) / 70.0, -0.3, 0.3)
    joints = reach()
    motion.rest_wrist_mm[:2] = -joints[:, :2].mean(axis=0) + np.array([0.0, -30.0])


def _stroke_profile(time_s: np.ndarray, stroke: Stroke) -> np.ndarray:
    lift = 0.35 * (
        _ramp(time_s, stroke.onset_s - stroke.down_s - 0.12, 0.12)
        - _ramp(time_s, stroke.onset_s - stroke.down_s, stroke.down_s)
    )
    down = _ramp(time_s, stroke.onset_s - stroke.down_s, stroke.down_s)
    up = _ramp(time_s, stroke.onset_s + stroke.hold_s, stroke.up_s)
    return down - up - lift


def _ramp(time_s: np.ndarray, start_s: float, length_s: float) -> np.ndarray:
    """Minimum-jerk rise from 0 to 1 (Flash and Hogan 1985)."""
    u = np.clip((time_s - start_s) / length_s, 0, 1)
    return u**3 * (10 - 15 * u + 6 * u**2)


def _pulse(time_s: np.ndarray, start_s: float, width_s: float) -> np.ndarray:
    half = width_s / 2
    return _ramp(time_s, start_s, half) - _ramp(time_s, start_s + half, half)


def _add(angles: np.ndarray, finger: int, part: str, value: np.ndarray) -> None:
    """Add to a finger's joint (T, 15) in place; the thumb's mcp, pip, dip are its cmc, mcp, ip."""
    name = FINGERS[finger]
    if finger == 0:
        part = {"mcp": "cmc", "pip": "mcp", "dip": "ip"}.get(part, part)
    angles[:, MANO_POSE_JOINTS.index(f"{name}_{part}")] += value


_LOW = np.array([-0.45 if "mcp" in joint or "cmc" in joint else -0.15 for joint in MANO_POSE_JOINTS])
_HIGH = np.array([1.35 if "mcp" in j else 1.95 if "pip" in j else 1.25 for j in MANO_POSE_JOINTS])


def _limit(flexion: np.ndarray) -> np.ndarray:
    """Keep joints within their anatomical range, softly, so that no derivative jumps."""
    sharp = 25.0
    above = np.logaddexp(0.0, sharp * (flexion - _LOW)) / sharp + _LOW
    return _HIGH - np.logaddexp(0.0, sharp * (_HIGH - above)) / sharp


def _turn(rotvec: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3)."""
    return roma.rotvec_to_rotmat(torch.from_numpy(np.ascontiguousarray(rotvec))).numpy()
