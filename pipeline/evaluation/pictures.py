"""An estimator on the pictures of a data set: how far its points lie from the true ones in the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.datasets.freihand import FreihandSplit
from pipeline.datasets.interhand import InterhandSplit
from pipeline.errors import DatasetError
from pipeline.evaluation.errors import average, count_correct, measure_distances
from pipeline.evaluation.scores import ScoreCard
from pipeline.hand.joints import SIDES, Side

if TYPE_CHECKING:
    from pipeline.pose.protocols import Estimator

PCK_PX = 20


@dataclass(frozen=True)
class PicturedHand:
    """One hand in one picture.

    Attributes
    ----------
    image : Path
    points_px : ndarray (21, 2)
        Where the true joints are seen.
    side : "right" | "left"
    """

    image: Path
    points_px: np.ndarray
    side: Side


def picture_freihand(split: FreihandSplit) -> Iterator[PicturedHand]:
    """Every hand of a split of FreiHAND of which all joints are there, in its first version."""
    for sample in split.samples():
        if np.isfinite(sample.joints_mm).all():
            yield PicturedHand(sample.image, _project(sample.joints_mm, sample.K), "right")


def picture_interhand(split: InterhandSplit) -> Iterator[PicturedHand]:
    """Every hand of a split of InterHand2.6M of which all joints are valid."""
    for sample in split.samples():
        for side, joints_mm in zip(SIDES, sample.joints_mm, strict=True):
            if np.isfinite(joints_mm).all():
                yield PicturedHand(sample.image, _project(joints_mm, sample.camera.K), side)


def score_pictures(
    hands: list[PicturedHand], estimator: Estimator, of: str, limit: int | None = None
) -> ScoreCard:
    """Let an estimator find the joints, and hold them against where they are seen.

    It gets its nominal crop around the true joints, once and unenhanced: what is measured is the estimator,
    not the finding of hands.

    Parameters
    ----------
    hands : list of PicturedHand
        At least one.
    estimator : Estimator
        Of `pipeline.pose.registry`.
    of : str
        What the card is headed with.
    limit : int, optional
        Take so many hands, evenly spread over the list.

    Raises
    ------
    DatasetError
        There is no hand, or a picture is missing or cannot be read; it is named.
    """
    from pipeline.pose.augmentation import ONE_PASS, measure_hand, measure_palm_px

    if not hands:
        raise DatasetError(f"{of}: there is no picture of a whole hand.")
    if limit is not None and limit < len(hands):
        hands = [hands[row] for row in np.linspace(0, len(hands) - 1, limit).round().astype(int)]
    found = np.empty((len(hands), 21, 2))
    for row, hand in enumerate(hands):
        region = estimator.frame_points(hand.points_px)
        image = _read_picture(hand.image)
        found[row] = measure_hand(image, region, estimator, hand.side, "minimal", ONE_PASS).points_px
    true = np.stack([hand.points_px for hand in hands])
    distances = measure_distances(found, true)
    palms = np.array([measure_palm_px(points[None]) for points in true])
    return ScoreCard(
        of=of,
        frames=len(hands),
        share=float(np.isfinite(distances).mean()),
        values={
            "picture": average(distances),
            "picture_palms": average(distances / palms[:, None]),
            "picture_pck": count_correct(distances, np.isfinite(true).all(axis=2), PCK_PX),
        },
        notes=(f"{estimator.name}, one crop around the true joints: {estimator.nominal_crop}.",),
    )


def _project(joints_mm: np.ndarray, K: np.ndarray) -> np.ndarray:
    points = joints_mm @ K.T
    return points[:, :2] / points[:, 2:]


def _read_picture(path: Path) -> np.ndarray:
    """A picture (H, W, 3) uint8 BGR."""
    import cv2

    if not path.is_file():
        raise DatasetError(f"{path} is missing.", "Give the data set's folder with its pictures.")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DatasetError(f"{path} is no picture that can be read.")
    return np.asarray(image)
