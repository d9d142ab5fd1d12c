"""Hamba (Dong et al., "Hamba: Single-view 3D Hand Reconstruction with Graph-guided Bi-Scanning Mamba", 2024).

A state-space network on the features gives a first hand. The features under its joints, led along the bones
by a graph, go through a second one with the picture's mean feature, and that answer counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from pipeline.errors import ModelError
from pipeline.hand.joints import BONES, N_JOINTS
from pipeline.pose.networks.checkpoints import Checkpoint
from pipeline.pose.networks.files import CONFIG_FILE
from pipeline.pose.networks.hand_layer import Decoders, HandAnswer, HandLayer, HandNetwork
from pipeline.pose.networks.scan import scan
from pipeline.pose.networks.vit import MAP_HEIGHT, MAP_WIDTH, Mlp, Vit, VitSize

N_SCANS = 4
"""Along the rows, along the columns, and both backwards."""

_WAYS = tuple(zip(*sorted(BONES + tuple((child, parent) for parent, child in BONES)), strict=True))
"""Both ways along each bone, (to, from), in the order of the published weights."""


_TOLD_BY = {
    "op.in_proj.weight": 2,
    "op.out_proj.weight": 2,
    "op.A_logs": 2,
    "op.dt_projs_weight": 3,
    "mlp.fc1.weight": 2,
}
"""The weights of a block whose shapes tell the network's size, and how many axes they have."""

_SAMPLINGS = ("bilinear", "nearest", "bicubic")


@dataclass(frozen=True)
class HambaSize:
    """Size of the network and the two choices that its weights do not tell.

    Attributes
    ----------
    vit : VitSize
    width : int
        Channels of a token after the transformer.
    inner : int
        Channels that are scanned.
    states : int
        States of a scanned channel.
    rank : int
        Channels from which the scan's steps are made.
    hidden : int
        Channels inside the two layers on each token.
    gated : bool
        Half of what a block makes of its tokens opens and shuts the other half.
    first_blocks, graph_blocks : tuple of int
        Blocks in each layer of the first and of the second state-space network.
    clip_joints : bool
        Joints outside the picture are read at its edge (CLIP_JOINT2D of the published configuration).
    sampling : str
        "bilinear", "nearest" or "bicubic" (GRID_SAMPLE_MODE of the published configuration).
    """

    vit: VitSize = field(default_factory=VitSize)
    width: int = 512
    inner: int = 1024
    states: int = 16
    rank: int = 32
    hidden: int = 2048
    gated: bool = True
    first_blocks: tuple[int, ...] = (1, 1)
    graph_blocks: tuple[int, ...] = (1, 1)
    clip_joints: bool = True
    sampling: str = "bilinear"


def read_size(checkpoint: Checkpoint, vit: VitSize | None = None) -> HambaSize:
    """The size of a checkpoint's network, from the shapes of its weights and from its configuration.

    Parameters
    ----------
    checkpoint : Checkpoint
        With its configuration, or with ``model_config.yaml`` beside it.
    vit : VitSize, optional
        Of the transformer; by default the published one.

    Raises
    ------
    ModelError
        Neither says whether joints outside the picture are clipped, which no shape tells; or they name a
        sampling that there is not.
    """
    shapes = {name: tuple(value.shape) for name, value in checkpoint.weights.items()}
    block = "initRegression.dec_vssm.layers.0.blocks.0."
    if any(len(shapes.get(block + name, ())) != axes for name, axes in _TOLD_BY.items()):
        return HambaSize(vit or VitSize())  # another network; loading says what differs
    inner, width = shapes[block + "op.out_proj.weight"][::-1]
    return HambaSize(
        vit=vit or VitSize(),
        width=width,
        inner=inner,
        states=shapes[block + "op.A_logs"][1],
        rank=shapes[block + "op.dt_projs_weight"][2],
        hidden=shapes[block + "mlp.fc1.weight"][0],
        gated=shapes[block + "op.in_proj.weight"][0] == 2 * inner,
        first_blocks=_count_blocks(shapes, "initRegression.dec_vssm."),
        graph_blocks=_count_blocks(shapes, "mano_head.dec_gcn_vssm."),
        clip_joints=_is_clipped(checkpoint),
        sampling=_choose_sampling(checkpoint),
    )


