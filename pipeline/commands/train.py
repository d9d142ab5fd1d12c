"""``train``: the hand-landmark network trained further on made hands."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pipeline.commands.terminal import listen_for_signals, make_plain_listener


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser(
        "train",
        help="train the hand-landmark network further on made pictures; a second call goes on",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="for pictures, curves and weights")
    parser.add_argument("--pictures", type=int, default=40_960, help="made pictures to draw")
    parser.add_argument("--passes", type=float, default=8.0, help="how often each is seen")
    parser.add_argument("--minutes", type=float, default=600.0, help="ends after this long at the latest")
    parser.add_argument("--real", type=Path, help="folder of videos and photographs of hands not to forget")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--start",
        type=int,
        default=20,
        help="the network's first steps that stay as they are; 0 trains all, for a GPU",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that draw")
    parser.set_defaults(work=_train)


def _train(options: argparse.Namespace) -> None:
    from pipeline.pose.training.curves import draw_curves
    from pipeline.pose.training.train import Plan, train
    from pipeline.progress import Reporter

    cancelled = listen_for_signals()
    plan = Plan(
        n_pictures=options.pictures,
        passes=options.passes,
        minutes=options.minutes,
        seed=options.seed,
        start=options.start,
    )
    report = Reporter("train", make_plain_listener(), cancelled.is_set)
    look = train(options.folder, plan, options.real, options.device, options.workers, report)
    curves = draw_curves(options.folder)
    print("; ".join(f"{name.replace('_', ' ')} {value}" for name, value in look.items()))
    print(f"Done: {options.folder / 'weights.npz'}, {curves}")
