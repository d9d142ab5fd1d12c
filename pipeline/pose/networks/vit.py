"""The vision transformer (ViT-H) that HaMeR, WiLoR and Hamba share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

PICTURE_PX = 256
"""Side of the square crops. The network looks at the middle three quarters of their width."""

SIDE_STRIP_PX = 32
MAP_HEIGHT, MAP_WIDTH = 16, 12
N_PATCHES = MAP_HEIGHT * MAP_WIDTH
N_ROTATIONS = 16
"""Rotations of the hand model: the whole hand and 15 joints."""


@dataclass(frozen=True)
class VitSize:
    """Size of the transformer; the default is the published one.

    Attributes
    ----------
    width : int
        Channels of a token.
    depth : int
        Blocks.
    heads : int
        Attention heads; they divide the width.
    """

    width: int = 1280
    depth: int = 32
    heads: int = 16


class PatchEmbed(nn.Module):
    """Pictures (B, 3, 256, 192) to tokens (B, 192, width), row by row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=16, stride=16, padding=2)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 192, width)."""
        return self.proj(pictures).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Attention of tokens to each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, L, width)."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two layers on each token by itself."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (..., width)."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """One block: attention and layers on each token, each added to what came in."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, eps=1e-6)
        self.attn = Attention(size.width, size.heads)
        self.norm2 = nn.LayerNorm(size.width, eps=1e-6)
        self.mlp = Mlp(size.width, 4 * size.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, L, width)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Vit(nn.Module):
    """Crops to a map of features.

    Patches and blocks may be made half precision (`use_half`); all before and after stays single.
    """

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.size = size
        self.patch_embed = PatchEmbed(size.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, N_PATCHES + 1, size.width))
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.depth))
        self.last_norm = nn.LayerNorm(size.width, eps=1e-6)

    def use_half(self) -> None:
        """Work in half precision where nearly all the time goes: for a GPU."""
        self.patch_embed.half()
        self.blocks.half()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features (B, width, 16, 12) of pictures (B, 3, 256, 256), RGB less its mean, by its deviation."""
        return make_map(self.look(pictures))

    def look(self, pictures: torch.Tensor, asked: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens (B, n + 192, width) after the last norm.

        Parameters
        ----------
        pictures : Tensor (B, 3, 256, 256)
            As in `forward`.
        asked : Tensor (B, n, width), optional
            Tokens of no place that go before the patches.
        """
        weight = self.patch_embed.proj.weight
        middle = pictures[..., SIDE_STRIP_PX:-SIDE_STRIP_PX].to(weight.dtype)
        # Published so: the place of a class token that no longer exists is added to every patch.
        tokens = self.patch_embed(middle) + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        if asked is not None:
            tokens = torch.cat([asked, tokens], dim=1)
        tokens = tokens.to(weight.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        return self.last_norm(tokens.float())


def make_map(tokens: torch.Tensor) -> torch.Tensor:
    """The patches' tokens (B, 192, width) as a map (B, width, 16, 12)."""
    return tokens.transpose(1, 2).unflatten(2, (MAP_HEIGHT, MAP_WIDTH))
