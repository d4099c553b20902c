"""Small pictures of a dataset's shapes, drawn from what training will see: the grid and its surface points."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial import cKDTree

from ..data.grids import Grids
from ..data.store import Dataset
from ..rendering.grid_mesh import grid_mesh
from ..rendering.preview import CAMERA, Camera, render
from .markup import Markup, data_uri, element

SIZE = 176


class Pictures:
    """Draws shapes when they are first asked for.

    Args:
        data: the dataset.
        size: pixels on a side.
    """

    def __init__(self, data: Dataset, size: int = SIZE) -> None:
        self.data, self.size, self._grids = data, size, Grids(data, 64)
        self._made: dict[int, str] = {}

    def address(self, index: int) -> str:
        """The picture of one shape as a data address, transparent around it."""
        if index not in self._made:
            self._made[index] = data_uri(self._draw(index))
        return self._made[index]

    def _draw(self, index: int) -> np.ndarray:
        vertices, faces = grid_mesh(self._grids[index])
        if len(faces) == 0:
            return np.zeros((self.size, self.size, 4), np.uint8)
        tree = cKDTree(self.data.array(index, "surface")[:, :3].astype(np.float32))
        colours = self.data.array(index, "material")[:, :3].astype(np.float32) / 255

        def colouring(face: np.ndarray, weights: np.ndarray) -> np.ndarray:
            at = np.einsum("nc,nck->nk", weights, vertices[faces[face]])
            return colours[tree.query(at)[1]]

        camera = dataclasses.replace(CAMERA, half_width=max(1.0, 1.04 * _reach(vertices, CAMERA)))
        trusted = self.data.entries[index].colored
        return render(vertices, faces, colouring if trusted else None, camera, size=self.size, alpha=True)

    def figure(self, index: int, caption: object = None, note: str = "") -> Markup:
        """The picture with a caption under it (the shape's name if None) and a tooltip."""
        entry = self.data.entries[index]
        tip = f"{entry.name} · {entry.split} · {entry.size_m:.2f} m · {entry.faces:,} faces"
        picture = element("img", src=self.address(index), alt=entry.name, width=self.size, height=self.size)
        name = short_name(entry.name) if caption is None else caption
        return element("figure", picture, element("figcaption", name), title=tip + (f" · {note}" if note else ""))


def _reach(vertices: np.ndarray, camera: Camera) -> float:
    """Half the width of the view that a shape needs: large ones are drawn smaller rather than cut."""
    azimuth, elevation = np.radians(camera.azimuth), np.radians(camera.elevation)
    across = vertices @ np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    back = vertices @ np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    upward = vertices[:, 2] * np.cos(elevation) + back * np.sin(elevation)
    return float(max(np.abs(across).max(), np.abs(upward).max()))


def short_name(name: str) -> str:
    """The part of a path that people call the shape by: the file's name less its suffix."""
    stem = name.rsplit("/", 1)[-1]
    return stem.rsplit(".", 1)[0] + ("#" + stem.rsplit("#", 1)[1] if "#" in stem else "")
