"""Recorded shapes in memory, drawn in the terms of the generator that they are compared with."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from gan3d_core.errors import DatasetError, TrainingError
from gan3d_core.generators.volumetric import SURFACE_BAND
from gan3d_core.representations import Implicit, Surfaces, Views, Volume

from .bridges import Bridge
from .bridges.recorded import Lattice, Scans, resample
from .data.store import Dataset
from .observe import observe


@dataclasses.dataclass(frozen=True)
class Records:
    """What is kept of S shapes."""

    distance: np.ndarray
    """(S, R, R, R) signed distances at cell centres."""
    surface: np.ndarray
    """(S, P, 6) points and normals; P is 0 where nobody asks for them."""
    queries: np.ndarray
    """(S, Q, 4) points and their distances; Q is 0 where nobody asks for them."""
    labels: np.ndarray
    """(S,) int64, the category's number."""

    def __len__(self) -> int:
        return len(self.distance)

    @classmethod
    def of(cls, dataset: Dataset, resolution: int, surface: bool, queries: bool, categories: list[str]) -> Records:
        """Read a dataset: 0.5 MB for each shape at 64³, 0.2 MB for its surface, 0.3 MB for its queries.

        The grid is that of the resolution, or the finest there is, which is then resampled.

        Raises:
            DatasetError: no grids, or no shapes of a category.
        """
        grids = {int(name[3:]) for name in dataset.names() if name.startswith("sdf") and name[3:].isdigit()}
        if not grids:
            raise DatasetError(f"The dataset {dataset.folder} has no grids of distances.", "Prepare it again.")
        finest = resolution if resolution in grids else max(grids)
        chosen = [i for i, entry in enumerate(dataset.entries) if entry.category in categories]
        labels = np.array([categories.index(dataset.entries[i].category) for i in chosen], np.int64)
        missing = sorted(set(categories) - {categories[label] for label in labels})
        if missing:
            raise DatasetError(f"The dataset {dataset.folder} has no shapes of {', '.join(missing)} to train on.")

        def stack(name: str) -> np.ndarray:
            return np.stack([dataset.view(i, name) for i in chosen])

        none = np.zeros((len(chosen), 0, 6), np.float16)
        every = np.concatenate([stack("near"), stack("volume")], 1) if queries else none[..., :4]
        return cls(stack(f"sdf{finest}"), stack("surface") if surface else none, every, labels)

    @classmethod
    def needed(
        cls, dataset: Dataset, generator: nn.Module, bridge: Bridge, resolution: int, categories: list[str]
    ) -> Records:
        """Read what a generator and a bridge need."""
        surface = generator.yields is Surfaces and bridge.consumes in ("points", "graph")
        return cls.of(dataset, resolution, surface, bool(bridge.queries), categories)


class Drawn(NamedTuple):
    """A batch of recorded shapes."""

    shapes: Volume | Lattice | Scans | Views
    queries: torch.Tensor
    """(N, Q, 4) points near their surfaces and anywhere, with the distance."""
    labels: torch.Tensor
    """(N,) int64."""


