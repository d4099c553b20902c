"""What is small enough to be trained on, and trained, in a test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

TEXTURED: dict[str, Any] = {
    "latent_size": 12,
    "texture_latent": 4,
    "geometry_code": 8,
    "texture_code": 4,
    "channels": [8, 8, 8, 8],
    "texture_channels": [8, 8, 8],
    "head_width": 16,
    "mapping_width": 16,
}

LATENT_VOLUME: dict[str, Any] = {
    "latent_size": 12,
    "texture_latent": 4,
    "cells": 8,
    "code_channels": 2,
    "texture_code": 4,
    "widths": [16, 8, 8],
    "drawer_widths": [8],
    "head_width": 16,
    "mapping_width": 16,
    "palette": 0,
}


class Balls:
    """A dataset of balls in memory, as far as `AutoencoderData` asks: the upper half is red, the lower one green; of
    those that are `half_baked` the lower half is black."""

    def __init__(self, radii: list[float], half_baked: tuple[int, ...] = (), count: int = 400) -> None:
        random = np.random.default_rng(0)
        axis = (np.arange(64) + 0.5) / 32 - 1
        centre = np.sqrt((np.stack(np.meshgrid(axis, axis, axis, indexing="ij")) ** 2).sum(0))
        normal = random.normal(size=(len(radii), count, 3))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        radius = np.array(radii)[:, None, None]
        material = np.full((len(radii), count, 5), 128, np.uint8)
        for row, up in enumerate(normal[..., 2] > 0):
            below = (0, 0, 0) if row in half_baked else (0, 200, 0)
            material[row, :, :3] = np.where(up[:, None], (200, 0, 0), below)
        free = random.uniform(-1, 1, (len(radii), count, 3))
        distance = np.linalg.norm(free, axis=-1, keepdims=True) - radius
        self.arrays = {
            "sdf64": (centre - radius[..., None]).astype(np.float16),
            "near": np.concatenate([normal * radius, np.zeros_like(distance)], -1).astype(np.float16),
            "volume": np.concatenate([free, distance], -1).astype(np.float16),
            "surface": np.concatenate([normal * radius, normal], -1).astype(np.float16),
            "material": material,
        }
        self.entries = [
            SimpleNamespace(size_m=r, colored=True, labels={"kind": "big" if r > 0.5 else "small"}) for r in radii
        ]

    def stack(self, name: str) -> np.ndarray:
        return self.arrays[name].copy()
