"""Training a textured generator through rendered pictures, with the phases d_main, d_reg, g_main and g_reg.

GET3D (J. Gao et al., NeurIPS 2022, section 3.2): one discriminator sees colours, one sees silhouettes, both know the
camera; non-saturating loss with lazy R1. To it come, for small machines: a start from a generator whose planes an
autoencoder has learned, roughness and metallic beside the colours, and a critic of coarse volumes, which knows the
inside, floaters and the back side that pictures hide.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan3d_core.errors import TrainingError
from gan3d_core.generators.coded import TRUNCATION, Features
from gan3d_core.generators.textured import TexturedGenerator

from . import averaging, loop, objectives
from .data.store import Dataset
from .discriminators.images import CAMERA_SIZE, ImageDiscriminator, camera_condition
from .discriminators.volumetric import VolumetricDiscriminator
from .export import load_run
from .picture_data import PictureBatch, PictureData
from .regularisers import r1_penalty
from .rendering.cameras import Cameras
from .run_folder import RunFolder
from .sheets import field_sheet
from .sign_regulariser import sign_regulariser
from .textured_surface import Pictures, Resolution, coarse_distance, pictures, surfaces

SHOWN = 16
SPHERE = 0.6
"""Radius, in the cube, of the sphere that every code begins as where there is nothing to start from."""


@dataclasses.dataclass(frozen=True)
class RenderedRecipe:
    """Settings of `train` for kind = "rendered"."""

    kind: str
    """`rendered`."""
    category: str
    """Which shapes of the dataset; several are separated by commas and become classes."""
    options: dict[str, Any]
    """Of the `textured` architecture; `classes` follows from the category."""
    start: str = ""
    """Run of kind `codes` or `rendered` whose generator is begun with; empty begins with spheres."""
    steps: int = 20000
    """Generator steps."""
    batch: int = 4
    """Shapes per step, and pictures of them."""
    image_size: int = 64
    """Pixels along the side of the pictures that the critics see: 4 · 2^k."""
    coarse: int = 32
    """Cells along each axis where distances are found everywhere, and of the critic of volumes."""
    fine: int = 64
    """Cells along each axis for the surface; a multiple of `coarse`."""
    image_channels: list[int] = dataclasses.field(default_factory=lambda: [24, 48, 96, 128, 128])
    """Widths of both image critics, from fine to coarse: one more than `image_size` has halvings to 4."""
    volume_channels: list[int] = dataclasses.field(default_factory=lambda: [12, 24, 48])
    """Widths of the critic of volumes: as many as `coarse` has halvings to 4."""
    volume_weight: float = 1.0
    """Of the critic of volumes in the generator's loss; 0 leaves it out, as published."""
    objective: str = "non-saturating"
    """From `training.objectives.OBJECTIVES`."""
    generator_rate: float = 2e-3
    """Learning rate of Adam."""
    mapping_rate: float = 1.0
    """Learning rate of the mapping networks, relative to it."""
    critic_rate: float = 2e-3
    """Learning rate of the critics."""
    beta1: float = 0.0
    beta2: float = 0.99
    r1_weight: float = 1.0
    """γ; it should grow with the pictures' area and shrink with the batch (Karras et al. 2020, appendix B)."""
    r1_every: int = 16
    """Steps between R1 steps; the weight is multiplied by it (lazy regularisation, ibid.)."""
    sign_weight: float = 0.01
    """Of the cross-entropy between neighbouring signs (GET3D, equation 2)."""
    outside_weight: float = 1.0
    """Of the rule that the cube's border is outside, and that something is inside: without it signs flip."""
    style_mixing: float = 0.9
    """How often a later part of the layers takes the codes of another z."""
    mirror: bool = True
    """Show half of the pictures mirrored."""
    ema_steps: float = 1000.0
    """Time constant of the generator's moving average, in steps."""
    sheet_every: int = 500
    snapshot_every: int = 100
    seed: int = 0
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""


