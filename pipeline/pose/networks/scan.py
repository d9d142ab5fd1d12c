"""The selective scan of state-space networks (Gu and Dao, "Mamba", 2023) in plain PyTorch."""

from __future__ import annotations

import math

import torch


def scan(
    values: torch.Tensor,
    steps: torch.Tensor,
    decay: torch.Tensor,
    write: torch.Tensor,
    read: torch.Tensor,
    chunk: int = 0,
) -> torch.Tensor:
    """Run ``h_t = exp(step_t decay) h_(t-1) + step_t write_t value_t`` and answer ``read_t h_t``.

    The sequence is cut into chunks. All chunks run side by side from a state of nought; then the states are
    handed from chunk to chunk, and what they add is added. That takes ``2 chunk + L / chunk`` steps
    instead of L, and no exponent is ever above nought, so nothing overflows.

    Parameters
    ----------
    values, steps : Tensor (B, K, D, L)
        K sequences of D channels; steps are not negative.
    decay : Tensor (K, D, N)
        Negative.
    write, read : Tensor (B, K, N, L)
        How a value goes into the states, and how they are read.
    chunk : int
        Length of a chunk. 0 takes the whole sequence on a CPU, where fewer operations count, and the root of
        its length on a GPU, where fewer steps count.

    Returns
    -------
    Tensor (B, K, D, L)
    """
    length = values.shape[-1]
    chunk = min(chunk, length) or _choose_chunk(length, values.device)
    missing = -length % chunk
    # Steps of nought at the end change no state.
    values, steps, write, read = (
        torch.nn.functional.pad(part, (0, missing)).unflatten(-1, (-1, chunk)).movedim(-1, 0)
        for part in (values, steps, write, read)
    )
    write, read = (part.transpose(-1, -2)[:, :, :, None] for part in (write, read))
    decay = decay[:, :, None]
    state = values.new_zeros(*values.shape[1:], decay.shape[-1])
    answers = []
    for value, step, written, shown in zip(values, steps, write, read, strict=True):
        state = torch.exp(step[..., None] * decay) * state + (step * value)[..., None] * written
        answers.append((state * shown).sum(dim=-1))
    answer = torch.stack(answers)
    if answer.shape[-1] > 1:
        answer = answer + _read_carried(state, steps, decay, read)
    return answer.movedim(0, -1).flatten(-2)[..., :length]


def _choose_chunk(length: int, device: torch.device) -> int:
    return length if device.type == "cpu" else math.isqrt(length - 1) + 1


def _read_carried(
    ends: torch.Tensor, steps: torch.Tensor, decay: torch.Tensor, read: torch.Tensor
) -> torch.Tensor:
    """What the chunks before add to each answer (chunk, B, K, D, chunks).

    Parameters
    ----------
    ends : Tensor (B, K, D, chunks, N)
        Each chunk's last state, from a state of nought.
    steps : Tensor (chunk, B, K, D, chunks)
        As in `scan`, cut.
    decay : Tensor (K, D, 1, N)
        As in `scan`.
    read : Tensor (chunk, B, K, 1, chunks, N)
        As in `scan`, cut.
    """
    passed = steps.cumsum(dim=0)
    whole = torch.exp(passed[-1][..., None] * decay)
    carried = [torch.zeros_like(ends[..., 0, :])]
    for index in range(ends.shape[-2] - 1):
        carried.append(whole[..., index, :] * carried[-1] + ends[..., index, :])
    start = torch.stack(carried, dim=-2)
    return torch.stack(
        [
            (torch.exp(gone[..., None] * decay) * start * shown).sum(dim=-1)
            for gone, shown in zip(passed, read, strict=True)
        ]
    )
