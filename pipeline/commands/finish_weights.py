"""``finish-weights``: a training's weights as the estimator ``redys`` wants them."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser(
        "finish-weights",
        help="calibrate the sigma of trained weights and write the file of the estimator redys",
    )
    parser.add_argument("training", type=Path, help="the folder that train wrote to")
    parser.add_argument("out", type=Path, help="the file to write, .npz")
    parser.add_argument("--weights", type=Path, help="by default weights.npz of that folder")
    parser.add_argument(
        "--offset-share",
        type=float,
        nargs=21,
        metavar="SHARE",
        help="constant part of each joint's error (python -m benchmarks.sigma_reliability prints it); "
        "by default MediaPipe's",
    )
    parser.set_defaults(work=_finish)


def _finish(options: argparse.Namespace) -> None:
    from pipeline.pose.landmarks import MediaPipeEstimator
    from pipeline.pose.training.finish import finish
    from pipeline.pose.weights_file import write_weights

    share = options.offset_share or MediaPipeEstimator.offset_share
    weights, within = finish(options.training, options.weights or options.training / "weights.npz", share)
    write_weights(options.out, weights)
    told = ", ".join(f"{name} {value:.1%}" for name, value in within.items())
    print(f"factor of sigma {weights.sigma_factor:.3f}; coordinates within 2 sigma: {told}")
    print(f"Done: {options.out}, {options.out.stat().st_size / 2**20:.1f} MiB")