class RealShapes:
    """Draws shapes for one generator and one bridge.

    Args:
        records: what there is.
        generator: its `yields` says in which terms.
        bridge: how many points and queries are needed.
        mirror: flip half of the drawn shapes left to right.

    Raises:
        TrainingError: a generator that yields nothing known.
    """

    def __init__(self, records: Records, generator: nn.Module, bridge: Bridge, mirror: bool) -> None:
        self.records, self.mirror, self.points, self.asked = records, mirror, bridge.points, bridge.queries
        self.yields: Any = generator.yields
        if self.yields not in (Volume, Implicit, Surfaces, Views):
            raise TrainingError(f"No recorded shapes stand beside {self.yields!r}.", "See training/real_shapes.py.")
        self.occupancy: np.ndarray | None = None
        self.views: list[Views] = []
        if self.yields is Volume:
            self.occupancy = _occupancy(records.distance, int(generator.resolution))  # type: ignore[arg-type]
        if self.yields is Views:
            cameras, size = int(generator.views), int(generator.size)  # type: ignore[arg-type]
            self.views = [
                _observed(records.distance[:, ::-1] if flipped else records.distance, cameras, size)
                for flipped in ((False, True) if mirror else (False,))
            ]

    def __len__(self) -> int:
        return len(self.records)

    def draw(self, count: int, order: np.random.Generator, share: slice = slice(None), device: str = "cpu") -> Drawn:
        """Draw a batch onto a device; with `share`, only those rows of it are made, from the same random numbers."""
        chosen = order.choice(len(self), count, replace=len(self) < count)
        flip = order.random(count) < (0.5 if self.mirror else 0.0)
        seeds = order.integers(2**31, size=count)
        chosen, flip, seeds = chosen[share], flip[share], seeds[share]
        queries = _rows(self.records.queries[chosen], self.asked, seeds)
        queries[flip, :, 0] *= -1
        shapes = self._shapes(chosen, flip, seeds, device)
        labels = torch.from_numpy(self.records.labels[chosen])
        return Drawn(shapes, torch.from_numpy(queries).to(device), labels.to(device))

    def _shapes(
        self, chosen: np.ndarray, flip: np.ndarray, seeds: np.ndarray, device: str
    ) -> Volume | Lattice | Scans | Views:
        # Grids are made single precision there: a hundred of 64³ take the processor longer than a GPU takes for a step.
        if self.occupancy is not None:
            volumes = self.occupancy[chosen]
            volumes[flip] = volumes[flip, ::-1]
            return Volume(torch.from_numpy(volumes).to(device).float() / 255)
        if self.views:
            first = self.views[0]
            height, normal, clearance = (
                torch.stack([getattr(self.views[int(f)], name)[int(i)] for i, f in zip(chosen, flip, strict=True)]).to(
                    device
                )
                for name in ("height", "normal", "clearance")
            )
            axes, reach = first.axes.to(device), first.reach.to(device)
            return Views(height.float(), normal.float(), clearance.float(), axes, reach)
        grids = self.records.distance[chosen]
        grids[flip] = grids[flip, ::-1]
        distance = torch.from_numpy(grids).to(device).float()
        if self.yields is Implicit:
            return Lattice(distance)
        points = _rows(self.records.surface[chosen], self.points, seeds)
        points[flip] *= np.array([-1, 1, 1, -1, 1, 1], np.float32)
        return Scans(torch.from_numpy(points).to(device), distance)


def _rows(every: np.ndarray, count: int, seeds: np.ndarray) -> np.ndarray:
    """(N, count, C) float32: some rows of (N, P, C), drawn for each by its seed."""
    out = np.empty((len(every), count if every.shape[1] else 0, every.shape[2]), np.float32)
    for index, seed in enumerate(seeds):
        if every.shape[1]:
            out[index] = every[index, np.random.default_rng(seed).integers(every.shape[1], size=count)]
    return out


def _occupancy(distance: np.ndarray, resolution: int) -> np.ndarray:
    """(S, R, R, R) uint8: distances as occupancies that ramp from 255 to 0 within `SURFACE_BAND` cells of the surface,
    which keeps where in its cell it lies, as on-off voxels do not."""
    band = 2.0 * SURFACE_BAND * 2.0 / resolution
    out = np.empty((len(distance), *(resolution,) * 3), np.uint8)
    for index, grid in enumerate(distance):
        values = resample(torch.from_numpy(grid.astype(np.float32))[None], resolution)[0].numpy()
        out[index] = np.rint(np.clip(0.5 - values / band, 0, 1) * 255)
    return out


def _observed(distance: np.ndarray, cameras: int, size: int) -> Views:
    """All shapes as the cameras see them, in half precision (0.25 MB each for six maps of 64²)."""
    parts = [observe(torch.from_numpy(grid.astype(np.float32)), cameras, size) for grid in distance]
    names = ("height", "normal", "clearance")
    height, normal, clearance = (torch.cat([getattr(part, name).half() for part in parts]) for name in names)
    return Views(height, normal, clearance, parts[0].axes, parts[0].reach)
