"""What checkpoints are judged against: held-out shapes, and the training set for floors and for memorising.

Everything here is the same for every checkpoint of a category, and is worked out once, when it is first asked for.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np

from gan3d_core.errors import DatasetError

from ..data.store import Dataset
from ..metrics.features import ImageFeatures
from ..metrics.point_sets import SetScores, distance_matrix, scores
from ..metrics.surface_grids import SurfaceGrids, join, surface_distances, surface_grids
from ..progress import ProgressLine
from .painted import PaintedMesh, from_record
from .renders import Views, render

DRAWS = 3
"""Random draws of the training set that take the samples' place for the floors."""
FEWEST = 5
"""References below which no figure says anything; the manifolds of precision and recall need four."""
MOST_TRAINING = 2000
"""Training shapes that samples are compared with, at 130 kB each; of a larger set these many are drawn."""


@dataclasses.dataclass(frozen=True)
class Draw:
    """Training shapes in place of samples."""

    clouds: np.ndarray
    """(N, POINTS, 3)."""
    meshes: list[PaintedMesh]


class References:
    """Held-out and training shapes of one category.

    Args:
        folder: a prepared dataset.
        category: to judge by.
        count: held-out shapes at most, test split first; each draw of training shapes is as large.
        views: for features.
        features: the network.
        resolution: of the grids that all surfaces are taken from; None takes that of `painted`.

    Raises:
        DatasetError: no training shapes, or fewer than `FEWEST` held-out ones.
    """

    def __init__(
        self,
        folder: Path,
        category: str,
        count: int,
        views: Views,
        features: ImageFeatures,
        resolution: int | None = None,
    ) -> None:
        self.category, self.views, self.features, self.resolution = category, views, features, resolution
        self.training = Dataset(folder, "train", category)
        self.meshes = held_out(folder, category, count, resolution)
        size = len(self.meshes)
        self.clouds = np.stack([mesh.cloud(0) for mesh in self.meshes])
        self.among = distance_matrix(self.clouds)
        chooser = np.random.default_rng(0)
        rows = np.arange(len(self.training))
        if len(rows) > MOST_TRAINING:
            rows = np.sort(chooser.choice(rows, MOST_TRAINING, replace=False))
        self.compared = rows
        """(T,) indices into `training` of the shapes that samples are compared with."""
        self.draws = []
        for number in range(DRAWS):
            chosen = np.random.default_rng(number).choice(len(rows), size, replace=len(rows) < size)
            meshes = [from_record(self.training, int(rows[i]), resolution) for i in chosen]
            self.draws.append(Draw(np.stack([mesh.cloud(1) for mesh in meshes]), meshes))
        self._features: dict[tuple[str, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.meshes)

    def geometry(self, clouds: np.ndarray) -> SetScores:
        """MMD, coverage and 1-NNA of clouds (N, POINTS, 3)."""
        return scores(distance_matrix(clouds), self.among, distance_matrix(clouds, self.clouds))

    @functools.cached_property
    def floor_geometry(self) -> list[SetScores]:
        """The same of every draw of training shapes."""
        return [self.geometry(draw.clouds) for draw in self.draws]

    @functools.cached_property
    def training_grids(self) -> SurfaceGrids:
        """Of the shapes in `compared`; a tenth of a second each."""
        progress = ProgressLine("References", len(self.compared))
        parts = []
        for number, index in enumerate(self.compared):
            parts.append(surface_grids([from_record(self.training, int(index), self.resolution).dense()]))
            progress.update(number + 1)
        progress.close()
        return join(parts)

    @functools.cached_property
    def held_grids(self) -> SurfaceGrids:
        return surface_grids([mesh.dense() for mesh in self.meshes])

    @functools.cached_property
    def among_training(self) -> np.ndarray:
        """(T, T) distances between surfaces."""
        return surface_distances(self.training_grids, self.training_grids)

    @functools.cached_property
    def among_held(self) -> np.ndarray:
        """(N, N)."""
        return surface_distances(self.held_grids, self.held_grids)

    @functools.cached_property
    def held_to_training(self) -> np.ndarray:
        """(N, T)."""
        return surface_distances(self.held_grids, self.training_grids)

    def has_colours(self) -> bool:
        """Whether every reference's colours can be trusted, so that the coloured look means something."""
        return all(mesh.colours is not None for mesh in self.meshes)

    def see(self, meshes: list[PaintedMesh | None], look: str) -> np.ndarray:
        """(N, V, D) features of meshes' renders."""
        cameras = self.views.cameras
        images = np.concatenate([render(mesh, cameras, self.views.size, look) for mesh in meshes])
        return self.features(images).reshape(len(meshes), self.views.count, -1)

    def held_features(self, look: str) -> np.ndarray:
        """(N, V, D) of the held-out shapes."""
        return self._once(look, -1, self.meshes)

    def draw_features(self, look: str, number: int) -> np.ndarray:
        """(N, V, D) of one draw of training shapes."""
        return self._once(look, number, self.draws[number].meshes)

    def _once(self, look: str, number: int, meshes: list[PaintedMesh]) -> np.ndarray:
        if (look, number) not in self._features:
            self._features[look, number] = self.see(list(meshes), look)
        return self._features[look, number]


def held_out(folder: Path, category: str, count: int, resolution: int | None = None) -> list[PaintedMesh]:
    """Up to `count` shapes that were not trained on: of the test split, then of the validation split.

    Where there are more they are drawn, the same each time: a dataset of several sources holds one after the other.

    Raises:
        DatasetError: fewer than `FEWEST`.
    """
    meshes: list[PaintedMesh] = []
    for split in ("test", "validation"):
        try:
            data = Dataset(folder, split, category)
        except DatasetError:
            continue
        chosen = np.random.default_rng(0).permutation(len(data))[: count - len(meshes)]
        meshes += [from_record(data, int(index), resolution) for index in np.sort(chosen)]
    if len(meshes) < FEWEST:
        raise DatasetError(
            f"{folder} gives {len(meshes)} held-out shapes of category {category!r}; {FEWEST} are the fewest.",
            "Prepare more shapes (a tenth of them becomes the test split), or raise --count.",
        )
    return meshes
