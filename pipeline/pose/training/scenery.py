"""What lies behind and before a made hand, and what a camera makes of it all."""

from __future__ import annotations

import cv2
import numpy as np

Picture = np.ndarray
"""(S, S, 3) float32 BGR, 0 to 1."""


def draw_background(random: np.random.Generator, size_px: int) -> Picture:
    """A room, a keyboard, a fingerboard, cloth or a plain wall, sharp or out of focus."""
    kind = random.choice(["room", "keys", "strings", "cloth", "plain"], p=[0.38, 0.2, 0.12, 0.18, 0.12])
    image = _run_colours(random, size_px)
    if kind == "room":
        for _ in range(random.integers(4, 22)):
            _draw_thing(random, image)
    elif kind == "keys":
        _draw_stripes(random, image, keys=True)
    elif kind == "strings":
        _grain(random, image, 0.25, stretched=True)
        _draw_stripes(random, image, keys=False)
    elif kind == "cloth":
        for strength in (0.5, 0.25):
            _grain(random, image, strength)
    if random.random() < 0.4:
        _grain(random, image, 0.15)
    if random.random() < 0.2:  # something of the skin's colours that is no hand
        _draw_thing(random, image, np.array([0.45, 0.58, 0.8]) * random.uniform(0.3, 1.1))
    if random.random() < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.6, 7.0))
    return np.clip(image, 0, 1)


def cover(random: np.random.Generator, image: Picture) -> None:
    """Things before the hand, in place: a string, a pen, a key's edge, a corner of something."""
    for _ in range(random.integers(1, 4)):
        if random.random() < 0.55:
            _draw_line(random, image, random.uniform(0.5, 9.0))
        else:
            _draw_thing(random, image, share=(0.04, 0.22))


def film(random: np.random.Generator, image: Picture, size_px: int) -> np.ndarray:
    """What a camera makes of a picture: (size_px, size_px, 3) uint8 BGR."""
    if random.random() < 0.25:
        image = _smear(random, image)
    image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.3, 1.4))
    if random.random() < 0.35:  # a hand that is small in its picture
        small = int(image.shape[0] * random.uniform(0.2, 0.7))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    way = cv2.INTER_AREA if image.shape[0] > size_px else cv2.INTER_LINEAR
    image = cv2.resize(image, (size_px, size_px), interpolation=way)
    image = np.clip(image * random.uniform(0.6, 1.5) * random.normal(1, 0.04, 3), 0, 1.3)
    image = np.clip(image, 1e-4, 1) ** random.uniform(0.65, 1.25)
    if random.random() < 0.04:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    image = image + random.normal(0, random.uniform(0.001, 0.035), image.shape)
    picture = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    if random.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(18, 92))]
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
    return picture


def _run_colours(random: np.random.Generator, size_px: int) -> Picture:
    corners = random.uniform(0.02, 0.98, (2, 2, 3)) * random.uniform(0.3, 1.0)
    grey = random.uniform(0, 1)
    corners = grey * corners.mean(axis=2, keepdims=True) + (1 - grey) * corners
    return cv2.resize(corners.astype(np.float32), (size_px, size_px), interpolation=cv2.INTER_CUBIC)


def _colour(random: np.random.Generator) -> np.ndarray:
    colour = random.uniform(0.02, 0.98, 3)
    grey = random.uniform(0, 1)
    return grey * colour.mean() + (1 - grey) * colour


def _draw_thing(
    random: np.random.Generator,
    image: Picture,
    colour: np.ndarray | None = None,
    share: tuple[float, float] = (0.05, 0.6),
) -> None:
    size = image.shape[0]
    number = int(random.integers(3, 8))
    angle = np.sort(random.uniform(0, 2 * np.pi, number))
    reach = random.uniform(*share) * size * random.uniform(0.3, 1.0, (number, 1)) / 2
    corners = random.uniform(0, size, 2) + reach * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    value = _colour(random) if colour is None else colour
    cv2.fillPoly(image, [corners.astype(np.int32)], value.tolist(), cv2.LINE_AA)
    if random.random() < 0.4:
        cv2.polylines(image, [corners.astype(np.int32)], True, _colour(random).tolist(), 2, cv2.LINE_AA)


def _draw_line(random: np.random.Generator, image: Picture, thick: float) -> None:
    size = image.shape[0]
    one, other = (random.uniform(-0.2, 1.2, (2, 2)) * size).astype(int).tolist()
    cv2.line(image, one, other, _colour(random).tolist(), max(int(thick), 1), cv2.LINE_AA)


def _draw_stripes(random: np.random.Generator, image: Picture, keys: bool) -> None:
    """A keyboard's keys, or strings and frets, in some perspective."""
    size = image.shape[0]
    far = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    turn = random.uniform(0, 2 * np.pi)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = (far - 0.5) * random.uniform(0.9, 2.4, 2) @ axes + 0.5 + random.normal(0, 0.16, (4, 2))
    warp = cv2.getPerspectiveTransform(far, (corners * size).astype(np.float32))

    def fill(x0: float, x1: float, y0: float, y1: float, colour: np.ndarray) -> None:
        square = np.array([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]], np.float32)
        placed = cv2.perspectiveTransform(square, warp)[0]
        if np.abs(placed).max() < 2e4:
            cv2.fillPoly(image, [placed.astype(np.int32)], colour.tolist(), cv2.LINE_AA)

    number = int(random.integers(6, 22))
    light, dark = random.uniform(0.6, 0.98), random.uniform(0.02, 0.25)
    white, black = light * random.normal(1, 0.04, 3), dark * random.normal(1, 0.1, 3)
    if keys:
        for key in range(number):
            fill((key + 0.03) / number, (key + 0.97) / number, 0, 1, white * random.normal(1, 0.02))
        for key in range(number - 1):
            if key % 7 in (0, 1, 3, 4, 5):
                fill((key + 0.7) / number, (key + 1.3) / number, 0, 0.62, black)
    else:
        for fret in range(number):
            fill(fret / number, fret / number + 0.01, 0, 1, white)
        strings = int(random.integers(4, 7))
        for string in range(strings):
            at = (string + 0.5) / strings
            fill(0, 1, at, at + random.uniform(0.004, 0.015), white * 0.8)


def _grain(random: np.random.Generator, image: Picture, strength: float, stretched: bool = False) -> None:
    size = image.shape[0]
    across = max(int(random.uniform(4, 60)), 3)
    shape = (max(across // 12, 2) if stretched else across, across)
    grain = random.normal(0, 1, (*shape, 1 if random.random() < 0.7 else 3)).astype(np.float32)
    large = cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC)
    image += strength * random.uniform(0.2, 1) * (large if large.ndim == 3 else large[..., None]) * 0.3


def _smear(random: np.random.Generator, image: Picture) -> Picture:
    """Motion blur along a line."""
    length = int(random.integers(3, 16))
    kernel = np.zeros((length, length), np.float32)
    turn = random.uniform(0, np.pi)
    half = (length - 1) / 2
    along = np.array([np.cos(turn), np.sin(turn)]) * half
    one, other = (np.round(half + sign * along).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, one, other, 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())
