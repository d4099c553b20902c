"""How far variations may go, and drawing them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from gan3d_core.errors import DatasetError, TrainingError

from ...configuration import fill, override, read_toml
from .maps import AxisWarp, Map, Mirror, Stretch, Taper
from .palette import PaletteShift


@dataclasses.dataclass(frozen=True)
class AugmentationRecipe:
    """Limits of what is drawn. Each is off at its neutral value: 0, or 1 for factors."""

    mirror: float = 0.5
    """Chance of a mirror, 0 … 1."""
    stretch: float = 1.15
    """Each axis is scaled by a factor from 1/stretch to stretch, evenly in its logarithm; 1 … 1.5."""
    warp: float = 1.25
    """Along an axis, parts grow or shrink by at most this factor against others (`AxisWarp`); 1 … 1.6."""
    taper: float = 0.08
    """Width and depth grow or shrink by at most this share from the middle to the top of the cube; 0 … 0.3."""
    hue: float = 30.0
    """Degrees by which hues turn, at most; 0 … 180."""
    lightness: float = 0.08
    """By how much middle lightness rises or falls, at most; 0 … 0.3."""
    chroma: float = 0.25
    """Chroma is scaled by 1 − chroma … 1 + chroma; 0 … 1."""

    def __post_init__(self) -> None:
        ranges = {
            "mirror": (0.0, 1.0),
            "stretch": (1.0, Stretch.LIMIT),
            "warp": (1.0, AxisWarp.LIMIT),
            "taper": (0.0, Taper.LIMIT),
            "hue": (0.0, 180.0),
            "lightness": (0.0, PaletteShift.MOST_LIGHTNESS),
            "chroma": (0.0, 1.0),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise DatasetError(
                    f"The augmentation's {name} is {value:g}, out of range.", f"Choose from {low:g} to {high:g}."
                )

    @classmethod
    def read(cls, file: str | None, assignments: list[str] | None = None) -> AugmentationRecipe:
        """From a TOML file (None: the defaults) and `key=value` overrides.

        Raises:
            DatasetError: a file that is missing or broken, fields that do not exist, values out of range.
        """
        if file is not None and not Path(file).is_file():
            raise DatasetError(f"There is no augmentation recipe {file}.", "Give the path of a .toml file.")
        try:
            data: dict[str, Any] = read_toml(str(file)) if file is not None else {}
            return fill(cls, override(data, assignments or []))
        except TrainingError as error:
            raise DatasetError(error.message, error.hint) from None

    def draw_maps(self, generator: np.random.Generator) -> tuple[Map, ...]:
        """Maps to be applied one after the other; neutral ones are left out, but take their numbers all the same.

        So that one limit changes nothing of what another draws.
        """
        mirrored = generator.random() < self.mirror
        factors = np.exp(generator.uniform(-1, 1, 3) * math.log(self.stretch))
        directions = generator.normal(size=(3, 3))
        # On the sum of magnitudes, with an even radius: small warps are as likely as large ones.
        directions /= np.abs(directions).sum(axis=1, keepdims=True)
        weights = directions * generator.uniform(0, 1, (3, 1)) * math.log(self.warp)
        tapers = generator.uniform(-1, 1, 2) * self.taper
        maps: list[Map] = [Mirror()] if mirrored else []
        if self.warp > 1:
            maps += [AxisWarp(axis, tuple(weights[axis].round(6).tolist())) for axis in range(3)]
        if self.taper > 0:
            maps += [Taper(axis, round(float(tapers[axis]), 6)) for axis in range(2)]
        if self.stretch > 1:
            x, y, z = (round(float(factor), 6) for factor in factors)
            maps.append(Stretch((x, y, z)))
        return tuple(maps)

    def draw_palette(self, generator: np.random.Generator) -> PaletteShift:
        """One shift of the palette."""
        hue, lightness, chroma = generator.uniform(-1, 1, 3) * (self.hue, self.lightness, self.chroma)
        return PaletteShift(round(float(hue), 4), round(float(lightness), 6), round(float(1 + chroma), 6))
