"""Phase three of the textured recipe: planes and heads are made to look right for drawn codes too.

An autoencoder is told nothing about codes between its shapes; there bars thin out, bend or end in the air. Here a
critic of cells (`discriminators.cells`) sees what the mappings' codes decode to, beside real shapes: non-saturating
loss with lazy R1, as in GET3D (Gao et al. 2022, section 3.2), in volumes instead of pictures. The autoencoder's own
loss on real codes goes on beside it, an anchor without which the planes would forget shapes that the critic has not
seen for a while.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan3d_core.errors import TrainingError
from gan3d_core.generators.coded import Codes, Features
from gan3d_core.generators.textured import TexturedGenerator

from . import averaging, loop, objectives
from .autoencoder import decoding_losses, draw
from .autoencoder_data import AutoencoderData
from .cells import CELLS, CHANNELS, CellData, generated
from .data.store import Dataset
from .discriminators.cells import CellDiscriminator, Verdicts
from .export import load_codes
from .precision import sixteen_bits
from .regularisers import r1_penalty
from .run_folder import RunFolder
from .sheets import field_sheet
from .train_codes import load_autoencoder, teachers

SHOWN = 32


@dataclasses.dataclass(frozen=True)
class RefinedRecipe:
    """Settings of `train` for kind = "refined"."""

    kind: str
    """`refined`."""
    category: str
    """Which shapes of the dataset."""
    options: dict[str, Any]
    """Of the `textured` architecture; they follow from `start`."""
    start: str = ""
    """Folder of the finished `codes` run."""
    only: str = ""
    """As in `codes`: the label of the shapes that the critic is shown."""
    darkest: float = 1.0
    """As in `codes`: shapes of which a larger share is near black are not shown."""
    steps: int = 1500
    """Generator steps."""
    batch: int = 8
    """Drawn shapes in a step, and real ones."""
    anchors: int = 4
    """Real shapes whose reconstruction is kept right in a step; 0 for none."""
    points: int = 2048
    """Distance points of each of them."""
    surface_points: int = 512
    """Material points of each of them."""
    anchor_weight: float = 5.0
    """Of the reconstruction's loss beside the critic's."""
    parts_weight: float = 1.0
    """Of the verdicts on parts beside the one on the whole."""
    channels: list[int] = dataclasses.field(default_factory=lambda: [32, 64, 128, 192])
    """Widths of the critic."""
    objective: str = "non-saturating"
    """From `training.objectives.OBJECTIVES`."""
    generator_rate: float = 2e-4
    """Learning rate of planes and heads."""
    mapping_rate: float = 0.0
    """Learning rate of the mappings; 0 leaves the distribution of codes as the phase before has made it."""
    critic_rate: float = 5e-4
    beta1: float = 0.0
    beta2: float = 0.99
    r1_weight: float = 2.0
    """γ."""
    r1_every: int = 16
    """Steps between R1 steps; the weight is multiplied by it (Karras et al. 2020, appendix B)."""
    ema_steps: float = 200.0
    """Time constant of the generator's moving average, in steps."""
    autocast: bool = False
    """bfloat16 convolutions: for CUDA, and for CPUs with AMX or AVX-512 BF16."""
    sheet_every: int = 250
    snapshot_every: int = 50
    seed: int = 0
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""


@dataclasses.dataclass
class Reference:
    """What real shapes contribute."""

    cells: CellData
    data: AutoencoderData
    mean: Codes
    log_variance: Codes


