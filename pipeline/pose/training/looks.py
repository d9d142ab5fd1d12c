"""How a made hand looks: skin, nails, creases, rings, sleeves and lamps, worked out for each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.hand.joints import JOINTS
from pipeline.hand.model import HandModel
from pipeline.pose.training.raster import Fragments, cast_shadows, find_normals

_SKIN_BGR = np.array(
    [[168, 190, 232], [142, 172, 222], [118, 150, 208], [96, 128, 188], [70, 102, 160], [52, 78, 128],
     [36, 54, 92]],
    dtype=np.float32,
)  # fmt: skip
_RINGED = ("index", "middle", "ring", "pinky")


@dataclass(frozen=True)
class Skin:
    """A mesh's looks by vertex, and what is drawn onto it by place in the resting hand.

    Attributes
    ----------
    albedo : ndarray (V, 3) float32
        BGR, 0 to 1.
    shine : ndarray (V,) float32
        Strength of the highlights.
    place : ndarray (V, 3) float32
        Where each vertex lies in the resting hand, mm: what the texture is made of.
    """

    albedo: np.ndarray
    shine: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class Template:
    """What of a hand model the looks need: the resting hand's vertices and joints in mm, its normals."""

    vertices: np.ndarray
    joints: np.ndarray
    normals: np.ndarray


def make_template(model: HandModel) -> Template:
    """The resting hand of a model."""
    eye = np.eye(3)
    shape = np.zeros(model.n_betas)
    vertices, joints = model.pose_arrays(shape, eye[None], np.tile(eye, (1, 15, 1, 1)), np.zeros((1, 3)))
    return Template(vertices[0], joints[0], find_normals(vertices[0].astype(float), model.faces))


def draw_skin(random: np.random.Generator, template: Template, arm: np.ndarray, cloth: np.ndarray) -> Skin:
    """Skin of a hand and its forearm (A, 3) mm, whose vertices ``cloth`` (A,) bool the sleeve has."""
    tone = (len(_SKIN_BGR) - 1.001) * random.uniform(0, 1) ** 1.4
    low = int(tone)
    base = _SKIN_BGR[low] * (1 - tone + low) + _SKIN_BGR[low + 1] * (tone - low)
    base = base * random.normal(1, 0.06, 3) / 255
    albedo = np.repeat(base[None], len(template.vertices), axis=0)
    palmar = np.clip(-template.normals[:, 1], 0, 1)[:, None]
    pale = random.uniform(0, 0.5) * tone / (len(_SKIN_BGR) - 1) + random.uniform(-0.05, 0.12)
    albedo = albedo * (1 + pale * palmar)
    albedo = _redden(random, template, albedo)
    albedo, shine = _draw_nails(random, template, albedo)
    albedo = _draw_rings(random, template, albedo)
    sleeve = random.uniform(0.03, 0.95, 3) * random.uniform(0.3, 1.0)
    limb = np.where(cloth[:, None], sleeve, base)
    if random.random() < 0.12:  # gloves, paint, another colour's light: not every hand is skin
        albedo = albedo * random.uniform(0.3, 1.3, 3)
    place = np.concatenate([template.vertices, arm + template.joints[0]])
    everything = np.concatenate([albedo, limb])
    gloss = np.concatenate([shine, np.where(cloth, 0.0, 0.1)])
    return Skin(everything.astype(np.float32), gloss.astype(np.float32), place.astype(np.float32))


def _redden(random: np.random.Generator, template: Template, albedo: np.ndarray) -> np.ndarray:
    """Tips and knuckles are redder, and knuckles darker."""
    tips = [number for number, joint in enumerate(JOINTS) if joint.endswith("tip")]
    knuckles = [number for number, joint in enumerate(JOINTS) if joint.endswith(("mcp", "pip"))]
    red = np.array([-0.10, -0.06, 0.05]) * random.uniform(0, 1.6)
    dark = np.array([-0.10, -0.10, -0.06]) * random.uniform(-0.2, 1.6)
    for group, change, reach in ((tips, red, 13.0), (knuckles, red + dark, 10.0)):
        away = np.linalg.norm(template.vertices[:, None] - template.joints[group], axis=2).min(axis=1)
        albedo = albedo * (1 + change * np.exp(-((away / reach) ** 2))[:, None])
    return albedo