def _count_blocks(shapes: Mapping[str, object], prefix: str) -> tuple[int, ...]:
    """Blocks in each layer of the network under a prefix."""
    found = {
        (int(match[1]), int(match[2]))
        for name in shapes
        if (match := re.match(re.escape(prefix) + r"layers\.(\d+)\.blocks\.(\d+)\.", name))
    }
    counts = Counter(layer for layer, _ in found)
    return tuple(counts[layer] for layer in range(len(counts)))


def _is_clipped(checkpoint: Checkpoint) -> bool:
    choice = str(_find_choice(checkpoint, "CLIP_JOINT2D")).lower()
    if choice not in ("true", "false"):
        raise ModelError(
            f"{checkpoint.path} does not say whether CLIP_JOINT2D is true, and its answers hang on that.",
            f"Put {CONFIG_FILE}, which its makers publish with it, into {checkpoint.path.parent}.",
        )
    return choice == "true"


def _choose_sampling(checkpoint: Checkpoint) -> str:
    choice = str(_find_choice(checkpoint, "GRID_SAMPLE_MODE") or _SAMPLINGS[0]).lower()
    if choice not in _SAMPLINGS:
        raise ModelError(
            f"The configuration of {checkpoint.path} has GRID_SAMPLE_MODE {choice:.40}, which there is not.",
            f"Put {CONFIG_FILE} and the weights there as their makers publish them.",
        )
    return choice


def _find_choice(checkpoint: Checkpoint, name: str) -> object:
    """A setting from the checkpoint's configuration or from ``model_config.yaml`` beside it, else None."""
    value = checkpoint.find_setting(name)
    path = checkpoint.path.with_name(CONFIG_FILE)
    if value is None and path.is_file():
        # What is looked for is ASCII; a comment in another encoding is nobody's fault.
        text = path.read_text(encoding="utf-8", errors="replace")
        match = re.search(rf"^\s*{name}\s*:\s*['\"]?(\w+)", text, re.MULTILINE)
        value = match[1] if match else None
    return value


