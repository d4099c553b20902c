"""What can be varied while training, exactly and at no cost in records: left and right, and the palette."""

from __future__ import annotations

import numpy as np

from gan3d_core.errors import DatasetError

from .palette import PaletteShift


def mirrored(name: str, array: np.ndarray) -> np.ndarray:
    """An array of a record as it would be of the mirrored shape.

    Args:
        name: as in the record: `sdfR`, `near`, `volume`, `surface` or `material`.
        array: of one shape, or of several along leading axes.

    Raises:
        DatasetError: pictures: their cameras would have to be mirrored too; `prepare --augment` draws them anew.
    """
    if name.startswith("sdf"):
        return array[..., ::-1, :, :]  # cell centres lie symmetric about x = 0
    if name in ("near", "volume", "surface"):
        signs = np.ones(array.shape[-1], array.dtype)
        signs[0] = -1
        if name == "surface":
            signs[3] = -1  # (x, y, z, nx, ny, nz)
        return array * signs
    if name == "material":
        return array
    raise DatasetError(f"{name!r} is not mirrored while training.", "Use `prepare --augment` for mirrored pictures.")


def shifted(material: np.ndarray, palette: PaletteShift) -> np.ndarray:
    """A record's `material` (..., 5) uint8 in other colours; roughness and metallic stay."""
    out = material.copy()
    out[..., :3] = np.rint(palette(material[..., :3].astype(np.float32) / 255) * 255)
    return out
