"""The file of the estimator ``redys``: trained weights, what they were trained from, how sure they make it.

An ``.npz`` with the fp16 constants of MediaPipe's hand-landmark network by the number of their tensor, and
beside them what was measured of that very network on pictures that it was not trained on: so that figures
change with the weights, and not with the program. Light: it loads no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ModelError, RunFolderError
from pipeline.files import hash_file, read_npz, write_npz
from pipeline.hand.joints import N_JOINTS
from settings import get_settings

OWN_FILE = Path(__file__).with_name("redys.npz")
"""The weights that come with the program; ``redys.md`` beside them is their model card."""

PLACE = (
    "Comes with the program once a training has passed its tests; weights of your own training "
    "(python -m pipeline train, then python -m pipeline finish-weights) are named by REDYS_ESTIMATOR_WEIGHTS."
)

_ADVICE = "Name a file that python -m pipeline finish-weights wrote, or unset REDYS_ESTIMATOR_WEIGHTS."


@dataclass(frozen=True)
class TrainedWeights:
    """Weights and what is known of the network that has them.

    Attributes
    ----------
    constants : dict of ndarray
        fp16, by number of tensor; those that are not there stay the original's.
    source_sha256 : str
        Of the TFLite file that they were trained from and go back into.
    sigma_factor : float
        The estimator's ``sigma_scale``: times what its own sigma and the spread of its passes come to
        together (`pipeline.pose.augmentation`), on held-out pictures, made and real.
    offset_share : tuple of 21 floats
        As in `pipeline.pose.protocols.Estimator`.
    """

    constants: dict[int, np.ndarray]
    source_sha256: str
    sigma_factor: float
    offset_share: tuple[float, ...]


def locate_weights() -> Path:
    """The file of the estimator ``redys``: the setting's, or the program's own."""
    return Path(get_settings().estimator_weights or OWN_FILE)


def write_weights(path: Path, weights: TrainedWeights) -> None:
    """Write the file, whole or not at all."""
    write_npz(
        path,
        source_sha256=np.array(weights.source_sha256),
        sigma_factor=np.array(float(weights.sigma_factor)),
        offset_share=np.array(weights.offset_share, dtype=float),
        **{str(tensor): values.astype(np.float16) for tensor, values in weights.constants.items()},
    )


def read_weights(path: Path) -> TrainedWeights:
    """Read the file.

    Raises
    ------
    ModelError
        It is missing, damaged or not finished; says which.
    """
    try:
        arrays = read_npz(path)
    except RunFolderError as error:
        raise ModelError(
            f"The weights {path} cannot be read: they are missing or damaged.", _ADVICE
        ) from error
    constants = {int(name): values for name, values in arrays.items() if name.isdecimal()}
    source, factor = arrays.get("source_sha256"), arrays.get("sigma_factor")
    share = arrays.get("offset_share")
    if source is None or factor is None or share is None or not constants:
        raise ModelError(
            f"The weights {path} do not say what they were trained from and how sure the network is.",
            "Finish them first: python -m pipeline finish-weights WEIGHTS FILE --made SESSION.",
        )
    if factor.shape != () or not factor > 0 or share.shape != (N_JOINTS,) or not (share >= 0).all():
        raise ModelError(f"The weights {path} hold a sigma that is none.", _ADVICE)
    return TrainedWeights(constants, str(source), float(factor), tuple(share.tolist()))


def check_source(weights: TrainedWeights, original: Path) -> None:
    """Raise `ModelError` if weights were trained from another file than ``original``."""
    if hash_file(original) != weights.source_sha256:
        raise ModelError(
            f"The weights of the estimator redys do not belong to {original}: they were trained from another "
            "file of that name.",
            "Run make setup, which installs mediapipe 0.10.21, or choose the estimator mediapipe.",
        )
