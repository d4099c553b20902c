"""Phase one of the textured recipe: learn planes, distances and materials by autoencoding."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan3d_core.generators import build
from gan3d_core.generators.coded import Codes

from . import averaging, loop
from .autoencoder import ShapeEncoder, draw, reconstruction_losses
from .autoencoder_data import AutoencoderData
from .data.store import Dataset
from .run_folder import RunFolder
from .sheets import field_sheet


@dataclasses.dataclass(frozen=True)
class AutoencoderRecipe:
    """Settings of `train` for kind = "autoencoder"."""

    kind: str
    """`autoencoder`."""
    category: str
    """Which shapes of the dataset."""
    options: dict[str, Any]
    """Of the architecture."""
    architecture: str = "textured"
    """`textured` or `latent_volume`."""
    steps: int = 6000
    """Optimiser steps."""
    batch: int = 16
    """Shapes per step."""
    points: int = 3072
    """Distance points per shape and step; a quarter of them anywhere, the rest near the surface."""
    surface_points: int = 1024
    """Material points per shape and step."""
    learning_rate: float = 1.5e-3
    """Adam's, at its peak; a cosine takes it to a fiftieth."""
    divergence_weight: float = 1e-4
    """Weight of the Kullback-Leibler term, per code: small, since only smoothness is wanted of it."""
    material_weight: float = 1.0
    blending_weight: float = 0.01
    """Of the entropy of a palette's shares, if the generator has one: parts should be of one material each."""
    easy_steps: int = 0
    """Steps in which the weights of divergence and blending grow from nothing: codes should hold much before they are
    asked to hold less (S. R. Bowman et al.: Generating Sentences from a Continuous Space, CoNLL 2016, section 3.1), and
    parts be found before they are asked to be pure."""
    sharp_weight: float = 0.5
    """Weight of the sharpened distance's error, which thin parts need."""
    encoder_width: int = 16
    ema_steps: float = 300.0
    """Time constant of the weights' moving average, in steps."""
    autocast: bool = False
    """bfloat16 convolutions: for CUDA, and for CPUs with AMX or AVX-512 BF16."""
    sheet_every: int = 500
    snapshot_every: int = 100
    seed: int = 0
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""


class AutoencoderTrainer:
    """Holds everything that a snapshot must: networks, their averages, the optimiser and the random states."""

    def __init__(self, recipe: AutoencoderRecipe, device: str) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.step = recipe, device, 0
        self.generator = build(recipe.architecture, recipe.options).to(device)
        self.encoder = ShapeEncoder(self.generator, recipe.encoder_width).to(device)
        self.generator_ema = copy.deepcopy(self.generator).requires_grad_(False)
        self.encoder_ema = copy.deepcopy(self.encoder).requires_grad_(False)
        self.parameters = [*self.encoder.parameters(), *self.generator.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, lr=recipe.learning_rate, betas=(0.9, 0.99))
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)
        self.order = np.random.default_rng(recipe.seed + 2)

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "generator": self.generator.state_dict(),
            "encoder": self.encoder.state_dict(),
            "generator_ema": self.generator_ema.state_dict(),
            "encoder_ema": self.encoder_ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "noise": self.noise.get_state(),
            "order": self.order.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        for name in ("generator", "encoder", "generator_ema", "encoder_ema"):
            getattr(self, name).load_state_dict(state[name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.noise.set_state(state["noise"])
        self.order.bit_generator.state = state["order"]

    def train_step(self, data: AutoencoderData) -> dict[str, float]:
        recipe = self.recipe
        index = self.order.choice(len(data), recipe.batch, replace=len(data) < recipe.batch)
        batch = data.batch(index, self.order).to(self.device)
        warm = min(1.0, (self.step + 1) / 100)
        fade = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / recipe.steps)))
        loop.set_rate(self.optimiser, recipe.learning_rate * warm * fade)
        losses = reconstruction_losses(self.encoder, self.generator, batch, self.noise, recipe.autocast)
        grown = min(1.0, self.step / recipe.easy_steps) if recipe.easy_steps else 1.0
        total = losses.decoding(recipe.sharp_weight, recipe.material_weight, grown * recipe.blending_weight)
        total = total + grown * recipe.divergence_weight * losses.divergence
        loop.check(total, "loss", self.step)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        averaging.update(self.generator_ema, self.generator, self.step, recipe.ema_steps)
        averaging.update(self.encoder_ema, self.encoder, self.step, recipe.ema_steps)
        return {f.name: float(getattr(losses, f.name).detach()) for f in dataclasses.fields(losses)}

    @torch.inference_mode()
    def codes(self, data: AutoencoderData, chunk: int = 32) -> tuple[Codes, Codes]:
        """Means and log-variances of every shape, by the averaged encoder."""
        means, spreads = [], []
        for begin in range(0, len(data), chunk):
            distance, material = data.grids(np.arange(begin, min(begin + chunk, len(data))))
            mean, spread = self.encoder_ema(distance.to(self.device), material.to(self.device))
            means.append(mean)
            spreads.append(spread)
        return _joined(means), _joined(spreads)


def _joined(parts: list[Codes]) -> Codes:
    return Codes(torch.cat([part.geometry for part in parts]), torch.cat([part.texture for part in parts]))


def train_autoencoder(recipe: AutoencoderRecipe, dataset: Path, run: Path, device: str) -> AutoencoderTrainer:
    """Train until `recipe.steps`, going on from the run's snapshot if there is one. Ctrl-C saves and stops.

    Raises:
        DatasetError, TrainingError
    """
    loop.prepare(device, recipe.threads)
    trainer = AutoencoderTrainer(recipe, device)
    folder = RunFolder.of(run, recipe)
    loop.restore(trainer, folder)
    data = AutoencoderData(Dataset(dataset, "train", recipe.category), recipe.points, recipe.surface_points)
    shown = np.linspace(0, len(data) - 1, min(8, len(data))).round().astype(int)

    def sheet() -> None:
        """Reconstructions; the same with codes drawn instead of their means; each with its neighbour's texture; means
        of neighbours in the row."""
        mean, spread = trainer.codes(data)
        mean, spread = mean[shown], spread[shown]
        drawn = draw(mean, spread, torch.Generator().manual_seed(0))
        around = np.roll(np.arange(len(shown)), 1)
        other = mean[around]
        blend = Codes((mean.geometry + other.geometry) / 2, (mean.texture + other.texture) / 2)
        every = _joined([mean, drawn, Codes(mean.geometry, other.texture), blend])
        field_sheet(trainer.generator_ema.decode(every), folder.sheet_path(trainer.step, "reconstructions"))

    loop.run(trainer, folder, recipe, "Autoencoder", lambda: trainer.train_step(data), sheet)
    return trainer
