"""The differentiable iso-surface: from signed values on a lattice to a triangle mesh, dual marching cubes in torch.

Each loop in which the surface passes through a cell becomes one vertex, the mean of the loop's crossings, and each
crossed lattice edge becomes two triangles between the four cells around it. Next to marching tetrahedra, which GET3D
uses, this gives less than half the triangles, hardly any slivers, and no bias along the tetrahedra's diagonals. The
connectivity is decided by signs and constant under small changes; the positions are smooth functions of the values and
of the corners' offsets, and gradients flow through them.

The mesh is always a closed 2-manifold, oriented outwards: see `cell_loops` for why no sign pattern breaks it, and the
outermost corners count as outside. Apart from reading the signs once, the work grows with the surface and not with the
volume. No operation is specific to a device.

G. Nielson: Dual Marching Cubes, IEEE Visualization 2004.
T. Shen, J. Munkberg et al.: Flexible Isosurface Extraction for Gradient-Based Mesh Optimization, SIGGRAPH 2023:
gradients through dual marching cubes with movable corners.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from gan3d_core.errors import TrainingError

from .cell_loops import AMBIGUOUS, CORNERS, COUNTS, EDGE_AXES, EDGES, FACES, LOOPS

REACH = 0.45
"""How far an offset moves a corner along each axis at most, in spacings. Below one half no two corners meet."""
MARGIN = 1e-3
"""Crossings keep this share of an edge's length away from its ends, so that the faces around a corner on the surface do
not lose their area."""
SMALLEST = 1e-8
"""Values nearer to zero count as this far away: the gradient of a crossing grows as one over its values' difference."""


