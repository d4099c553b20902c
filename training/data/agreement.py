"""Which shapes of a category stand another way than the others.

Most datasets mix exporters, and so axes. A shape that is turned by quarter turns is found by comparing it with the mean
of its category: each shape becomes two blurred 16³ densities of its surface (one in its own proportions, one stretched
to a cube, so that a tall table is not taken for a tipped one), and all 24 rotations of it are correlated with the means
of the others. It is called turned if

- a turn fits better by `GAIN`, and then fits about as well as is usual in the category (`TYPICAL`);
- turned, it is not less alike on its left and its right;
- where the turn changes what is up, it would not stand less firmly than it does now, or the fit is as good as the
  category's own.

Where even the usual fit is poor (lamps that hang and lamps that stand) the category is not judged. The thresholds were
set on 174 real models; docs/data.md states what is found and what is called wrongly.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from scipy import ndimage

from gan3d_core.field import EXTENT

from .normalise import AXES
from .normalise import rotation as file_rotation

GRID = 16
POINTS = 4096
GAIN = 0.06
"""By how much the correlation must grow by turning."""
TYPICAL = 0.88
"""The turned shape must correlate with the others at least this share of what is the median there."""
CERTAIN = 0.97
"""The same, for a turn after which the shape would stand less firmly than it does now."""
MIRROR = 0.05
"""By how much the likeness of left and right may fall by turning."""
FOOT = 0.06
"""Share of a shape's height that counts as what it stands on."""
COHERENT = 0.7
"""Median correlation below which a category is too varied to judge."""
FEWEST = 6
"""Shapes below which there is no majority to speak of."""
SIDEWAYS = 0.02
"""By how much another mirror plane than the one between left and right must fit better."""


def rotations() -> np.ndarray:
    """(24, 3, 3) rotations by quarter turns, the identity first."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    return np.stack(sorted(found, key=lambda matrix: -np.trace(matrix)))


ROTATIONS = rotations()


@dataclasses.dataclass(frozen=True)
class Stance:
    """What shapes are compared by."""

    density: np.ndarray
    """(2, 16³) uint8: points of the surface in each cell, in its own proportions and stretched to the cube."""
    firmness: np.ndarray
    """(24,) float32: for each of `ROTATIONS`, how far inside of its footprint the middle of its surface lies, as a
    share of its width; negative where it would fall over."""


def stance(vertices: np.ndarray, faces: np.ndarray) -> Stance:
    """Measure a shape.

    Args:
        vertices: (V, 3) in the cube, as `normalise.to_cube` gives them.
        faces: (F, 3).
    """
    points = _spread(vertices, faces)
    low, high = points.min(axis=0), points.max(axis=0)
    stretched = (points - (low + high) / 2) / np.maximum(high - low, 1e-9) * (2 * EXTENT)
    density = np.stack([_histogram(points), _histogram(stretched)])
    return Stance(density, np.array([_firmness(points @ matrix.T) for matrix in ROTATIONS], np.float32))


def _firmness(points: np.ndarray) -> float:
    low, high = points.min(axis=0), points.max(axis=0)
    foot = points[points[:, 2] < low[2] + FOOT * (high[2] - low[2])][:, :2]
    middle = points[:, :2].mean(axis=0)
    inside = np.minimum(middle - foot.min(axis=0), foot.max(axis=0) - middle)
    return float((inside / np.maximum(high - low, 1e-9)[:2]).min())


def _spread(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(POINTS, 3) points of the surface in proportion to area, always the same."""
    triangles = vertices[faces].astype(np.float64)
    area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    running = np.cumsum(area)
    generator = np.random.default_rng(0)
    at = (np.arange(POINTS) + 0.5) / POINTS * running[-1]
    face = np.searchsorted(running, at).clip(0, len(faces) - 1)
    root, v = np.sqrt(generator.random(POINTS)), generator.random(POINTS)
    weights = np.stack([1 - root, root * (1 - v), root * v], axis=-1)
    return np.einsum("nc,nck->nk", weights, triangles[face])


