"""The training: from the original network's weights to ours, resumable at every look."""

from __future__ import annotations

import csv
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.files import read_json, replace_atomically, write_json, write_npz
from pipeline.pose.litert import LANDMARK_FILE, locate
from pipeline.pose.training.definition import Definition, fit_definition
from pipeline.pose.training.graph import LandmarkModule, read_graph
from pipeline.pose.training.kept import keep_real
from pipeline.pose.training.losses import Truth, compute_loss, split_outputs
from pipeline.pose.training.material import Material, gather
from pipeline.pose.training.pictures import Painter
from pipeline.pose.training.shards import draw_shards
from pipeline.progress import Reporter

HELD_OUT_SEED = 500_000_000
"""Made pictures from here on are only looked at."""

FIRST_LOG_SIGMA = math.log(6.0)
_AVERAGED = 0.999
_CLIP = 10.0
_NO_BETTER = 0.995
_PATIENCE = 4


@dataclass(frozen=True)
class Plan:
    """What to train with.

    Attributes
    ----------
    n_pictures, n_held_out : int
        Made pictures to train on and to look at.
    passes : float
        How often each is seen at most.
    start : int
        Steps of the network that stay as they are: 20 leaves the features of 14x14 cells, which a processor
        can train on; 0 trains everything, for a GPU.
    batch : int
    rate : float
        Highest learning rate.
    warm_up : int
        Steps until it is reached.
    real_share : float
        Share of a batch that real frames have, if there are any.
    look_every : int
        Steps between two looks at what is held out.
    minutes : float
        The training ends after this long at the latest.
    seed : int
    """

    n_pictures: int = 40_960
    n_held_out: int = 2_048
    passes: float = 8.0
    start: int = 20
    batch: int = 96
    rate: float = 8e-4
    warm_up: int = 300
    real_share: float = 0.25
    look_every: int = 250
    minutes: float = 600.0
    seed: int = 0


def train(
    out: Path, plan: Plan, real: Path | None, device: str, workers: int, report: Reporter
) -> dict[str, Any]:
    """Draw, gather, train; returns the last look. Goes on where it stopped.

    Writes ``definition.json``, ``curves.csv``, ``state.pt`` (to go on with), ``weights.npz`` (the best).
    """
    out.mkdir(parents=True, exist_ok=True)
    module = LandmarkModule(read_graph(locate(LANDMARK_FILE))).to(device)
    definition = _find_definition(out)
    materials = _gather_all(
        out, plan, real, module, np.array(definition["offset_mm"]), device, workers, report
    )
    begin_sigma(module)
    return _Training(out, plan, module, materials, float(definition["palm_m"]), device, report).work()


def _find_definition(out: Path) -> dict[str, Any]:
    path = out / "definition.json"
    if not path.is_file():
        found: Definition = fit_definition(Painter())
        write_json(path, asdict(found))
    return read_json(path)


def _gather_all(
    out: Path,
    plan: Plan,
    real: Path | None,
    module: LandmarkModule,
    offset_mm: np.ndarray,
    device: str,
    workers: int,
    report: Reporter,
) -> dict[str, Material]:
    first = 1_000_000 * plan.seed
    drawn = draw_shards(out / "made", plan.n_pictures, first, offset_mm, workers, report.part(0, 0.3))
    looked = draw_shards(
        out / "held-out", plan.n_held_out, HELD_OUT_SEED, offset_mm, workers, report.part(0.3, 0.31)
    )
    paths = {"made": (drawn, False), "held-out": (looked, False)}
    if real is not None:
        kept = keep_real(real, out / "real", plan.seed, report.part(0.31, 0.33))
        paths |= {"real": (kept.trained, True), "real-held-out": (kept.held_out, True)}
    return {
        name: gather(
            each, is_real, module, plan.start, out / f"{name}-{plan.start}", device, report.part(0.33, 0.4)
        )
        for name, (each, is_real) in paths.items()
    }


def begin_sigma(module: LandmarkModule) -> None:
    """The depths of the image landmarks, which nothing reads, begin to say how sure a joint is: all alike."""
    head = next(step for step in module.graph.steps if step.output == module.graph.outputs[0])
    with torch.no_grad():
        module.weights[str(head.weight)][2::3] = 0.0
        module.weights[str(head.bias)][2::3] = FIRST_LOG_SIGMA