def isosurface(
    values: torch.Tensor, offsets: torch.Tensor | None = None, half: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the surface where the values are zero.

    Args:
        values: (R, R, R), indexed [x, y, z], R ≥ 3; negative inside, positive outside; any scale. Corner i lies at
            half · (2i / (R − 1) − 1). Values on the outermost layer that are not positive are taken as positive.
        offsets: (R, R, R, 3), any numbers: corner c is moved by `REACH` · spacing · tanh(offsets[c]).
        half: half the side of the lattice: 1 for corners that span [−1, 1], 1 − 1/R for the centres of R³ cells.

    Returns:
        vertices (V, 3), differentiable in values and offsets, and faces (F, 3) int64, on the device of the values;
        both (0, 3) where there is no surface.

    Raises:
        TrainingError: wrong shapes, or values or offsets that are not finite.
    """
    size = values.shape[0] if values.dim() == 3 else 0
    if size < 3 or values.shape != (size, size, size) or not values.is_floating_point():
        raise TrainingError(
            f"An iso-surface needs a cube of at least 3³ floating-point values, not {tuple(values.shape)} of "
            f"{values.dtype}.",
            "Pass one shape at a time, indexed [x, y, z].",
        )
    _check(values, offsets)
    border = torch.ones_like(values, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    values = _outside(values, border)
    inside = (values.detach() < 0).to(torch.uint8)
    case = inside[:-1] | inside[1:] << 1
    case = case[:, :-1] | case[:, 1:] << 2
    case = case[:, :, :-1] | case[:, :, 1:] << 4
    place = ((case > 0) & (case < 255)).nonzero()
    x, y, z = place.unbind(1)
    cells = (x * size + y) * size + z
    cases = case[x, y, z].to(torch.int64)
    moves = None if offsets is None else offsets.reshape(-1, 3)
    return _mesh(_Corners(size, half, values.reshape(-1), moves, None), cells, cases)


def scattered_isosurface(
    corners: torch.Tensor, values: torch.Tensor, size: int, offsets: torch.Tensor | None = None, half: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """`isosurface` where the values are known at some corners only, such as those near a coarser surface.

    Cells take part whose eight corners are all known. Where one of the four cells around a crossed edge is missing, so
    is its face, and the mesh is open there; with all crossed cells and their neighbours known it equals `isosurface`'s.
    Memory is that of the known corners, whatever the size.

    Args:
        corners: (K, 3) int64 indices in [0, size), each once, in any order.
        values: (K,) at these corners.
        size: corners along an edge of the lattice.
        offsets: (K, 3).

    Raises:
        TrainingError: as `isosurface`; corners outside the lattice or given twice.
    """
    wrong = corners.dim() != 2 or corners.shape[1:] != (3,) or corners.dtype != torch.int64
    if wrong or values.shape != (len(corners),) or not values.is_floating_point() or size < 3:
        raise TrainingError(
            f"Scattered corners must be (K, 3) int64 with (K,) values on a lattice of at least 3³, not "
            f"{tuple(corners.shape)} {corners.dtype}, {tuple(values.shape)} and {size}."
        )
    _check(values, offsets)
    if len(corners) and not bool(((corners >= 0) & (corners < size)).all()):
        raise TrainingError(f"Some corners lie outside the lattice of {size}³.")
    ids, order = numbers(corners, size).sort()
    if bool((ids[1:] == ids[:-1]).any()):
        raise TrainingError("Some corners are given twice.")
    corners = corners[order]
    values = _outside(values[order], ((corners == 0) | (corners == size - 1)).any(1))
    inside = values.detach() < 0
    low = (corners < size - 1).all(1).nonzero()[:, 0]
    table = _table(values.device)
    row, known = _find(ids, ids[low, None] + numbers(table.corners, size))
    complete = known.all(1)
    cases = (inside[row[complete]].to(torch.int64) << torch.arange(8, device=ids.device)).sum(1)
    crossed = (cases > 0) & (cases < 255)
    moves = None if offsets is None else offsets[order]
    return _mesh(_Corners(size, half, values, moves, ids), ids[low[complete][crossed]], cases[crossed])


def corners_of_crossed_cells(values: torch.Tensor) -> torch.Tensor:
    """(K, 3) int64: the corners of the cells of (R, R, R) values whose corners differ in sign, for
    `scattered_isosurface`."""
    border = torch.ones_like(values, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    inside = (values < 0) & ~border
    low, high = inside, inside
    for axis in (0, 1, 2):
        size = low.shape[axis]
        low, high = (
            low.narrow(axis, 0, size - 1) & low.narrow(axis, 1, size - 1),
            high.narrow(axis, 0, size - 1) | high.narrow(axis, 1, size - 1),
        )
    crossed = high & ~low
    needed = torch.zeros_like(inside)
    size = crossed.shape[0]
    for x in (0, 1):
        for y in (0, 1):
            for z in (0, 1):
                needed[x : x + size, y : y + size, z : z + size] |= crossed
    return needed.nonzero()


@dataclass(frozen=True)
class _Corners:
    """The values and offsets of the corners whose numbers, x · size² + y · size + z, are `ids`, or of all in turn."""

    size: int
    half: float
    values: torch.Tensor
    offsets: torch.Tensor | None
    ids: torch.Tensor | None

    def at(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N,) values and (N, 3) positions."""
        row = ids if self.ids is None else torch.searchsorted(self.ids, ids)
        index = torch.stack([ids // self.size**2, ids // self.size % self.size, ids % self.size], 1)
        spacing = 2.0 * self.half / (self.size - 1)
        positions = index.to(self.values.dtype) * spacing - self.half
        if self.offsets is not None:
            positions = positions + REACH * spacing * torch.tanh(self.offsets[row])
        return self.values[row], positions


@dataclass(frozen=True)
class _Table:
    """`cell_loops` on a device, and what follows from it."""

    loops: torch.Tensor
    counts: torch.Tensor
    ambiguous: torch.Tensor
    corners: torch.Tensor
    lower: torch.Tensor
    """(12, 3) the lower corner of each edge."""
    axes: torch.Tensor
    turn: torch.Tensor
    """(12,) which of the four cells around its edge a cell is, counterclockwise seen from the edge's upper end."""
    steps: torch.Tensor
    """(6, 3) from a cell to its neighbour at each face."""


@functools.cache
def _table(device: torch.device) -> _Table:
    def tensor(array: object) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.int64, device=device)

    lower = CORNERS[EDGES[:, 0]]
    # Seen along an edge, the cell that has it at its high side in both other directions is the first of the four.
    turns = {(1, 1): 0, (0, 1): 1, (0, 0): 2, (1, 0): 3}
    turn = [
        turns[int(corner[(axis + 1) % 3]), int(corner[(axis + 2) % 3])]
        for corner, axis in zip(lower, EDGE_AXES, strict=True)
    ]
    middle = CORNERS[FACES].mean(axis=1)
    return _Table(
        tensor(LOOPS),
        tensor(COUNTS),
        tensor(AMBIGUOUS),
        tensor(CORNERS),
        tensor(lower),
        tensor(EDGE_AXES),
        tensor(turn),
        tensor((2 * middle - 1).round()),
    )


def numbers(corners: torch.Tensor, size: int) -> torch.Tensor:
    """(…, 3) corners of a lattice of size³, or steps between them, to (…) numbers in its order.

    No matrix product, since CUDA has none of integers.
    """
    x, y, z = corners.unbind(-1)
    return (x * size + y) * size + z


def _mesh(corners: _Corners, cells: torch.Tensor, cases: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mesh of the crossed cells, given by the number of their lowest corner in ascending order, and their cases."""
    table = _table(cells.device)

    # Which loop each crossed edge of each cell lies in; the rule is reversed where both cells at a face ask for it.
    face = table.ambiguous[cases]
    neighbour, known = _find(cells, cells + numbers(table.steps[face], corners.size))
    reversed_ = (face >= 0) & known & (table.ambiguous[cases[neighbour]] == face ^ 1)
    loops = table.loops[reversed_.to(torch.int64), cases]
    counts = table.counts[reversed_.to(torch.int64), cases]
    first = counts.cumsum(0) - counts
    cell, edge = (loops >= 0).nonzero(as_tuple=True)
    vertex = first[cell] + loops[cell, edge]

    # The crossings, each once, and their means over the loops.
    key = (cells[cell] + numbers(table.lower[edge], corners.size)) * 3 + table.axes[edge]
    key, crossing = key.unique(return_inverse=True)
    low = key // 3
    strides = cells.new_tensor([corners.size**2, corners.size, 1])
    positions, outwards = _crossings(corners, low, low + strides[key % 3])
    share = 1.0 / vertex.bincount(minlength=int(counts.sum())).to(positions.dtype)
    vertices = positions.new_zeros(len(share), 3).index_add(0, vertex, positions[crossing])
    vertices = vertices * share[:, None]

    quads = vertex.new_full((len(key), 4), -1)
    quads[crossing, table.turn[edge]] = vertex
    quads = torch.where(outwards[:, None], quads, quads.flip(1))
    quads = quads[(quads >= 0).all(1)]
    return vertices, _split(vertices.detach(), quads)


def _crossings(corners: _Corners, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(E, 3) zeros on the edges between corners of opposite sign, and (E,) whether the lower one lies inside."""
    (a, start), (b, end) = corners.at(low), corners.at(high)
    a, b = _away_from_zero(a), _away_from_zero(b)
    share = a / (a - b)
    share = share + (share.clamp(MARGIN, 1.0 - MARGIN) - share).detach()
    return torch.lerp(start, end, share[:, None]), a.detach() < 0


def _outside(values: torch.Tensor, border: torch.Tensor) -> torch.Tensor:
    """The values with those of the border made positive, without a gradient."""
    return torch.where(border & (values.detach() < 0), -values.detach(), values)


def _away_from_zero(values: torch.Tensor) -> torch.Tensor:
    still = values.detach()
    return values + (torch.where(still < 0, still.clamp(max=-SMALLEST), still.clamp(min=SMALLEST)) - still)


def _split(vertices: torch.Tensor, quads: torch.Tensor) -> torch.Tensor:
    """(2Q, 3) triangles: each quad is cut where its smallest angle stays largest."""
    points = vertices[quads]
    sides = torch.nn.functional.normalize(points.roll(-1, 1) - points, dim=-1)
    across = torch.nn.functional.normalize(points[:, 2:] - points[:, :2], dim=-1)
    # Of each triangle two sides are the quad's and one is a diagonal; the largest cosine belongs to its smallest angle.
    even = torch.maximum(
        _largest_cosine(sides[:, 0], sides[:, 1], -across[:, 0]),
        _largest_cosine(sides[:, 2], sides[:, 3], across[:, 0]),
    )
    odd = torch.maximum(
        _largest_cosine(sides[:, 1], sides[:, 2], -across[:, 1]),
        _largest_cosine(sides[:, 3], sides[:, 0], across[:, 1]),
    )
    start = (odd < even).to(torch.int64)[:, None]
    return torch.cat([quads.gather(1, (start + step) % 4) for step in quads.new_tensor([[0, 1, 2], [2, 3, 0]])], 0)


def _largest_cosine(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Of the angles between three unit vectors (N, 3) that lead round a triangle."""
    return -torch.minimum(torch.minimum((a * b).sum(-1), (b * c).sum(-1)), (c * a).sum(-1))


def _find(ids: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the wanted among the ascending ids, any row where they are missing, and whether they are there."""
    row = torch.searchsorted(ids, wanted).clamp(max=max(len(ids) - 1, 0))
    return (row, ids[row] == wanted) if len(ids) else (row, torch.zeros_like(row, dtype=torch.bool))


def _check(values: torch.Tensor, offsets: torch.Tensor | None) -> None:
    if offsets is not None and offsets.shape != (*values.shape, 3):
        raise TrainingError(f"Offsets must be {(*values.shape, 3)}, not {tuple(offsets.shape)}.")
    for name, tensor in (("Values", values), ("Offsets", offsets)):
        if tensor is not None and not bool(tensor.detach().isfinite().all()):
            raise TrainingError(
                f"{name} of the iso-surface are not finite.", "The generator has diverged: lower its learning rate."
            )
