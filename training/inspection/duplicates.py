"""Shapes that are nearly the same: found by a coarse grid of distances, verified by Chamfer distance.

A shape and its copy in the other split spoil evaluation, also when the copy is mirrored or faces another way. So pairs
are sought under the eight symmetries that keep a shape upright: quarter turns about +Z, with and without a mirror.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ..data.grids import Grids
from ..data.oklab import to_oklab
from ..data.store import Dataset
from ..metrics.point_sets import POINTS, chamfer, normalise

NEAR = 0.012
"""Root-mean-square distance, of the longest side, up to which shapes are near-duplicates: under a voxel of 64³."""
FAR = 0.05
"""Distance, of the longest side, that one point in a hundred may exceed: with a bar more it is another shape."""
BAND = 0.2
"""Distances are clipped to this, in units of the cube: far from the surface they say nothing of its details."""
DESCRIPTOR = 16
CANDIDATES = 3
DESCRIPTOR_LIMIT = 0.016
"""Root-mean-square difference of descriptors, in units of the cube, above which no pair is verified."""
PROJECTED = 96


@dataclasses.dataclass(frozen=True)
class Symmetry:
    """A quarter turn about +Z, after a mirror left to right if there is one."""

    quarters: int
    mirrored: bool

    def of_grid(self, grid: np.ndarray) -> np.ndarray:
        """(..., X, Y, Z) turned and mirrored."""
        grid = grid[..., ::-1, :, :] if self.mirrored else grid
        return np.rot90(grid, self.quarters, axes=(-3, -2))

    def of_points(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) turned and mirrored as `of_grid` does."""
        x, y, z = points.T
        x = -x if self.mirrored else x
        for _ in range(self.quarters):
            x, y = -y, x
        return np.stack([x, y, z], axis=1)

    def __str__(self) -> str:
        words = ["mirrored"] if self.mirrored else []
        if self.quarters:
            words.append(f"turned by {90 * self.quarters}°")
        return " and ".join(words)


SYMMETRIES = [Symmetry(quarters, mirrored) for mirrored in (False, True) for quarters in range(4)]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two entries of a dataset that are nearly the same shape."""

    first: int
    second: int
    """Indices into the dataset's entries."""
    distance: float
    """Root-mean-square distance of their surfaces in units of the longest side, above what sampling alone causes."""
    farthest: float
    """The 99th percentile of those distances, either way."""
    symmetry: Symmetry
    """What brings the second onto the first."""
    colour_difference: float
    """Mean OKLab distance at matching points; under about 0.02 they look alike."""

    def crosses(self, data: Dataset) -> bool:
        """Whether its shapes lie in different splits."""
        return data.entries[self.first].split != data.entries[self.second].split


def near_duplicates(data: Dataset, progress: Callable[[int, int], None] | None = None) -> list[Pair]:
    """Every pair of one category that is nearly the same, except of shapes made from one source by augmentation.

    Each shape is compared with its `CANDIDATES` nearest, so of many copies of one shape not every pair is listed, but
    each copy is in one.

    Args:
        progress: called with pairs verified and pairs in all.

    Returns:
        pairs across splits first, train with test before the others; then by distance.
    """
    candidates: list[tuple[int, int, Symmetry]] = []
    for category in sorted({entry.category for entry in data.entries}):
        members = np.array([i for i, entry in enumerate(data.entries) if entry.category == category])
        candidates += _candidates(data, members)
    clouds: dict[int, tuple[cKDTree, float]] = {}
    pairs = []
    for done, (first, second, symmetry) in enumerate(candidates, 1):
        if _family(data, first) != _family(data, second):
            pair = _verify(data, clouds, first, second, symmetry)
            if pair.distance <= NEAR and pair.farthest <= FAR:
                pairs.append(pair)
        if progress:
            progress(done, len(candidates))
    return sorted(pairs, key=lambda pair: (_rank(data, pair), pair.distance))


def _family(data: Dataset, index: int) -> str:
    entry = data.entries[index]
    return f"{entry.origin}/{entry.source}/{entry.parent or entry.name}"


def _rank(data: Dataset, pair: Pair) -> int:
    splits = {data.entries[pair.first].split, data.entries[pair.second].split}
    return 0 if splits == {"train", "test"} else 1 if len(splits) == 2 else 2


