"""Phase two of the textured recipe: a GAN on the autoencoder's codes gives the mappings z → code.

IM-GAN (Chen & Zhang 2019, section 3.3) with the gradient-penalty critic of Gulrajani et al. 2017. Codes are short, so a
critic step costs milliseconds where one on volumes costs seconds.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gan3d_core.errors import TrainingError
from gan3d_core.generators import build
from gan3d_core.generators.coded import CodedGenerator, Codes, Mapping
from gan3d_core.generators.judge import CellTrunk
from gan3d_core.generators.latent_volume import LatentVolumeGenerator, PrincipalDrawer

from . import averaging, loop, objectives
from .attributes import Labels, Specification, read_labels
from .autoencoder_data import AutoencoderData
from .configuration import fill
from .data.store import Dataset
from .discriminators.codes import GROUP, ApartCritic, CellCritic, CodeCritic
from .precision import sixteen_bits
from .regularisers import gradient_penalty, r1_penalty
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
    shapes is learned badly, and disturbs the others, unless `attributes` tell them apart."""
    attributes: tuple[str, ...] = ()
    """Labels that generator and critic are told, of the shape or of the `params` of its factory: yes and no, or a few
    words; see `gan3d_core.generators.attributes`. The others depend on the first."""
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
    """λ of the gradient penalty, 0 for none."""
    r1_weight: float = 0.0
    """γ of R1, 0 for none; a critic step computes it once in `r1_every`, with so many times the weight."""
    r1_every: int = 8
    critic_width: int = 256
    """Of the perceptron on codes that are vectors."""
    critic_widths: tuple[int, ...] = (64, 128)
    """Of the convolutions on codes that are grids of cells, at half as many cells, at a quarter, … down to 4."""
    components: int = 0
    """Draw such grids as sums of so many principal directions of the codes, by a perceptron; 0 draws them by
    convolutions."""
    drawer_widths: tuple[int, ...] = (128, 96)
    """Of the convolutions that draw such grids, at 4 cells, at 8, … up to half of all."""
    autocast: bool = False
    """bfloat16 convolutions, if there are any: for CUDA, and for CPUs with AMX or AVX-512 BF16."""
    mapping_width: int = 256
    mapping_layers: int = 4
    posterior_noise: float = 1.0
    """How much of the encoder's own uncertainty is added to the real codes: it fills the gaps between them."""
    instance_noise: float = 0.0
    """How much of that uncertainty the critic sees on real and drawn codes alike (C. K. Sønderby et al.: Amortised MAP
    Inference for Image Super-Resolution, ICLR 2017, section 3.2.1), so that it cannot judge by what the decoder would
    not notice."""
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


