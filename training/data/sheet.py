"""The contact sheet of a dataset: what training will see, not what the files were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from ..rendering.grid_mesh import grid_mesh
from ..rendering.preview import contact_sheet, render
from .grids import Grids
from .store import Dataset


def dataset_sheet(folder: Path, category: str, count: int = 48, size: int = 128) -> Path:
    """Draw evenly chosen shapes from their grids of 64³, or the next there is, coloured by their surface points.

    Returns:
        the picture's path, `sheet-CATEGORY.png` in the dataset's folder.
    """
    data = Dataset(folder, category=category)
    grids = Grids(data, 64)
    chosen = np.linspace(0, len(data) - 1, min(count, len(data))).round().astype(int)
    images, captions = [], []
    for index in chosen:
        vertices, faces = grid_mesh(grids[index])
        tree = cKDTree(data.array(index, "surface")[:, :3].astype(np.float32))
        colours = data.array(index, "material")[:, :3].astype(np.float32) / 255

        def colouring(
            face: np.ndarray, weights: np.ndarray, v=vertices, f=faces, tree=tree, colours=colours
        ) -> np.ndarray:
            return colours[tree.query(np.einsum("nc,nck->nk", weights, v[f[face]]))[1]]

        images.append(render(vertices, faces, colouring, size=size))
        captions.append(Path(data.entries[index].name).stem)
    path = folder / f"sheet-{category}.png"
    contact_sheet(images, path, captions=captions)
    return path
