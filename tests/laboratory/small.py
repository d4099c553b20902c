"""Options of a textured generator that is small enough to be trained in a test."""

from __future__ import annotations

from typing import Any

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
