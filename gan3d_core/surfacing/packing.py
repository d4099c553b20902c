"""Packing charts into the unit square, with gutters.

Charts are placed by their outlines, one after another, each in one of four turns so that its upper end comes to lie
lowest: bottom-left placement of bitmaps. All places of a chart are looked at together. The square's occupied cells are
the bits of one long integer, row after row; the places that a chart cannot take are an "or" of that integer, shifted by
the position of each run of cells in the chart's outline and widened by the run's length.

Rectangles around the charts, placed by the skyline rule, covered 32 % of the square on generated chairs; outlines cover
35 to 46 %, in about half a second.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

CELLS = 192
"""Cells along the square's side: where charts can be placed."""
FINE = 4
"""Samples along a cell's side, on which outlines are drawn."""
SLACK = 2.0
"""Samples by which outlines are widened for their own coarseness, so that no gutter is narrower than asked: √2 since
points lie anywhere in their samples' squares, and ½ as edges are sampled a unit apart."""
INTERIOR = 4.0
"""Samples between points inside triangles: less than √3 times an outline's reach, so that it has no holes."""
FIRST_COVER = 0.45
"""Share of the square that the first try expects to cover."""
TOLERANCE = 0.008
"""Share of its side to which the smallest square is found."""
TRIES = 3
"""Tries, each with the scale that the one before makes expect."""
CROWD = 400
"""With more charts than this, which happens to noise, they are laid as rectangles on shelves, cheap for any number."""
HALVINGS = 14
"""Bisections of the scale on shelves: the last changes it by less than a ten-thousandth."""


def pack(
    corners: np.ndarray, charts: np.ndarray, gutter: float, step: Callable[[float], None] = lambda _: None
) -> np.ndarray:
    """Place charts in the unit square at one common scale, the largest found to fit. They are turned, never mirrored.

    Where the gutters alone would fill the square (hundreds of charts) they are halved until the charts keep at least a
    third of the scale that they might have without any.

    Args:
        corners: (F, 3, 2) planar coordinates of each face in its chart, one unit for all.
        charts: (F,) chart of each face, 0 … C − 1, every number in use.
        gutter: distance between charts and to the border, as a share of the square's side.
        step: called with the fraction done before each try.

    Returns:
        (F, 3, 2) in [0, 1].
    """
    spread, sizes = upright(corners, charts)
    most = 1.0 / max(float(sizes.max()), 1e-30)
    a, b = spread[:, 1] - spread[:, 0], spread[:, 2] - spread[:, 0]
    area = 0.5 * float(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())
    expected = min(np.sqrt(FIRST_COVER / max(area, 1e-30)), most)
    while True:
        if len(sizes) > CROWD:
            placed, scale = pack_on_shelves(spread, sizes, charts, gutter)
        else:
            placed, scale = _search(spread, sizes, charts, gutter, expected, step)
        if scale >= expected / 3.0:
            return placed.clip(0.0, 1.0)
        gutter /= 2.0