class _Training:
    def __init__(
        self,
        out: Path,
        plan: Plan,
        module: LandmarkModule,
        materials: dict[str, Material],
        palm_m: float,
        device: str,
        report: Reporter,
    ) -> None:
        self.out, self.plan, self.module, self.materials = out, plan, module, materials
        self.palm_m, self.device, self.report = palm_m, device, report
        trained = _list_trained(module, plan.start)
        self.parameters: list[nn.Parameter] = [module.weights[name] for name in trained]
        self.names = trained
        self.optimiser = torch.optim.AdamW(self.parameters, lr=plan.rate, weight_decay=1e-4)
        self.averages = [parameter.detach().clone() for parameter in self.parameters]
        self.steps = math.ceil(plan.passes * len(materials["made"]) / self._made_batch)
        self.step, self.best, self.stale, self.spent_s = 0, math.inf, 0, 0.0
        self._resume()

    @property
    def _made_batch(self) -> int:
        share = self.plan.real_share if "real" in self.materials else 0.0
        return round(self.plan.batch * (1 - share))

    def work(self) -> dict[str, Any]:
        """Train to the end."""
        last = self._look() if self.step == 0 else {}
        started = time.monotonic()
        before = self.spent_s
        while self.step < self.steps and self.stale < _PATIENCE:
            self._take_step()
            self.spent_s = before + time.monotonic() - started
            over = self.spent_s > 60 * self.plan.minutes
            if self.step % self.plan.look_every == 0 or over or self.step == self.steps:
                last = self._look()
            if over:
                break
        return last

    def _take_step(self) -> None:
        random = np.random.default_rng([self.plan.seed, self.step, 7])
        batches = [self.materials["made"].take(self._draw(random, "made", self._made_batch), self.device)]
        if "real" in self.materials:
            number = self.plan.batch - self._made_batch
            batches.append(self.materials["real"].take(self._draw(random, "real", number), self.device))
        inputs = torch.cat([batch for batch, _ in batches])
        truth = Truth(
            **{name: torch.cat([vars(each)[name] for _, each in batches]) for name in vars(batches[0][1])}
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        loss = compute_loss(self._run(inputs), truth, self.palm_m)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, _CLIP)
        self.optimiser.step()
        self.step += 1
        keep = min(_AVERAGED, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for average, parameter in zip(self.averages, self.parameters, strict=True):
                average.lerp_(parameter, 1 - keep)
        self.report.update(0.4 + 0.6 * self.step / self.steps, f"Step {self.step}: loss {loss.item():.2f}")

    def _draw(self, random: np.random.Generator, name: str, number: int) -> np.ndarray:
        return np.sort(
            random.choice(len(self.materials[name]), number, replace=len(self.materials[name]) < number)
        )

    def _rate(self) -> float:
        warm = min(1.0, (self.step + 1) / self.plan.warm_up)
        return self.plan.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.step / self.steps)))

    def _run(self, inputs: torch.Tensor) -> Any:
        if self.plan.start == 0:
            return split_outputs(self.module(inputs))
        first = self.module.graph.steps[self.plan.start - 1].output
        return split_outputs(self.module.finish({first: inputs}, self.plan.start))

    def _look(self) -> dict[str, Any]:
        """Measure the averaged weights on what is held out; keep them if they are the best, and the state."""
        self._swap()
        found: dict[str, Any] = {"step": self.step, "minutes": round(self.spent_s / 60, 2)}
        for name in ("held-out", "real", "real-held-out"):
            if name in self.materials:
                measured = self._measure(self.materials[name])
                found |= {f"{name}_{key}": value for key, value in measured.items()}
        # Forgetting real hands is no better than not learning made ones.
        score = found["held-out_error"] + found.get("real-held-out_error", 0.0)
        if score < self.best * _NO_BETTER:
            self.best, self.stale = score, 0
            constants = {str(tensor): values for tensor, values in self.module.constants().items()}
            write_npz(self.out / "weights.npz", **constants)
        else:
            self.stale += self.step > 0
        self._swap()
        self._save(found)
        return found

    def _swap(self) -> None:
        with torch.no_grad():
            for average, parameter in zip(self.averages, self.parameters, strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(kept)

    def _measure(self, material: Material, most: int = 2048) -> dict[str, float]:
        """Mean error, and that of the worst tenth, as shares of the palm; within 2 sigma; side right."""
        away, within, side = [], [], []
        for first in range(0, min(len(material), most), self.plan.batch):
            numbers = np.arange(first, min(first + self.plan.batch, len(material)))
            inputs, truth = material.take(numbers, self.device)
            with torch.no_grad():
                outputs = self._run(inputs)
            distance = (outputs.points_px - truth.points_px).norm(dim=2)[:, 1:]
            known = torch.isfinite(distance)
            away.append((distance / truth.palm_px[:, None])[known].cpu().numpy())
            within.append((distance / outputs.log_sigma[:, 1:].exp() < 2.448)[known].cpu().numpy())
            sided = torch.isfinite(truth.right)
            side.append(((outputs.right > 0.5) == (truth.right > 0.5))[sided].cpu().numpy())
        error = np.concatenate(away)
        return {
            "error": round(float(error.mean()), 5),
            "worst_tenth": round(float(np.quantile(error, 0.9)), 5),
            "within_95": round(float(np.concatenate(within).mean()), 4),
            "side": round(float(np.concatenate(side).mean()), 4),
        }

    def _save(self, look: dict[str, Any]) -> None:
        path = self.out / "curves.csv"
        fresh = not path.is_file()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(look))
            if fresh:
                writer.writeheader()
            writer.writerow(look)
        state = {
            "step": self.step,
            "best": self.best,
            "stale": self.stale,
            "spent_s": self.spent_s,
            "weights": {
                name: value.detach() for name, value in zip(self.names, self.parameters, strict=True)
            },
            "averages": dict(zip(self.names, self.averages, strict=True)),
            "optimiser": self.optimiser.state_dict(),
        }
        with replace_atomically(self.out / "state.pt") as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        path = self.out / "state.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.step, self.best, self.stale = state["step"], state["best"], state["stale"]
        self.spent_s = state["spent_s"]
        with torch.no_grad():
            for name, parameter, average in zip(self.names, self.parameters, self.averages, strict=True):
                parameter.copy_(state["weights"][name])
                average.copy_(state["averages"][name])
        self.optimiser.load_state_dict(state["optimiser"])


def _list_trained(module: LandmarkModule, start: int) -> list[str]:
    """The weights of the steps from ``start`` on."""
    return [
        str(tensor)
        for step in module.graph.steps[start:]
        for tensor in (step.weight, step.bias)
        if tensor >= 0
    ]
