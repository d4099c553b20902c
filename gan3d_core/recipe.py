"""A recipe is everything that makes a shape again.

It is stored on the Blender object, spoken over the worker's pipe and written beside command-line results. It is JSON,
versioned, and strict: an unknown field or a value out of range raises `RecipeError` before any work begins.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from .errors import RecipeError

VERSION = 3
"""1 had no `attempt`, and is read: there a seed was its first code, whole or not. Neither had 2 `flattening`."""
COMPONENT_RULES = ("largest", "floaters", "all")

# name → (smallest, largest), inclusive. The panel's sliders and the command line read their limits here.
LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "texture_seed": (-1, 2**31 - 1),
    "attempt": (-1, 63),
    "truncation": (0.0, 1.0),
    "resolution": (16, 256),
    "smoothing": (0, 50),
    "flattening": (0, 50),
    "target_faces": (100, 500_000),
    "texture_size": (64, 4096),
    "min_component": (0.0, 1.0),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of one generated shape."""

    checkpoint: str
    """Identity of the checkpoint: the name of its folder, as `checkpoints.find` resolves it."""
    seed: int = 0
    """Seed of the latent code, 0 … 2³¹−1. One seed, one code, on every machine (`latent.draw`)."""
    texture_seed: int = -1
    """The surface of another seed on this seed's shape, 0 … 2³¹−1; −1 = this seed's own surface. For checkpoints whose
    code has a part for the texture."""
    attempt: int = -1
    """Which of the seed's codes, 0 … 63; −1 = the first that makes a whole shape, if the checkpoint looks for one
    (`drawing.choose`)."""
    truncation: float = 0.8
    """How far codes may stray from the mean of the prior: 0 = the mean shape, 1 = the whole prior."""
    resolution: int = 64
    """Field samples along each axis, 16 … 256. A volumetric generator is resampled from its own resolution."""
    components: str = "largest"
    """Which connected parts stay: `largest`, `floaters` (drop those below `min_component`), `all`."""
    min_component: float = 0.02
    """Smallest kept part, as a share of the largest part's enclosed volume, 0 … 1."""
    smoothing: int = 8
    """Taubin smoothing iterations (shrink-free), 0 … 50."""
    flattening: int = 10
    """Iterations of bilateral normal filtering, 0 … 50: dents go, and edges become sharp. It reaches a few faces
    far, and so flattens more where faces are few and large."""
    target_faces: int = 8000
    """Decimate to at most this many triangles, 100 … 500,000."""
    texture_size: int = 1024
    """Side of the square texture images in pixels, 64 … 4096."""
    checkpoint_hash: str = ""
    """First 16 hex digits of the weights' SHA-256; empty = whichever weights that checkpoint has now."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            expected: type = {"int": int, "float": float, "str": str}[str(field.type)]
            if expected is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
                object.__setattr__(self, field.name, value)
            if not isinstance(value, expected) or isinstance(value, bool):
                raise RecipeError(f"{field.name} must be of type {field.type}, not {value!r}.")
            if field.name in LIMITS:
                low, high = LIMITS[field.name]
                if not low <= getattr(self, field.name) <= high:  # also catches NaN
                    raise RecipeError(f"{field.name} must lie between {low:g} and {high:g}, not {value!r}.")
        if not self.checkpoint:
            raise RecipeError("checkpoint must not be empty.", "Name one of the installed checkpoints.")
        if self.components not in COMPONENT_RULES:
            raise RecipeError(f"components must be one of {', '.join(COMPONENT_RULES)}, not {self.components!r}.")

    def replace(self, **changes: Any) -> Recipe:
        return dataclasses.replace(self, **changes)

    def of_seed(self, seed: int) -> Recipe:
        """The same settings for a seed; which of its codes is left open if it is another one."""
        return self if seed == self.seed else self.replace(seed=seed, attempt=-1)

    @property
    def file_stem(self) -> str:
        """Name of a shape's files without their suffix."""
        texture = f"-texture-{self.texture_seed}" if self.texture_seed >= 0 else ""
        return f"{Path(self.checkpoint).name}-{self.seed}{texture}"

    def to_dict(self) -> dict[str, Any]:
        return {"version": VERSION, **dataclasses.asdict(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)

    @staticmethod
    def from_dict(data: Any) -> Recipe:
        if not isinstance(data, dict):
            raise RecipeError("A recipe must be a JSON object.")
        data = dict(data)
        version = data.pop("version", None)
        if version not in (1, 2, VERSION):
            raise RecipeError(
                f"The recipe has version {version!r}; this GAN3D reads versions 1 to {VERSION}.",
                "Update GAN3D, or generate the shape again.",
            )
        if version == 1:
            data.setdefault("attempt", 0)
        if version < VERSION:
            data.setdefault("flattening", 0)
        known = {field.name for field in dataclasses.fields(Recipe)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise RecipeError(f"The recipe has unknown fields: {', '.join(unknown)}.")
        if "checkpoint" not in data:
            raise RecipeError("The recipe names no checkpoint.")
        return Recipe(**data)

    @staticmethod
    def from_json(text: str) -> Recipe:
        try:
            data = json.loads(text)
        except ValueError as error:
            raise RecipeError(f"The recipe is not valid JSON ({error}).") from None
        return Recipe.from_dict(data)