class CrossScan(nn.Module):
    """Tokens of a map (B, H, W, width), each told of all others by scans in four directions."""

    def __init__(self, size: HambaSize) -> None:
        super().__init__()
        self.rank, self.states, self.gated = size.rank, size.states, size.gated
        inner = size.inner
        self.in_proj = nn.Linear(size.width, 2 * inner if size.gated else inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, kernel_size=3, padding=1, groups=inner)
        self.x_proj_weight = nn.Parameter(torch.zeros(N_SCANS, size.rank + 2 * size.states, inner))
        self.dt_projs_weight = nn.Parameter(torch.zeros(N_SCANS, inner, size.rank))
        self.dt_projs_bias = nn.Parameter(torch.zeros(N_SCANS, inner))
        self.A_logs = nn.Parameter(torch.zeros(N_SCANS * inner, size.states))
        self.Ds = nn.Parameter(torch.ones(N_SCANS * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, size.width, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, H, W, width)."""
        made = self.in_proj(tokens)
        gate = None
        if self.gated:
            made, gate = made.chunk(2, dim=-1)
        seen = functional.silu(self.conv2d(made.permute(0, 3, 1, 2)))
        mixed = self.out_norm(self._scan(seen).permute(0, 2, 3, 1))
        return self.out_proj(mixed if gate is None else mixed * functional.silu(gate))

    def _scan(self, seen: torch.Tensor) -> torch.Tensor:
        """The sum (B, inner, H, W) of the four scans of a map (B, inner, H, W)."""
        height, width = seen.shape[2:]
        forth = torch.stack([seen.flatten(2), seen.transpose(2, 3).flatten(2)], dim=1)
        values = torch.cat([forth, forth.flip(-1)], dim=1)
        made = torch.einsum("bkdl,kcd->bkcl", values, self.x_proj_weight)
        steps, write, read = made.split([self.rank, self.states, self.states], dim=2)
        steps = torch.einsum("bkrl,kdr->bkdl", steps, self.dt_projs_weight) + self.dt_projs_bias[..., None]
        decay = -torch.exp(self.A_logs).unflatten(0, (N_SCANS, -1))
        answers = scan(values, functional.softplus(steps), decay, write, read)
        answers = answers + self.Ds.unflatten(0, (N_SCANS, -1))[..., None] * values
        rows, columns = (answers[:, :2] + answers[:, 2:].flip(-1)).unbind(dim=1)
        return rows.unflatten(-1, (height, width)) + columns.unflatten(-1, (width, height)).transpose(2, 3)


class ScanBlock(nn.Module):
    """One block: scans and layers on each token, each added to what came in."""

    def __init__(self, size: HambaSize) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size.width)
        self.op = CrossScan(size)
        self.norm2 = nn.LayerNorm(size.width)
        self.mlp = Mlp(size.width, size.hidden)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, H, W, width)."""
        tokens = tokens + self.op(self.norm(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class ScanLayer(nn.Module):
    """Blocks, one after the other."""

    def __init__(self, size: HambaSize, n_blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ScanBlock(size) for _ in range(n_blocks)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, H, W, width)."""
        return self.blocks(tokens)


class ScanNetwork(nn.Module):
    """Layers and the norm behind the last. The norms behind the others are published too, and not used."""

    def __init__(self, size: HambaSize, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ScanLayer(size, n_blocks) for n_blocks in blocks)
        for index in range(len(blocks)):
            self.add_module(f"outnorm{index}", nn.LayerNorm(size.width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, H, W, width)."""
        for layer in self.layers:
            tokens = layer(tokens)
        return self.finish(tokens)

    def finish(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens behind the last norm."""
        return self.get_submodule(f"outnorm{len(self.layers) - 1}")(tokens)


class FirstHand(Decoders):
    """A first camera, rotations and shape from the features."""

    def __init__(self, size: HambaSize) -> None:
        super().__init__(size.width)
        self.dec_vssm = ScanNetwork(size, size.first_blocks)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Camera (B, 3), rotations (B, 96) and shape (B, 10) from features (B, width, 16, 12)."""
        return self.decode(self.dec_vssm(features.permute(0, 2, 3, 1)).mean(dim=(1, 2)))


class JointFeatures(nn.Module):
    """Features under the joints."""

    def __init__(self, size: HambaSize) -> None:
        super().__init__()
        self.clip_joints, self.sampling = size.clip_joints, size.sampling
        self.filters = nn.Sequential(
            nn.Conv1d(size.width, size.width, kernel_size=1),
            nn.BatchNorm1d(size.width),
            nn.ReLU(),
            nn.Conv1d(size.width, size.width, kernel_size=1),
        )

    def forward(self, features: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 21, width) from features (B, width, 16, 12) at points (B, 21, 2), shares of the crop."""
        grid = 2 * points
        if self.clip_joints:
            rest = 1 - (MAP_HEIGHT - MAP_WIDTH) / 2 / MAP_HEIGHT
            grid = torch.stack([grid[..., 0].clamp(-rest, rest) / rest, grid[..., 1]], dim=-1)
        read = functional.grid_sample(features, grid[:, :, None], mode=self.sampling, align_corners=False)
        return self.filters(read[..., 0]).transpose(1, 2)


class JointGraph(nn.Module):
    """A matrix for each joint, and a weight for each way along a bone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.zeros(2, N_JOINTS, width, width))
        self.e_0 = nn.Parameter(torch.ones(1, N_JOINTS))
        self.e_1 = nn.Parameter(torch.ones(1, 2 * len(BONES)))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 21, width)."""
        # e_0 weighs a joint for itself, and a weight that stands alone is 1 after the softmax.
        own, others = torch.einsum("bjc,wjcd->wbjd", tokens, self.W)
        weights = self.e_1.new_full((N_JOINTS, N_JOINTS), -torch.inf)
        weights[_WAYS] = self.e_1[0]
        return own + weights.softmax(dim=1) @ others + self.bias


class GraphLayer(nn.Module):
    """The graph, a norm and a rectifier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gconv = JointGraph(width)
        self.bn = nn.BatchNorm1d(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 21, width)."""
        return functional.relu(self.bn(self.gconv(tokens).transpose(1, 2))).transpose(1, 2)


class GraphScanNetwork(ScanNetwork):
    """Before each layer of scans the joints' tokens go along the bones."""

    def __init__(self, size: HambaSize) -> None:
        super().__init__(size, size.graph_blocks)
        self.gcn_layers = nn.ModuleList(GraphLayer(size.width) for _ in size.graph_blocks)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 22, width): the joints' and the picture's."""
        for graph, layer in zip(self.gcn_layers, self.layers, strict=True):
            joints = graph(tokens[:, :N_JOINTS])
            tokens = torch.cat([joints, tokens[:, N_JOINTS:]], dim=1)
            tokens = layer(tokens[:, :, None])[:, :, 0]
        return self.finish(tokens)


class HambaHead(Decoders):
    """Camera, rotations and shape from the joints' features, the picture's mean and the first joints."""

    def __init__(self, size: HambaSize) -> None:
        super().__init__(3 * size.width + 2 * N_JOINTS)
        self.dec_gcn_vssm = GraphScanNetwork(size)

    def forward(
        self, joints: torch.Tensor, mean: torch.Tensor, points: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Camera (B, 3), rotations (B, 96) and shape (B, 10).

        Parameters
        ----------
        joints : Tensor (B, 21, width)
            Features under the first hand's joints.
        mean : Tensor (B, width)
            Mean feature of the picture.
        points : Tensor (B, 21, 2)
            The first hand's joints, shares of the crop.
        """
        tokens = self.dec_gcn_vssm(torch.cat([joints, mean[:, None]], dim=1))
        feature = [tokens.mean(dim=1), points.flatten(1), mean, joints.mean(dim=1)]
        return self.decode(torch.cat(feature, dim=1))


class Hamba(HandNetwork):
    """Hamba.

    Parameters
    ----------
    size : HambaSize
    mano : HandLayer, optional
        By default one of MANO's size.
    """

    def __init__(self, size: HambaSize | None = None, mano: HandLayer | None = None) -> None:
        super().__init__(mano)
        size = size or HambaSize()
        self.backbone = Vit(size.vit)
        self.downsample = nn.Sequential(
            nn.Conv2d(size.vit.width, size.width, kernel_size=1),
            nn.BatchNorm2d(size.width),
            nn.ReLU(),
            nn.Conv2d(size.width, size.width, kernel_size=1),
        )
        self.initRegression = FirstHand(size)
        self.gridSampleFeature = JointFeatures(size)
        self.mano_head = HambaHead(size)

    def forward(self, pictures: torch.Tensor) -> HandAnswer:
        """The hands in pictures (B, 3, 256, 256), RGB less its mean, by its deviation."""
        return self.answer_twice(pictures)[1]

    def answer_twice(self, pictures: torch.Tensor) -> tuple[HandAnswer, HandAnswer]:
        """The first hand, from the picture as a whole, and the one that counts."""
        features = self.downsample(self.backbone(pictures))
        first = self.pose(*self.initRegression(features))
        joints = self.gridSampleFeature(features, first.points)
        return first, self.pose(*self.mano_head(joints, features.mean(dim=(2, 3)), first.points))
