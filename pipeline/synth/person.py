"""A made person: bone lengths, resting posture, skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.hand.joints import FINGERS, JOINTS, MANO_POSE_JOINTS
from pipeline.hand.model import HandModel
from pipeline.synth.spec import SynthSpec

_SKIN_BGR = np.array(
    [[150, 176, 226], [120, 150, 208], [98, 130, 190], [72, 104, 164], [58, 84, 138], [46, 66, 112]]
)
# The thumb's nail looks this way in the template (thickness axis of its last bone).
_THUMB_DORSAL = np.array([0.80, 0.45, 0.40])


@dataclass(frozen=True)
class Axes:
    """Anatomical axes of the 15 joints of `MANO_POSE_JOINTS` in the template's frame.

    Attributes
    ----------
    flexion : ndarray (15, 3)
        Unit axes across each finger; a positive turn bends towards the palm.
    abduction : ndarray (15, 3)
        Unit dorsal axes; a positive turn spreads towards the thumb's side. Of the thumb: away from
        the palm's plane is negative flexion of this axis pair, see `thumb_press`.
    thumb_press : ndarray (3,)
        Axis at the thumb's base that takes its tip down, as on a key.
    """

    flexion: np.ndarray
    abduction: np.ndarray
    thumb_press: np.ndarray


@dataclass(frozen=True)
class Person:
    """One made person.

    Attributes
    ----------
    betas : ndarray (B,)
        Shape of the hand.
    rest_flexion, rest_abduction : ndarray (15,)
        Angles in rad of the hand resting over the keys, in the order of `MANO_POSE_JOINTS`.
    rest_pitch : float
        Turn of the hand about the keyboard's axis, rad; positive lifts the fingers.
    skin_bgr : ndarray (3,)
        Colour of the skin in plain light, 0 to 255.
    """

    betas: np.ndarray
    rest_flexion: np.ndarray
    rest_abduction: np.ndarray
    rest_pitch: float
    skin_bgr: np.ndarray


def make_person(spec: SynthSpec, n_betas: int) -> Person:
    """Draw a person: overall size 5 %, each bone length and breadth about 4 %, skin, habits."""
    random = spec.draw_person("person")
    betas = np.zeros(n_betas)
    betas[:10] = np.clip(random.normal(0, 0.8, min(10, n_betas)), -2, 2)
    flexion, abduction = np.zeros(15), np.zeros(15)
    bend = {"mcp": 0.42, "pip": 0.62, "dip": 0.28}
    for index, joint in enumerate(MANO_POSE_JOINTS):
        finger, part = joint.split("_")
        if finger == "thumb":
            flexion[index] = {"cmc": -0.05, "mcp": 0.12, "ip": 0.15}[part] + random.normal(0, 0.04)
        else:
            flexion[index] = bend[part] + random.normal(0, 0.06)
        if part == "mcp" and finger != "thumb":
            spread = {"index": 0.02, "middle": 0.0, "ring": -0.02, "pinky": -0.08}[finger]
            abduction[index] = spread + random.normal(0, 0.02)
    tone = random.uniform(0, len(_SKIN_BGR) - 1.001)
    low = int(tone)
    skin = _SKIN_BGR[low] * (1 - tone + low) + _SKIN_BGR[low + 1] * (tone - low)
    return Person(betas, flexion, abduction, 0.10 + random.normal(0, 0.03), skin)


def find_axes(model: HandModel, betas: np.ndarray) -> Axes:
    """Anatomical axes of a person's hand from the flat template's bones."""
    eye = np.eye(3)
    _, joints = model.pose_arrays(betas, eye[None], np.tile(eye, (1, 15, 1, 1)), np.zeros((1, 3)))
    flat = joints[0].astype(float)
    flexion, abduction = np.zeros((15, 3)), np.zeros((15, 3))
    for index, joint in enumerate(MANO_POSE_JOINTS):
        start = JOINTS.index(joint)
        bone = _unit(flat[start + 1] - flat[start])
        dorsal = _THUMB_DORSAL if joint.startswith(FINGERS[0]) else np.array([0.0, 1.0, 0.0])
        dorsal = _unit(dorsal - bone * (dorsal @ bone))
        flexion[index] = np.cross(dorsal, bone)
        abduction[index] = dorsal
    thumb = JOINTS.index("thumb_cmc")
    bone = _unit(flat[thumb + 3] - flat[thumb])
    press = _unit(np.cross(np.array([0.0, 1.0, 0.0]), bone))
    return Axes(flexion, abduction, press)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
