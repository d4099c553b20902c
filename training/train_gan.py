"""Adversarial training of any generator against any critic, with the phases d_main, d_reg, g_main and g_reg.

What the generator yields is shown to the critic by a bridge (`bridges`), and so are recorded shapes.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gan3d_core.errors import TrainingError
from gan3d_core.generators import build
from gan3d_core.representations import Surfaces

from . import averaging, discriminators, loop, objectives
from .bridges import Bridge, Sampler, Seen, Setting
from .data.store import Dataset
from .gan_recipe import GanRecipe
from .real_shapes import RealShapes, Records, to_device
from .regularisers import clip_weights, gradient_penalty, r1_penalty
from .run_folder import RunFolder
from .sheets import field_sheet

SHOWN = 16


class GanTrainer:
    """Networks, optimisers and random states of one run.

    Raises:
        TrainingError: settings that do not fit each other.
    """

    def __init__(self, recipe: GanRecipe, device: str) -> None:
        self.objective = objectives.find(recipe.objective)
        if recipe.accuracy_gate < 1 and not self.objective.logits:
            raise TrainingError(
                f"The objective {recipe.objective!r} has no accuracy to gate the critic by.", "Set accuracy_gate = 1."
            )
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.step, self.critic_step = recipe, device, 0, 0
        self.generator = build(recipe.architecture, recipe.options).to(device)
        self.latent_size: int = self.generator.latent_size  # type: ignore[assignment]
        self.critic = discriminators.build(recipe.discriminator, recipe.discriminator_options).to(device)
        _check(recipe, self.generator, self.critic)
        if recipe.autocast:
            for network in (self.generator, self.critic):
                network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.bridge = Bridge(
            consumes=self.critic.consumes,  # type: ignore[arg-type]
            resolution=recipe.resolution,
            points=recipe.points,
            sees=getattr(self.critic, "sees", "surface"),
            views=recipe.views,
            image_size=getattr(self.critic, "image_size", 1),
        )
        self.weights = _term_weights(recipe, self.generator, self.bridge)
        self.sampler = Sampler(self.generator, self.bridge, list(self.weights), recipe.autocast)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.generator_optimiser = _optimiser(recipe, self.generator, recipe.generator_rate)
        self.critic_optimiser = _optimiser(recipe, self.critic, recipe.critic_rate)
        self.accuracy = 0.0
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)
        self.order = np.random.default_rng(recipe.seed + 2)
        self.shown = self.draw_codes(SHOWN)
        self._grow()

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
        self._grow()

    def _grow(self) -> None:
        """Set bridge and critic to the resolution of the present step."""
        self.bridge.resolution, fade = self.recipe.stage(self.step)
        if self.recipe.growing:
            self.critic.fade = fade  # type: ignore[assignment]

    def _judge(self, samples: torch.Tensor, given: torch.Tensor | None) -> torch.Tensor:
        """(N,) outputs of the critic; every call of it passes here."""
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.recipe.autocast):
            return self.critic(samples, given).float()

    def _parts(self) -> Iterator[int]:
        """How many shapes each part of a batch has."""
        yield from [self.recipe.batch // self.recipe.accumulate] * self.recipe.accumulate

    def train_step(self, data: RealShapes) -> dict[str, float]:
        """One generator step and the critic steps before it.

        Raises:
            TrainingError: a loss is not a number.
        """
        self._grow()
        report: dict[str, float] = {}
        for _ in range(self.recipe.critic_steps):
            settings = self._critic_step(data, report)
        self.critic.requires_grad_(False)
        self._generator_step(settings, report)
        self.critic.requires_grad_(True)
        self.step += 1
        averaging.update(self.average, self.generator, self.step, self.recipe.ema_steps)
        return report

    def _critic_step(self, data: RealShapes, report: dict[str, float]) -> list[Setting]:
        """Returns the circumstances of each part, in which the generator shall be judged as well."""
        recipe, settings, reals = self.recipe, [], []
        losses, accuracies = [], []
        # d_main. Real and generated samples pass separately: batch norm must not see them mixed.
        self.critic_optimiser.zero_grad(set_to_none=True)
        for count in self._parts():
            drawn = data.draw(count, self.order)
            setting = self.bridge.setting(count, self.noise, drawn.queries).to(self.device)
            with torch.no_grad():
                real = self.bridge(to_device(drawn.shapes, self.device), setting)
                fake = self.sampler(self.draw_codes(count), setting)
            loss, accuracy = self._critic_loss(real, fake)
            loop.check(loss, "critic_loss", self.step)
            (loss / recipe.accumulate).backward()
            losses.append(float(loss.detach()))
            accuracies.append(accuracy)
            settings.append(setting)
            reals.append(real)
        report["critic_loss"] = float(np.mean(losses))
        if self.objective.logits:
            self.accuracy = report["critic_accuracy"] = float(np.mean(accuracies))
            if self.accuracy > recipe.accuracy_gate:
                return settings
        loop.apply(self.critic_optimiser, "critic_loss", self.step)
        if recipe.clip:
            clip_weights(self.critic, recipe.clip)
        # d_reg
        if recipe.r1_weight and self.critic_step % recipe.r1_every == 0:
            self.critic_optimiser.zero_grad(set_to_none=True)
            penalties = []
            for real in reals:
                penalty = r1_penalty(functools.partial(self._judge, given=real.given), real.samples)
                loop.check(penalty, "r1", self.step)
                (recipe.r1_weight * recipe.r1_every * penalty / recipe.accumulate).backward()
                penalties.append(float(penalty.detach()))
            loop.apply(self.critic_optimiser, "r1", self.step)
            report["r1"] = float(np.mean(penalties))
        self.critic_step += 1
        return settings

    def _critic_loss(self, real: Seen, fake: Seen) -> tuple[torch.Tensor, float]:
        """Everything that the critic's main step descends, of one part of a batch, and its accuracy there."""
        on_real, on_fake = self._judge(real.samples, real.given), self._judge(fake.samples, fake.given)
        loss = self.objective.critic(on_real, on_fake)
        if self.recipe.penalty_weight:
            mix = torch.rand(len(on_real), generator=self.noise).to(self.device)
            judge = functools.partial(self._judge, given=real.given)
            penalty = gradient_penalty(judge, real.samples, fake.samples, mix)
            loss = loss + self.recipe.penalty_weight * penalty
        accuracy = 0.5 * float((on_real > 0).float().mean() + (on_fake <= 0).float().mean())
        return loss, accuracy

    def _generator_step(self, settings: list[Setting], report: dict[str, float]) -> None:
        # g_main and g_reg: what the regularisers need has been made anyway.
        losses: list[float] = []
        self.generator_optimiser.zero_grad(set_to_none=True)
        for setting in settings:
            fake = self.sampler(self.draw_codes(len(setting)), setting)
            loss = self._generator_loss(fake, report)
            loop.check(loss, "generator_loss", self.step)
            (loss / self.recipe.accumulate).backward()
            losses.append(float(loss.detach()))
        loop.apply(self.generator_optimiser, "generator_loss", self.step)
        report["generator_loss"] = float(np.mean(losses))

    def _generator_loss(self, fake: Seen, report: dict[str, float]) -> torch.Tensor:
        """Everything that the generator's step descends, of one part of a batch."""
        loss = self.objective.generator(self._judge(fake.samples, fake.given))
        for name, weight in self.weights.items():
            loss = loss + weight * fake.terms[name]
            report[name] = float(fake.terms[name].detach())
        return loss


