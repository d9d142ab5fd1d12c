"""What the program does, how, what it cannot, and under what terms."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import dash
from dash import html

from components import routes
from components.attributes import as_written
from components.models import models_table
from components.shell import INTENDED_USE
from pipeline.version import PROGRAM_VERSION

dash.register_page(__name__, path=routes.ABOUT, title="About - ReDys")

STEPS = (
    (
        "Clocks",
        "The sound of the cameras brings their clocks together, to a fraction of a frame; without sound the "
        "hand's own motion does, less exactly.",
    ),
    (
        "Pictures",
        "Each picture of the hand is denoised, evened out in light and sharpened as the preset says.",
    ),
    ("Hand in each view", "A network finds 21 joints, seven times over; their spread is the uncertainty."),
    (
        "Cameras",
        "Takes of a checkerboard, or a rig kept from before, give each camera's lens and place; without "
        "either the hand itself does, far less exactly. Each run checks whether the cameras have moved.",
    ),
    ("One hand", "A hand model is fitted to all views and all frames at once; it gives joints in mm."),
    ("Measures", "Joint angles, speed, acceleration and jerk, held against a reference."),
)

LIMITS = (
    INTENDED_USE,
    "The reference in the box is simulated. It is for trying the software, not for a patient.",
    "A colour says how far a value lies from a reference, not whether it is healthy.",
    "How much a measure varies from day to day in one person has not been established, so a difference "
    "between two visits may be no change.",
    "Extreme postures, hidden fingers and motion blur mislead the network, often without a sign: hold the "
    "skeleton against the video.",
)

PACKAGES = ("dash", "plotly", "torch", "opencv-python", "smplx", "av", "numpy", "scipy", "SQLAlchemy")


def layout(**_: Any) -> Any:
    """The page."""
    return html.Article(
        [
            html.H1("About ReDys"),
            html.P(
                "ReDys measures how a hand with focal dystonia moves at its task, from ordinary videos, "
                "and shows where and when it departs from a reference."
            ),
            html.H2("How it measures"),
            html.Ol([html.Li([html.Strong(f"{name}. "), words]) for name, words in STEPS]),
            html.H2("What it cannot say"),
            html.Ul([html.Li(words) for words in LIMITS]),
            html.H2("Your data"),
            html.P(
                "Videos and results stay on this server, but for what somebody shares by a link or takes "
                "away "
                "as a file. No page asks another host for anything, and no figure can be sent anywhere."
            ),
            html.H2("Licence"),
            html.P(
                "AGPL-3.0-or-later. The MANO hand model and the weights of some networks are licensed by "
                "their makers to each user; the built-in hand and network need no further licence. The "
                "report's PDF is set with Typst (Apache-2.0) in Source Sans 3 (SIL Open Font License 1.1)."
            ),
            html.H2("Networks"),
            models_table(),
            html.H2("Versions"),
            html.Table(
                html.Tbody([_version("ReDys", PROGRAM_VERSION), *(_package(name) for name in PACKAGES)]),
                className="table versions",
            ),
        ],
        className="prose",
    )


def _package(name: str) -> html.Tr:
    return _version(name, importlib.metadata.version(name))


def _version(name: str, version: str) -> html.Tr:
    return html.Tr([html.Th(as_written(name), scope="row"), html.Td(as_written(version))])
