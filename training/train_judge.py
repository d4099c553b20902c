"""Phase three, which may be left out: a judge that tells the shapes a codes run draws from real ones.

See `gan3d_core.generators.judge`. Both are judged as they would be shown: after the way through the autoencoder that
mends drawn shapes, so that what that does to any shape says nothing.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from gan3d_core import latent
from gan3d_core.errors import TrainingError
from gan3d_core.generators.coded import CodedGenerator, Codes
from gan3d_core.generators.judge import Judge

from . import loop
from .autoencoder_data import AutoencoderData
from .data.store import Dataset
from .export import load_codes
from .progress import ProgressLine
from .run_folder import RunFolder
from .sheets import field_sheet
from .train_codes import load_autoencoder, teachers

FIRST_SEED = 1_000_000
"""Of the shapes that are drawn to learn from: artists begin at small ones, and should not be shown these."""
SHOWN = 16


@dataclasses.dataclass(frozen=True)
class JudgeRecipe:
    """Settings of `train` for kind = "judge"."""

    kind: str
    """`judge`."""
    category: str
    """Which shapes of the dataset."""
    codes: str = ""
    """Folder of the finished codes run whose shapes are judged."""
    shapes: int = 1500
    """How many real and how many drawn ones it sees; of the real no more than there are."""
    truncation: float = 0.8
    """Of the drawn ones, as they will be drawn."""
    held_out: float = 0.15
    """Share of both from which it does not learn: where its bar is, and how often it is right, is found there."""
    steps: int = 600
    batch: int = 64
    """Half of it real, half drawn."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    instance_noise: float = 0.2
    """Standard deviation of what is added to standardised codes."""
    passing: float = 0.3
    """Share of the drawn shapes that pass. A checkpoint needs `draws` accordingly."""
    sheet_every: int = 600
    snapshot_every: int = 200
    seed: int = 0
    threads: int = 0


@dataclasses.dataclass
class Examples:
    """What a judge learns from."""

    real: torch.Tensor
    """(N, geometry_code) float16, standardised codes of shapes after mending."""
    drawn: torch.Tensor
    """(M, geometry_code) float16, the same of drawn shapes that needed no mending."""
    seeds: torch.Tensor
    """(M,) int64, of these."""

    @classmethod
    def none(cls, code_size: int) -> Examples:
        """Nothing yet."""
        empty = torch.zeros((0, code_size), dtype=torch.float16)
        return cls(empty, empty, torch.zeros(0, dtype=torch.int64))


