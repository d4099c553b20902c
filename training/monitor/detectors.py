"""Failures in a series of figures, one a step, oldest first. No state, no knowledge of where the figures come from."""

from __future__ import annotations

import numpy as np

FEWEST_CYCLES = 4
"""Slower ones than this many in a series cannot be told from a drift."""


def growth(series: np.ndarray, parts: int = 3) -> float:
    """By what factor the size of the figures has grown from the first to the last part of a series.

    The size of a part is the median of absolute values. 1 where the parts between do not grow too: a jump up to a new
    level, as at the start of training, is no divergence.
    """
    sizes = np.array([np.median(np.abs(part)) for part in np.array_split(np.asarray(series, float), parts)])
    if sizes[0] <= 0 or not (sizes[1:] > 1.5 * sizes[:-1]).all():
        return 1.0
    return float(sizes[-1] / sizes[0])


def oscillation(series: np.ndarray) -> tuple[float, float, float]:
    """The strongest rhythm in a series.

    After taking a straight line off, the periodogram under a Hann window; a pure wave fills three of its bins.

    Returns:
        period in steps; share of the variance that is of this rhythm; its amplitude (root mean square) by the median
        of absolute values.
    """
    series = np.asarray(series, float)
    steps = np.arange(len(series))
    rest = series - np.polyval(np.polyfit(steps, series, 1), steps)
    power = np.abs(np.fft.rfft(rest * np.hanning(len(rest)))) ** 2
    power[0] = 0
    total = power.sum()
    if total <= 0 or len(power) // 2 <= FEWEST_CYCLES:
        return float(len(series)), 0.0, 0.0
    peak = FEWEST_CYCLES + int(power[FEWEST_CYCLES : len(power) // 2].argmax())
    share = float(power[peak - 1 : peak + 2].sum() / total)
    level = max(float(np.median(np.abs(series))), 1e-12)
    return len(series) / peak, share, float(np.sqrt(share) * rest.std() / level)
