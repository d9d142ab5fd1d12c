"""What the three networks answer, and MANO inside them with the names that their checkpoints have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.hand.joints import JOINTS_FROM_MANO, MANO_PARENTS
from pipeline.hand.model import MANO_TIP_VERTICES
from pipeline.pose.networks.vit import N_ROTATIONS, PICTURE_PX

FOCAL = 5000.0
"""The networks' own focal length in px of the crop; a convention, not a camera."""

N_BETAS = 10
N_VERTICES, N_FACES = 778, 1538


@dataclass(frozen=True)
class HandAnswer:
    """A right hand for each crop, in the frame of the network's own camera (x right, y down, z forward).

    Attributes
    ----------
    camera : Tensor (B, 3)
        Weak perspective: scale, and the hand's shift in x and y in metres.
    global_orient : Tensor (B, 3, 3)
    hand_pose : Tensor (B, 15, 3, 3)
        Absolute: flat hand = identity.
    betas : Tensor (B, 10)
    translation_m : Tensor (B, 3)
        Where the hand is for a camera of focal length `FOCAL` that sees the crop only.
    joints_m : Tensor (B, 21, 3)
        In the order of `pipeline.hand.joints.JOINTS`, without the translation.
    vertices_m : Tensor (B, V, 3)
        Without the translation.
    points : Tensor (B, 21, 2)
        The joints in the crop, as shares of its side: 0 is its middle, -0.5 and 0.5 its edges.
    """

    camera: torch.Tensor
    global_orient: torch.Tensor
    hand_pose: torch.Tensor
    betas: torch.Tensor
    translation_m: torch.Tensor
    joints_m: torch.Tensor
    vertices_m: torch.Tensor
    points: torch.Tensor


