"""One process of a run that several share; `test_distributed` starts it with the environment that torchrun makes."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch
from pairs import pair, records

from training import loop
from training.distributed import Group, joined
from training.real_shapes import RealShapes
from training.run_folder import NoFolder, RunFolder
from training.train_gan import GanTrainer

RECIPE = pair(
    "implicit",
    "volumetric",
    objective="wasserstein",
    steps=2,
    batch=8,
    accumulate=2,
    critic_steps=2,
    critic_rate=1e-4,
    generator_rate=1e-4,
    penalty_weight=10.0,
    r1_weight=0.1,
    r1_every=2,
    techniques={"historical_averaging": 0.1},
)
"""Every way in which gradients come about: parts, several critic steps, second derivatives, terms of a player's own."""


def run(group: Group, folder: Path) -> dict[str, Any]:
    """Train two steps. Returns weights and the last gradients of both players."""
    trainer = GanTrainer(RECIPE, "cpu", group)
    data = RealShapes(records(), trainer.generator, trainer.bridge, mirror=True)
    here = RunFolder(folder, dataclasses.asdict(RECIPE)) if group.first else NoFolder(folder)
    group.wait()
    loop.restore(trainer, here)
    loop.run(trainer, here, RECIPE, "Training", lambda: trainer.train_step(data), lambda: None)
    players = {"generator": trainer.generator, "critic": trainer.critic}
    return {
        f"{what} of {name} {key}": value.detach().clone()
        for name, network in players.items()
        for key, parameter in network.named_parameters()
        for what, value in (("weight", parameter), ("gradient", parameter.grad))
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    with joined("cpu") as (this, _):
        torch.save(run(this, out / "run"), out / f"{this.rank}.pt")
