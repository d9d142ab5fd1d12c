"""``score``: predictions against the truth of a data set, with what each number means."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import DatasetError
from pipeline.hand.joints import JOINTS

if TYPE_CHECKING:
    from pipeline.evaluation.pictures import PicturedHand
    from pipeline.evaluation.scores import ScoreCard


MAX_FPS = 1000


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("score", help="hold predictions against the truth of a data set")
    layouts = parser.add_subparsers(required=True, metavar="LAYOUT")
    arrays = layouts.add_parser(
        "arrays",
        help="any data set: two .npz of joints_mm (T, 21, 3) or (T, 2, 21, 3), and vertices_mm, time_s, clip",
    )
    arrays.add_argument("--truth", type=Path, required=True)
    arrays.add_argument("--root", choices=JOINTS, default="wrist", help="for root-relative numbers")
    freihand = layouts.add_parser("freihand", help="FreiHAND's folder and its pred.json: [xyz, verts] in m")
    freihand.add_argument("folder", type=Path)
    freihand.add_argument("--split", choices=("training", "evaluation"), default="evaluation")
    interhand = layouts.add_parser(
        "interhand",
        help="InterHand2.6M's folder; .npz of number (M,), joints_mm (M, 2, 21, 3) or (M, 42, 3)",
    )
    interhand.add_argument("folder", type=Path)
    interhand.add_argument("--split", choices=("train", "val", "test"), default="test")
    interhand.add_argument("--subset", choices=("all", "human_annot", "machine_annot"), default="all")
    interhand.add_argument(
        "--fps", type=_rate, help="frames a second of the sequences (5 or 30), for acceleration errors"
    )
    arrays.add_argument("--predictions", type=Path, required=True)
    for layout in (freihand, interhand):
        of = layout.add_mutually_exclusive_group(required=True)
        of.add_argument("--predictions", type=Path)
        of.add_argument("--estimator", metavar="NAME", help="have the pictures estimated; points in px alone")
        layout.add_argument("--pictures", type=_count, metavar="N", help="so many hands, evenly spread")
    for layout, work in ((arrays, _score_arrays), (freihand, _score_freihand), (interhand, _score_interhand)):
        layout.add_argument("--json", type=Path, help="write the figures with their definitions there, too")
        layout.set_defaults(work=work)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= MAX_FPS:
        raise argparse.ArgumentTypeError(f"{text} is not a frame rate up to {MAX_FPS}")
    return rate


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of pictures, 1 or more")
    return int(text)


def _score_arrays(options: argparse.Namespace) -> None:
    from pipeline.evaluation.data_sets import score_arrays

    _tell(score_arrays(options.truth, options.predictions, options.root), options)


def _score_freihand(options: argparse.Namespace) -> None:
    from pipeline.datasets.freihand import read_freihand
    from pipeline.evaluation.data_sets import score_freihand
    from pipeline.evaluation.pictures import picture_freihand

    _refuse_idle(options)
    if options.estimator:
        split = read_freihand(options.folder, options.split, with_vertices=False)
        _tell(_estimate(picture_freihand(split), f"FreiHAND, {options.split}", options), options)
    else:
        _tell(score_freihand(options.folder, options.predictions, options.split), options)


def _score_interhand(options: argparse.Namespace) -> None:
    from pipeline.datasets.interhand import read_interhand
    from pipeline.evaluation.data_sets import score_interhand
    from pipeline.evaluation.pictures import picture_interhand

    _refuse_idle(options)
    place = (options.folder, options.split, options.subset)
    if options.estimator:
        of = f"InterHand2.6M, {options.split} ({options.subset})"
        _tell(_estimate(picture_interhand(read_interhand(*place)), of, options), options)
    else:
        folder, split, subset = place
        _tell(score_interhand(folder, options.predictions, split, subset, options.fps), options)


def _refuse_idle(options: argparse.Namespace) -> None:
    """Refuse what would be passed over: whoever gave it believes that it counts."""
    if options.predictions and options.pictures:
        raise DatasetError(
            "--pictures chooses what an estimator is shown; predictions are scored whole.",
            "Leave it out, or give --estimator in place of --predictions.",
        )
    if options.estimator and getattr(options, "fps", None):
        raise DatasetError(
            "--fps is for acceleration errors, which points in pictures have none of.", "Leave it out."
        )


def _estimate(hands: Iterator[PicturedHand], of: str, options: argparse.Namespace) -> ScoreCard:
    from pipeline.evaluation.pictures import score_pictures
    from pipeline.pose.registry import load_estimator

    estimator = load_estimator(options.estimator)
    return score_pictures(list(hands), estimator, f"{estimator.name} on {of}", options.pictures)


def _tell(card: ScoreCard, options: argparse.Namespace) -> None:
    print(card.to_text(), end="")
    if options.json:
        card.write(options.json)