def _check(recipe: GanRecipe, generator: nn.Module, critic: nn.Module) -> None:
    """Refuse a pair that does not fit, with the reason."""
    if not hasattr(generator, "yields"):
        raise TrainingError(
            f"The architecture {recipe.architecture!r} has no shapes to show to a critic.", "Train it by another kind."
        )
    if not hasattr(critic, "consumes"):
        raise TrainingError(
            f"The discriminator {recipe.discriminator!r} judges pictures of textured shapes.",
            "Use multiview here, or kind = rendered.",
        )
    for network, name in ((generator, "resolution"), (critic, "resolution"), (critic, "finest")):
        own = getattr(network, name, recipe.resolution)
        if own != recipe.resolution:
            raise TrainingError(
                f"{type(network).__name__} works at {own}³, the recipe at {recipe.resolution}³.",
                "Give each one more or one fewer channel width: every width doubles the resolution.",
            )
    if recipe.growing and not hasattr(critic, "fade"):
        raise TrainingError(f"The discriminator {recipe.discriminator!r} does not grow.", "Use growing.")
    if recipe.penalty_weight and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in critic.modules()):
        raise TrainingError(
            "The gradient penalty is of each sample, and batch norm mixes samples.", 'Set normalisation = "none".'
        )


def _term_weights(recipe: GanRecipe, generator: nn.Module, bridge: Bridge) -> dict[str, float]:
    """The weights of the terms that have a meaning for this pair."""
    if generator.yields is Surfaces:
        return {"roughness": recipe.smoothness_weight} if recipe.smoothness_weight else {}
    sees_surface = bridge.consumes != "volume" and not bridge.queries
    return {"hollowness": recipe.inside_weight} if recipe.inside_weight and sees_surface else {}


def _optimiser(recipe: GanRecipe, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    if recipe.optimiser == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), rate)
    return torch.optim.Adam(network.parameters(), rate, (recipe.beta1, recipe.beta2))


def train_gan(recipe: GanRecipe, dataset: Path, run: Path, device: str) -> GanTrainer:
    """Train until `recipe.steps`, going on from the run's snapshot if there is one. Ctrl-C saves and stops.

    Raises:
        DatasetError, TrainingError
    """
    loop.use_threads(recipe.threads)
    trainer = GanTrainer(recipe, device)
    categories = [part.strip() for part in recipe.category.split(",")]
    shapes = Dataset(dataset, "train", categories[0] if len(categories) == 1 else None)
    folder = RunFolder(run, dataclasses.asdict(recipe))
    loop.restore(trainer, folder)
    records = Records.needed(shapes, trainer.generator, trainer.bridge, recipe.resolution, categories)
    data = RealShapes(records, trainer.generator, trainer.bridge, recipe.mirror)

    def sheet() -> None:
        was = trainer.average.training
        codes = trainer.shown.cpu().numpy()
        field_sheet(trainer.average.eval().fields(codes, 1.0), folder.sheet_path(trainer.step))  # type: ignore[operator]
        trainer.average.train(was)

    loop.run(trainer, folder, recipe, "Training", lambda: trainer.train_step(data), sheet)
    return trainer
