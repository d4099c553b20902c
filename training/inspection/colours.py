"""Which colours a set of shapes has: palettes and one picture of all of them."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import kmeans2

from ..data.oklab import from_oklab, to_oklab

GREY = 0.03
"""OKLab chroma under which a colour counts as grey and has no hue worth the name."""


def palette(colour: np.ndarray, count: int = 14, seed: int = 0) -> list[tuple[np.ndarray, float]]:
    """The main colours of many points.

    Args:
        colour: (N, 3) sRGB in [0, 1].
        count: how many at most.

    Returns:
        sRGB colours (3,) with their shares, greys from dark to light first and then by hue.
    """
    lab = to_oklab(colour)
    generator = np.random.default_rng(seed)
    lab = lab[generator.permutation(len(lab))[:20000]]
    distinct = len(np.unique(lab.round(3), axis=0))
    centres, owner = kmeans2(lab, min(count, distinct), seed=generator, minit="++", missing="warn")
    shares = np.bincount(owner, minlength=len(centres)) / len(lab)
    chroma, hue = np.hypot(centres[:, 1], centres[:, 2]), np.arctan2(centres[:, 2], centres[:, 1])
    order = np.lexsort((centres[:, 0], np.where(chroma < GREY, -9.0, hue.round(1)), chroma >= GREY))
    return [(from_oklab(centres[i]), float(shares[i])) for i in order if shares[i] > 0]


def every_shape(colour: np.ndarray, height: int = 72, widest: int = 1400) -> np.ndarray:
    """One column for each shape: its colours from light (top) to dark; shapes by hue, greys and browns-to-black first.

    Args:
        colour: (N, P, 3) sRGB in [0, 1].
        widest: with more shapes than this, evenly chosen ones are drawn.

    Returns:
        (height, min(N, widest), 3) uint8.
    """
    lab = to_oklab(colour)  # (N, P, 3)
    mean = lab.mean(axis=1)
    chroma, hue = np.hypot(mean[:, 1], mean[:, 2]), np.arctan2(mean[:, 2], mean[:, 1])
    grey = chroma < GREY
    order = np.lexsort((np.where(grey, mean[:, 0], hue), ~grey))
    order = order[np.linspace(0, len(order) - 1, min(len(order), widest)).astype(int)]
    lightness = np.argsort(-lab[order, :, 0], axis=1)  # (N, P)
    ranked = np.take_along_axis(colour[order], lightness[..., None], axis=1)
    rows = np.linspace(0, colour.shape[1] - 1, height).astype(int)
    return np.rint(ranked[:, rows].transpose(1, 0, 2) * 255).astype(np.uint8)  # (height, N, 3)


def saturation(colour: np.ndarray) -> np.ndarray:
    """(..., 3) sRGB to (...) saturation as in HSV, 0 … 1; of black it is 0."""
    high, low = colour.max(axis=-1), colour.min(axis=-1)
    return np.where(high > 0, (high - low) / np.maximum(high, 1e-9), 0.0)


def hexadecimal(colour: np.ndarray) -> str:
    """(3,) sRGB as `#rrggbb`."""
    return "#" + "".join(f"{round(float(channel) * 255):02x}" for channel in np.clip(colour, 0, 1))
