"""Adversarial training of a volumetric generator, with the phases d_main, d_reg and g_main."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan3d_core.errors import TrainingError
from gan3d_core.generators import build

from . import averaging, discriminators, loop, objectives
from .data.store import Dataset
from .regularisers import clip_weights, gradient_penalty, r1_penalty
from .run_folder import RunFolder
from .sheets import field_sheet
from .volume_data import VolumeData

SHOWN = 16


@dataclasses.dataclass(frozen=True)
class GanRecipe:
    """Settings of `train` for kind = "gan"."""

    kind: str
    """`gan`."""
    category: str
    """Which shapes of the dataset."""
    architecture: str
    """Of the generator, from `gan3d_core.generators.CATALOGUE`."""
    options: dict[str, Any]
    """Of the generator."""
    discriminator: str
    """From `training.discriminators.CATALOGUE`."""
    discriminator_options: dict[str, Any]
    objective: str = "non-saturating"
    """From `training.objectives.OBJECTIVES`."""
    prior: str = "uniform"
    """Of z: `uniform` on [0, 1] as in 3D-GAN, or `normal`."""
    resolution: int = 64
    """Cells along each axis of the volumes."""
    steps: int = 10000
    """Generator steps."""
    batch: int = 100
    """Shapes per step."""
    critic_steps: int = 1
    """Critic steps for each generator step."""
    generator_rate: float = 2.5e-3
    """Learning rate (Wu et al. 2016, section 3.1)."""
    critic_rate: float = 1e-5
    """Learning rate (ibid.)."""
    beta1: float = 0.5
    beta2: float = 0.999
    accuracy_gate: float = 0.8
    """The critic is updated only while its accuracy on the last batch is at most this (ibid.); 1 switches it off. Needs
    an objective with logits."""
    r1_weight: float = 0.0
    """γ of R1; 0 switches it off."""
    r1_every: int = 16
    """Critic steps between R1 steps; the weight is multiplied by it (lazy regularisation, Karras et al. 2020)."""
    penalty_weight: float = 0.0
    """λ of WGAN-GP; 0 switches it off."""
    clip: float = 0.0
    """Bound of the critic's weights (WGAN); 0 switches it off."""
    mirror: bool = True
    """Flip half of the shapes left to right."""
    ema_steps: float = 500.0
    """Time constant of the generator's moving average, in steps."""
    autocast: bool = False
    """bfloat16 autocast: for CUDA, and for CPUs with AMX or AVX-512 BF16 (others: 40 times slower)."""
    sheet_every: int = 500
    snapshot_every: int = 100
    seed: int = 0
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""


