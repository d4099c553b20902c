"""A dataset of boxes, small and quickly made, with shapes in every split; and pictures' features that cost nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from gan3d_core.field import Materials, lattice
from training.data import store
from training.data.distance import sample_surface
from training.data.writer import Writer
from training.metrics.features import ImageFeatures
from training.rendering.grid_mesh import grid_mesh

COUNTS = {"train": 16, "test": 6, "validation": 2}


@dataclasses.dataclass
class Box:
    """A box 1.8 high, as a field."""

    width: float
    depth: float
    colour: np.ndarray | None
    size_m: float = 1.0

    def values(self, resolution: int) -> np.ndarray:
        away = np.abs(lattice(resolution)) - np.float32([self.width / 2, self.depth / 2, 0.9])
        return away.max(axis=1).reshape((resolution,) * 3).astype(np.float32)

    def materials(self, points: np.ndarray) -> Materials | None:
        if self.colour is None:
            return None
        flat = np.zeros(len(points), np.float32)
        return Materials(np.tile(self.colour, (len(points), 1)).astype(np.float32), flat, flat)


def draw(random: np.random.Generator) -> Box:
    return Box(*random.uniform(0.4, 1.7, 2), random.integers(0, 256, 3) / 255)


BOXES = {split: [draw(np.random.default_rng([i, n])) for n in range(c)] for i, (split, c) in enumerate(COUNTS.items())}


def write_boxes(folder: Path) -> Path:
    store.create(folder, {})
    writer = Writer(folder)
    for split, boxes in BOXES.items():
        for number, box in enumerate(boxes):
            values = box.values(32)
            points, _, _, normals = sample_surface(*grid_mesh(values), count=1024, seed=3)
            entry = store.Entry(
                id=f"{split}{number}", name=f"{split}/{number}.obj", category="chair", split=split, licence="CC0-1.0",
                author="", size_m=1.0, faces=12, watertight=True, thin_share=0.0, colored=True, labels={},
            )  # fmt: skip
            material = np.tile(np.rint([*box.colour * 255, 0, 0]), (len(points), 1)).astype(np.uint8)
            surface = np.concatenate([points, normals], axis=1).astype(np.float16)
            writer.append(entry, {"sdf32": values.astype(np.float16), "surface": surface, "material": material})
    writer.close()
    store.write_manifest(folder)
    return folder


QUARTERS = ImageFeatures(
    "quarters", lambda x: x.unflatten(2, (2, 8)).unflatten(4, (2, 8)).mean((3, 5)).flatten(1), 16, 12, 0, 1
)
"""The mean colours of a picture's quarters."""
SMALL = (("RESOLUTION", 32), ("COLOUR_POINTS", 1024), ("DENSE_POINTS", 1024), ("POINTS", 256))
"""Values of `evaluation.painted` for coarse shapes."""