def descriptor(grid: np.ndarray) -> np.ndarray:
    """(R, R, R) signed distances to (16, 16, 16): clipped near the surface, averaged over blocks."""
    near = np.clip(grid.astype(np.float32), -BAND, BAND)
    if len(near) % DESCRIPTOR:
        return ndimage.zoom(near, DESCRIPTOR / len(near), order=1, mode="nearest", grid_mode=True)
    block = len(near) // DESCRIPTOR
    return near.reshape(DESCRIPTOR, block, DESCRIPTOR, block, DESCRIPTOR, block).mean(axis=(1, 3, 5))


def _candidates(data: Dataset, members: np.ndarray) -> list[tuple[int, int, Symmetry]]:
    """Pairs (first < second) whose descriptors are near, with the symmetry that brings them nearest."""
    if len(members) < 2:
        return []
    sampled = Grids(data, 2 * DESCRIPTOR)
    grids = np.stack([descriptor(sampled[index]) for index in members])
    # A random projection keeps distances within some 10 % (Johnson and Lindenstrauss 1984); the few pairs that are near
    # in it are measured exactly.
    generator = np.random.default_rng(0)
    basis = generator.normal(size=(DESCRIPTOR**3, PROJECTED)).astype(np.float32) / np.sqrt(PROJECTED)
    plain = grids.reshape(len(grids), -1) @ basis
    turned = np.stack([s.of_grid(grids).reshape(len(grids), -1) @ basis for s in SYMMETRIES])  # (8, N, PROJECTED)
    lengths = (turned**2).sum(-1)  # (8, N)
    # A turned copy must be clearly nearer than the shape as it stands, which a round stool's is not.
    penalty = np.where(np.arange(len(SYMMETRIES)) > 0, 1.5, 1.0)
    found: dict[tuple[int, int], tuple[float, int]] = {}
    count = min(CANDIDATES, len(members) - 1)
    for row in range(len(members)):
        squared = np.maximum(lengths - 2 * (turned @ plain[row]) + (plain[row] ** 2).sum(), 0)  # (8, N)
        distances = squared * penalty[:, None]
        best = distances.argmin(axis=0)
        least = distances[best, np.arange(len(members))]
        least[row] = np.inf
        for other in np.argpartition(least, count - 1)[:count]:
            exact = _descriptor_distance(grids[row], SYMMETRIES[best[other]].of_grid(grids[other]))
            key = (min(row, other), max(row, other))
            if exact <= DESCRIPTOR_LIMIT and (key not in found or exact < found[key][0]):
                # Bringing `other` onto `row` is the inverse of bringing `row` onto `other`.
                symmetry = best[other] if row < other else SYMMETRIES.index(_inverse(SYMMETRIES[best[other]]))
                found[key] = (exact, symmetry)
    ordered = sorted(found.items(), key=lambda item: item[1][0])
    return [(int(members[a]), int(members[b]), SYMMETRIES[symmetry]) for (a, b), (_, symmetry) in ordered]


def _inverse(symmetry: Symmetry) -> Symmetry:
    # A turn after a mirror is a mirror in another plane, and undoes itself.
    return symmetry if symmetry.mirrored else Symmetry(-symmetry.quarters % 4, False)


def _descriptor_distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))


def _verify(
    data: Dataset, clouds: dict[int, tuple[cKDTree, float]], first: int, second: int, symmetry: Symmetry
) -> Pair:
    for index in (first, second):
        if index not in clouds:
            clouds[index] = _cloud(data, index)
    one, floor_one = clouds[first]
    points = symmetry.of_points(clouds[second][0].data)
    other = cKDTree(points)
    excess = max(chamfer(one, other) - 0.5 * (floor_one + clouds[second][1]), 0.0)
    back, match = one.query(points)
    forth, _ = other.query(one.data)
    farthest = max(float(np.percentile(away, 99)) for away in (forth, back))
    difference = np.linalg.norm(_colours(data, first)[match] - _colours(data, second), axis=1).mean()
    return Pair(first, second, float(np.sqrt(excess / 2)), farthest, symmetry, float(difference))


def _cloud(data: Dataset, index: int) -> tuple[cKDTree, float]:
    """A search tree over some of the surface points, and the Chamfer distance of two such draws of the same surface."""
    points = data.array(index, "surface")[: 2 * POINTS, :3].astype(np.float32)
    points = normalise(points)
    one, other = cKDTree(points[::2]), cKDTree(points[1::2])
    return one, chamfer(one, other)


def _colours(data: Dataset, index: int) -> np.ndarray:
    """(POINTS, 3) OKLab colours of the points of `_cloud`."""
    return to_oklab(data.array(index, "material")[: 2 * POINTS : 2, :3] / 255)
