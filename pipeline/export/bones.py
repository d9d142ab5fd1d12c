"""The hand model as other programs take it: bones at rest, skin and weights, in plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.errors import ModelError
from pipeline.hand.joints import JOINTS, JOINTS_FROM_MANO, MANO_PARENTS, Side
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.hand.rotations import mirror_points

SHARED_LICENCES = ("MIT", "Apache", "BSD", "CC0", "CC-BY")
"""Under these a model's skin may be passed on; MANO's own licence does not allow it."""


@dataclass(frozen=True)
class Bones:
    """A hand at rest (flat), of one side and shape, in m and in the model's frame.

    Attributes
    ----------
    names : tuple of 21 str
        MANO's 16 joints in its order, then the five tips thumb to little finger: ids of `JOINTS`.
    parents : tuple of 21 int
        -1 = none.
    places_m : ndarray (21, 3)
    vertices_m : ndarray (V, 3) or None
        None where the model's licence keeps its skin to itself.
    faces : ndarray (F, 3) or None
        Outward.
    weights : ndarray (V, 16) or None
        How much each of the 16 joints moves a vertex; rows sum to 1.
    licence : str
        Of the model.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    places_m: np.ndarray
    vertices_m: np.ndarray | None
    faces: np.ndarray | None
    weights: np.ndarray | None
    licence: str


def load_model_of(models: list[dict[str, Any]]) -> HandModel:
    """The hand model that a run was fused with.

    Parameters
    ----------
    models : list of dict
        As ``run.json`` has them.

    Raises
    ------
    ModelError
        The model that is there now is another one, or none is.
    """
    wanted = next((entry for entry in models if entry.get("role") == "hand model"), None)
    model = load_hand_model()
    if wanted is not None and wanted.get("sha256") != model.digest:
        raise ModelError(
            f"The run was fused with the hand model {wanted.get('name')}, and the one here is now "
            f"{model.name} (or another file of it).",
            "Put the earlier file back, or run the pipeline on the session again.",
        )
    return model


def rest_bones(model: HandModel, side: Side, betas: np.ndarray) -> Bones:
    """The flat hand of a shape.

    Parameters
    ----------
    model : HandModel
        Right, as `HandModel` is.
    side : "right" | "left"
        A left hand is the right one mirrored, its faces turned round so that they stay outward.
    betas : ndarray (10,)
        Shape; zeros are the mean hand.
    """
    with torch.no_grad():
        layer = model.layer
        shape = torch.as_tensor(np.asarray(betas), dtype=layer.shapedirs.dtype)
        vertices = layer.v_template + torch.einsum("vcb,b->vc", layer.shapedirs, shape)
        joints = layer.J_regressor @ vertices
        places = torch.cat([joints, vertices[list(model.tip_vertices)]]).numpy().astype(float)
        skin = vertices.numpy().astype(float)
    if side == "left":
        places, skin = mirror_points(places), mirror_points(skin)
    shared = model.licence.startswith(SHARED_LICENCES)
    names = [""] * len(JOINTS)
    for joint, at in zip(JOINTS, JOINTS_FROM_MANO, strict=True):
        names[at] = joint
    tip_parents = tuple(names.index(name.replace("_tip", last)) for name, last in _last_joints(names))
    faces = model.faces[:, ::-1] if side == "left" else model.faces
    return Bones(
        names=tuple(names),
        parents=(*MANO_PARENTS, *tip_parents),
        places_m=places,
        vertices_m=skin if shared else None,
        faces=faces if shared else None,
        weights=layer.lbs_weights.numpy().astype(float) if shared else None,
        licence=model.licence,
    )


def _last_joints(names: list[str]) -> list[tuple[str, str]]:
    """Each tip's name and the ending of the joint before it."""
    return [(name, "_ip" if name == "thumb_tip" else "_dip") for name in names[len(MANO_PARENTS) :]]