def _histogram(points: np.ndarray) -> np.ndarray:
    cell = np.floor((points / (2 * EXTENT) + 0.5) * GRID).astype(np.int64).clip(0, GRID - 1)
    flat = (cell[:, 0] * GRID + cell[:, 1]) * GRID + cell[:, 2]
    return np.bincount(flat, minlength=GRID**3).clip(0, 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Turned:
    """One shape that stands another way."""

    index: int
    rotation: np.ndarray
    """(3, 3) that would make it agree, in the axes of the cube."""
    before: float
    after: float
    """Its correlation with the others as it is, and turned."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How the shapes of one category stand to each other."""

    coherent: bool
    """Whether they are alike enough, and many enough, to say."""
    turned: list[Turned]
    sideways: str
    """Empty; or which of the cube's planes halves them best, where it is not that between left and right: `front to
    back`, `top to bottom`. Then all of them stand wrong."""


def agreement(stances: list[Stance]) -> Agreement:
    """Compare the shapes of a category."""
    if len(stances) < FEWEST:
        return Agreement(False, [], "")
    features = [_features(np.stack([each.density[kind] for each in stances])) for kind in range(2)]
    sources = _sources()
    firm, alike = _constraints(stances, features[0], sources)
    good = np.ones(len(stances), bool)
    for _ in range(6):  # those that disagree must not blur the mean that they are compared with
        scores = np.zeros((len(stances), len(ROTATIONS)))
        for feature in features:
            others = feature[good].sum(axis=0) - feature * good[:, None]
            others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-9)
            for index, source in enumerate(sources):
                scores[:, index] += 0.5 * np.einsum("nd,nd->n", feature[:, source], others)
        median = float(np.median(scores[:, 0]))
        share = scores / max(median, 1e-9)
        # A turn that convinces less must at least leave the shape standing.
        possible = alike & (share >= np.where(firm, TYPICAL, CERTAIN))
        possible[:, 0] = True
        tried = np.where(possible, scores, -1.0)
        gain = tried.max(axis=1) - scores[:, 0]
        now = gain < 0.04
        if (now == good).all() or not now.any():
            break
        good = now
    if median < COHERENT:
        return Agreement(False, [], "")
    turned = [
        Turned(int(i), ROTATIONS[tried[i].argmax()], float(scores[i, 0]), float(tried[i].max()))
        for i in np.flatnonzero(gain > GAIN)
    ]
    return Agreement(True, turned, _sideways(features[0][good].mean(axis=0)))


def _features(histograms: np.ndarray) -> np.ndarray:
    """(N, 16³) float32 of unit length: square roots tame dense parts, the blur forgives small differences."""
    out = np.empty(histograms.shape, np.float32)
    for index, histogram in enumerate(histograms):
        blurred = ndimage.gaussian_filter(np.sqrt(histogram.reshape(GRID, GRID, GRID).astype(np.float32)), 1.0)
        out[index] = blurred.reshape(-1) / max(float(np.linalg.norm(blurred)), 1e-9)
    return out


def _sources() -> list[np.ndarray]:
    """For each rotation, the cell from which each cell of the turned density comes."""
    cells = np.stack(np.meshgrid(*[np.arange(GRID)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) - (GRID - 1) / 2
    found = []
    for matrix in ROTATIONS:
        source = np.rint(cells @ matrix + (GRID - 1) / 2).astype(np.int64)  # Rᵀ c, written for rows
        found.append((source[:, 0] * GRID + source[:, 1]) * GRID + source[:, 2])
    return found


def _constraints(
    stances: list[Stance], feature: np.ndarray, sources: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """(N, 24) twice: turns after which a shape stands as firmly as before, and is as much alike on both sides."""
    firmness = np.stack([each.firmness for each in stances])
    firm = (ROTATIONS[:, 2, 2] > 0.5)[None] | (firmness >= firmness[:, :1])
    alike = np.stack([_likeness(feature[:, source], 0) for source in sources], axis=1)
    return firm, alike >= alike[:, :1] - MIRROR


def _likeness(features: np.ndarray, axis: int) -> np.ndarray:
    """(N,) correlations of densities with their mirror images across the middle of an axis of the cube."""
    cubes = features.reshape(-1, GRID, GRID, GRID)
    return (cubes * np.flip(cubes, axis + 1)).sum(axis=(1, 2, 3)) / (cubes * cubes).sum(axis=(1, 2, 3))


def _sideways(mean: np.ndarray) -> str:
    """Furniture is alike on its left and its right. Where the mean shape is more so across another plane, all of the
    category stands wrong, which comparing its shapes with each other cannot show."""
    same = [float(_likeness(mean[None], axis)[0]) for axis in range(3)]
    best = int(np.argmax(same))
    return ("", "front to back", "top to bottom")[best] if same[best] > same[0] + SIDEWAYS else ""


def turned_axes(up: str, front: str, rotation: np.ndarray) -> tuple[str, str]:
    """The file's axes that would make a shape agree, from those that were assumed and what it must be turned by."""
    whole = rotation @ file_rotation(up, front)  # file → cube
    names = {tuple(np.rint(axis).astype(int)): name for name, axis in AXES.items()}

    def name(axis: str) -> str:
        return names[tuple(np.rint(whole.T @ AXES[axis]).astype(int))]

    return name("+Z"), name("-Y")
