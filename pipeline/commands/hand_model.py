"""``hand-model``: the built-in hand from its npm package."""

from __future__ import annotations

import argparse


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("hand-model", help="make the built-in hand from its npm package")
    parser.set_defaults(work=_make_hand_model)


def _make_hand_model(options: argparse.Namespace) -> None:
    from pipeline.hand.builtin import GLB_IN_PACKAGE, make_builtin_hand
    from settings import get_settings

    settings = get_settings()
    out = settings.models_dir / "builtin" / "hand.npz"
    make_builtin_hand(settings.node_modules / GLB_IN_PACKAGE, out)
    print(f"Done: {out}")
