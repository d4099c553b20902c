"""Maps of the cube that change a shape's proportions and leave it the same kind of thing.

All are one-to-one and smooth, so no part merges, tears or turns inside out: Euler number and number of parts stay. All
take upright lines that stand on the floor to straight lines that stand on the floor, and all commute with the mirror
x → −x, so a symmetric shape stays symmetric.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Protocol

import numpy as np

from gan3d_core.errors import DatasetError


class Map(Protocol):
    """A one-to-one map of the cube."""

    linear: ClassVar[bool]
    """Whether straight lines stay straight: then a mesh need not be refined first."""
    reverses: ClassVar[bool]
    """Whether it turns faces inside out."""

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) to (N, 3) float64."""
        ...


@dataclasses.dataclass(frozen=True)
class Mirror:
    """Left becomes right: x → −x."""

    linear: ClassVar[bool] = True
    reverses: ClassVar[bool] = True

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(points, float) * (-1.0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Each axis by a factor of its own. Volume changes by their product."""

    factors: tuple[float, float, float]
    """Of width, depth and height; each from 1/LIMIT to LIMIT."""

    LIMIT: ClassVar[float] = 1.5
    linear: ClassVar[bool] = True
    reverses: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if len(self.factors) != 3 or not all(1 / self.LIMIT <= factor <= self.LIMIT for factor in self.factors):
            raise DatasetError(
                f"A stretch by {self.factors} is out of range.",
                f"Give three factors from 1/{self.LIMIT} to {self.LIMIT}.",
            )

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(points, float) * self.factors


@dataclasses.dataclass(frozen=True)
class AxisWarp:
    """One coordinate through a smooth increasing function: a higher seat, a longer back, a wider middle.

    f(0) = 0 and f′(t) = exp(Σ aₖ cos(…)), which is increasing whatever the aₖ (J. O. Ramsay: Estimating smooth
    monotone functions, JRSS B 60, 1998). On x the cosines are even in t, so f is odd and symmetry is kept. Planes
    across the axis stay planes, lines along it stay lines: an upright leg stays one, and the floor stays flat.
    """

    axis: int
    """0, 1 or 2: x, y or z."""
    weights: tuple[float, ...]
    """aₖ for k = 1, 2, …; the sum of their magnitudes is at most log(LIMIT), so f′ lies within 1/LIMIT … LIMIT."""

    LIMIT: ClassVar[float] = 1.6
    linear: ClassVar[bool] = False
    reverses: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2):
            raise DatasetError(f"There is no axis {self.axis}.", "Choose 0, 1 or 2.")
        if not sum(abs(weight) for weight in self.weights) <= math.log(self.LIMIT) + 1e-9:
            raise DatasetError(
                f"The weights {self.weights} warp too much.", f"Magnitudes add up to log({self.LIMIT}) at most."
            )

    def slope(self, t: np.ndarray) -> np.ndarray:
        """f′ at t in [−1, 1]."""
        phase = np.pi * t if self.axis == 0 else np.pi * (t + 1) / 2
        return np.exp(sum((a * np.cos(k * phase) for k, a in enumerate(self.weights, 1)), np.zeros_like(phase)))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        t = np.linspace(-1, 1, 4097)
        slope = self.slope(t)
        value = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2)]) * (t[1] - t[0])
        value -= value[len(t) // 2]
        out = np.array(points, float)
        out[:, self.axis] = np.interp(out[:, self.axis], t, value)
        return out


@dataclasses.dataclass(frozen=True)
class Taper:
    """Wider or narrower upwards: x (or y) times 1 + amount · z. Upright legs splay, and stay straight."""

    axis: int
    """0 or 1: x or y."""
    amount: float
    """From −LIMIT to LIMIT."""

    LIMIT: ClassVar[float] = 0.3
    linear: ClassVar[bool] = False
    reverses: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.axis not in (0, 1):
            raise DatasetError(f"A taper along axis {self.axis} is none.", "Choose 0 or 1.")
        if not abs(self.amount) <= self.LIMIT:
            raise DatasetError(f"A taper of {self.amount} is too much.", f"Choose from −{self.LIMIT} to {self.LIMIT}.")

    def __call__(self, points: np.ndarray) -> np.ndarray:
        out = np.array(points, float)
        out[:, self.axis] *= 1.0 + self.amount * out[:, 2]
        return out
