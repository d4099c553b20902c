"""Packing charts into the unit square, with gutters.

Each chart is placed as its bounding rectangle by the skyline rule (J. Jylänki: A Thousand Ways to Pack the Bin, 2010,
section 5: lowest position, then leftmost), at the largest common scale with which all of them fit. On generated chairs
this covers more of the square than packing their outlines did, and it keeps the gutters exactly.
"""

from __future__ import annotations

import numpy as np

CROWD = 300
"""With more charts than this they are placed on shelves, whose cost grows with their number and not its square."""
HALVINGS = 14
"""Bisections of the scale: the last changes it by less than a ten-thousandth."""


def pack(corners: np.ndarray, charts: np.ndarray, gutter: float) -> np.ndarray:
    """Place charts in the unit square at one common scale, as large as fits. Charts may be turned, never mirrored.

    Where the gutters alone would fill the square (hundreds of charts) they are halved until the charts keep at least a
    third of the scale that they would have without any.

    Args:
        corners: (F, 3, 2) planar coordinates of each face in its chart, one unit for all.
        charts: (F,) chart of each face, 0 … C − 1, every number in use.
        gutter: distance between charts and to the border, as a share of the square's side.

    Returns:
        (F, 3, 2) in [0, 1].
    """
    spread, sizes = _upright(corners, charts)
    best = _largest_scale(sizes, 0.0)
    scale = _largest_scale(sizes, gutter)
    while scale < best / 3.0:
        gutter /= 2.0
        scale = _largest_scale(sizes, gutter)
    places, turned, _ = _skyline(sizes * scale + gutter, 1.0 - gutter)
    spread = _quarter_turn(spread, sizes, charts, turned)
    return (gutter + places[charts][:, None] + spread * scale).clip(0.0, 1.0)


def _upright(corners: np.ndarray, charts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Charts turned to the narrowest of 16 bounding rectangles and moved to the origin; (C, 2) rectangles."""
    count = int(charts.max()) + 1
    best = np.full(count, np.inf)
    spread = np.zeros_like(corners)
    sizes = np.zeros((count, 2))
    for angle in np.arange(16) * (np.pi / 32.0):
        cosine, sine = np.cos(angle), np.sin(angle)
        tried = corners @ np.array([[cosine, sine], [-sine, cosine]])
        low = np.full((count, 2), np.inf)
        high = np.full((count, 2), -np.inf)
        np.minimum.at(low, charts, tried.min(axis=1))
        np.maximum.at(high, charts, tried.max(axis=1))
        # One per cent of favour for the first angle, which keeps charts along the axes where it makes no difference.
        better = (high - low).prod(axis=1) < 0.99 * best
        best[better] = (high - low).prod(axis=1)[better]
        sizes[better] = (high - low)[better]
        mine = better[charts]
        spread[mine] = tried[mine] - low[charts[mine]][:, None]
    return spread, sizes


def _quarter_turn(spread: np.ndarray, sizes: np.ndarray, charts: np.ndarray, turned: np.ndarray) -> np.ndarray:
    turn = np.stack([sizes[charts, 1][:, None] - spread[..., 1], spread[..., 0]], axis=-1)
    return np.where(turned[charts][:, None, None], turn, spread)


def _largest_scale(sizes: np.ndarray, gutter: float) -> float:
    low, high = (
        0.0,
        min(1.0 / np.sqrt(max(float(sizes.prod(axis=1).sum()), 1e-30)), 1.0 / max(float(sizes.max()), 1e-30)),
    )
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        fits = _skyline(sizes * middle + gutter, 1.0 - gutter)[2]
        low, high = (middle, high) if fits else (low, middle)
    return low


def _skyline(rectangles: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """Place (C, 2) rectangles, largest first, in a square.

    Returns:
        (C, 2) lower left corners, (C,) whether each is turned by 90°, and whether all of them fit.
    """
    if len(rectangles) > CROWD:
        return _shelves(rectangles, side)
    places = np.zeros_like(rectangles)
    turned = np.zeros(len(rectangles), bool)
    line = [(0.0, 0.0, side)]  # x, y, width of the steps, from left to right
    order = np.lexsort((-rectangles.min(axis=1), -rectangles.max(axis=1)))
    for chart in order.tolist():
        width, height = rectangles[chart].tolist()
        choices = []
        for turn, (wide, tall) in enumerate(((width, height), (height, width))):
            spot = _lowest(line, wide, side)
            if spot is not None and spot[1] + tall <= side:
                choices.append((spot[1] + tall, spot[0], turn, spot[1], wide, tall))
        if not choices:
            return places, turned, False
        top, x, turn, y, wide, _ = min(choices)
        places[chart] = x, y
        turned[chart] = bool(turn)
        line = _raise(line, x, wide, top)
    return places, turned, True


def _shelves(rectangles: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """As `_skyline`: lying rectangles in rows, the tallest first."""
    turned = rectangles[:, 1] > rectangles[:, 0]
    lying = np.where(turned[:, None], rectangles[:, ::-1], rectangles)
    places = np.zeros_like(rectangles)
    x = y = height = 0.0
    order = np.argsort(-lying[:, 1], kind="stable")
    for chart, (width, tall) in zip(order.tolist(), lying[order].tolist(), strict=True):
        if x + width > side:
            x, y, height = 0.0, y + height, 0.0
        if x + width > side or y + tall > side:
            return places, turned, False
        places[chart] = x, y
        x += width
        height = max(height, tall)
    return places, turned, True


def _lowest(line: list[tuple[float, float, float]], wide: float, side: float) -> tuple[float, float] | None:
    """The lowest, then leftmost place on the skyline for something `wide`."""
    best: tuple[float, float] | None = None
    for first, (x, y, _) in enumerate(line):
        if x + wide > side:
            break
        if best is not None and y >= best[1]:
            continue
        for left, floor, width in line[first:]:
            y = max(y, floor)
            if left + width >= x + wide:
                break
        if best is None or y < best[1]:
            best = (x, y)
    return best


def _raise(
    line: list[tuple[float, float, float]], x: float, wide: float, top: float
) -> list[tuple[float, float, float]]:
    """The skyline after something `wide` was placed at `x` with its upper edge at `top`."""
    end = x + wide
    result: list[tuple[float, float, float]] = []
    for left, y, width in line:
        right = left + width
        if right <= x or left >= end:
            result.append((left, y, width))
            continue
        if left < x:
            result.append((left, y, x - left))
        if right > end:
            result.append((end, y, right - end))
    result.append((x, top, wide))
    return sorted(result)