def _draw_nails(
    random: np.random.Generator, template: Template, albedo: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    shine = np.full(len(albedo), random.uniform(0.02, 0.35))
    natural = np.array([0.72, 0.76, 0.92]) * random.uniform(0.75, 1.1)
    colour = random.uniform(0.05, 1.0, 3) if random.random() < 0.12 else natural
    strength = random.uniform(0.2, 1.0)
    for finger in range(5):
        tip, before = template.joints[4 * finger + 4], template.joints[4 * finger + 3]
        bone = tip - before
        middle = tip - 0.22 * bone
        along = (template.vertices - middle) @ (bone / np.linalg.norm(bone))
        away = np.linalg.norm(template.vertices - middle, axis=1)
        dorsal = template.normals @ _find_dorsal(template, finger)
        nail = np.exp(-((along / 6.5) ** 4) - (away / 11.0) ** 4) * np.clip(2.5 * dorsal - 1.0, 0, 1)
        share = (strength * nail)[:, None]
        albedo = albedo * (1 - share) + colour * share
        shine = shine + 0.4 * nail
    return albedo, shine


def _find_dorsal(template: Template, finger: int) -> np.ndarray:
    return np.array([0.73, 0.55, 0.40]) if finger == 0 else np.array([0.0, 1.0, 0.0])


def _draw_rings(random: np.random.Generator, template: Template, albedo: np.ndarray) -> np.ndarray:
    if random.random() > 0.18:
        return albedo
    finger = random.choice(_RINGED)
    start = JOINTS.index(f"{finger}_mcp")
    one, other = template.joints[start], template.joints[start + 1]
    bone = (other - one) / np.linalg.norm(other - one)
    along = (template.vertices - one) @ bone
    away = np.linalg.norm(template.vertices - one - along[:, None] * bone, axis=1)
    at = random.uniform(0.45, 0.75) * np.linalg.norm(other - one)
    band = ((np.abs(along - at) < 3.5) & (away < 14))[:, None]
    return np.where(band, random.choice([np.array([0.3, 0.7, 0.9]), np.array([0.8, 0.8, 0.8])]), albedo)


@dataclass(frozen=True)
class Light:
    """A key lamp, a fill from the other side, and what comes from everywhere; BGR strengths."""

    direction: np.ndarray
    key: np.ndarray
    fill_direction: np.ndarray
    fill: np.ndarray
    ambient: np.ndarray
    casts: bool


def draw_light(random: np.random.Generator) -> Light:
    """A lamp on the viewer's side more often than behind the hand."""
    direction = random.normal(0, 1, 3) + np.array([0, -0.6, -1.0])
    fill_direction = random.normal(0, 1, 3)
    warmth = random.normal(0, 0.10)
    tint = np.array([1 - warmth, 1.0, 1 + warmth])
    key = random.uniform(0.35, 1.2) * tint
    ambient = random.uniform(0.25, 0.8) * np.array([1 + warmth / 2, 1.0, 1 - warmth / 2])
    return Light(
        direction / np.linalg.norm(direction),
        key.astype(np.float32),
        fill_direction / np.linalg.norm(fill_direction),
        (random.uniform(0, 0.35) * random.normal(1, 0.1, 3)).astype(np.float32),
        ambient.astype(np.float32),
        bool(random.random() < 0.65),
    )


def shade(
    random: np.random.Generator,
    fragments: Fragments,
    skin: Skin,
    vertices: np.ndarray,
    faces: np.ndarray,
    light: Light,
) -> np.ndarray:
    """Colours (P, 3) float32 BGR, 0 to 1, of a posed mesh's pixels; vertices (V, 3) mm from the camera."""
    normals = find_normals(vertices, faces)
    inputs = np.concatenate([normals, vertices, skin.place, skin.albedo, skin.shine[:, None]], axis=1)
    at = fragments.blend(inputs.astype(np.float32))
    normal, point, place, albedo = (at[:, first : first + 3] for first in (0, 3, 6, 9))
    shine = at[:, 12]
    normal = normal + _roughen(random, place)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
    wrap = random.uniform(0.0, 0.35)
    lit = np.clip((normal @ light.direction + wrap) / (1 + wrap), 0, 1).astype(np.float32)
    if light.casts:
        lit *= 1 - random.uniform(0.5, 1.0) * cast_shadows(vertices, faces, light.direction, point)
    fill = np.clip(normal @ light.fill_direction, 0, 1).astype(np.float32)
    view = -point / np.linalg.norm(point, axis=1, keepdims=True)
    half = view + light.direction
    half /= np.linalg.norm(half, axis=1, keepdims=True) + 1e-6
    gleam = shine * np.clip((normal * half).sum(axis=1), 0, 1) ** random.uniform(8, 60) * (lit > 0)
    facing = np.clip((normal * view).sum(axis=1), 0, 1)
    near = 0.75 + 0.25 * facing  # what bends away is darker: other skin is all it sees
    total = light.ambient * near[:, None] + light.key * lit[:, None] + light.fill * fill[:, None]
    return albedo * _mottle(random, place)[:, None] * total + (gleam * light.key.mean())[:, None]


def _mottle(random: np.random.Generator, place: np.ndarray) -> np.ndarray:
    """Brightness (P,) about 1 that wanders over the skin: veins, spots, folds of a sleeve."""
    value = np.ones(len(place), np.float32)
    for length_mm, strength in ((45.0, 0.06), (16.0, 0.04), (6.0, 0.03), (2.5, 0.02)):
        wave = random.normal(0, 2 * np.pi / length_mm, (3, 2)).astype(np.float32)
        phase = random.uniform(0, 2 * np.pi, 2).astype(np.float32)
        size = strength * random.uniform(0, 1.6)
        value += size * np.sin(place @ wave + phase).prod(axis=1)
    return value


def _roughen(random: np.random.Generator, place: np.ndarray) -> np.ndarray:
    """A change (P, 3) of the normals: fine skin and creases."""
    change = np.zeros((len(place), 3), np.float32)
    for length_mm, strength in ((9.0, 0.05), (3.0, 0.05)):
        wave = random.normal(0, 2 * np.pi / length_mm, (3, 3)).astype(np.float32)
        size = strength * random.uniform(0, 1.5)
        change += size * np.sin(place @ wave + random.uniform(0, 6.28, 3).astype(np.float32))
    return change
