import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pose.networks.scan import scan


def make_case(seed: int, length: int, batch: int = 2, sequences: int = 2, channels: int = 3, states: int = 4):
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    values = normal(batch, sequences, channels, length)
    steps = torch.nn.functional.softplus(normal(batch, sequences, channels, length))
    decay = -torch.exp(normal(sequences, channels, states))
    write, read = normal(batch, sequences, states, length), normal(batch, sequences, states, length)
    return values, steps, decay, write, read


def scan_plainly(values, steps, decay, write, read) -> np.ndarray:
    """The recurrence, number by number."""
    values, steps, decay, write, read = (part.numpy() for part in (values, steps, decay, write, read))
    answer = np.zeros_like(values)
    for at in np.ndindex(values.shape[:3]):
        state = np.zeros(decay.shape[-1])
        for t in range(values.shape[-1]):
            step = steps[*at, t]
            state = (
                np.exp(step * decay[at[1], at[2]]) * state + step * values[*at, t] * write[at[0], at[1], :, t]
            )
            answer[*at, t] = state @ read[at[0], at[1], :, t]
    return answer


@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(0, 31))
@settings(max_examples=40)
def test_the_scan_is_the_recurrence_whatever_the_chunk(seed, length, chunk):
    values, steps, decay, write, read = make_case(seed, length)
    ours = scan(values, steps, decay, write, read, chunk).numpy()
    plain = scan_plainly(values, steps, decay, write, read)
    np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("chunk", [5, 14, 192])
def test_chunks_of_hambas_own_length_agree_in_single_precision(chunk):
    values, steps, decay, write, read = (part.float() for part in make_case(3, 192, channels=16, states=16))
    ours = scan(values, steps, decay, write, read, chunk)
    torch.testing.assert_close(ours, scan(values, steps, decay, write, read, 1), rtol=1e-4, atol=1e-4)


def test_steps_that_forget_everything_do_not_overflow():
    values, steps, decay, write, read = make_case(1, 24)
    answer = scan(values, steps + 1e4, decay, write, read, chunk=5)
    assert torch.isfinite(answer).all()
    now = (steps + 1e4) * values * (write * read).sum(dim=2)[:, :, None]
    torch.testing.assert_close(answer, now)
