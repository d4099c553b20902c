"""Adversarial training of any generator against any critic, with the phases d_main, d_reg, g_main and g_reg.

What the generator yields is shown to the critic by a bridge (`bridges`), and so are recorded shapes. Several categories
are classes: the generator is told one beside z (`generators/conditional.py`), the critic by projection
(`techniques/conditioning.py`). Several processes share each batch (`distributed`).
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gan3d_core.errors import TrainingError
from gan3d_core.generators import build

from . import averaging, discriminators, loop, objectives, players
from .bridges import Bridge, Sampler, Seen, Setting
from .budget import Budget
from .data.store import Dataset
from .distributed import Group, joined
from .diversity import relative_diversity
from .gan_recipe import GanRecipe
from .precision import sixteen_bits
from .real_shapes import RealShapes, Records
from .regularisers import clip_weights, gradient_penalty, r1_penalty
from .run_folder import NoFolder, RunFolder
from .sheets import field_sheet
from .techniques import Techniques
from .techniques.conditioning import Told

SHOWN = 16
DIVERSITY_EVERY = 16
"""Steps between measurements for the monitor."""


class Part(NamedTuple):
    """One part of a batch, as the critic saw it."""

    shapes: Any
    """Recorded shapes, in the generator's terms."""
    setting: Setting
    labels: torch.Tensor | None
    """(N,) int64, None where there is one class."""
    real: Seen
    codes: torch.Tensor
    fake: Seen


