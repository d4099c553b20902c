"""More shapes from few: mirrors, stretches, warps that keep parts whole, and shifts of the palette.

Distances do not survive a stretch, so shapes are changed as meshes, before anything is measured, and every variation is
a record of its own (`prepare --augment N`). Only what is exact on a finished record, mirror and palette, may also be
done while training (`on_the_fly`).
"""

from .maps import AxisWarp, Map, Mirror, Stretch, Taper
from .palette import PaletteShift
from .recipe import AugmentationRecipe
from .variation import Variation, variations

__all__ = [
    "AugmentationRecipe",
    "AxisWarp",
    "Map",
    "Mirror",
    "PaletteShift",
    "Stretch",
    "Taper",
    "Variation",
    "variations",
]
