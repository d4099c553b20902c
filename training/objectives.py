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

    critic: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Of the outputs for real and for generated samples, (N,) each."""
    generator: Callable[[torch.Tensor], torch.Tensor]
    """Of the outputs for generated samples, (N,)."""
    logits: bool
    """Whether the outputs are log-odds, so that `output > 0` is the critic's verdict "real"."""
    source: str


OBJECTIVES: dict[str, Objective] = {
    "minimax": Objective(
        # −E log D(x) − E log(1 − D(G(z)));  −log σ(a) = softplus(−a)
        critic=lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
        # E log(1 − D(G(z))) = −E softplus(a): flat where the critic is sure, which is its weakness
        generator=lambda fake: -softplus(fake).mean(),
        logits=True,
        source="Goodfellow et al. 2014, equation 1",
    ),
    "non-saturating": Objective(
        critic=lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
        # −E log D(G(z))
        generator=lambda fake: softplus(-fake).mean(),
        logits=True,
        source="Goodfellow et al. 2014, section 3",
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
        # ½ E (D(x) − 1)² + ½ E D(G(z))²
        critic=lambda real, fake: 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean(),
        generator=lambda fake: 0.5 * ((fake - 1) ** 2).mean(),
        logits=False,
        source="Mao et al. 2017, equation 2 with a = 0, b = c = 1",
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
