"""Phase two of the textured recipe: a GAN on the autoencoder's codes gives the mappings z → code.

IM-GAN (Chen & Zhang 2019, section 3.3) with the gradient-penalty critic of Gulrajani et al. 2017. Codes are short, so a
critic step costs milliseconds where one on volumes costs seconds.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gan3d_core.errors import TrainingError
from gan3d_core.generators.textured import Codes, Mapping, TexturedGenerator

from . import averaging, loop, objectives
from .autoencoder_data import AutoencoderData
from .configuration import fill
from .data.store import Dataset
from .regularisers import gradient_penalty
from .run_folder import RunFolder, read_run
from .sheets import field_sheet
from .train_autoencoder import AutoencoderRecipe, AutoencoderTrainer


@dataclasses.dataclass(frozen=True)
class CodesRecipe:
    """Settings of `train` for kind = "codes"."""

    kind: str
    """`codes`."""
    category: str
    """Which shapes of the dataset."""
    only: str = ""
    """Train on the shapes alone whose label is this, as `kind=Chair`; empty takes all. A kind of which there are few
    shapes is learned badly, and disturbs the others."""
    autoencoder: str = ""
    """Folder of the finished autoencoder run."""
    steps: int = 6000
    """Generator steps."""
    batch: int = 256
    critic_steps: int = 5
    learning_rate: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.9
    objective: str = "wasserstein"
    penalty_weight: float = 10.0
    """λ of the gradient penalty."""
    critic_width: int = 256
    mapping_width: int = 256
    mapping_layers: int = 4
    posterior_noise: float = 1.0
    """How much of the encoder's own uncertainty is added to the real codes: it fills the gaps between them."""
    darkest: float = 1.0
    """Shapes of which a larger share than this is near black lend nothing to the surfaces; their form is learned."""
    texture_shuffle: float = 0.5
    """Share of the real pairs of codes whose texture is another shape's. Data show each shape with one surface only;
    without this the texture follows from the shape, and no z changes it."""
    rounds: int = 0
    """How often the finished generator leads a drawn shape through the autoencoder, which mends it."""
    ema_steps: float = 500.0
    sheet_every: int = 2000
    snapshot_every: int = 500
    seed: int = 0
    threads: int = 0