class JudgeTrainer:
    """A judge and what it learns from.

    Args:
        recipe: settings.
        generator: whose shapes are judged; it is changed to have the judge.
    """

    def __init__(self, recipe: JudgeRecipe, generator: CodedGenerator) -> None:
        self.recipe, self.step, self.generator = recipe, 0, generator
        self.device = next(generator.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.judge: Judge = generator.make_judge().to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.judge.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.noise = torch.Generator().manual_seed(recipe.seed + 1)
        self.examples = Examples.none(generator.geometry_code)

    def state(self) -> dict[str, Any]:
        return {
            "judge": self.judge.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "noise": self.noise.get_state(),
            "step": self.step,
            "examples": dataclasses.asdict(self.examples),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.judge.load_state_dict(state["judge"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.noise.set_state(state["noise"])
        self.step, self.examples = state["step"], Examples(**state["examples"])

    def _kept(self, codes: torch.Tensor) -> int:
        """How many of some codes are learned from; the others, at their end, are held out."""
        return len(codes) - max(1, round(self.recipe.held_out * len(codes)))

    def _some(self, codes: torch.Tensor, first: int, end: int) -> torch.Tensor:
        index = torch.randint(first, end, (self.recipe.batch // 2,), generator=self.noise)
        return codes[index].to(self.device, torch.float32)

    def train_step(self) -> dict[str, float]:
        real, drawn = self.examples.real, self.examples.drawn
        seen = torch.cat([self._some(real, 0, self._kept(real)), self._some(drawn, 0, self._kept(drawn))])
        seen = seen + self.recipe.instance_noise * torch.randn(seen.shape, generator=self.noise).to(self.device)
        with torch.random.fork_rng():  # what drops out follows from the step, so that a run can go on
            torch.manual_seed(self.recipe.seed + self.step)
            odds = self.judge.train()(seen)
        wanted = (torch.arange(len(odds), device=self.device) < self.recipe.batch // 2).float()
        report: dict[str, float] = {}
        loss = F.binary_cross_entropy_with_logits(odds, wanted)
        loop.descend(loss, self.optimiser, report, "loss", self.step)
        self.step += 1
        with torch.no_grad():
            a = self.judge.eval()(self._some(real, self._kept(real), len(real)))
            b = self.judge(self._some(drawn, self._kept(drawn), len(drawn)))
        return report | {"right_pairs": float((a[:, None] > b).float().mean())}

    @torch.no_grad()
    def finished(self) -> CodedGenerator:
        """The generator with its judge, whose bar lets pass the share that the recipe asks for."""
        judge = copy.deepcopy(self.judge).eval()
        judge.bar.copy_(self._held_out_odds().quantile(1.0 - self.recipe.passing))
        self.generator.judge = judge
        return self.generator

    @torch.no_grad()
    def _held_out_odds(self) -> torch.Tensor:
        drawn = self.examples.drawn[self._kept(self.examples.drawn) :]
        return torch.cat([self.judge.eval()(part.to(self.device, torch.float32)) for part in drawn.split(32)])

    def extremes(self) -> torch.Tensor:
        """Seeds of held-out drawn shapes: of those that it likes best, then of those that it likes least."""
        order = self._held_out_odds().argsort(descending=True).cpu()
        seeds = self.examples.seeds[self._kept(self.examples.drawn) :][order]
        return torch.cat([seeds[:SHOWN], seeds[-SHOWN:]])


def gather(
    recipe: JudgeRecipe, generator: CodedGenerator, shapes: Codes, keep: Callable[[Examples], None], part: Examples
) -> None:
    """Lead real and drawn codes through the autoencoder.

    Args:
        recipe: settings.
        generator: that draws and mends.
        shapes: codes of real shapes.
        keep: called with what there is, whether all or, when the user stops it, not.
        part: what an earlier call has kept.

    Raises:
        TrainingError: fewer than one in ten drawn shapes is of one part.
    """
    count = min(recipe.shapes, len(shapes))
    chosen = np.random.default_rng(recipe.seed).permutation(len(shapes))[:count]
    real = list(part.real)
    drawn = list(zip(part.seeds.tolist(), part.drawn, strict=True))
    device = next(generator.parameters()).device
    progress = ProgressLine("Real and drawn shapes", count + recipe.shapes, len(real) + len(drawn))

    def seen(codes: Codes) -> torch.Tensor:
        return generator.geometry_mapping.whiten(codes.geometry)[0].half().cpu()

    def stacked(codes: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(codes) if codes else part.real[:0]

    try:
        with torch.no_grad():
            for row in chosen[len(real) :]:
                real.append(seen(generator.mend(shapes[row : row + 1])[0]))
                progress.update(len(real))
            for seed in range(drawn[-1][0] + 1 if drawn else FIRST_SEED, FIRST_SEED + 10 * recipe.shapes):
                if len(drawn) == recipe.shapes:
                    break
                z = torch.as_tensor(latent.draw(seed, generator.latent_size, "normal", recipe.truncation))[None]
                codes, loose = generator.mend(generator.map(z.to(device)))
                if not loose[0]:  # what is in pieces is found without a judge
                    drawn.append((seed, seen(codes)))
                    progress.update(count + len(drawn))
    finally:
        progress.close()
        seeds = torch.tensor([seed for seed, _ in drawn], dtype=torch.int64)
        keep(Examples(stacked(real), stacked([code for _, code in drawn]), seeds))
    if len(drawn) < recipe.shapes:
        raise TrainingError(
            f"Of {10 * recipe.shapes} drawn shapes {len(drawn)} are of one part.", "Train the codes longer."
        )


def train_judge(recipe: JudgeRecipe, dataset: Path, run: Path, device: str) -> CodedGenerator:
    """Train until `recipe.steps`, going on from the run's snapshot if there is one. Ctrl-C saves and stops.

    Returns:
        the codes run's generator, with its judge.

    Raises:
        DatasetError, TrainingError
    """
    loop.prepare(device, recipe.threads)
    generator, before, _ = load_codes(Path(recipe.codes), "codes")
    generator = generator.to(device)
    folder = RunFolder.of(run, recipe)
    trainer = JudgeTrainer(recipe, generator)
    loop.restore(trainer, folder)
    if not trainer.step:
        data = AutoencoderData(Dataset(dataset, "train", recipe.category), 4, 1)
        mean, _ = load_autoencoder(Path(before["autoencoder"]), device).codes(data)
        shapes, _ = teachers(data, before["only"], before["darkest"])
        mean = mean[torch.from_numpy(shapes).to(device)]

        def keep(examples: Examples) -> None:
            trainer.examples = examples
            folder.save(trainer.state())

        gather(recipe, generator, mean, keep, trainer.examples)

    def sheet() -> None:
        """Held-out drawn shapes that the judge likes best, below them those that it likes least."""
        z = [latent.draw(int(seed), generator.latent_size, "normal", recipe.truncation) for seed in trainer.extremes()]
        fields = [generator.fields(one[None], 1.0)[0] for one in z]
        field_sheet(fields, folder.sheet_path(trainer.step))

    loop.run(trainer, folder, recipe, "Judge", trainer.train_step, sheet)
    return trainer.finished()