def upright(corners: np.ndarray, charts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Charts turned to the narrowest of 16 bounding rectangles and moved to the origin; (C, 2) rectangles."""
    order = np.argsort(charts, kind="stable")
    starts = np.searchsorted(charts[order], np.arange(int(charts.max()) + 1))
    best = np.full(len(starts), np.inf)
    spread = np.zeros_like(corners)
    sizes = np.zeros((len(starts), 2))
    for angle in np.arange(16) * (np.pi / 32.0):
        cosine, sine = np.cos(angle), np.sin(angle)
        tried = corners @ np.array([[cosine, sine], [-sine, cosine]])
        low = np.minimum.reduceat(tried.min(axis=1)[order], starts)
        high = np.maximum.reduceat(tried.max(axis=1)[order], starts)
        # One per cent of favour for the first angle, which keeps charts along the axes where it makes no difference.
        better = (high - low).prod(axis=1) < 0.99 * best
        best[better] = (high - low).prod(axis=1)[better]
        sizes[better] = (high - low)[better]
        mine = better[charts]
        spread[mine] = tried[mine] - low[charts[mine]][:, None]
    return spread, sizes


@dataclasses.dataclass(frozen=True)
class _Outline:
    """The cells within half a gutter of a chart, in one of its turns."""

    turn: int
    width: int
    height: int
    runs: list[tuple[int, int, int]]
    """Row, first column and length of each run of cells in a row."""


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Charts placed in a square of `side` cells."""

    side: int
    rows: np.ndarray
    columns: np.ndarray
    turns: np.ndarray


def _search(
    spread: np.ndarray,
    sizes: np.ndarray,
    charts: np.ndarray,
    gutter: float,
    scale: float,
    step: Callable[[float], None],
) -> tuple[np.ndarray, float]:
    """The layout of the largest scale that was found to fit, and that scale."""
    room = int(CELLS * (1.0 - gutter))  # a chart brings one half of the gutter to the border, the border the other
    best: tuple[np.ndarray, float] | None = None
    tries = 0
    least = scale / 3.0
    while best is None or tries < TRIES:
        if scale < least:
            break
        step(min(tries / TRIES, 0.99))
        bitmaps, shift = _bitmaps(spread * scale, sizes * scale, charts, gutter)
        layout = _smallest_square([_outlines(bitmap) for bitmap in bitmaps])
        if layout.side <= room and (best is None or scale > best[1]):
            best = _placed(spread * scale, charts, bitmaps, shift, layout, gutter), scale
        # Gutters do not shrink with the charts, so this is not exact; when it was tried often, rather too small.
        scale *= room / layout.side * (1.0 if tries < TRIES - 1 else 0.97)
        tries += 1
    return best if best is not None else (spread, 0.0)


def pack_on_shelves(
    spread: np.ndarray, sizes: np.ndarray, charts: np.ndarray, gutter: float
) -> tuple[np.ndarray, float]:
    """As `_search`: the rectangles around the charts lie in rows, the tallest first."""
    turned = sizes[:, 1] > sizes[:, 0]
    lying = np.where(turned[:, None], sizes[:, ::-1], sizes)
    low, high = 0.0, 1.0 / max(float(np.sqrt(sizes.prod(axis=1).sum())), float(sizes.max()), 1e-30)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _shelves(lying * middle + gutter, 1.0 - gutter)[1] else (low, middle)
    places, _ = _shelves(lying * low + gutter, 1.0 - gutter)
    quarter = np.stack([sizes[charts, 1][:, None] - spread[..., 1], spread[..., 0]], axis=-1)
    laid = np.where(turned[charts][:, None, None], quarter, spread)
    return gutter + places[charts][:, None] + laid * low, low


def _shelves(lying: np.ndarray, side: float) -> tuple[np.ndarray, bool]:
    """(C, 2) lower left corners of rectangles that are no taller than wide, and whether all of them fit."""
    places = np.zeros_like(lying)
    x = y = height = 0.0
    order = np.argsort(-lying[:, 1], kind="stable")
    for chart, (width, tall) in zip(order.tolist(), lying[order].tolist(), strict=True):
        if x + width > side:
            x, y, height = 0.0, y + height, 0.0
        if x + width > side or y + tall > side:
            return places, False
        places[chart] = x, y
        x += width
        height = max(height, tall)
    return places, True


def _bitmaps(spread: np.ndarray, sizes: np.ndarray, charts: np.ndarray, gutter: float) -> tuple[list[np.ndarray], int]:
    """(rows, columns) bool of the cells within half a gutter of each chart, and the cells by which it was shifted."""
    samples = CELLS * FINE
    points, owners = _scatter(spread * samples, charts)
    order = np.argsort(owners, kind="stable")
    points = points[order]
    ends = np.searchsorted(owners[order], np.arange(len(sizes) + 1))
    reach = 0.5 * gutter * samples + SLACK
    shift = int(np.ceil(reach / FINE))
    result = []
    for chart, size in enumerate(sizes):
        columns, rows = (np.floor(size * CELLS).astype(int) + 1 + 2 * shift) * FINE
        empty = np.ones((rows, columns), bool)
        x, y = (points[ends[chart] : ends[chart + 1]] + shift * FINE).T
        empty[y, x] = False
        near = ndimage.distance_transform_edt(empty) <= reach
        result.append(near.reshape(rows // FINE, FINE, columns // FINE, FINE).any(axis=(1, 3)))
    return result, shift


def _scatter(corners: np.ndarray, charts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points on the triangles, rounded down, and the chart of each: at most a unit apart on edges, further inside."""
    sides = np.roll(corners, -1, axis=1) - corners
    lengths = np.linalg.norm(sides, axis=2)
    counts = np.ceil(lengths).astype(np.int64).ravel() + 1
    edge = np.repeat(np.arange(counts.size), counts)
    share = (np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)) / np.repeat(counts, counts)
    points = [corners.reshape(-1, 2)[edge] + share[:, None] * sides.reshape(-1, 2)[edge]]
    owners = [np.repeat(charts, 3)[edge]]
    parts = np.exp2(np.ceil(np.log2(np.maximum(lengths.max(axis=1) / INTERIOR, 1.0)))).astype(np.int64)
    for count in np.unique(parts[parts > 1]):
        i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing="ij")
        inside = i + j <= count
        weights = np.stack([i[inside], j[inside], count - i[inside] - j[inside]], axis=1) / count
        chosen = np.flatnonzero(parts == count)
        points.append((weights @ corners[chosen]).reshape(-1, 2))
        owners.append(np.repeat(charts[chosen], len(weights)))
    return np.floor(np.concatenate(points)).astype(np.int64), np.concatenate(owners)


def _outlines(bitmap: np.ndarray) -> list[_Outline]:
    """A bitmap in its four turns."""
    result = []
    for turn in range(4):
        turned = np.rot90(bitmap, turn)
        edges = np.diff(np.pad(turned.astype(np.int8), ((0, 0), (1, 1))), axis=1)
        row, first = np.nonzero(edges > 0)
        last = np.nonzero(edges < 0)[1]
        runs = list(zip(row.tolist(), first.tolist(), (last - first).tolist(), strict=True))
        result.append(_Outline(turn, turned.shape[1], turned.shape[0], runs))
    return result


def _smallest_square(charts: list[list[_Outline]]) -> _Layout:
    """The smallest square in which all charts were placed, in one of three orders: by area, length and girth."""
    cells = np.array([sum(length for _, _, length in outlines[0].runs) for outlines in charts])
    width, height = np.array([[outlines[0].width, outlines[0].height] for outlines in charts]).T
    orders = [np.argsort(-key, kind="stable") for key in (cells, np.maximum(width, height), width + height)]
    least = too_small = int(np.sqrt(cells.sum()))
    side = int(1.15 * least) + 1
    best = None
    while best is None:
        best = _place(charts, orders[0], side)
        if best is None:
            too_small, side = side, int(1.08 * side) + 1
    for order in orders:
        # What was too small for the first order need not be for another.
        low = too_small if order is orders[0] else least
        side = best.side - 1 if order is not orders[0] else (low + best.side) // 2
        while low < side < best.side and best.side - low > TOLERANCE * best.side:
            layout = _place(charts, order, side)
            low, best = (side, best) if layout is None else (low, layout)
            side = (low + best.side) // 2
    return best


def _place(charts: list[list[_Outline]], order: np.ndarray, side: int) -> _Layout | None:
    """Place charts in a square of side² cells, in that order; None if one does not fit."""
    stride = side + 1  # the bit after each row stays empty, so that no outline reaches from one row into the next
    occupied = 0
    layout = _Layout(side, *np.zeros((3, len(charts)), np.int64))
    for chart in order.tolist():
        best: tuple[int, int, int, int] | None = None
        widened = {1: occupied}
        for outline in charts[chart]:
            spot = _lowest(widened, outline, side)
            if spot is not None and (best is None or (spot[0] + outline.height, *spot) < best[:3]):
                best = spot[0] + outline.height, *spot, outline.turn
        if best is None:
            return None
        _, row, column, turn = best
        layout.rows[chart], layout.columns[chart], layout.turns[chart] = row, column, turn
        bits = 0
        for y, x, length in charts[chart][turn].runs:
            bits |= ((1 << length) - 1) << (y * stride + x)
        occupied |= bits << (row * stride + column)
    return layout


def _lowest(widened: dict[int, int], outline: _Outline, side: int) -> tuple[int, int] | None:
    """The lowest, then leftmost row and column where an outline meets no occupied cell.

    Args:
        widened: by length, as `widen` finds it; the occupied cells themselves are that of length 1.
    """
    if outline.width > side or outline.height > side:
        return None
    stride = side + 1

    def widen(length: int) -> int:
        """Bit i: whether one of the cells i … i + length − 1 is occupied."""
        if length not in widened:
            half = widen((length + 1) // 2)
            widened[length] = half | half >> (length // 2)
        return widened[length]

    blocked = 0
    if widened[1]:
        for y, x, length in outline.runs:
            blocked |= widen(length) >> (y * stride + x)
    free = _room(side, outline.width, outline.height) & ~blocked
    return divmod((free & -free).bit_length() - 1, stride) if free else None


@functools.lru_cache(4096)
def _room(side: int, width: int, height: int) -> int:
    """The bits of the cells where the lower left corner of a rectangle may lie in an empty square."""
    row, stride = (1 << (side - width + 1)) - 1, side + 1
    return row * (((1 << stride * (side - height + 1)) - 1) // ((1 << stride) - 1))


def _placed(
    spread: np.ndarray, charts: np.ndarray, bitmaps: list[np.ndarray], shift: int, layout: _Layout, gutter: float
) -> np.ndarray:
    """The corners in the square, of charts at the origin."""
    height, width = np.array([bitmap.shape for bitmap in bitmaps])[charts].T[:, :, None]
    x, y = np.moveaxis(spread * CELLS + shift, -1, 0)
    turn = layout.turns[charts][:, None]
    turned_x = np.choose(turn, [x, y, width - x, height - y])
    turned_y = np.choose(turn, [y, width - x, height - y, x])
    place = np.stack([turned_x + layout.columns[charts][:, None], turned_y + layout.rows[charts][:, None]], axis=-1)
    return 0.5 * gutter + place / CELLS
