"""The discriminators, by name. To add one: write a module here and add a line to `CATALOGUE`.

Each is a module `forward(samples, given=None) -> (N,)`, large for real. `consumes` names what it is shown
(`bridges.CONSUMED`), `feature_layers` the modules whose outputs are its features, from fine to coarse.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from gan3d_core.errors import TrainingError

CATALOGUE: dict[str, str] = {
    "graph": "graph:GraphDiscriminator",
    "growing": "growing:GrowingDiscriminator",
    "image": "images:ImageDiscriminator",
    "multiview": "multiview:MultiViewDiscriminator",
    "points": "points:PointDiscriminator",
    "volumetric": "volumetric:VolumetricDiscriminator",
}


def build(name: str, options: dict[str, Any]) -> nn.Module:
    """Make a discriminator with fresh weights.

    Raises:
        TrainingError: an unknown name, or options it does not take.
    """
    if name not in CATALOGUE:
        raise TrainingError(f"There is no discriminator {name!r}.", f"Discriminators: {', '.join(sorted(CATALOGUE))}.")
    module, cls = CATALOGUE[name].split(":")
    try:
        return getattr(importlib.import_module(f".{module}", __name__), cls)(**options)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"The options of discriminator {name!r} are not valid: {error}.", "Correct them.") from None
