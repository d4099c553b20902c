"""Other colours for a whole shape at once, so that its textures stay its textures."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from gan3d_core.errors import DatasetError

from ..oklab import from_oklab, to_oklab


@dataclasses.dataclass(frozen=True)
class PaletteShift:
    """A turn of hue, a curve of lightness and a factor of chroma, in OKLab.

    Greys stay grey, black stays black and white stays white; what was lighter than something else stays lighter.
    """

    hue: float = 0.0
    """Degrees by which every hue turns; −180 … 180."""
    lightness: float = 0.0
    """By how much the lightness 0.5 rises, from −0.3 to 0.3; the others follow the power curve through 0 and 1."""
    chroma: float = 1.0
    """Factor of chroma, 0 (grey) … 2. What sRGB cannot show loses as much as it must."""

    MOST_LIGHTNESS: ClassVar[float] = 0.3
    MOST_CHROMA: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        if not (abs(self.hue) <= 180 and abs(self.lightness) <= self.MOST_LIGHTNESS and 0 <= self.chroma <= 2):
            raise DatasetError(
                f"{self} is out of range.", "Hue is −180 … 180 degrees, lightness −0.3 … 0.3, chroma 0 … 2."
            )

    def __call__(self, srgb: np.ndarray) -> np.ndarray:
        """(..., 3) sRGB in [0, 1] to the same, float32."""
        if self == PaletteShift():
            return np.asarray(srgb, np.float32)
        lab = to_oklab(np.asarray(srgb, np.float64))
        power = math.log(0.5 + self.lightness) / math.log(0.5)
        cos, sin = self.chroma * math.cos(math.radians(self.hue)), self.chroma * math.sin(math.radians(self.hue))
        shifted = np.empty_like(lab)
        shifted[..., 0] = np.clip(lab[..., 0], 0, 1) ** power
        shifted[..., 1] = cos * lab[..., 1] - sin * lab[..., 2]
        shifted[..., 2] = sin * lab[..., 1] + cos * lab[..., 2]
        return from_oklab(shifted).astype(np.float32)
