"""``models``: the networks, ready or not."""

from __future__ import annotations

import argparse
import json


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the command line."""
    parser = commands.add_parser(
        "models", help="the networks: ready or what is missing, place, licence, SHA-256"
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(work=_show_models)


def _show_models(options: argparse.Namespace) -> None:
    from pipeline.pose.registry import list_models

    models = list_models()
    if options.json:
        print(json.dumps(models, indent=2, ensure_ascii=False))
        return
    print(f"{'ROLE':11}{'NAME':11}{'READY':7}{'LICENCE'}")
    for model in models:
        ready = "yes" if model["ready"] else "no"
        print(f"{model['role']:11}{model['name']:11}{ready:7}{model['licence']}")
        notes = [model["title"], model["fault"] or model["place"]]
        notes += [f"SHA-256 {digest} {name}" for name, digest in model["sha256"].items()]
        print(*(f"{'':22}{note}" for note in notes), sep="\n")