class HandLayer(nn.Module):
    """MANO's linear blend skinning, right hand, from shape and rotation matrices.

    Its 13 buffers have the names of smplx's MANO, because the checkpoints carry them. Six of them (those of
    the pose's principal components and the joint maps) are read and kept, and nothing here depends on them.
    """

    v_template: torch.Tensor
    shapedirs: torch.Tensor
    posedirs: torch.Tensor
    J_regressor: torch.Tensor
    lbs_weights: torch.Tensor

    def __init__(self, n_vertices: int = N_VERTICES, n_faces: int = N_FACES) -> None:
        super().__init__()
        tips = torch.tensor(MANO_TIP_VERTICES)
        buffers = {
            "shapedirs": torch.zeros(n_vertices, 3, N_BETAS),
            "faces_tensor": torch.zeros(n_faces, 3, dtype=torch.int64),
            "v_template": torch.zeros(n_vertices, 3),
            "J_regressor": torch.zeros(N_ROTATIONS, n_vertices),
            "posedirs": torch.zeros((N_ROTATIONS - 1) * 9, n_vertices * 3),
            "parents": torch.tensor(MANO_PARENTS),
            "lbs_weights": torch.zeros(n_vertices, N_ROTATIONS),
            "hand_components": torch.zeros(6, 45),
            "hand_mean": torch.zeros(45),
            "pose_mean": torch.zeros(48),
            "extra_joints_idxs": tips,
            "joint_map": torch.tensor(JOINTS_FROM_MANO),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)
        self.vertex_joint_selector = nn.Module()
        self.vertex_joint_selector.register_buffer("extra_joints_idxs", tips.clone())

    def take(self, fields: Mapping[str, np.ndarray]) -> None:
        """Fill the layer from the fields of a MANO file (``v_template``, ``shapedirs``, ...)."""
        posedirs = np.asarray(fields["posedirs"])
        values = {
            "v_template": fields["v_template"],
            "shapedirs": fields["shapedirs"],
            "posedirs": posedirs.reshape(-1, posedirs.shape[-1]).T,
            "J_regressor": fields["J_regressor"],
            "lbs_weights": fields["weights"],
            "faces_tensor": np.asarray(fields["f"]).astype(np.int64),
        }
        for name, value in values.items():
            buffer = self.get_buffer(name)
            buffer.copy_(torch.as_tensor(np.ascontiguousarray(value), dtype=buffer.dtype))

    def forward(self, betas: torch.Tensor, rotations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vertices (B, V, 3) and the 21 joints (B, 21, 3) in metres.

        Parameters
        ----------
        betas : Tensor (B, 10)
            Shape.
        rotations : Tensor (B, 16, 3, 3)
            Absolute, the whole hand's first.
        """
        shaped = self.v_template + torch.einsum("bk,vck->bvc", betas, self.shapedirs)
        rest = torch.einsum("jv,bvc->bjc", self.J_regressor, shaped)
        bent = rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        posed = shaped + (bent.flatten(1) @ self.posedirs).unflatten(1, (-1, 3))
        turns, joints = _chain(rotations, rest)
        shifts = joints - torch.einsum("bjcd,bjd->bjc", turns, rest)
        turn = torch.einsum("vj,bjcd->bvcd", self.lbs_weights, turns)
        shift = torch.einsum("vj,bjc->bvc", self.lbs_weights, shifts)
        vertices = torch.einsum("bvcd,bvd->bvc", turn, posed) + shift
        tips = vertices[:, list(MANO_TIP_VERTICES)]
        return vertices, torch.cat([joints, tips], dim=1)[:, list(JOINTS_FROM_MANO)]


def _chain(rotations: torch.Tensor, rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotations (B, 16, 3, 3) and places (B, 16, 3) of the joints in space, from the wrist outwards."""
    turns, places = [rotations[:, 0]], [rest[:, 0]]
    for joint, parent in enumerate(MANO_PARENTS[1:], start=1):
        bone = (rest[:, joint] - rest[:, parent])[..., None]
        places.append(places[parent] + (turns[parent] @ bone)[..., 0])
        turns.append(turns[parent] @ rotations[:, joint])
    return torch.stack(turns, dim=1), torch.stack(places, dim=1)


def decode_rotations(sixd: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (B, 16, 3, 3) from their first two columns (B, 96), Gram-Schmidt."""
    first, second = sixd.unflatten(1, (-1, 2, 3)).unbind(dim=2)
    one = functional.normalize(first, dim=-1)
    two = functional.normalize(second - (one * second).sum(dim=-1, keepdim=True) * one, dim=-1)
    return torch.stack([one, two, torch.linalg.cross(one, two)], dim=-1)


def place(camera: torch.Tensor, side_px: float = PICTURE_PX) -> torch.Tensor:
    """Translation (B, 3) in metres from a weak-perspective camera (B, 3) and the side of its picture."""
    scale, x, y = camera.unbind(dim=-1)
    return torch.stack([x, y, 2 * FOCAL / (side_px * scale + 1e-9)], dim=-1)


def project(points_m: torch.Tensor, translation_m: torch.Tensor, side_px: float = PICTURE_PX) -> torch.Tensor:
    """Points (B, N, 3) in a picture, as shares of its side about its middle: (B, N, 2)."""
    placed = points_m + translation_m[:, None]
    return placed[..., :2] / placed[..., 2:] * (FOCAL / side_px)


class HandNetwork(nn.Module):
    """What HaMeR, WiLoR and Hamba have in common: MANO at the end, and what strict loading leaves out."""

    def __init__(self, mano: HandLayer | None = None) -> None:
        super().__init__()
        self.mano = mano or HandLayer()
        self.register_load_state_dict_pre_hook(drop_training_parts)

    def use_half(self) -> None:
        """Half precision where nearly all the time goes: for a GPU."""
        self.get_submodule("backbone").use_half()  # type: ignore[operator]

    def pose(self, camera: torch.Tensor, sixd: torch.Tensor, betas: torch.Tensor) -> HandAnswer:
        """The hand of camera (B, 3), rotations (B, 96) and shape (B, 10)."""
        rotations = decode_rotations(sixd)
        vertices, joints = self.mano(betas, rotations)
        translation = place(camera)
        return HandAnswer(
            camera=camera,
            global_orient=rotations[:, 0],
            hand_pose=rotations[:, 1:],
            betas=betas,
            translation_m=translation,
            joints_m=joints,
            vertices_m=vertices,
            points=project(joints, translation),
        )


TRAINING_PARTS = ("discriminator.", "initialized")
"""What checkpoints hold beside the network: for training only."""


def drop_training_parts(module: nn.Module, state: dict[str, torch.Tensor], prefix: str, *_: object) -> None:
    """Take out of a state dict, in place, what only training needs."""
    for name in [name for name in state if name.removeprefix(prefix).startswith(TRAINING_PARTS)]:
        del state[name]


class Decoders(nn.Module):
    """Linear layers from a feature to rotations, shape and camera, added to their means."""

    init_hand_pose: torch.Tensor
    init_betas: torch.Tensor
    init_cam: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.decpose = nn.Linear(width, 6 * N_ROTATIONS)
        self.decshape = nn.Linear(width, N_BETAS)
        self.deccam = nn.Linear(width, 3)
        add_means(self)

    def decode(self, feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Camera (B, 3), rotations (B, 96) and shape (B, 10) from a feature (B, width)."""
        return (
            self.init_cam + self.deccam(feature),
            self.init_hand_pose + self.decpose(feature),
            self.init_betas + self.decshape(feature),
        )


def add_means(module: nn.Module) -> None:
    """Register the buffers of the mean hand that checkpoints carry."""
    module.register_buffer("init_hand_pose", torch.zeros(1, 6 * N_ROTATIONS))
    module.register_buffer("init_betas", torch.zeros(1, N_BETAS))
    module.register_buffer("init_cam", torch.zeros(1, 3))
