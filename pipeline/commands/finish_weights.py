"""``finish-weights``: a training's weights as the estimator ``redys`` wants them."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.commands.terminal import listen_for_signals, make_plain_listener


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser(
        "finish-weights", help="calibrate the sigma of trained weights, for the estimator redys"
    )
    parser.add_argument("weights", type=Path, help="weights.npz of the folder that train wrote to")
    parser.add_argument("out", type=Path, help="the file to write, .npz")
    parser.add_argument(
        "--made", type=Path, nargs="+", required=True, help="made sessions, of seeds used for nothing else"
    )
    parser.add_argument("--real", type=Path, help="the folder that train had as --real")
    parser.add_argument(
        "--offset-share",
        type=float,
        nargs=21,
        metavar="SHARE",
        help="constant part of each joint's error (python -m benchmarks.sigma_reliability prints it); "
        "by default MediaPipe's",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="how much of the way from the original's weights to the trained ones: less forgets less",
    )
    parser.set_defaults(work=_finish)


def _finish(options: argparse.Namespace) -> None:
    from pipeline.pose.landmarks import MediaPipeEstimator
    from pipeline.pose.training.finish import finish
    from pipeline.pose.weights_file import write_weights
    from pipeline.progress import Reporter

    cancelled = listen_for_signals()
    report = Reporter("finish-weights", make_plain_listener(), cancelled.is_set)
    offset_share = options.offset_share or MediaPipeEstimator.offset_share
    weights, within = finish(options.weights, options.made, options.real, offset_share, report, options.share)
    write_weights(options.out, weights)
    told = ", ".join(f"{name} {value:.1%}" for name, value in within.items())
    print(f"factor of sigma {weights.sigma_factor:.3f}; coordinates within 2 sigma: {told}")
    print(f"Done: {options.out}, {options.out.stat().st_size / 2**20:.1f} MiB")
