"""OKLab, where equal steps look about equally large: for statistics of colours and for shifts of them.

Björn Ottosson: A perceptual color space for image processing, 2020. L is 0 (black) … 1 (white); chroma is 0 (grey) …
about 0.32 (the most saturated sRGB colours); hue is an angle.
"""

from __future__ import annotations

import numpy as np

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_FROM_CONES = np.linalg.inv(_TO_CONES)
_FROM_LAB = np.linalg.inv(_TO_LAB)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of linear sRGB in relative luminance (IEC 61966-2-1)."""


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] to linear light, any shape."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB; what lies outside [0, 1] is clipped."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def luminance(srgb: np.ndarray) -> np.ndarray:
    """(..., 3) sRGB to (...) relative luminance in [0, 1]."""
    return to_linear(srgb) @ LUMINANCE


def to_oklab(srgb: np.ndarray) -> np.ndarray:
    """(..., 3) sRGB in [0, 1] to (..., 3) L, a, b."""
    return np.cbrt(to_linear(srgb) @ _TO_CONES.T) @ _TO_LAB.T


def to_linear_unclipped(lab: np.ndarray) -> np.ndarray:
    """(..., 3) L, a, b to linear sRGB, which leaves [0, 1] where no display can show the colour."""
    return ((lab @ _FROM_LAB.T) ** 3) @ _FROM_CONES.T


def from_oklab(lab: np.ndarray) -> np.ndarray:
    """(..., 3) L, a, b to sRGB in [0, 1].

    A colour outside sRGB keeps its lightness and hue and loses as much chroma as it must (found by bisection);
    clipping each channel instead would turn its hue.
    """
    lab = np.concatenate([np.clip(lab[..., :1], 0, 1), lab[..., 1:]], axis=-1)
    outside = _outside(lab)
    if outside.any():
        wrong = lab[outside]
        low, high = np.zeros(len(wrong)), np.ones(len(wrong))
        for _ in range(12):
            middle = (low + high) / 2
            too_much = _outside(wrong * np.stack([np.ones_like(middle), middle, middle], axis=-1))
            low, high = np.where(too_much, low, middle), np.where(too_much, middle, high)
        lab[outside] = wrong * np.stack([np.ones_like(low), low, low], axis=-1)
    return to_srgb(to_linear_unclipped(lab))


def _outside(lab: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
    """What would be clipped, by more than rounding. Lightness goes by the cube root: to clip a ten-thousandth off a
    colour near black makes it lighter by 0.01 and more."""
    linear = to_linear_unclipped(lab)
    return (linear < -tolerance).any(axis=-1) | (linear > 1 + tolerance).any(axis=-1)