class GanTrainer:
    """Networks, optimisers and random states of one run."""

    def __init__(self, recipe: GanRecipe, device: str) -> None:
        self.objective = objectives.find(recipe.objective)
        if recipe.accuracy_gate < 1 and not self.objective.logits:
            raise TrainingError(
                f"The objective {recipe.objective!r} has no accuracy to gate the critic by.", "Set accuracy_gate = 1."
            )
        if recipe.prior not in ("uniform", "normal"):
            raise TrainingError(f"There is no prior {recipe.prior!r}.", "Use uniform or normal.")
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.step, self.critic_step = recipe, device, 0, 0
        self.generator = build(recipe.architecture, recipe.options).to(device)
        self.latent_size: int = self.generator.latent_size  # type: ignore[assignment]
        self.critic = discriminators.build(recipe.discriminator, recipe.discriminator_options).to(device)
        for network in (self.generator, self.critic):
            if getattr(network, "resolution", recipe.resolution) != recipe.resolution:
                raise TrainingError(
                    f"{type(network).__name__} works at {network.resolution}³, the recipe at {recipe.resolution}³.",
                    "Give each one more or one fewer channel width: every width doubles the resolution.",
                )
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        betas = (recipe.beta1, recipe.beta2)
        self.generator_optimiser = torch.optim.Adam(self.generator.parameters(), recipe.generator_rate, betas)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), recipe.critic_rate, betas)
        self.accuracy = 0.0
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)
        self.order = np.random.default_rng(recipe.seed + 2)
        self.shown = self.draw_codes(SHOWN)

    def draw_codes(self, count: int) -> torch.Tensor:
        """(count, latent_size) from the prior."""
        sample = torch.rand if self.recipe.prior == "uniform" else torch.randn
        return sample((count, self.latent_size), generator=self.noise).to(self.device)

    _NETWORKS = ("generator", "critic", "average", "generator_optimiser", "critic_optimiser")

    def state(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name).state_dict() for name in self._NETWORKS},
            "step": self.step,
            "critic_step": self.critic_step,
            "accuracy": self.accuracy,
            "shown": self.shown,
            "noise": self.noise.get_state(),
            "order": self.order.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._NETWORKS:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.critic_step, self.accuracy = state["step"], state["critic_step"], state["accuracy"]
        self.shown = state["shown"].to(self.device)
        self.noise.set_state(state["noise"])
        self.order.bit_generator.state = state["order"]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.recipe.autocast)

    def _generate(self) -> torch.Tensor:
        with self._autocast():
            return self.generator(self.draw_codes(self.recipe.batch)).float().sigmoid()

    def _judge(self, volumes: torch.Tensor) -> torch.Tensor:
        with self._autocast():
            return self.critic(volumes).float()

    def train_step(self, data: VolumeData) -> dict[str, float]:
        """One generator step and the critic steps before it.

        Raises:
            TrainingError: a loss is not a number.
        """
        report: dict[str, float] = {}
        for _ in range(self.recipe.critic_steps):
            report.update(self._critic_step(data))
        self.critic.requires_grad_(False)
        loss = self.objective.generator(self._judge(self._generate()))
        loop.descend(loss, self.generator_optimiser, report, "generator_loss", self.step)
        self.critic.requires_grad_(True)
        self.step += 1
        averaging.update(self.average, self.generator, self.step, self.recipe.ema_steps)
        return report

    def _critic_step(self, data: VolumeData) -> dict[str, float]:
        recipe, report = self.recipe, {}
        real = data.draw(recipe.batch, self.order).to(self.device)
        with torch.no_grad():
            fake = self._generate()
        # d_main. Real and generated samples pass separately: batch norm must not see them mixed.
        on_real, on_fake = self._judge(real), self._judge(fake)
        loss = self.objective.critic(on_real, on_fake)
        if recipe.penalty_weight:
            mix = torch.rand(len(real), generator=self.noise).to(self.device)
            loss = loss + recipe.penalty_weight * gradient_penalty(self._judge, real, fake, mix)
        if self.objective.logits:
            self.accuracy = 0.5 * float((on_real > 0).float().mean() + (on_fake <= 0).float().mean())
            report["critic_accuracy"] = self.accuracy
        if self.objective.logits and self.accuracy > recipe.accuracy_gate:
            report["critic_loss"] = float(loss.detach())
            return report
        loop.descend(loss, self.critic_optimiser, report, "critic_loss", self.step)
        if recipe.clip:
            clip_weights(self.critic, recipe.clip)
        # d_reg
        if recipe.r1_weight and self.critic_step % recipe.r1_every == 0:
            penalty = r1_penalty(self._judge, real)
            loop.descend(recipe.r1_weight * recipe.r1_every * penalty, self.critic_optimiser, report, "r1", self.step)
        self.critic_step += 1
        return report


def train_gan(recipe: GanRecipe, dataset: Path, run: Path, device: str) -> GanTrainer:
    """Train until `recipe.steps`, going on from the run's snapshot if there is one. Ctrl-C saves and stops.

    Raises:
        DatasetError, TrainingError
    """
    loop.use_threads(recipe.threads)
    trainer = GanTrainer(recipe, device)
    folder = RunFolder(run, dataclasses.asdict(recipe))
    loop.restore(trainer, folder)
    data = VolumeData(Dataset(dataset, "train", recipe.category), recipe.resolution, recipe.mirror)

    def sheet() -> None:
        was = trainer.average.training
        codes = trainer.shown.cpu().numpy()
        field_sheet(trainer.average.eval().fields(codes, 1.0), folder.sheet_path(trainer.step))  # type: ignore[operator]
        trainer.average.train(was)

    loop.run(trainer, folder, recipe, "Training", lambda: trainer.train_step(data), sheet)
    return trainer