class Mappings(nn.Module):
    """The two mapping networks of a `CodedGenerator`, as one network from z to both codes side by side."""

    def __init__(self, whole: CodedGenerator) -> None:
        super().__init__()
        self.noise_size, self.geometry_code = whole.noise_size, whole.geometry_code
        self.latent_size = whole.noise_size + whole.texture_latent
        self.geometry: Mapping = whole.geometry_mapping
        self.texture: Mapping = whole.texture_mapping
        self.summary = whole.summary

    def forward(self, z: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """(N, latent_size), of which the attributes are no part here, and conditions (N, C) in their place, to
        (N, geometry_code + texture_code); as `CodedGenerator.map`, but standardised.

        A code that is drawn along principal directions is given as what it is along them.
        """
        z_shape, z_surface = torch.cat([z[:, : self.noise_size], conditions], 1), z[:, self.noise_size :]
        principal = self.principal
        if principal is None:
            shape = self.geometry.layers(z_shape)
            known = self.summary(shape)
        else:
            shape = principal.layers(z_shape)
            # A summary is linear, and the few directions are less to summarise than every code: a fifth of a step.
            known = principal.scale * shape @ self.summary(principal.directions)
            known = known + conditions @ self.summary(principal.linear)
        return torch.cat([shape, self.texture.layers(torch.cat([z_surface, conditions, known], 1))], 1)

    @property
    def principal(self) -> PrincipalDrawer | None:
        """What draws along principal directions, if anything does."""
        return self.geometry.layers if isinstance(self.geometry.layers, PrincipalDrawer) else None


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
        architecture, options: of the generator that the mappings are for.
        mean, log_variance: of the encoder for every shape; None to restore a run whose codes are not needed.
        surfaces: which of them have a texture to learn from; None for all.
        labels: what is told of them; None without attributes, or to restore a run.
        attributes: what is told of shapes; by default what the labels have.
        device: where to train.
    """

    def __init__(
        self,
        recipe: CodesRecipe,
        architecture: str,
        options: dict[str, Any],
        mean: Codes | None = None,
        log_variance: Codes | None = None,
        surfaces: torch.Tensor | None = None,
        labels: Labels | None = None,
        attributes: Specification = (),
        device: str = "cpu",
    ) -> None:
        if recipe.batch % GROUP:
            raise TrainingError(f"batch must be a multiple of {GROUP}.", "Use 64, 128, 256, …")
        torch.manual_seed(recipe.seed)
        self.recipe, self.step, self.device = recipe, 0, device
        own = {"mapping_width": recipe.mapping_width, "mapping_layers": recipe.mapping_layers, "rounds": recipe.rounds}
        self.attributes = (
            labels.attributes if labels is not None else [(name, list(values)) for name, values in attributes]
        )
        self.options = {**options, **own} | ({"attributes": self.attributes} if self.attributes else {})
        if architecture == "latent_volume":
            self.options |= {"drawer_widths": list(recipe.drawer_widths), "components": recipe.components}
        self.objective = objectives.find(recipe.objective)
        self.architecture = architecture
        whole = build(architecture, self.options)
        self.mapping = Mappings(whole).to(device)
        self.telling = whole.attributes
        code_size, told = whole.geometry_code + whole.texture_code, self.telling.size
        self.centre, self.scale = torch.zeros(code_size), torch.ones(code_size)
        self.plain: tuple[torch.Tensor, torch.Tensor] | None = None
        self.cut = whole.geometry_code
        if mean is not None and log_variance is not None:
            self.surfaces = torch.ones(len(mean), dtype=torch.bool) if surfaces is None else surfaces.cpu()
            self._lend(torch.zeros(len(mean), dtype=torch.int64) if labels is None else labels.kinds())
            if labels is not None:
                self.telling.follow(labels.conditions)
            self.conditions = torch.zeros(len(mean), 0) if labels is None else labels.conditions
            self.conditions = self.conditions.to(device)
            both = torch.cat([mean.geometry, mean.texture], 1)
            spread = (0.5 * torch.cat([log_variance.geometry, log_variance.texture], 1)).exp()
            # Standardised per entry, the noise included: some entries of a code are hardly more than that, and the
            # critic should see them all at one scale.
            cut = mean.geometry.shape[1]
            parts = both[:, :cut], both[self.surfaces, cut:]
            noise = [recipe.posterior_noise * part for part in (spread[:, :cut], spread[self.surfaces, cut:])]
            self.centre = torch.cat([part.mean(0) for part in parts])
            scales = [(p.var(0) + n.square().mean(0)).sqrt() for p, n in zip(parts, noise, strict=True)]
            if isinstance(whole, LatentVolumeGenerator):
                # One scale for all: a cell in which there never is anything should stay small.
                scales[0] = scales[0].square().mean().sqrt().expand(cut)
            self.scale = torch.cat(scales).clamp_min(1e-3)
            self.plain = both, spread
            if self.mapping.principal is not None:
                self.mapping.principal.follow(((both - self.centre) / self.scale)[:, :cut], self.conditions)
            self._standardise()
        self.critic: nn.Module
        if self.mapping.principal is not None:
            self.cut = recipe.components
            self.critic = ApartCritic(self.cut, whole.texture_code, told, recipe.critic_width)
        elif isinstance(whole, LatentVolumeGenerator):
            trunk = CellTrunk(whole.code_channels, whole.cells, recipe.critic_widths)
            self.critic = CellCritic(trunk, whole.texture_code + told)
        else:
            self.critic = CodeCritic(code_size, recipe.critic_width, told)
        self.critic.to(device)
        self.average = copy.deepcopy(self.mapping).requires_grad_(False)
        betas = (recipe.beta1, recipe.beta2)
        self.mapping_optimiser = torch.optim.Adam(self.mapping.parameters(), recipe.learning_rate, betas)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), recipe.learning_rate, betas)
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)

    _NETWORKS = ("mapping", "critic", "average", "mapping_optimiser", "critic_optimiser")

    def state(self) -> dict[str, Any]:
        networks = {name: getattr(self, name).state_dict() for name in self._NETWORKS}
        told = {"attributes": self.attributes, "telling": self.telling.state_dict()}
        scales = {"centre": self.centre, "scale": self.scale}
        return {**networks, **scales, **told, "step": self.step, "noise": self.noise.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._NETWORKS:
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]
        self.centre, self.scale = state["centre"].to(self.device), state["scale"].to(self.device)
        self.telling.load_state_dict(state.get("telling", {}))
        self._standardise()  # shapes may have come to the dataset since, and the networks know the first scale
        self.noise.set_state(state["noise"])

    def _draw(self, *size: int) -> torch.Tensor:
        return torch.randn(size, generator=self.noise).to(self.device)

    def _standardise(self) -> None:
        if self.plain is None:
            return
        codes, spread = (self.plain[0] - self.centre) / self.scale, self.plain[1] / self.scale
        principal, cut = self.mapping.principal, self.mapping.geometry_code
        if principal is not None:
            # Variances of independent entries add up along a direction by the squares of its own.
            along = (spread[:, :cut].square() @ principal.directions.T.square()).sqrt() / principal.scale
            codes = torch.cat([principal.along(codes[:, :cut], self.conditions), codes[:, cut:]], 1)
            spread = torch.cat([along, spread[:, cut:]], 1)
        self.codes, self.spread = codes, spread

    def _lend(self, kind: torch.Tensor) -> None:
        """Lay surfaces of one kind side by side, and note for each shape from where on there are how many of its own:
        what has no legs should not lend their colours to what has. With none of its own it may have any."""
        lent = self.surfaces.nonzero()[:, 0]
        self.lent = lent[kind[lent].argsort(stable=True)]
        many = torch.bincount(kind[lent], minlength=int(kind.max()) + 1)
        first, own = (many.cumsum(0) - many)[kind], many[kind]
        self.many, self.first = torch.where(own > 0, own, len(lent)), torch.where(own > 0, first, 0)

    def _pairs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch of indices: whose shape, and whose surface it is shown with."""
        count = self.recipe.batch
        shape = torch.randint(len(self.surfaces), (count,), generator=self.noise)
        own, first = self.many[shape], self.first[shape]
        surface = self.lent[first + (torch.rand(count, generator=self.noise) * own).long().clamp(max=own - 1)]
        shuffled = torch.rand(count, generator=self.noise) < self.recipe.texture_shuffle
        surface = torch.where(shuffled | ~self.surfaces[shape], surface, shape)
        return shape.to(self.device), surface.to(self.device)

    def _real(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes of shapes, and what is told of these."""
        shape, surface = self._pairs()
        share = (self.recipe.posterior_noise**2 + self.recipe.instance_noise**2) ** 0.5
        codes = torch.cat([self.codes[shape, : self.cut], self.codes[surface, self.cut :]], 1)
        return codes + share * self._uncertainty(shape, surface), self.conditions[shape]

    def _uncertainty(self, shape: torch.Tensor, surface: torch.Tensor) -> torch.Tensor:
        """Noise as the encoder has it of these shapes."""
        spread = torch.cat([self.spread[shape, : self.cut], self.spread[surface, self.cut :]], 1)
        return spread * self._draw(*spread.shape)

    def _fake(self, conditions: torch.Tensor) -> torch.Tensor:
        made = self.mapping(self._draw(self.recipe.batch, self.mapping.latent_size), conditions)
        if not self.recipe.instance_noise:
            return made
        return made + self.recipe.instance_noise * self._uncertainty(*self._pairs())

    def train_step(self) -> dict[str, float]:
        recipe = self.recipe
        for turn in range(recipe.critic_steps):
            real, told = self._real()
            critic = functools.partial(self._judge, told)
            with torch.no_grad(), sixteen_bits(self.device, self.recipe.autocast):
                fake = self._fake(told)
            with sixteen_bits(self.device, self.recipe.autocast):
                loss = self.objective.critic(critic(real), critic(fake))
            total = loss
            if recipe.penalty_weight:
                # One share per group: the minibatch statistic belongs to a group, and so must the line.
                mix = torch.rand(recipe.batch // GROUP, generator=self.noise).to(real).repeat_interleave(GROUP)
                total = total + recipe.penalty_weight * gradient_penalty(critic, real, fake, mix)
            if recipe.r1_weight and (self.step * recipe.critic_steps + turn) % recipe.r1_every == 0:
                total = total + recipe.r1_weight * recipe.r1_every * r1_penalty(critic, real)
            self.critic_optimiser.zero_grad(set_to_none=True)
            total.backward()
            self.critic_optimiser.step()
        with sixteen_bits(self.device, self.recipe.autocast):
            made = self._fake(told)
            generator_loss = self.objective.generator(self._judge(told, made))
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

    def _judge(self, conditions: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return self.critic(torch.cat([codes, conditions], 1))

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


def assemble(autoencoder: AutoencoderTrainer, codes: CodesTrainer) -> CodedGenerator:
    """The generator to ship: the codes' mappings before the autoencoder's averaged planes and heads."""
    generator = build(codes.architecture, codes.options).to(autoencoder.device)
    state = autoencoder.generator_ema.state_dict()
    state = {name: tensor for name, tensor in state.items() if "_mapping." not in name}
    if generator.encoder is not None:
        own = autoencoder.encoder_ema.geometry.state_dict()
        state |= {f"encoder.{name}": tensor for name, tensor in own.items()}
    finished = codes.finished_mappings()
    for part in ("geometry", "texture"):
        own = getattr(finished, part).state_dict()
        state |= {f"{part}_mapping.{name}": tensor for name, tensor in own.items()}
    state |= {f"attributes.{name}": tensor for name, tensor in codes.telling.state_dict().items()}
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


def train_codes(recipe: CodesRecipe, dataset: Path, run: Path, device: str) -> CodedGenerator:
    """Train until `recipe.steps`, going on from the run's snapshot if there is one. Ctrl-C saves and stops.

    Returns:
        the assembled generator.

    Raises:
        DatasetError, TrainingError
    """
    loop.prepare(device, recipe.threads)
    autoencoder = load_autoencoder(Path(recipe.autoencoder), device)
    folder = RunFolder.of(run, recipe)
    data = AutoencoderData(Dataset(dataset, "train", recipe.category), 4, 1)
    mean, log_variance = autoencoder.codes(data)
    shapes, surfaces = (torch.from_numpy(part) for part in teachers(data, recipe.only, recipe.darkest))
    mean, log_variance, surfaces = mean[shapes.to(device)], log_variance[shapes.to(device)], surfaces[shapes]
    entries = [entry for entry, one in zip(data.entries, shapes.tolist(), strict=True) if one]
    before = folder.load()
    labels = read_labels(entries, recipe.attributes, before.get("attributes") if before else None)
    trainer = CodesTrainer(
        recipe,
        autoencoder.recipe.architecture,
        generator_options(autoencoder),
        mean.clone(),
        log_variance.clone(),
        surfaces,
        labels,
        device=device,
    )
    loop.restore(trainer, folder)
    latent_size = trainer.mapping.latent_size + trainer.telling.size
    shown = torch.randn(32, latent_size, generator=torch.Generator().manual_seed(0)).numpy()

    def sheet() -> None:
        field_sheet(assemble(autoencoder, trainer).fields(shown, 1.0), folder.sheet_path(trainer.step))

    loop.run(trainer, folder, recipe, "Codes", trainer.train_step, sheet)
    return assemble(autoencoder, trainer)
