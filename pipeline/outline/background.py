"""What lies behind the hand: a picture of the scene without it, from many moments of the recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.outline.colour import learn_colours, rate_skin
from pipeline.outline.regions import fill_arm, fill_hull, fill_palm, get_cut, get_size

MOMENTS = 48
"""Pictures that the background is made from: enough for a median, and some 10 MB."""

_EXPOSED = 5
"""A cell that was free of the hand's hull in as many pictures is known from those alone."""

_HULL_MARGIN, _CLEAR_MARGIN = 0.12, 0.3
"""The points' hull is widened by these shares of the hand's size: skin lies round the joints; and beyond
the second hardly any hand is."""

_SURE = 2.5
"""Log odds from which something surely lies before the scene."""

_LEAST_NOISE = 4.0
"""Least noise of a cell in grey levels: light flickers and the codec changes its mind."""

_SHADOW = (0.45, 1.02)
"""How much of its light a cell keeps in the hand's shadow."""

_MOST = 3.0


@dataclass(frozen=True)
class Scene:
    """A view without the hand, in cells of the part of the picture in which the hand ever is.

    Attributes
    ----------
    picture : ndarray (H, W, 3) float32
        BGR.
    noise : ndarray (H, W) float32
        Standard deviation in grey levels.
    known : ndarray (H, W) bool
        Where the hand was away often enough, or what is there most of the time is no skin.
    colours : ndarray
        Log odds of skin by colour (`pipeline.outline.colour`).
    """

    picture: np.ndarray
    noise: np.ndarray
    known: np.ndarray
    colours: np.ndarray

    def take(self, rows: slice, columns: slice) -> Scene:
        """A part of the scene."""
        where = rows, columns
        return Scene(self.picture[where], self.noise[where], self.known[where], self.colours)


def learn_scene(pictures: np.ndarray, points: np.ndarray) -> Scene:
    """The scene behind the hand or hands.

    Parameters
    ----------
    pictures : ndarray (N, H, W, 3) uint8
        Cells of N moments, BGR.
    points : ndarray (N, S, 21, 2)
        The points of S hands in cells; NaN = not there.
    """
    covered, hulls, palms, clear = _cover((len(pictures), pictures.shape[1], pictures.shape[2]), points)
    other = _thin(pictures[clear])
    colours = learn_colours(_thin(pictures[palms]), other)
    count = (~covered).sum(axis=0)
    picture, noise = _take_medians(pictures, ~covered, count)
    first = Scene(picture, noise, _know(colours, picture, count), colours)
    # The back of the hand in the light is not all of the skin: what else lies before the scene, where the
    # points say that the hand is, shows its shaded sides.
    found = [
        now[hull & (compare_to_scene(first, now, np.ones(3))[0] > _SURE)]
        for now, hull in zip(pictures, hulls, strict=True)
    ]
    colours = learn_colours(_thin(np.concatenate([pictures[palms], *found])), other)
    return Scene(picture, noise, _know(colours, picture, count), colours)


def _know(colours: np.ndarray, picture: np.ndarray, count: np.ndarray) -> np.ndarray:
    return (count >= _EXPOSED) | (rate_skin(colours, picture.astype(np.uint8)) < -0.5)


def _cover(
    shape: tuple[int, int, int], points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cells (N, H, W) bool in which hand or arm may be, those of the hand, those of the palm, and those that
    are surely neither hand nor arm.
    """
    covered, hulls, palms = (np.zeros(shape, bool) for _ in range(3))
    clear = np.ones(shape, bool)
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    one = shape[1], shape[2]
    for moment, hands in enumerate(points):
        for hand in hands[np.isfinite(hands).all(axis=(1, 2))]:
            size, cut = get_size(hand), get_cut(hand)
            arm = fill_arm(one, hand, size) > 0
            hull = fill_hull(one, hand, _HULL_MARGIN * size) > 0
            covered[moment] |= arm | hull
            hulls[moment] |= hull & (cut[0] * columns + cut[1] * rows + cut[2] < 0)
            palms[moment] |= fill_palm(one, hand, size) > 0
            clear[moment] &= ~(arm | (fill_hull(one, hand, _CLEAR_MARGIN * size) > 0))
    return covered, hulls, palms, clear


def _thin(colours: np.ndarray, most: int = 200_000) -> np.ndarray:
    return colours[:: max(len(colours) // most, 1)]


def _take_medians(
    pictures: np.ndarray, exposed: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Median picture and noise by cell, row by row so that memory stays small."""
    picture = np.empty(pictures.shape[1:], np.float32)
    noise = np.empty(pictures.shape[1:3], np.float32)
    for row in range(pictures.shape[1]):
        use = np.where(count[row] >= _EXPOSED, exposed[:, row], True)[..., None]
        values = pictures[:, row].astype(np.float32)
        picture[row] = _median(values, use)
        spread = _median(np.abs(values - picture[row]), use).max(axis=1)
        noise[row] = np.maximum(1.4826 * spread, _LEAST_NOISE)
    return picture, noise


def _median(values: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Median along the first axis of what is used; numpy's own, which knows NaN, takes ten times as long."""
    ordered = np.sort(np.where(use, values, np.inf), axis=0)
    count = use.sum(axis=0)[None].repeat(values.shape[-1], axis=-1)
    low, high = ((np.take_along_axis(ordered, at, 0)) for at in ((count - 1) // 2, count // 2))
    return 0.5 * (low + high)[0]


def compare_to_scene(
    scene_part: Scene, picture_bgr: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How a picture differs from the scene, a shadow apart.

    Parameters
    ----------
    scene_part : Scene
        The part of the scene that the picture shows.
    picture_bgr : ndarray (h, w, 3) uint8
        What is there now.
    gain : ndarray (3,)
        The light against that of the scene (`measure_light`).

    Returns
    -------
    odds : ndarray (h, w) float32
        Log odds that something lies before the scene, -3 to 3; 0 where the scene is not known.
    apart : ndarray (h, w) float32
        The difference in units of its noise, without allowance for shadow.
    """
    # By planes: numpy's sums and maxima along an axis of three take ten times as long.
    now = [plane.astype(np.float32) for plane in np.moveaxis(picture_bgr, 2, 0)]
    then = [scene_part.picture[..., k] * np.float32(gain[k]) for k in range(3)]
    light = then[0] * then[0] + then[1] * then[1] + then[2] * then[2]
    share = now[0] * then[0] + now[1] * then[1] + now[2] * then[2]
    share = np.clip(share / np.maximum(light, 1.0), *_SHADOW)
    apart = _most([np.abs(n - t) for n, t in zip(now, then, strict=True)]) / scene_part.noise
    shaded = _most([np.abs(n - share * t) for n, t in zip(now, then, strict=True)]) / scene_part.noise
    odds = np.clip(1.2 * (np.minimum(apart, shaded + 0.5) - 3.0), -_MOST, _MOST)
    return np.where(scene_part.known, odds, 0.0).astype(np.float32), apart


def _most(planes: list[np.ndarray]) -> np.ndarray:
    return np.maximum(np.maximum(planes[0], planes[1]), planes[2])


def measure_light(scene: Scene, picture_bgr: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """The light of a picture against the scene's, by colour (3,): medians over cells where no hand is."""
    use = clear & scene.known & (scene.picture[..., 1] > 20)
    if use.sum() < 50:
        return np.ones(3)
    ratio = picture_bgr[use].astype(np.float32) / np.maximum(scene.picture[use], 1.0)
    return np.clip(np.median(ratio, axis=0), 0.5, 2.0)
