"""Techniques that a recipe of kind "gan" can switch on, in its table `[techniques]`: a file each, with its source.

Not here: two time scales are `generator_rate` and `critic_rate` (M. Heusel et al., NIPS 2017), the moving average is
`training/averaging.py`, truncation `gan3d_core/latent.py`; minibatch layers, self-attention and normalisation are
options of networks.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from gan3d_core.errors import TrainingError

from ..configuration import fill
from ..objectives import Objective
from ..regularisers import spectral_norm
from .feature_matching import feature_matching
from .features import feature_layers, tapped
from .historical_averaging import HistoricalAverage
from .label_smoothing import smoothed


@dataclasses.dataclass(frozen=True)
class Settings:
    """The table `[techniques]` of a recipe. Everything is off unless it is there."""

    label_smoothing: float = 0.0
    """The critic is asked for 1 minus this on real samples (Salimans et al. 2016, section 3.4: 0.1)."""
    feature_matching: float = 0.0
    """Weight of feature matching in the generator's loss (ibid., section 3.1)."""
    historical_averaging: float = 0.0
    """Weight of historical averaging in both losses (ibid., section 3.3)."""
    spectral_norm: bool = False
    """Normalise every layer of the critic by its largest singular value (Miyato et al. 2018)."""


class Techniques:
    """What a recipe's table asks for, applied to the two players.

    Args:
        table: `[techniques]`, as plain data.
        generator, critic: the players. Spectral normalisation changes the critic in place: make its optimiser
            afterwards.

    Raises:
        TrainingError: unknown or unsound settings, or a critic that does not offer what they need.
    """

    def __init__(self, table: dict[str, Any], generator: nn.Module, critic: nn.Module) -> None:
        self.settings = settings = fill(Settings, table)
        if min(settings.feature_matching, settings.historical_averaging) < 0:
            raise TrainingError("A weight in [techniques] is negative.", "Give 0 to switch it off.")
        if settings.spectral_norm:
            spectral_norm(critic)
        self._layers = feature_layers(critic) if settings.feature_matching else []
        self._histories: dict[str, HistoricalAverage] = {}
        if settings.historical_averaging:
            self._histories = {"generator": HistoricalAverage(generator), "critic": HistoricalAverage(critic)}

    def objective(self, objective: Objective) -> Objective:
        """The objective with its labels smoothed, if they are to be."""
        return smoothed(objective, self.settings.label_smoothing)

    def tapping(self) -> Any:
        """A context in which the critic's features are collected; of no layers where they are not needed."""
        return tapped(self._layers)

    @property
    def matches_features(self) -> bool:
        """Whether the generator's step needs the critic's features of real samples."""
        return bool(self._layers)

    def matching(self, real: list[torch.Tensor], fake: list[torch.Tensor]) -> torch.Tensor:
        """The generator's term for features of real and generated samples."""
        return self.settings.feature_matching * feature_matching(real, fake)

    def history(self, player: str) -> torch.Tensor | float:
        """The term of a player's own past, 0 where it is off.

        Args:
            player: `generator` or `critic`.
        """
        if player not in self._histories:
            return 0.0
        return self.settings.historical_averaging * self._histories[player].penalty()

    def stepped(self, player: str) -> None:
        """To be called after each step of a player's optimiser."""
        if player in self._histories:
            self._histories[player].update()

    def state_dict(self) -> dict[str, Any]:
        return {player: history.state_dict() for player, history in self._histories.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for player, history in self._histories.items():
            history.load_state_dict(state[player])
