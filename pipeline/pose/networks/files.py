"""Where the user's weights of the networks lie, and under which licence. Light: it loads no network."""

from __future__ import annotations

from pathlib import Path

from settings import get_settings

FILES = {"hamer": "hamer.ckpt", "wilor": "wilor_final.ckpt", "hamba": "hamba.ckpt"}
"""The published names of the weights, each in ``models/<name>/``."""

CONFIG_FILE = "model_config.yaml"
"""Published beside Hamba's weights, and read where these do not hold their configuration."""

TITLES = {"hamer": "HaMeR", "wilor": "WiLoR", "hamba": "Hamba"}

_MANO = "; holds MANO, whose licence is non-commercial and by registration"

LICENCES = {
    "hamer": "MIT" + _MANO,
    "wilor": "CC-BY-NC-ND 4.0" + _MANO,
    "hamba": "CC-BY-NC 4.0 by its page, MIT by its licence file" + _MANO,
}

PLACES = {
    "hamer": "Download hamer_demo_data.tar.gz from HaMeR's page and put hamer_ckpts/checkpoints/hamer.ckpt "
    "into models/hamer/.",
    "wilor": "Download pretrained_models/wilor_final.ckpt from WiLoR's page and put it into models/wilor/.",
    "hamba": "Download Hamba's archive from its page and put ckpts/hamba/checkpoints/hamba.ckpt and "
    "ckpts/hamba/model_config.yaml into models/hamba/.",
}


DETECTOR_TITLE = "WiLoR's hand detector"

DETECTOR_LICENCE = "CC-BY-NC-ND 4.0; run by ultralytics, AGPL-3.0"

DETECTOR_PLACE = (
    "Download pretrained_models/detector.pt (about 52 MB) from WiLoR's page and put it into models/wilor/."
)


def locate_detector() -> Path:
    """Where WiLoR's hand detector belongs."""
    return Path(get_settings().models_dir) / "wilor" / "detector.pt"


def locate(name: str) -> Path:
    """Where the weights of "hamer", "wilor" or "hamba" belong."""
    return Path(get_settings().models_dir) / name / FILES[name]


def list_files(name: str) -> list[Path]:
    """The weights of "hamer", "wilor" or "hamba", there or not; Hamba's configuration only where it is."""
    weights = locate(name)
    config = weights.with_name(CONFIG_FILE)
    return [weights, config] if name == "hamba" and config.is_file() else [weights]