class RenderedTrainer:
    """Networks, optimisers and random states of one run.

    Args:
        recipe: settings.
        device: where to train: `cpu`, `cuda`, …
        start: a generator to begin with, of the recipe's options.
        begin: fit spheres where there is no start; not needed where a snapshot follows.

    Raises:
        TrainingError: settings that do not fit each other.
    """

    def __init__(
        self, recipe: RenderedRecipe, device: str, start: TexturedGenerator | None = None, begin: bool = True
    ) -> None:
        for name, size, widths, least in (
            ("image", recipe.image_size, recipe.image_channels, 2),
            ("volume", recipe.coarse, recipe.volume_channels, 4),
        ):
            fits = least * 2 ** len(widths)
            if size != fits:
                raise TrainingError(
                    f"{name}_channels has {len(widths)} widths, which is for {fits} cells, not {size}.",
                    "Every further width doubles the size.",
                )
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.step = recipe, device, 0
        self.objective = objectives.find(recipe.objective)
        self.categories = [part.strip() for part in recipe.category.split(",")]
        self.resolution = Resolution(recipe.coarse, recipe.fine)
        classes = len(self.categories)
        self.options = {**recipe.options, "classes": classes}
        self.generator = (TexturedGenerator(**self.options) if start is None else copy.deepcopy(start)).to(device)
        self.generator.requires_grad_(True).train()
        self.latent_size = self.generator.latent_size
        condition = CAMERA_SIZE + (classes if classes > 1 else 0)
        self.colour_critic = ImageDiscriminator(6, recipe.image_channels, condition_size=condition).to(device)
        self.outline_critic = ImageDiscriminator(1, recipe.image_channels, condition_size=condition).to(device)
        self.volume_critic = VolumetricDiscriminator(recipe.volume_channels, "none", minibatch_std=True).to(device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        betas = (recipe.beta1, recipe.beta2)
        mapping = [p for name, p in self.generator.named_parameters() if "_mapping." in name]
        rest = [p for name, p in self.generator.named_parameters() if "_mapping." not in name]
        groups = [
            {"params": rest, "lr": recipe.generator_rate},
            {"params": mapping, "lr": recipe.generator_rate * recipe.mapping_rate},
        ]
        self.generator_optimiser = torch.optim.Adam(groups, betas=betas)
        self.critics = [self.colour_critic, self.outline_critic, self.volume_critic]
        parameters = [p for critic in self.critics for p in critic.parameters()]
        self.critic_optimiser = torch.optim.Adam(parameters, recipe.critic_rate, betas)
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)
        self.order = np.random.default_rng(recipe.seed + 2)
        self.shown = torch.randn((SHOWN, self.latent_size), generator=self.noise)
        if start is None and begin:
            self._begin_as_spheres()

    _NETWORKS = (
        "generator", "average", "colour_critic", "outline_critic", "volume_critic", "generator_optimiser",
        "critic_optimiser",
    )  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name).state_dict() for name in self._NETWORKS},
            "step": self.step,
            "shown": self.shown,
            "noise": self.noise.get_state(),
            "order": self.order.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._NETWORKS:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.shown = state["step"], state["shown"]
        self.noise.set_state(state["noise"])
        self.order.bit_generator.state = state["order"]

    def _begin_as_spheres(self, most: int = 400) -> None:
        """Fit every code to a sphere: a first surface for gradients to move, where signs are right."""
        # Not the mappings: every code shall become the same sphere, and codes keep their spread.
        optimiser = torch.optim.Adam(self.generator_optimiser.param_groups[0]["params"], 2e-3)
        wrong = 1.0
        for _ in range(most):
            points = (torch.rand((self.recipe.batch, 1024, 3), generator=self.noise) * 2 - 1).to(self.device)
            target = (points.norm(dim=-1) - SPHERE).clamp(-TRUNCATION, TRUNCATION)
            found = self.generator.distance(self._planes(self.recipe.batch)[0], points)
            optimiser.zero_grad(set_to_none=True)
            (found - target).abs().mean().backward()
            optimiser.step()
            wrong = 0.9 * wrong + 0.1 * float(((found < 0) != (target < 0)).float().mean())
            if wrong < 0.02:
                break
        if wrong > 0.1:
            raise TrainingError("The generator could not be begun as a sphere.", "Give it more channels or width.")
        self.average.load_state_dict(self.generator.state_dict())

    def _planes(self, count: int) -> tuple[Features, torch.Tensor]:
        """Features of drawn codes, and their labels; styles are mixed in some batches."""
        z = torch.randn((2, count, self.latent_size), generator=self.noise).to(self.device)
        label = torch.randint(len(self.categories), (count,), generator=self.noise).to(self.device)
        mix, where = torch.rand(2, generator=self.noise).tolist()
        codes = self.generator.map(z[0], label)
        if mix >= self.recipe.style_mixing:
            return self.generator.synthesise(codes), label
        crossover = 1 + int(where * (self.generator.levels - 1))
        return self.generator.synthesise(codes, self.generator.map(z[1], label), crossover), label

    def _make(self) -> tuple[Pictures, torch.Tensor, torch.Tensor]:
        """Generate: pictures, conditions, and coarse distances (N, R, R, R) in units of TRUNCATION."""
        recipe = self.recipe
        planes, label = self._planes(recipe.batch)
        cameras = Cameras.draw(recipe.batch, self.noise).to(self.device)
        coarse = coarse_distance(self.generator, planes, recipe.coarse)
        meshes = surfaces(self.generator, planes, self.resolution, coarse)
        seen = pictures(self.generator, planes, meshes, cameras, recipe.image_size)
        return seen, self._condition(cameras, label), coarse / TRUNCATION

    def _condition(self, cameras: Cameras, label: torch.Tensor) -> torch.Tensor:
        known = camera_condition(cameras.azimuth, cameras.elevation)
        if len(self.categories) > 1:
            known = torch.cat([known, torch.nn.functional.one_hot(label, len(self.categories)).to(known)], 1)
        return known

    def _judge(self, seen: Pictures, condition: torch.Tensor, volumes: torch.Tensor) -> list[torch.Tensor]:
        verdicts = [
            self.colour_critic(_colours(seen), condition),
            self.outline_critic(seen.silhouette * 2 - 1, condition),
        ]
        if self.recipe.volume_weight:
            verdicts.append(self.volume_critic(volumes))
        return verdicts

    def train_step(self, data: PictureData) -> dict[str, float]:
        """One critic step and one generator step.

        Raises:
            TrainingError: a loss is not a number.
        """
        report: dict[str, float] = {}
        self._critic_step(data.draw(self.recipe.batch, self.order), report)
        for critic in self.critics:
            critic.requires_grad_(False)
        self._generator_step(report)
        for critic in self.critics:
            critic.requires_grad_(True)
        self.step += 1
        averaging.update(self.average, self.generator, self.step, self.recipe.ema_steps)
        return report

    def _critic_step(self, real: PictureBatch, report: dict[str, float]) -> None:
        # d_main
        with torch.no_grad():
            fake, fake_condition, fake_volumes = self._make()
        seen = Pictures(real.pictures.materials.to(self.device), real.pictures.silhouette.to(self.device))
        condition = self._condition(real.cameras.to(self.device), real.labels.to(self.device))
        volumes = real.volumes.to(self.device)
        on_real = self._judge(seen, condition, volumes)
        on_fake = self._judge(fake, fake_condition, fake_volumes[:, None])
        losses = [self.objective.critic(*pair) for pair in zip(on_real, on_fake, strict=True)]
        loop.descend(torch.stack(losses).sum(), self.critic_optimiser, report, "critic_loss", self.step)
        for name, real_score, fake_score in zip(("colour", "outline", "volume"), on_real, on_fake, strict=False):
            report[f"{name}_gap"] = float((real_score.mean() - fake_score.mean()).detach())
        # d_reg
        if self.recipe.r1_weight and self.step % self.recipe.r1_every == 0:
            weight = self.recipe.r1_weight * self.recipe.r1_every
            penalty = r1_penalty(lambda at: self.colour_critic(at, condition), _colours(seen))
            penalty = penalty + r1_penalty(lambda at: self.outline_critic(at, condition), seen.silhouette * 2 - 1)
            if self.recipe.volume_weight:
                penalty = penalty + r1_penalty(self.volume_critic, volumes)
            loop.descend(weight * penalty, self.critic_optimiser, report, "r1", self.step)

    def _generator_step(self, report: dict[str, float]) -> None:
        # g_main and g_reg: the regularisers need what the generator made anyway.
        seen, condition, coarse = self._make()
        verdicts = self._judge(seen, condition, coarse[:, None])
        weights = (1.0, 1.0, self.recipe.volume_weight)
        main = sum(w * self.objective.generator(v) for w, v in zip(weights, verdicts, strict=False))
        assert isinstance(main, torch.Tensor)
        signs = sign_regulariser(coarse)
        outside = _outside_is_positive(coarse)
        total = main + self.recipe.sign_weight * signs + self.recipe.outside_weight * outside
        loop.descend(total, self.generator_optimiser, report, "generator_loss", self.step)
        report |= {"signs": float(signs.detach()), "outside": float(outside.detach())}
        report["covered"] = float(seen.silhouette.detach().mean())


