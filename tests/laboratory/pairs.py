"""Every kind of generator and of critic, small enough to be trained in a test, and a few shapes to train them on."""

from __future__ import annotations

from typing import Any

import numpy as np
from solids import box_distance, sphere, sphere_distance, torus, torus_distance

from gan3d_core.field import lattice
from training.data.distance import sample_surface
from training.gan_recipe import GanRecipe
from training.real_shapes import Records

RESOLUTION = 16
GENERATORS: dict[str, dict[str, Any]] = {
    "threedgan": {"latent_size": 4, "channels": [8, 4]},
    "implicit": {"latent_size": 4, "width": 16, "layers": [2, 2], "start_radius": 0.5},
    "patch": {"latent_size": 4, "charts": 3, "widths": [8, 8], "points": 4},
    "mesh": {"latent_size": 4, "channels": [8, 4], "coarsest": 0},
    "multiview": {"latent_size": 4, "channels": [8, 4]},
}
CRITICS: dict[str, dict[str, Any]] = {
    "volumetric": {"channels": [4, 8], "normalisation": "none"},
    "points": {"channels": [8, 16], "dense": [8]},
    "multiview": {"channels": [4, 4, 8], "width": 8},
    "graph": {"channels": [8, 8], "neighbours": 4, "dense": 8},
}


def pair(architecture: str, discriminator: str, /, **changes: Any) -> GanRecipe:
    """A recipe of two steps of two shapes."""
    settings: dict[str, Any] = {
        "kind": "gan",
        "category": "solid",
        "architecture": architecture,
        "options": GENERATORS[architecture],
        "discriminator": discriminator,
        "discriminator_options": CRITICS[discriminator],
        "prior": "normal",
        "resolution": RESOLUTION,
        "points": 64,
        "views": 1,
        "steps": 2,
        "batch": 2,
        "generator_rate": 1e-3,
        "critic_rate": 1e-3,
        "accuracy_gate": 1.0,
        "threads": 1,
    }
    return GanRecipe(**{**settings, **changes})


def records(resolution: int = RESOLUTION) -> Records:
    """A sphere, a torus and a box."""
    points = lattice(resolution)
    low, high = (-0.6, -0.4, -0.8), (0.6, 0.4, 0.8)
    distances = [sphere_distance(points), torus_distance(points), box_distance(points, low, high)]
    surfaces = []
    for mesh in (sphere(), torus(), sphere(0.5)):
        place, _, _, normal = sample_surface(*mesh, count=512)
        surfaces.append(np.concatenate([place, normal], 1))
    queries = np.random.default_rng(0).uniform(-1, 1, (256, 3)).astype(np.float32)
    known = [sphere_distance(queries), torus_distance(queries), box_distance(queries, low, high)]
    return Records(
        np.stack(distances).reshape(3, resolution, resolution, resolution).astype(np.float16),
        np.stack(surfaces).astype(np.float16),
        np.stack([np.column_stack([queries, each]) for each in known]).astype(np.float16),
        np.zeros(3, np.int64),
    )
