"""The objectives of adversarial training. Each is two functions of the critic's outputs, both to be minimised.

Sign convention: large outputs mean "real". The outputs are logits for `minimax` and `non-saturating` (their D(x) is the
sigmoid of it) and plain scores for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import relu, softplus

from gan3d_core.errors import TrainingError


@dataclass(frozen=True)
class Objective:
    """A pair of losses, each the mean over the batch."""

    critic: Callable[..., torch.Tensor]
    """Of the outputs for real and for generated samples, (N,) each; and of the target, where there is one."""
    generator: Callable[[torch.Tensor], torch.Tensor]
    """Of the outputs for generated samples, (N,)."""
    logits: bool
    """Whether the outputs are log-odds, so that `output > 0` is the critic's verdict "real"."""
    source: str
    has_target: bool = False
    """Whether `critic` takes a `target` for real samples, 1 if it is not given; for label smoothing."""


def _classical(real: torch.Tensor, fake: torch.Tensor, target: float = 1.0) -> torch.Tensor:
    # −E [t log D(x) + (1 − t) log(1 − D(x))] − E log(1 − D(G(z)));  −log σ(a) = softplus(−a)
    return (target * softplus(-real) + (1 - target) * softplus(real)).mean() + softplus(fake).mean()


def _least_squares(real: torch.Tensor, fake: torch.Tensor, target: float = 1.0) -> torch.Tensor:
    # ½ E (D(x) − t)² + ½ E D(G(z))²
    return 0.5 * ((real - target) ** 2).mean() + 0.5 * (fake**2).mean()


OBJECTIVES: dict[str, Objective] = {
    "minimax": Objective(
        critic=_classical,
        # E log(1 − D(G(z))) = −E softplus(a): flat where the critic is sure, which is its weakness
        generator=lambda fake: -softplus(fake).mean(),
        logits=True,
        source="Goodfellow et al. 2014, equation 1",
        has_target=True,
    ),
    "non-saturating": Objective(
        critic=_classical,
        # −E log D(G(z))
        generator=lambda fake: softplus(-fake).mean(),
        logits=True,
        source="Goodfellow et al. 2014, section 3",
        has_target=True,
    ),
    "wasserstein": Objective(
        # −E D(x) + E D(G(z))
        critic=lambda real, fake: fake.mean() - real.mean(),
        generator=lambda fake: -fake.mean(),
        logits=False,
        source="Arjovsky et al. 2017, equation 2",
    ),
    "hinge": Objective(
        # E max(0, 1 − D(x)) + E max(0, 1 + D(G(z)))
        critic=lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
        generator=lambda fake: -fake.mean(),
        logits=False,
        source="Zhang et al. 2019 (SAGAN), equation 4",
    ),
    "least-squares": Objective(
        critic=_least_squares,
        generator=lambda fake: 0.5 * ((fake - 1) ** 2).mean(),
        logits=False,
        source="Mao et al. 2017, equation 2 with a = 0, b = c = 1",
        has_target=True,
    ),
}


def find(name: str) -> Objective:
    """The objective of that name.

    Raises:
        TrainingError: there is none.
    """
    if name not in OBJECTIVES:
        raise TrainingError(f"There is no objective {name!r}.", f"Objectives: {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name]