def _colours(seen: Pictures) -> torch.Tensor:
    """(N, 6, S, S) in [−1, 1]: what the critic of colours sees."""
    return torch.cat([seen.materials, seen.silhouette], 1) * 2 - 1


def _outside_is_positive(values: torch.Tensor) -> torch.Tensor:
    """Zero while the outermost cells of (N, R, R, R) are outside and every volume has an inside. Pictures alone would
    as well take the negative of a shape, and an empty volume has no surface for a gradient to reach."""
    border = torch.ones_like(values[0], dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    flooded = torch.relu(0.5 - values[:, border]).mean()
    deepest = values[:, ~border].amin(1)
    return flooded + torch.relu(deepest + 0.05).mean()


def train_rendered(recipe: RenderedRecipe, dataset: Path, run: Path, device: str) -> RenderedTrainer:
    """Train until `recipe.steps`, going on from the run's snapshot if there is one. Ctrl-C saves and stops.

    Raises:
        DatasetError, TrainingError
    """
    loop.prepare(device, recipe.threads)
    start = None
    if recipe.start:
        generator, _, (architecture, options), _ = load_run(Path(recipe.start))
        if architecture != "textured":
            raise TrainingError(f"{recipe.start} is a run of {architecture!r}, not of 'textured'.")
        recipe = dataclasses.replace(recipe, options=options)
        assert isinstance(generator, TexturedGenerator)
        start = generator
    trainer = RenderedTrainer(recipe, device, start)
    if start is not None and start.classes != len(trainer.categories):
        raise TrainingError(f"{recipe.start} knows {start.classes} classes, the recipe {len(trainer.categories)}.")
    folder = RunFolder.of(run, recipe)
    loop.restore(trainer, folder)
    only = trainer.categories[0] if len(trainer.categories) == 1 else None
    volume = recipe.coarse if recipe.volume_weight else 0
    shapes = Dataset(dataset, "train", only)
    data = PictureData(shapes, trainer.categories, recipe.image_size, volume, recipe.mirror)

    def sheet() -> None:
        codes = trainer.shown.numpy()
        field_sheet(trainer.average.fields(codes, 1.0), folder.sheet_path(trainer.step))

    loop.run(trainer, folder, recipe, "Rendered", lambda: trainer.train_step(data), sheet)
    return trainer