class GanTrainer:
    """Networks, optimisers and random states of one run.

    Args:
        recipe: settings.
        device: where to train.
        group: the processes that share the run.

    Raises:
        TrainingError: settings that do not fit each other.
    """

    def __init__(self, recipe: GanRecipe, device: str, group: Group | None = None) -> None:
        self.group = group or Group()
        self.group.check(recipe.batch // recipe.accumulate)
        objective = objectives.find(recipe.objective)
        if recipe.accuracy_gate < 1 and not objective.logits:
            raise TrainingError(
                f"The objective {recipe.objective!r} has no accuracy to gate the critic by.", "Set accuracy_gate = 1."
            )
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.step, self.critic_step = recipe, device, 0, 0
        self.pace: int | None = None
        """The recipe's step that a run whose length is a time has reached: see `keep_pace`."""
        self.architecture = players.architecture(recipe)
        self.generator = self.group.synchronised(build(*self.architecture).to(device), device)
        self.latent_size: int = self.generator.latent_size  # type: ignore[assignment]
        critic = discriminators.build(recipe.discriminator, recipe.discriminator_options).to(device)
        self.plain_critic = self.group.synchronised(critic, device)
        players.check(recipe, self.generator, self.plain_critic)
        if recipe.autocast:
            for network in (self.generator, self.plain_critic):
                players.channels_last(network)
        self.bridge = Bridge(
            consumes=self.plain_critic.consumes,  # type: ignore[arg-type]
            resolution=recipe.resolution,
            points=recipe.points,
            sees=getattr(self.plain_critic, "sees", "surface"),
            views=recipe.views,
            image_size=getattr(self.plain_critic, "image_size", 1),
        )
        self.weights = players.term_weights(recipe, self.generator, self.bridge)
        self.sampler = Sampler(self.generator, self.bridge, list(self.weights), recipe.autocast)
        self.critic = players.conditioned(recipe, self.plain_critic, self.sampler, device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.techniques = Techniques(recipe.techniques, self.generator, self.critic)
        self.objective = self.techniques.objective(objective)
        self.parallel_critic = self.group.parallel(self.critic, partly=bool(recipe.growing))
        self.parallel_sampler = self.group.parallel(self.sampler)
        self.generator_optimiser = players.optimiser(recipe, self.generator, recipe.generator_rate)
        self.critic_optimiser = players.optimiser(recipe, self.critic, recipe.critic_rate)
        self.accuracy = 0.0
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)
        self.order = np.random.default_rng(recipe.seed + 2)
        if hasattr(self.generator, "set_reference"):
            self.generator.set_reference(self.draw_codes)  # type: ignore[operator]
        self.shown = self.draw_codes(SHOWN)
        self._grow()

    def draw_codes(self, count: int) -> torch.Tensor:
        """(count, latent_size) from the prior."""
        sample = torch.rand if self.recipe.prior == "uniform" else torch.randn
        return sample((count, self.latent_size), generator=self.noise).to(self.device)

    _NETWORKS = ("generator", "critic", "average", "generator_optimiser", "critic_optimiser", "techniques")

    def state(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name).state_dict() for name in self._NETWORKS},
            "step": self.step,
            "critic_step": self.critic_step,
            "pace": self.pace,
            "accuracy": self.accuracy,
            "shown": self.shown,
            "noise": self.noise.get_state(),
            "order": self.order.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._NETWORKS:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.critic_step, self.accuracy = state["step"], state["critic_step"], state["accuracy"]
        self.pace = state.get("pace")  # snapshots made before there were budgets have none
        self.shown = state["shown"].to(self.device)
        self.noise.set_state(state["noise"])
        self.order.bit_generator.state = state["order"]
        self._grow()

    def _grow(self) -> None:
        """Set bridge and critic to the resolution of the present step, and learning rates to what is left of them."""
        recipe, step = self.recipe, self.step if self.pace is None else self.pace
        self.bridge.resolution, fade = recipe.stage(step)
        if recipe.growing:
            self.plain_critic.fade = fade  # type: ignore[assignment]
        if recipe.decay_steps:
            share = recipe.share_of_rates(step)
            loop.set_rate(self.generator_optimiser, share * recipe.generator_rate)
            loop.set_rate(self.critic_optimiser, share * recipe.critic_rate)

    def keep_pace(self, share: float) -> None:
        """Grow as a run of `recipe.steps` steps has grown at that share of its length, however many steps this one has
        made. Nothing shrinks again when a run gets more time later."""
        self.pace = max(self.pace or 0, int(share * self.recipe.steps))

    def _judge(self, samples: torch.Tensor, given: Any) -> torch.Tensor:
        """(N,) outputs of the critic; every call of it passes here. In the generator's step it does not learn."""
        learns = next(self.critic.parameters()).requires_grad
        with sixteen_bits(self.device, self.recipe.autocast):
            return (self.parallel_critic if learns else self.critic)(samples, given).float()

    def _backward(self, loss: torch.Tensor, name: str) -> float:
        """Add the gradient of one part of a batch. Returns the loss."""
        # Processes must not leave one another waiting: there, gradients, which are everybody's, show what is no number.
        if self.group.alone:
            loop.check(loss, name, self.step)
        (loss / self.recipe.accumulate).backward()
        return float(loss.detach())

    def train_step(self, data: RealShapes) -> dict[str, float]:
        """One generator step and the critic steps before it.

        Raises:
            NotFiniteError: a loss or a gradient is not a number.
        """
        self._grow()
        report: dict[str, float] = {}
        for _ in range(self.recipe.critic_steps):
            parts = self._critic_step(data, report)
        if self.step % DIVERSITY_EVERY == 0:
            report |= self._diversity(parts[0])
        self.critic.requires_grad_(False)
        self._generator_step(parts, report)
        self.critic.requires_grad_(True)
        self.step += 1
        averaging.update(self.average, self.generator, self.step, self.recipe.ema_steps)
        return self.group.mean(report)

    def _critic_step(self, data: RealShapes, report: dict[str, float]) -> list[Part]:
        """Returns what was judged: the generator shall be judged in the same circumstances."""
        recipe = self.recipe
        parts: list[Part] = []
        losses, accuracies = [], []
        # d_main. Real and generated samples pass separately: batch norm must not see them mixed.
        self.critic_optimiser.zero_grad(set_to_none=True)
        for index in range(recipe.accumulate):
            part, mix = self._draw(data)
            with self.group.gathering(self.parallel_critic, last=index == recipe.accumulate - 1):
                loss, accuracy = self._critic_loss(part.real, part.fake, mix)
                losses.append(self._backward(loss, "critic_loss"))
            accuracies.append(accuracy)
            parts.append(part)
        report["critic_loss"] = float(np.mean(losses))
        if self.objective.logits:
            # All processes must come to one decision.
            report |= self.group.mean({"critic_accuracy": float(np.mean(accuracies))})
            self.accuracy = report["critic_accuracy"]
            if self.accuracy > recipe.accuracy_gate:
                return parts
        loop.apply(self.critic_optimiser, "critic_loss", self.step)
        self.techniques.stepped("critic")
        if recipe.clip:
            clip_weights(self.critic, recipe.clip)
        # d_reg
        if recipe.r1_weight and self.critic_step % recipe.r1_every == 0:
            self.critic_optimiser.zero_grad(set_to_none=True)
            penalties = []
            for part in parts:
                with self.group.gathering(self.parallel_critic, last=part is parts[-1]):
                    judge = functools.partial(self._judge, given=part.real.given)
                    penalty = r1_penalty(judge, part.real.samples)
                    if not self.group.alone:
                        # The last bias is not in the penalty, and processes wait for the gradient of every weight.
                        penalty = penalty + 0.0 * judge(part.real.samples).sum()
                    weight = recipe.r1_weight * recipe.r1_every
                    penalties.append(self._backward(weight * penalty, "r1") / weight)
            loop.apply(self.critic_optimiser, "r1", self.step)
            report["r1"] = float(np.mean(penalties))
        self.critic_step += 1
        return parts

    def _draw(self, data: RealShapes) -> tuple[Part, torch.Tensor | None]:
        """Recorded and generated shapes of one part of a batch, this process's share, and the mix of both (N,) if a
        gradient penalty wants one. Random numbers are drawn for the whole part, so that all processes draw the same."""
        count = self.recipe.batch // self.recipe.accumulate
        share = self.group.share(count)
        drawn = data.draw(count, self.order, share, self.device)
        shapes = drawn.shapes
        setting = self.bridge.setting(count, self.noise)[share].to(self.device).asked(drawn.queries)
        labels = drawn.labels if len(self.recipe.categories) > 1 else None
        codes = self.draw_codes(count)[share]
        with torch.no_grad():
            real = _told(self.bridge(shapes, setting), labels)
            fake = _told(self.sampler(codes, setting, labels), labels)
        mix = None
        if self.recipe.penalty_weight:
            mix = torch.rand(count, generator=self.noise)[share].to(self.device)
        return Part(shapes, setting, labels, real, codes, fake), mix

    def _critic_loss(self, real: Seen, fake: Seen, mix: torch.Tensor | None) -> tuple[torch.Tensor, float]:
        """Everything that the critic's main step descends, of one part of a batch, and its accuracy there."""
        on_real, on_fake = self._judge(real.samples, real.given), self._judge(fake.samples, fake.given)
        loss = self.objective.critic(on_real, on_fake) + self.techniques.history("critic")
        if mix is not None:
            judge = functools.partial(self._judge, given=real.given)
            penalty = gradient_penalty(judge, real.samples, fake.samples, mix, self.recipe.penalty_norm)
            loss = loss + self.recipe.penalty_weight * penalty
        accuracy = 0.5 * float((on_real > 0).float().mean() + (on_fake <= 0).float().mean())
        return loss, accuracy

    def _generator_step(self, parts: list[Part], report: dict[str, float]) -> None:
        # g_main and g_reg: what the regularisers need has been made anyway.
        losses: list[float] = []
        count = self.recipe.batch // self.recipe.accumulate
        self.generator_optimiser.zero_grad(set_to_none=True)
        for part in parts:
            codes = self.draw_codes(count)[self.group.share(count)]
            with self.group.gathering(self.parallel_sampler, last=part is parts[-1]):
                fake = _told(self.parallel_sampler(codes, part.setting, part.labels), part.labels)
                losses.append(self._backward(self._generator_loss(part.real, fake, report), "generator_loss"))
        loop.apply(self.generator_optimiser, "generator_loss", self.step)
        self.techniques.stepped("generator")
        report["generator_loss"] = float(np.mean(losses))

    def _generator_loss(self, real: Seen, fake: Seen, report: dict[str, float]) -> torch.Tensor:
        """Everything that the generator's step descends, of one part of a batch."""
        with self.techniques.tapping() as seen:
            loss = self.objective.generator(self._judge(fake.samples, fake.given))
        if self.techniques.matches_features:
            with torch.no_grad(), self.techniques.tapping() as wanted:
                self._judge(real.samples, real.given)
            matching = self.techniques.matching(wanted, seen)
            loss = loss + matching
            report["matching"] = float(matching.detach())
        for name, weight in self.weights.items():
            loss = loss + weight * fake.terms[name]
            report[name] = float(fake.terms[name].detach())
        return loss + self.techniques.history("generator")

    @torch.no_grad()
    def _diversity(self, part: Part) -> dict[str, float]:
        """How varied generated shapes are beside recorded ones. Pictures are compared from one point of view."""
        real, fake = part.real, part.fake
        if self.bridge.consumes == "images":
            setting = part.setting.alike()
            real, fake = self.bridge(part.shapes, setting), self.sampler(part.codes, setting, part.labels)
        found = relative_diversity(real.samples, fake.samples)
        # All processes must report the same figures: it is left out where none can be there.
        everywhere = self.group.mean({"diversity": float(found is not None)})["diversity"] == 1
        return {"diversity": found} if found is not None and everywhere else {}


