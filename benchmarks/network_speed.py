"""HaMeR, WiLoR and Hamba in full size: crops a second, frames a second with seven passes, share of the rate.

The weights are drawn at random, which costs the time of the published ones. The rate is the machine's own for
matrix products at the transformer's sizes and precision, in the same run. On the CPU one thread works
and its own time counts, so that other work on the machine does not enter.

    python benchmarks/network_speed.py [--networks hamer wilor hamba] [--device cuda] [--batch 56] [--half 0]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.pose.augmentation import PASSES
from pipeline.pose.networks.hamba import Hamba
from pipeline.pose.networks.hamer import Hamer
from pipeline.pose.networks.hand_layer import HandNetwork
from pipeline.pose.networks.runner import choose_device
from pipeline.pose.networks.vit import N_PATCHES, Vit, VitSize
from pipeline.pose.networks.wilor import Wilor

NETWORKS: dict[str, type[Hamer] | type[Wilor] | type[Hamba]] = {
    "hamer": Hamer,
    "wilor": Wilor,
    "hamba": Hamba,
}
GPU_CALLS, CPU_CALLS = 8, 1


def make_network(name: str) -> HandNetwork:
    """A network whose weights are small random numbers."""
    with torch.device("meta"):
        network = NETWORKS[name]()
    network.to_empty(device="cpu")
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5) if key.endswith("running_var") else value.uniform_(-0.02, 0.02)
    return network.eval().requires_grad_(False)


def measure_s(work: Callable[[], object], device: torch.device, calls: int) -> float:
    """Seconds of a call, the median of some after one for nothing."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times = []
    for _ in range(calls + 1):
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        elif device.type == "mps":
            torch.mps.synchronize()
        times.append(clock() - start)
    return float(np.median(times[1:]))


def count_vit_products(size: VitSize) -> float:
    """Multiply-adds of the transformer for one crop: layers on each token, and attention among them."""
    on_tokens = 12 * size.width**2 * N_PATCHES
    among_tokens = 2 * size.width * N_PATCHES**2
    return float(size.depth * (on_tokens + among_tokens) + 3 * 16 * 16 * size.width * N_PATCHES)


def get_calls(device: torch.device) -> int:
    """Calls to take the median of."""
    return CPU_CALLS if device.type == "cpu" else GPU_CALLS


def measure_machine(device: torch.device, dtype: torch.dtype, batch: int) -> float:
    """Multiply-adds a second of a product as large as the transformer's largest."""
    size = VitSize()
    tokens = torch.randn(batch * N_PATCHES, size.width, device=device).to(dtype)
    weight = torch.randn(size.width, 4 * size.width, device=device).to(dtype)
    return (
        tokens.shape[0] * weight.numel() / measure_s(lambda: tokens @ weight, device, 4 * get_calls(device))
    )


def measure_network(name: str, device: torch.device, batch: int, half: bool) -> tuple[float, float]:
    """Seconds of a call of the whole network and of its transformer alone."""
    network = make_network(name)
    if half:
        network.use_half()
    network.to(device)
    transformer = network.get_submodule("backbone")
    assert isinstance(transformer, Vit)
    pictures = torch.randn(batch, 3, 256, 256, device=device)
    with torch.inference_mode():
        whole = measure_s(lambda: network(pictures), device, get_calls(device))
        return whole, measure_s(lambda: transformer.look(pictures), device, get_calls(device))


def main() -> None:
    """Measure and print, a line for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--device", default=choose_device().type)
    parser.add_argument("--batch", type=int, default=0, help="crops a call; 0: 56 on a GPU, 2 on the CPU")
    parser.add_argument("--half", type=int, default=1, help="0: single precision on a GPU too")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(1)
    half = bool(options.half) and device.type != "cpu"
    batch = options.batch or (2 if device.type == "cpu" else 56)
    rate = measure_machine(device, torch.float16 if half else torch.float32, batch)
    title = torch.cuda.get_device_name() if device.type == "cuda" else f"{device.type}, one thread"
    precision = "half" if half else "single"
    print(f"{title}, {precision} precision, {batch} crops a call, {rate / 1e12:.3g}e12 products/s")
    for name in options.networks:
        whole, vit = measure_network(name, device, batch, half)
        crops = batch / whole
        share = count_vit_products(VitSize()) * crops / rate
        print(
            f"{name}: {crops:.3g} crops/s, {crops / len(PASSES):.3g} frames/s with seven passes; "
            f"transformer {vit / whole:.0%} of the time; {share:.0%} of the machine's rate"
        )


if __name__ == "__main__":
    main()
