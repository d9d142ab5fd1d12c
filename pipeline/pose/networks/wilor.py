"""WiLoR (Potamias et al., "WiLoR: End-to-end 3D hand localization and reconstruction in-the-wild", 2024).

A first hand comes from 18 tokens that go through the transformer with the picture. Where its vertices fall on
finer maps of the features, these are read, and a second answer corrects the first.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from pipeline.pose.networks.hand_layer import (
    N_BETAS,
    HandAnswer,
    HandLayer,
    HandNetwork,
    add_means,
    place,
    project,
)
from pipeline.pose.networks.vit import N_ROTATIONS, Vit, VitSize, make_map


class WilorVit(Vit):
    """The transformer, asked by 16 tokens for the rotations, one for the shape and one for the camera."""

    init_hand_pose: torch.Tensor
    init_betas: torch.Tensor
    init_cam: torch.Tensor

    def __init__(self, size: VitSize) -> None:
        super().__init__(size)
        self.pose_emb = nn.Linear(6, size.width)
        self.shape_emb = nn.Linear(N_BETAS, size.width)
        self.cam_emb = nn.Linear(3, size.width)
        self.decpose = nn.Linear(size.width, 6)
        self.decshape = nn.Linear(size.width, N_BETAS)
        self.deccam = nn.Linear(size.width, 3)
        add_means(self)

    def answer(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Camera (B, 3), rotations (B, 96), shape (B, 10) and features (B, width, 16, 12)."""
        asked = [
            self.pose_emb(self.init_hand_pose.unflatten(1, (N_ROTATIONS, 6))),
            self.shape_emb(self.init_betas)[:, None],
            self.cam_emb(self.init_cam)[:, None],
        ]
        tokens = self.look(pictures, torch.cat(asked, dim=1).expand(len(pictures), -1, -1))
        pose, shape, camera, patches = tokens.split([N_ROTATIONS, 1, 1, tokens.shape[1] - 18], dim=1)
        return (
            self.init_cam + self.deccam(camera[:, 0]),
            self.init_hand_pose + self.decpose(pose).flatten(1),
            self.init_betas + self.decshape(shape[:, 0]),
            make_map(patches),
        )


class FinerMaps(nn.Module):
    """Features (B, width, 16, 12) to maps of one, two and four times the size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, quarter, eighth = width // 2, width // 4, width // 8
        self.first_conv = nn.Sequential(nn.Conv2d(width, half, kernel_size=1))
        self.deconv = nn.ModuleList(
            [
                nn.Sequential(*_enlarge(half, quarter)),
                nn.Sequential(*_enlarge(half, quarter), *_enlarge(quarter, eighth)),
            ]
        )

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        """The maps, the finest first."""
        coarse = self.first_conv(features)
        return [*(enlarge(coarse) for enlarge in reversed(self.deconv)), coarse]


def _enlarge(width: int, narrower: int) -> tuple[nn.Module, ...]:
    """Twice the size, fewer channels."""
    return (
        nn.ConvTranspose2d(width, narrower, kernel_size=4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(narrower),
        nn.ReLU(),
    )


class Refinement(nn.Module):
    """Corrections of camera, rotations and shape from the features where the first hand's vertices fall."""

    def __init__(self, width: int) -> None:
        super().__init__()
        read = width // 2 + width // 4 + width // 8
        self.deconv = FinerMaps(width)
        self.dec_pose = nn.Linear(read, 6 * N_ROTATIONS)
        self.dec_cam = nn.Linear(read, 3)
        self.dec_shape = nn.Linear(read, N_BETAS)

    def forward(
        self, features: torch.Tensor, camera: torch.Tensor, vertices_m: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Corrections of camera (B, 3), rotations (B, 96) and shape (B, 10).

        Parameters
        ----------
        features : Tensor (B, width, 16, 12)
            From the transformer.
        camera : Tensor (B, 3)
            Of the first hand.
        vertices_m : Tensor (B, V, 3)
            Of the first hand.
        """
        read = [_read_map(finer, camera, vertices_m) for finer in self.deconv(features)]
        feature = torch.cat(read, dim=1)
        return self.dec_cam(feature), self.dec_pose(feature), self.dec_shape(feature)


def _read_map(features: torch.Tensor, camera: torch.Tensor, vertices_m: torch.Tensor) -> torch.Tensor:
    """The largest of each feature (B, C) over the places where the vertices fall on a map (B, C, h, w)."""
    height, width = features.shape[2:]
    shares = project(vertices_m, place(camera, height), height)
    # The published weights were trained with shares (-0.5 to 0.5) taken for pixels here: so near the
    # top-left corner is where they expect to be shown the map.
    grid = shares / shares.new_tensor([width - 1, height - 1]) * 2 - 1
    read = functional.grid_sample(features, grid[:, None], align_corners=True)
    return read[:, :, 0].amax(dim=-1)


class Wilor(HandNetwork):
    """WiLoR.

    Parameters
    ----------
    size : VitSize
    mano : HandLayer, optional
        By default one of MANO's size.
    """

    def __init__(self, size: VitSize | None = None, mano: HandLayer | None = None) -> None:
        super().__init__(mano)
        size = size or VitSize()
        self.backbone = WilorVit(size)
        self.refine_net = Refinement(size.width)

    def forward(self, pictures: torch.Tensor) -> HandAnswer:
        """The hands in pictures (B, 3, 256, 256), RGB less its mean, by its deviation."""
        camera, sixd, betas, features = self.backbone.answer(pictures)
        first = self.pose(camera, sixd, betas)
        more_camera, more_sixd, more_betas = self.refine_net(features, camera, first.vertices_m)
        return self.pose(camera + more_camera, sixd + more_sixd, betas + more_betas)
