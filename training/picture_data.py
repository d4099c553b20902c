"""Batches of pictures of real shapes, with the cameras they were drawn by, and volumes of the same shapes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from gan3d_core.errors import DatasetError
from gan3d_core.generators.coded import TRUNCATION

from .data.store import Dataset
from .data.views import stored_cameras
from .rendering.cameras import Cameras
from .textured_surface import Pictures


@dataclasses.dataclass
class PictureBatch:
    pictures: Pictures
    cameras: Cameras
    """Camera i saw the shape of picture i."""
    labels: torch.Tensor
    """(N,) int64 index of the category."""
    volumes: torch.Tensor
    """(N, 1, R, R, R) distances over TRUNCATION, clipped to [−1, 1]."""


class PictureData:
    """A split of a dataset, its pictures read as they are drawn.

    Args:
        dataset: prepared with pictures.
        categories: what the labels count.
        size: pixels along a side; the stored size must be a multiple.
        volume: cells of the volumes, 32 or 64; 0 for none.
        mirror: mirror half of the pictures, azimuth and all: for categories whose two sides are alike.

    Raises:
        DatasetError: no pictures, or of a size that does not reduce to this one.
    """

    def __init__(self, dataset: Dataset, categories: list[str], size: int, volume: int, mirror: bool) -> None:
        arrays = dataset.names()
        if "rgba" not in arrays or "orm" not in arrays:
            raise DatasetError(
                f"The dataset {dataset.folder} holds no pictures.",
                "Prepare it again in a new folder; --views says how many pictures of each shape there shall be.",
            )
        self.views, self.stored = arrays["rgba"][0][:2]
        if self.stored % size:
            raise DatasetError(
                f"The dataset's pictures have {self.stored} pixels a side, which is no multiple of {size}.",
                "Choose another image_size in the recipe, or prepare the dataset with --image-size.",
            )
        self.dataset, self.size, self.mirror = dataset, size, mirror
        # Shapes without colours of their own would teach that colour to everything.
        self.shapes = [i for i, e in enumerate(dataset.entries) if e.category in categories and e.colored]
        missing = sorted(set(categories) - {dataset.entries[i].category for i in self.shapes})
        if missing:
            raise DatasetError(
                f"{dataset.folder} has no shapes of {', '.join(missing)} whose colours can be trusted.",
                "Prepare some, or leave the category out.",
            )
        self.labels = np.array([categories.index(dataset.entries[i].category) for i in self.shapes])
        grids = [dataset.view(i, f"sdf{volume}") for i in self.shapes] if volume else []
        self.volumes = np.stack(grids) if volume else np.zeros((len(self.shapes), 0, 0, 0), np.float16)

    def draw(self, count: int, generator: np.random.Generator) -> PictureBatch:
        """Random views of random shapes."""
        shapes = generator.integers(len(self.shapes), size=count)
        views = generator.integers(self.views, size=count)
        flip = generator.random(count) < (0.5 if self.mirror else 0.0)
        rgba, orm, cameras = [], [], []
        for shape, view in zip(shapes.tolist(), views.tolist(), strict=True):
            index = self.shapes[shape]
            rgba.append(self.dataset.views(index, "rgba", [view])[0])
            orm.append(self.dataset.views(index, "orm", [view])[0])
            cameras.append(self.dataset.view(index, "cameras")[view])
        image = np.concatenate([np.stack(rgba)[..., :3], np.stack(orm)[..., 1:], np.stack(rgba)[..., 3:]], -1)
        image[flip] = image[flip, :, ::-1]
        pixels = torch.from_numpy(image.astype(np.float32) / 255).permute(0, 3, 1, 2)
        factor = self.stored // self.size
        if factor > 1:  # premultiplied, so that a mean is right at the outline too
            pixels = torch.nn.functional.avg_pool2d(pixels, factor)
        seen = stored_cameras(np.stack(cameras))
        azimuth = torch.where(torch.from_numpy(flip), (2 * math.pi - seen.azimuth), seen.azimuth)
        volumes = np.clip(self.volumes[shapes].astype(np.float32) / TRUNCATION, -1, 1)[:, None]
        return PictureBatch(
            Pictures.over(pixels[:, :5], pixels[:, 5:]),
            dataclasses.replace(seen, azimuth=azimuth, mesh=torch.arange(count)),
            torch.from_numpy(self.labels[shapes]),
            torch.from_numpy(volumes),
        )
