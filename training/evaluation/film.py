"""Interpolation as a film: several walks side by side, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gan3d_core.files import atomic_path

FRAME_MS = 80


def write_film(walks: Sequence[Sequence[np.ndarray]], path: Path) -> None:
    """Write an animated WebP that repeats for ever.

    Args:
        walks: for each walk its frames (S, S, 3) uint8, as many in each; they are shown in a row.
        path: of the .webp.
    """
    frames = [Image.fromarray(np.concatenate(side_by_side, axis=1)) for side_by_side in zip(*walks, strict=True)]
    there_and_back = frames + frames[-2:0:-1]
    with atomic_path(path) as temporary:
        there_and_back[0].save(
            temporary,
            save_all=True,
            append_images=there_and_back[1:],
            duration=FRAME_MS,
            loop=0,
            quality=80,
            method=4,
        )
