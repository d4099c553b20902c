"""One process of `gan_steps`: `python -m benchmarks.gan_worker CASE`, a step for every line that it reads.

It answers each line with one of JSON: losses, seconds of the processor and of the clock, and the process's peak
memory. On another device than the processor both are seconds of the clock until the device is done, and the memory is
the device's.
In the first step all rates are zero, so that every loss in it is of the first weights, and can be compared.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from gan3d_core.field import lattice
from gan3d_core.representations import Implicit, Volume
from training import loop
from training.bridges import Bridge
from training.bridges.setting import Setting
from training.configuration import fill, read_toml
from training.distributed import Group, joined
from training.gan_recipe import GanRecipe
from training.real_shapes import RealShapes, Records
from training.train_gan import DIVERSITY_EVERY, SHOWN, GanTrainer

from .plain_gans import PlainTrainer

SHAPES = 8
"""Recorded ones to draw from."""
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of what the system calls a process's peak by."""


@dataclasses.dataclass(frozen=True)
class Case:
    """What one process measures."""

    gan: str
    """`3dgan` or `implicit-gan`, the recipes as published."""
    resolution: int
    """A power of two from 8, at most the published 64."""
    batch: int
    plain: bool
    """The plain step, and not ours."""
    weights: str = ""
    """File of the first weights: ours writes it, the plain one reads it; none where nothing is compared."""
    accumulate: int = 1
    float32: bool = False
    """Ours without autocast, for processors that have no 16-bit products."""
    threads: int = 1
    device: str = "cpu"

    def recipe(self) -> GanRecipe:
        """As published but for the batch. 3D-GAN at a lower resolution lacks the finest layers, the implicit GAN stands
        where it has not grown further."""
        data = read_toml(self.gan) | {"batch": self.batch, "accumulate": self.accumulate}
        data["autocast"] &= not self.float32
        if "growing" not in data:
            levels = (self.resolution // 4).bit_length() - 1
            data["resolution"] = self.resolution
            data["options"]["channels"] = data["options"]["channels"][:levels]
            data["discriminator_options"]["channels"] = data["discriminator_options"]["channels"][-levels:]
        return fill(GanRecipe, data)


def first_step(recipe: GanRecipe, resolution: int) -> int:
    """A step at which a growing critic has grown to the resolution and faded it in, and variety is not measured."""
    if not recipe.growing:
        return 1
    level = recipe.growing.index(resolution)
    step = sum(recipe.growing_steps[:level]) + (recipe.fade_steps if level else 0)
    return step - step % DIVERSITY_EVERY + DIVERSITY_EVERY + 1


def boxes(resolution: int) -> Records:
    """Boxes of several sizes."""
    rng = np.random.default_rng(0)
    points, grids = lattice(resolution), []
    for half in rng.uniform(0.2, 0.8, (SHAPES, 3)).astype(np.float32):
        away = np.abs(points) - half
        distance = np.linalg.norm(np.maximum(away, 0), axis=1) + np.minimum(away.max(axis=1), 0)
        grids.append(distance.reshape((resolution,) * 3).astype(np.float16))
    none = np.zeros((SHAPES, 0, 6), np.float16)
    return Records(np.stack(grids), none, none[..., :4], np.zeros(SHAPES, np.int64))


class SameDraws:
    """The shapes and the noise of a trainer's steps, in its order: see `GanTrainer`."""

    def __init__(
        self, recipe: GanRecipe, resolution: int, data: RealShapes, bridge: Bridge, device: str = "cpu"
    ) -> None:
        self.recipe, self.data, self.bridge = recipe, data, dataclasses.replace(bridge, resolution=resolution)
        self.device = device
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)
        self.order = np.random.default_rng(recipe.seed + 2)
        self._codes(SHOWN)

    def _codes(self, count: int) -> torch.Tensor:
        draw = torch.rand if self.recipe.prior == "uniform" else torch.randn
        return draw((count, self.recipe.options["latent_size"]), generator=self.noise)

    def real(self) -> torch.Tensor:
        shapes = self.data.draw(self.recipe.batch, self.order).shapes
        setting = Setting.draw(self.recipe.batch, self.recipe.points, 0, self.noise)
        return self.bridge(shapes, setting).samples.to(self.device)

    def codes(self) -> torch.Tensor:
        return self._codes(self.recipe.batch).to(self.device)

    def mix(self) -> torch.Tensor:
        return torch.rand(self.recipe.batch, generator=self.noise).to(self.device)


Step = Callable[[], dict[str, float]]


def plain_step(case: Case) -> tuple[Step, list[torch.optim.Optimizer]]:
    """The plain step, with our weights, data and noise, and its optimisers."""
    recipe = case.recipe()
    trainer = PlainTrainer(recipe, case.resolution, case.device)
    trainer.load(*torch.load(case.weights, weights_only=True))
    stands_for: Any = SimpleNamespace(yields=Implicit if trainer.implicit else Volume, resolution=recipe.resolution)
    bridge = Bridge("volume", recipe.resolution, recipe.points)
    data = RealShapes(boxes(recipe.resolution), stands_for, bridge, recipe.mirror)
    draws = SameDraws(recipe, case.resolution, data, bridge, case.device)
    return lambda: trainer.step(draws), trainer.optimisers


def our_step(case: Case, group: Group) -> tuple[Step, list[torch.optim.Optimizer]]:
    """A trainer's step, and its optimisers."""
    recipe = case.recipe()
    trainer = GanTrainer(recipe, case.device, group)
    trainer.step = first_step(recipe, case.resolution)
    if case.weights:
        torch.save((trainer.generator.state_dict(), trainer.plain_critic.state_dict()), case.weights)
    data = RealShapes(boxes(recipe.resolution), trainer.generator, trainer.bridge, recipe.mirror)
    return lambda: trainer.train_step(data), [trainer.generator_optimiser, trainer.critic_optimiser]


def hold(optimisers: list[torch.optim.Optimizer]) -> Callable[[], None]:
    """Set all rates to zero. Returns what gives them back."""
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    rates = [group["lr"] for group in groups]

    def set_rates(values: list[float]) -> None:
        for group, rate in zip(groups, values, strict=True):
            group["lr"] = rate

    set_rates([0.0] * len(rates))
    return lambda: set_rates(rates)


def seconds(device: str) -> tuple[float, float]:
    """Of the processor and of the clock, now that the device has done what it was given."""
    if device == "cpu":
        return time.process_time(), time.perf_counter()
    torch.accelerator.synchronize()
    return (time.perf_counter(),) * 2


def peak(device: str) -> int:
    """Bytes that have been in use at a time: of the process, or on its device."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
    return torch.accelerator.max_memory_allocated()


def main() -> None:
    case = Case(**json.loads(sys.argv[1]))
    loop.prepare(case.device, case.threads)
    with joined(case.device) as (group, _):
        step, optimisers = plain_step(case) if case.plain else our_step(case, group)
        release = hold(optimisers)
        _answer({})
        for _ in sys.stdin:
            before = seconds(case.device)
            losses = step()
            processor, clock = (end - begin for begin, end in zip(before, seconds(case.device), strict=True))
            shown = [losses["critic_loss"], losses["generator_loss"]]
            _answer({"losses": shown, "processor": processor, "clock": clock, "peak": peak(case.device)})
            release()


def _answer(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