def _told(seen: Seen, labels: torch.Tensor | None) -> Seen:
    """What the critic is shown, with the classes beside it where there are any."""
    return seen if labels is None else seen._replace(given=Told(seen.given, labels))


def train_gan(
    recipe: GanRecipe, dataset: Path, run: Path, device: str, budget: Budget | None = None, label: str = "Training"
) -> GanTrainer:
    """Train until `recipe.steps`, going on from the run's snapshot if there is one. Ctrl-C saves and stops.

    Started by torchrun, the processes share every batch, and the first one writes.

    Args:
        budget: seconds in place of the recipe's steps; the recipe's stages of growing are stretched over it.
        label: of the progress line.

    Raises:
        DatasetError, TrainingError
    """
    loop.prepare(device, recipe.threads)
    categories = recipe.categories
    with joined(device) as (group, own_device):
        trainer = GanTrainer(recipe, own_device, group)
        shapes = Dataset(dataset, "train", categories[0] if len(categories) == 1 else None)
        folder = RunFolder.of(run, recipe) if group.first else NoFolder(run)
        group.wait()
        loop.restore(trainer, folder, budget)
        records = Records.needed(shapes, trainer.generator, trainer.bridge, recipe.resolution, categories)
        data = RealShapes(records, trainer.generator, trainer.bridge, recipe.mirror)
        train(trainer, data, folder, budget, label)
    return trainer


def train(
    trainer: GanTrainer,
    data: RealShapes,
    folder: RunFolder | NoFolder,
    budget: Budget | None = None,
    label: str = "Training",
) -> None:
    """Train on shapes that are in memory."""

    def step() -> dict[str, float]:
        if budget is not None:
            trainer.keep_pace(budget.share)
        return trainer.train_step(data)

    def sheet() -> None:
        if not isinstance(folder, RunFolder):
            return
        was = trainer.average.training
        codes, classes = trainer.shown.cpu().numpy(), len(trainer.recipe.categories)
        labels = () if classes == 1 else ([index * classes // SHOWN for index in range(SHOWN)],)
        fields = trainer.average.eval().fields(codes, 1.0, *labels)  # type: ignore[operator]
        field_sheet(fields, folder.sheet_path(trainer.step), resolution=trainer.recipe.resolution)
        trainer.average.train(was)

    loop.run(trainer, folder, trainer.recipe, label, step, sheet, budget=budget)
