"""Settings of `train` for kind = "gan", and how a run grows."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from gan3d_core.errors import TrainingError

OPTIMISERS = ("adam", "rmsprop")


@dataclasses.dataclass(frozen=True)
class GanRecipe:
    """Settings of `train` for kind = "gan"."""

    kind: str
    """`gan`."""
    category: str
    """Which shapes of the dataset; several are separated by commas and become classes."""
    architecture: str
    """Of the generator, from `gan3d_core.generators.CATALOGUE`."""
    options: dict[str, Any]
    """Of the generator."""
    discriminator: str
    """From `training.discriminators.CATALOGUE`. Any goes with any generator: `training/bridges` leads from one to the
    other."""
    discriminator_options: dict[str, Any]
    """Of the discriminator."""
    objective: str = "non-saturating"
    """From `training.objectives.OBJECTIVES`."""
    prior: str = "uniform"
    """Of z: `uniform` on [0, 1] as in 3D-GAN, or `normal`."""
    resolution: int = 64
    """Cells along each axis of volumes, and of the lattice on which surfaces of fields are found."""
    points: int = 1024
    """Points of each shape, for critics of points and graphs, and where volumes are made of surfaces."""
    views: int = 2
    """Pictures of each shape, for critics of pictures."""
    steps: int = 10000
    """Generator steps."""
    batch: int = 100
    """Shapes per step."""
    accumulate: int = 1
    """Parts that a batch is computed in, one after the other, their gradients added: for networks whose batch does not
    fit into memory. Batch norm sees the parts."""
    critic_steps: int = 1
    """Critic steps for each generator step."""
    optimiser: str = "adam"
    """`adam` or `rmsprop`."""
    generator_rate: float = 2.5e-3
    """Learning rate (Wu et al. 2016, section 3.1)."""
    critic_rate: float = 1e-5
    """Learning rate (ibid.)."""
    decay_steps: int = 0
    """The last steps, in which both rates fall to 0 in a straight line, or all if there are fewer; 0 for rates that
    stay."""
    beta1: float = 0.5
    """Of Adam (ibid.)."""
    beta2: float = 0.999
    """Of Adam."""
    accuracy_gate: float = 0.8
    """The critic is updated only while its accuracy on the last batch is at most this (ibid.); 1 switches it off. Needs
    an objective with logits."""
    r1_weight: float = 0.0
    """γ of R1; 0 switches it off."""
    r1_every: int = 16
    """Critic steps between R1 steps; the weight is multiplied by it (lazy regularisation, Karras et al. 2020)."""
    penalty_weight: float = 0.0
    """λ of WGAN-GP; 0 switches it off."""
    penalty_norm: float = 1.0
    """The norm of the critic's gradient that WGAN-GP's penalty asks for; 1 as published. Norms are over all cells:
    volumes that differ in a hundred of them are 10 apart, and the critic's outputs 10 times this number."""
    clip: float = 0.0
    """Bound of the critic's weights (WGAN); 0 switches it off."""
    inside_weight: float = 1.0
    """Where a critic sees the surface of a field, and wherever views are fused: weight of `shape_terms.hollowness`,
    without which a shape may vanish."""
    smoothness_weight: float = 0.0
    """Weight of `shape_terms.roughness`, for meshes and patches."""
    techniques: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The table `[techniques]`, see `training.techniques.Settings`."""
    growing: list[int] = dataclasses.field(default_factory=list)
    """Resolutions from coarse to fine, the last the recipe's own, for the `growing` discriminator; empty for no
    growing."""
    growing_steps: list[int] = dataclasses.field(default_factory=list)
    """Generator steps at each of these but the last."""
    fade_steps: int = 0
    """Steps in which each further resolution is faded in."""
    mirror: bool = True
    """Flip half of the shapes left to right."""
    ema_steps: float = 500.0
    """Time constant of the generator's moving average, in steps."""
    autocast: bool = False
    """bfloat16 autocast and channels last: for CUDA, and for CPUs with AMX or AVX-512 BF16 (others: 40 times slower).
    """
    sheet_every: int = 500
    """Steps between sample sheets."""
    snapshot_every: int = 100
    """Steps between snapshots."""
    seed: int = 0
    """Of weights, codes and the order of shapes."""
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""

    def __post_init__(self) -> None:
        if self.prior not in ("uniform", "normal"):
            raise TrainingError(f"There is no prior {self.prior!r}.", "Use uniform or normal.")
        if self.optimiser not in OPTIMISERS:
            raise TrainingError(f"There is no optimiser {self.optimiser!r}.", f"Use {' or '.join(OPTIMISERS)}.")
        if self.penalty_norm <= 0:
            raise TrainingError(f"penalty_norm = {self.penalty_norm} is no norm to ask for.", "Make it positive.")
        if min(self.batch, self.accumulate, self.critic_steps) < 1 or self.batch % self.accumulate:
            raise TrainingError(
                f"A batch of {self.batch} cannot be computed in {self.accumulate} equal parts.",
                "Make batch a multiple of accumulate.",
            )
        if self.decay_steps < 0:
            raise TrainingError(f"Rates cannot fall in the last {self.decay_steps} steps.", "Set decay_steps to 0.")
        ascending = all(2 * a == b for a, b in itertools.pairwise(self.growing))
        if self.growing and (not ascending or self.growing[-1] != self.resolution):
            raise TrainingError(
                f"growing = {self.growing} does not lead to {self.resolution}.", "Double at each: [8, 16, 32, 64]."
            )
        if len(self.growing_steps) != max(len(self.growing) - 1, 0) or min(self.growing_steps, default=1) < 1:
            raise TrainingError("growing_steps needs one number, of at least 1, for each resolution but the last.")

    @property
    def categories(self) -> list[str]:
        return [part.strip() for part in self.category.split(",")]

    def share_of_rates(self, step: int) -> float:
        """What is left of the learning rates at a step, in [0, 1]."""
        falling = min(self.decay_steps, self.steps)
        return min(max(self.steps - step, 0) / falling, 1.0) if falling else 1.0

    def stage(self, step: int) -> tuple[int, float]:
        """The resolution at a step, and the share, in (0, 1], to which it is faded in."""
        start = 0
        for resolution, steps in zip(self.growing, [*self.growing_steps, None], strict=False):
            if steps is None or step < start + steps:
                done = 1.0 if start == 0 or not self.fade_steps else min((step - start + 1) / self.fade_steps, 1.0)
                return resolution, done
            start += steps
        return self.resolution, 1.0