class RefinedTrainer:
    """Networks, optimisers and random states of one run.

    Args:
        recipe: settings.
        device: where to train: `cpu`, `cuda`, …
        start: the generator to begin with; None where a snapshot follows.
    """

    def __init__(self, recipe: RefinedRecipe, device: str, start: TexturedGenerator | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.step = recipe, device, 0
        self.objective = objectives.find(recipe.objective)
        self.generator = (TexturedGenerator(**recipe.options) if start is None else copy.deepcopy(start)).to(device)
        self.generator.requires_grad_(True).train()
        self.latent_size = self.generator.latent_size
        half = CELLS // 2 if self.generator.symmetric else CELLS
        self.critic = CellDiscriminator(CHANNELS, (half, CELLS, CELLS), recipe.channels).to(device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        betas = (recipe.beta1, recipe.beta2)
        mapping = [p for name, p in self.generator.named_parameters() if "_mapping." in name]
        rest = [p for name, p in self.generator.named_parameters() if "_mapping." not in name]
        groups = [{"params": rest, "lr": recipe.generator_rate}]
        if recipe.mapping_rate:
            groups.append({"params": mapping, "lr": recipe.mapping_rate})
        else:
            for parameter in mapping:
                parameter.requires_grad_(False)
        self.generator_optimiser = torch.optim.Adam(groups, betas=betas)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), recipe.critic_rate, betas)
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)
        self.order = np.random.default_rng(recipe.seed + 2)
        self.shown = torch.randn((SHOWN, self.latent_size), generator=torch.Generator().manual_seed(0))

    _NETWORKS = ("generator", "average", "critic", "generator_optimiser", "critic_optimiser")

    def state(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name).state_dict() for name in self._NETWORKS},
            "step": self.step,
            "noise": self.noise.get_state(),
            "order": self.order.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._NETWORKS:
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]
        self.noise.set_state(state["noise"])
        self.order.bit_generator.state = state["order"]

    def _synthesise(self, codes: Codes) -> Features:
        with sixteen_bits(self.device, self.recipe.autocast):
            return self.generator.synthesise(codes)

    def _judge(self, cells: torch.Tensor) -> Verdicts:
        with sixteen_bits(self.device, self.recipe.autocast):
            return self.critic(cells)

    def _drawn(self) -> torch.Tensor:
        z = torch.randn((self.recipe.batch, self.latent_size), generator=self.noise).to(self.device)
        return generated(self.generator, self._synthesise(self.generator.map(z)))

    def train_step(self, reference: Reference) -> dict[str, float]:
        """One critic step and one generator step.

        Raises:
            TrainingError: a loss is not a number.
        """
        report: dict[str, float] = {}
        # One batch serves both steps: making it costs more than everything else.
        fake = self._drawn()
        self._critic_step(reference.cells.draw(self.recipe.batch, self.order).to(self.device), fake.detach(), report)
        self.critic.requires_grad_(False)
        self._generator_step(reference, fake, report)
        self.critic.requires_grad_(True)
        self.step += 1
        averaging.update(self.average, self.generator, self.step, self.recipe.ema_steps)
        return report

    def _critic_step(self, real: torch.Tensor, fake: torch.Tensor, report: dict[str, float]) -> None:
        recipe = self.recipe
        # d_main
        on_real, on_fake = self._judge(real), self._judge(fake)
        loss = self.objective.critic(on_real.whole, on_fake.whole)
        loss = loss + recipe.parts_weight * self.objective.critic(on_real.parts, on_fake.parts)
        loop.descend(loss, self.critic_optimiser, report, "critic_loss", self.step)
        report["whole_gap"] = float((on_real.whole.mean() - on_fake.whole.mean()).detach())
        report["parts_gap"] = float((on_real.parts.mean() - on_fake.parts.mean()).detach())
        # d_reg
        if recipe.r1_weight and self.step % recipe.r1_every == 0:

            def verdict(cells: torch.Tensor) -> torch.Tensor:
                seen = self.critic(cells)
                return seen.whole + recipe.parts_weight * seen.parts.mean(1)

            weight = recipe.r1_weight * recipe.r1_every
            loop.descend(weight * r1_penalty(verdict, real), self.critic_optimiser, report, "r1", self.step)

    def _generator_step(self, reference: Reference, fake: torch.Tensor, report: dict[str, float]) -> None:
        recipe = self.recipe
        # g_main
        verdicts = self._judge(fake)
        total = self.objective.generator(verdicts.whole)
        total = total + recipe.parts_weight * self.objective.generator(verdicts.parts)
        # g_reg: the autoencoder's loss, behind its finished encoder.
        if recipe.anchors:
            data = reference.data
            index = self.order.choice(len(data), recipe.anchors, replace=len(data) < recipe.anchors)
            batch = data.batch(index, self.order).to(self.device)
            codes = draw(reference.mean[index], reference.log_variance[index], self.noise)
            losses = decoding_losses(self.generator, self._synthesise(codes), batch, self.noise)
            total = total + recipe.anchor_weight * losses.decoding()
            report |= {"distance": float(losses.distance.detach()), "material": float(losses.material.detach())}
        loop.descend(total, self.generator_optimiser, report, "generator_loss", self.step)


def train_refined(recipe: RefinedRecipe, dataset: Path, run: Path, device: str) -> RefinedTrainer:
    """Train until `recipe.steps`, going on from the run's snapshot if there is one. Ctrl-C saves and stops.

    Raises:
        DatasetError, TrainingError
    """
    loop.prepare(device, recipe.threads)
    start, before, (architecture, options) = load_codes(Path(recipe.start), "start")
    if not isinstance(start, TexturedGenerator):
        raise TrainingError(f"{recipe.start} is a run of {architecture!r}, not of 'textured'.", "Name another run.")
    recipe = dataclasses.replace(recipe, options=options)
    trainer = RefinedTrainer(recipe, device, start)
    folder = RunFolder.of(run, recipe)
    loop.restore(trainer, folder)
    data = AutoencoderData(Dataset(dataset, "train", recipe.category), recipe.points, recipe.surface_points)
    mean, log_variance = (codes.clone() for codes in load_autoencoder(Path(before["autoencoder"]), device).codes(data))
    shapes, surfaces = teachers(data, recipe.only, recipe.darkest)
    reference = Reference(CellData(data, shapes & surfaces, start.symmetric), data, mean, log_variance)

    def sheet() -> None:
        field_sheet(trainer.average.fields(trainer.shown.numpy(), 1.0), folder.sheet_path(trainer.step))

    loop.run(trainer, folder, recipe, "Refining", lambda: trainer.train_step(reference), sheet)
    return trainer