class CodeCritic(nn.Module):
    """A perceptron on codes that also sees how much its batch varies (minibatch standard deviation, Karras et al. 2018,
    section 3), against collapse. Groups of 8 share one figure, so that the gradient penalty stays nearly per sample."""

    GROUP = 8

    def __init__(self, code_size: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(code_size + 1, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, code_size), N a multiple of 8, to (N,)."""
        groups = codes.unflatten(0, (-1, self.GROUP))
        spread = (groups.var(1, unbiased=False) + 1e-8).sqrt().mean(-1)
        spread = spread[:, None, None].expand(-1, self.GROUP, 1).flatten(0, 1)
        return self.layers(torch.cat([codes, spread], 1))[:, 0]


class Mappings(nn.Module):
    """The two mapping networks of a `TexturedGenerator`, as one network from z to both codes side by side."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        whole = TexturedGenerator(**options)
        self.texture_latent, self.geometry_code = whole.texture_latent, whole.geometry_code
        self.geometry: Mapping = whole.geometry_mapping
        self.texture: Mapping = whole.texture_mapping

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(N, latent_size) to (N, geometry_code + texture_code); as `TexturedGenerator.map`, but standardised."""
        geometry = self.geometry.layers(z[:, : -self.texture_latent])
        return torch.cat([geometry, self.texture.layers(torch.cat([z[:, -self.texture_latent :], geometry], 1))], 1)


def load_autoencoder(run: Path, device: str) -> AutoencoderTrainer:
    """The trainer of an autoencoder run, as it stands in its snapshot.

    Raises:
        TrainingError: no such run, or one without a snapshot.
    """
    try:
        recipe, state = read_run(run)
    except TrainingError as error:
        raise TrainingError(
            f"{run} holds no autoencoder run ({error.message})",
            "Train one first and name it: --set autoencoder=FOLDER.",
        ) from None
    trainer = AutoencoderTrainer(fill(AutoencoderRecipe, recipe), device)
    trainer.restore(state)
    return trainer


class CodesTrainer:
    """The mappings, their critic, and the codes they are trained on.

    Args:
        recipe: settings.
        options: of the generator that the mappings are for.
        mean, log_variance: of the encoder for every shape; None to restore a run whose codes are not needed.
        surfaces: which of them have a texture to learn from; None for all.
        device: where to train.
    """

    def __init__(
        self,
        recipe: CodesRecipe,
        options: dict[str, Any],
        mean: Codes | None = None,
        log_variance: Codes | None = None,
        surfaces: torch.Tensor | None = None,
        device: str = "cpu",
    ) -> None:
        if recipe.batch % CodeCritic.GROUP:
            raise TrainingError(f"batch must be a multiple of {CodeCritic.GROUP}.", "Use 64, 128, 256, …")
        torch.manual_seed(recipe.seed)
        self.recipe, self.step, self.device = recipe, 0, device
        own = {"mapping_width": recipe.mapping_width, "mapping_layers": recipe.mapping_layers, "rounds": recipe.rounds}
        self.options = {**options, **own}
        self.objective = objectives.find(recipe.objective)
        self.mapping = Mappings(self.options).to(device)
        whole = TexturedGenerator(**options)
        self.latent_size, code_size = whole.latent_size, whole.geometry_code + whole.texture_code
        self.centre, self.scale = torch.zeros(code_size), torch.ones(code_size)
        if mean is not None and log_variance is not None:
            self.surfaces = torch.ones(len(mean), dtype=torch.bool) if surfaces is None else surfaces.cpu()
            both = torch.cat([mean.geometry, mean.texture], 1)
            spread = recipe.posterior_noise * (0.5 * torch.cat([log_variance.geometry, log_variance.texture], 1)).exp()
            # Standardised per entry, the noise included: some entries of a code are hardly more than that, and the
            # critic should see them all at one scale.
            cut = mean.geometry.shape[1]
            parts = both[:, :cut], both[self.surfaces, cut:]
            noise = spread[:, :cut], spread[self.surfaces, cut:]
            self.centre = torch.cat([part.mean(0) for part in parts])
            scales = [(p.var(0) + n.square().mean(0)).sqrt() for p, n in zip(parts, noise, strict=True)]
            self.scale = torch.cat(scales).clamp_min(1e-3)
            self.codes, self.spread = (both - self.centre) / self.scale, spread / self.scale
        self.critic = CodeCritic(code_size, recipe.critic_width).to(device)
        self.average = copy.deepcopy(self.mapping).requires_grad_(False)
        betas = (recipe.beta1, recipe.beta2)
        self.mapping_optimiser = torch.optim.Adam(self.mapping.parameters(), recipe.learning_rate, betas)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), recipe.learning_rate, betas)
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)

    _NETWORKS = ("mapping", "critic", "average", "mapping_optimiser", "critic_optimiser")

    def state(self) -> dict[str, Any]:
        networks = {name: getattr(self, name).state_dict() for name in self._NETWORKS}
        scales = {"centre": self.centre, "scale": self.scale}
        return {**networks, **scales, "step": self.step, "noise": self.noise.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._NETWORKS:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.centre, self.scale = state["step"], state["centre"], state["scale"]
        self.noise.set_state(state["noise"])

    def _draw(self, *size: int) -> torch.Tensor:
        return torch.randn(size, generator=self.noise).to(self.device)

    def _real(self) -> torch.Tensor:
        count, cut = self.recipe.batch, self.mapping.geometry_code
        shape = torch.randint(len(self.codes), (count,), generator=self.noise)
        lent = self.surfaces.nonzero()[:, 0]
        surface = lent[torch.randint(len(lent), (count,), generator=self.noise)]
        shuffled = torch.rand(count, generator=self.noise) < self.recipe.texture_shuffle
        surface = torch.where(shuffled | ~self.surfaces[shape], surface, shape).to(self.device)
        shape = shape.to(self.device)
        codes = torch.cat([self.codes[shape, :cut], self.codes[surface, cut:]], 1)
        spread = torch.cat([self.spread[shape, :cut], self.spread[surface, cut:]], 1)
        return codes + spread * self._draw(count, self.codes.shape[1])

    def train_step(self) -> dict[str, float]:
        recipe = self.recipe
        for _ in range(recipe.critic_steps):
            real = self._real()
            with torch.no_grad():
                fake = self.mapping(self._draw(recipe.batch, self.latent_size))
            # One share per group: the minibatch statistic belongs to a group, and so must the line.
            mix = torch.rand(recipe.batch // CodeCritic.GROUP, generator=self.noise).to(real)
            mix = mix.repeat_interleave(CodeCritic.GROUP)
            loss = self.objective.critic(self.critic(real), self.critic(fake))
            total = loss + recipe.penalty_weight * gradient_penalty(self.critic, real, fake, mix)
            self.critic_optimiser.zero_grad(set_to_none=True)
            total.backward()
            self.critic_optimiser.step()
        made = self.mapping(self._draw(recipe.batch, self.latent_size))
        generator_loss = self.objective.generator(self.critic(made))
        loop.check(generator_loss, "loss", self.step)
        self.mapping_optimiser.zero_grad(set_to_none=True)
        generator_loss.backward()
        self.mapping_optimiser.step()
        self.step += 1
        averaging.update(self.average, self.mapping, self.step, recipe.ema_steps)
        return {
            "critic_loss": float(loss.detach()),
            "fake_spread": float(made.detach().std(0).mean()),
            "real_spread": float(real.std(0).mean()),
        }

    def finished_mappings(self) -> Mappings:
        """The averaged mappings, whose output is back in the autoencoder's own scale."""
        finished = copy.deepcopy(self.average)
        cut = finished.geometry_code
        for mapping, part in ((finished.geometry, slice(None, cut)), (finished.texture, slice(cut, None))):
            mapping.mean.copy_(self.centre[part])
            mapping.scale.copy_(self.scale[part])
        return finished


def generator_options(autoencoder: AutoencoderTrainer) -> dict[str, Any]:
    """Of a generator that may take the autoencoder's encoder along."""
    return {**autoencoder.recipe.options, "encoder_width": autoencoder.recipe.encoder_width}


def assemble(autoencoder: AutoencoderTrainer, codes: CodesTrainer) -> TexturedGenerator:
    """The generator to ship: the codes' mappings before the autoencoder's averaged planes and heads."""
    generator = TexturedGenerator(**codes.options).to(autoencoder.device)
    state = autoencoder.generator_ema.state_dict()
    state = {name: tensor for name, tensor in state.items() if "_mapping." not in name}
    if generator.encoder is not None:
        own = autoencoder.encoder_ema.geometry.state_dict()
        state |= {f"encoder.{name}": tensor for name, tensor in own.items()}
    finished = codes.finished_mappings()
    for part in ("geometry", "texture"):
        own = getattr(finished, part).state_dict()
        state |= {f"{part}_mapping.{name}": tensor for name, tensor in own.items()}
    generator.load_state_dict(state, strict=True)
    return generator.eval()


KNOWN = 0.9
"""Share of a surface whose material must be known for it to be learned from."""


def teachers(data: AutoencoderData, only: str, darkest: float) -> tuple[np.ndarray, np.ndarray]:
    """Which shapes are learned from for their form, and which for their surface: (N,) bool each.

    Args:
        only: as `CodesRecipe.only`.
        darkest: as `CodesRecipe.darkest`.

    Raises:
        TrainingError: hardly any have the label that is asked for, or a surface to learn from.
    """
    shapes = np.ones(len(data), bool)
    if only:
        key, sign, value = only.partition("=")
        if not sign:
            raise TrainingError(f"{only!r} is no label.", "Write only = key=value.")
        shapes = np.array([str(entry.labels.get(key)) == value for entry in data.entries])
    if shapes.sum() < 2:
        there = sorted({str(entry.labels.get(only.partition("=")[0])) for entry in data.entries})
        raise TrainingError(f"Fewer than two shapes are labelled {only!r}.", f"There are: {', '.join(there)}.")
    if not data.known.any():  # voxels, say: there are no surfaces to learn, and all are equally good
        return shapes, np.ones(len(data), bool)
    surfaces = (data.known_share() >= KNOWN) & (data.dark_share() <= darkest)
    if (shapes & surfaces).sum() < 2:
        raise TrainingError(
            "Fewer than two shapes have a surface to learn from.",
            "Raise darkest, or prepare shapes whose materials are known.",
        )
    return shapes, surfaces


def train_codes(recipe: CodesRecipe, dataset: Path, run: Path, device: str) -> TexturedGenerator:
    """Train until `recipe.steps`, going on from the run's snapshot if there is one. Ctrl-C saves and stops.

    Returns:
        the assembled generator.

    Raises:
        DatasetError, TrainingError
    """
    loop.use_threads(recipe.threads)
    autoencoder = load_autoencoder(Path(recipe.autoencoder), device)
    folder = RunFolder(run, dataclasses.asdict(recipe))
    data = AutoencoderData(Dataset(dataset, "train", recipe.category), 4, 1)
    mean, log_variance = autoencoder.codes(data)
    shapes, surfaces = (torch.from_numpy(part) for part in teachers(data, recipe.only, recipe.darkest))
    mean, log_variance, surfaces = mean[shapes.to(device)], log_variance[shapes.to(device)], surfaces[shapes]
    trainer = CodesTrainer(recipe, generator_options(autoencoder), mean.clone(), log_variance.clone(), surfaces, device)
    loop.restore(trainer, folder)
    shown = torch.randn(32, trainer.latent_size, generator=torch.Generator().manual_seed(0)).numpy()

    def sheet() -> None:
        field_sheet(assemble(autoencoder, trainer).fields(shown, 1.0), folder.sheet_path(trainer.step))

    loop.run(trainer, folder, recipe, "Codes", trainer.train_step, sheet)
    return assemble(autoencoder, trainer)
