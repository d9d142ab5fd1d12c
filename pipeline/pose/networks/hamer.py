"""HaMeR (Pavlakos et al., "Reconstructing Hands in 3D with Transformers", CVPR 2024).

The features of the crop are asked by one token through a small transformer, and the token is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from pipeline.pose.networks.hand_layer import Decoders, HandAnswer, HandLayer, HandNetwork
from pipeline.pose.networks.vit import Vit, VitSize


@dataclass(frozen=True)
class HamerSize:
    """Size of the network; the default is the published one.

    Attributes
    ----------
    vit : VitSize
    width : int
        Channels of the token that asks.
    depth : int
        Layers that it goes through.
    heads, head_width : int
        Of its attention.
    """

    vit: VitSize = field(default_factory=VitSize)
    width: int = 1024
    depth: int = 6
    heads: int = 8
    head_width: int = 64


class SelfAttention(nn.Module):
    """Attention of tokens to each other."""

    def __init__(self, size: HamerSize) -> None:
        super().__init__()
        inner = size.heads * size.head_width
        self.heads = size.heads
        self.to_qkv = nn.Linear(size.width, 3 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, size.width))

    def forward(self, tokens: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        """Tokens (B, L, width)."""
        query, key, value = self.to_qkv(tokens).chunk(3, dim=-1)
        return self.to_out(_attend(query, key, value, self.heads))


class CrossAttention(nn.Module):
    """Attention of tokens to the features of the crop."""

    def __init__(self, size: HamerSize) -> None:
        super().__init__()
        inner = size.heads * size.head_width
        self.heads = size.heads
        self.to_kv = nn.Linear(size.vit.width, 2 * inner, bias=False)
        self.to_q = nn.Linear(size.width, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, size.width))

    def forward(self, tokens: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Tokens (B, L, width) that look at features (B, 192, vit width)."""
        key, value = self.to_kv(features).chunk(2, dim=-1)
        return self.to_out(_attend(self.to_q(tokens), key, value, self.heads))


class FeedForward(nn.Module):
    """Two layers on each token by itself."""

    def __init__(self, size: HamerSize) -> None:
        super().__init__()
        # The places of the published names; those between hold nothing that is learned.
        self.net = nn.Sequential(
            nn.Linear(size.width, size.width), nn.GELU(), nn.Identity(), nn.Linear(size.width, size.width)
        )

    def forward(self, tokens: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        """Tokens (B, L, width)."""
        return self.net(tokens)


class Normed(nn.Module):
    """A part of a layer behind its norm; its answer is added to what came in."""

    def __init__(self, width: int, part: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = part

    def forward(self, tokens: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Tokens (B, L, width)."""
        return tokens + self.fn(self.norm(tokens), features)


class Layers(nn.Module):
    """The layers, each of three parts."""

    def __init__(self, size: HamerSize) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                Normed(size.width, part)
                for part in (SelfAttention(size), CrossAttention(size), FeedForward(size))
            )
            for _ in range(size.depth)
        )

    def forward(self, tokens: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Tokens (B, L, width)."""
        for layer in self.layers:
            for part in cast(nn.ModuleList, layer):
                tokens = part(tokens, features)
        return tokens


class Question(nn.Module):
    """The one token that asks, and the layers that it goes through."""

    def __init__(self, size: HamerSize) -> None:
        super().__init__()
        self.to_token_embedding = nn.Linear(1, size.width)
        self.pos_embedding = nn.Parameter(torch.zeros(1, 1, size.width))
        self.transformer = Layers(size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Answer (B, width) to features (B, 192, vit width)."""
        blank = features.new_zeros(len(features), 1, 1)
        token = self.to_token_embedding(blank) + self.pos_embedding
        return self.transformer(token, features)[:, 0]


class HamerHead(Decoders):
    """Features to camera, rotations and shape."""

    def __init__(self, size: HamerSize) -> None:
        super().__init__(size.width)
        self.transformer = Question(size)


class Hamer(HandNetwork):
    """HaMeR.

    Parameters
    ----------
    size : HamerSize
    mano : HandLayer, optional
        By default one of MANO's size.
    """

    def __init__(self, size: HamerSize | None = None, mano: HandLayer | None = None) -> None:
        super().__init__(mano)
        size = size or HamerSize()
        self.backbone = Vit(size.vit)
        self.mano_head = HamerHead(size)

    def forward(self, pictures: torch.Tensor) -> HandAnswer:
        """The hands in pictures (B, 3, 256, 256), RGB less its mean, by its deviation."""
        features = self.backbone.look(pictures)
        return self.pose(*self.mano_head.decode(self.mano_head.transformer(features)))


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Attention of several heads on (B, L, inner) each."""
    split = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
    return functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
