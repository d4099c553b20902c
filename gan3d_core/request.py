"""From what a person asks for (a category or checkpoint, a seed, a count) to the recipes of the shapes.

The panel, the command line and Blender's own command all ask through this, so they mean the same by the same words.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from typing import Any

from . import checkpoints
from .errors import RecipeError
from .recipe import LIMITS, Recipe

MAX_COUNT = 256
"""Most shapes of one request."""
SEEDS = int(LIMITS["seed"][1]) + 1


def random_seed() -> int:
    """A seed from the operating system's source of chance."""
    return secrets.randbelow(SEEDS)


def seeds_for(count: int, seed: int = 0, *, random: bool = False) -> list[int]:
    """The seeds of a request: `seed`, `seed` + 1, … (after the largest comes 0), or different random ones.

    Raises:
        RecipeError: count or seed out of range.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_COUNT:
        raise RecipeError(f"count must lie between 1 and {MAX_COUNT}, not {count!r}.")
    if random:
        chosen: dict[int, None] = {}
        while len(chosen) < count:
            chosen[random_seed()] = None
        return list(chosen)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS:
        raise RecipeError(f"seed must lie between 0 and {SEEDS - 1}, not {seed!r}.")
    return [(seed + offset) % SEEDS for offset in range(count)]


def recipes_for(
    *,
    category: str = "",
    checkpoint: str = "",
    base: Recipe | None = None,
    count: int = 1,
    seed: int | None = None,
    random: bool = False,
    checkpoint_dirs: Iterable[str | os.PathLike[str]] = (),
    **settings: Any,
) -> list[Recipe]:
    """The recipes of one request.

    Args:
        category: takes its best installed checkpoint. Not used where `checkpoint` is given.
        checkpoint: its identity, or a path to its folder.
        base: a recipe to start from. Its checkpoint and hash hold unless one of the above is given.
        count: how many shapes, 1 … `MAX_COUNT`.
        seed: of the first, see `seeds_for`; None = the base's, or 0.
        random: take random seeds instead.
        checkpoint_dirs: folders of checkpoints beyond the shipped ones.
        settings: further fields of `Recipe`; None = the base's, or the default, which for truncation and resolution
            is the checkpoint's own.

    Raises:
        CheckpointError: no such checkpoint, or a broken one.
        RecipeError: a value out of range, an unknown field, or nothing that says what to generate.
    """
    given = {field: value for field, value in settings.items() if value is not None}
    unknown = sorted(set(given) - set(Recipe.__dataclass_fields__))
    if unknown:
        raise RecipeError(f"A recipe has no {', '.join(unknown)}.")
    if checkpoint or category:
        folders = list(checkpoint_dirs)
        found = checkpoints.find(checkpoint, folders) if checkpoint else checkpoints.default_for(category, folders)
        # A folder given by its path is named by it in the recipe too, or it could not be found again.
        name = found.id if found.id == checkpoint or not checkpoint else str(found.path.resolve())
        if base is None:
            first = Recipe(name, truncation=found.config.truncation, resolution=found.config.resolution)
        else:
            first = base.replace(checkpoint=name, checkpoint_hash="", attempt=-1)
    elif base is not None:
        first = base
    else:
        raise RecipeError("Neither a category nor a checkpoint was named.", "Choose what to generate.")
    first = first.replace(**given)
    return [first.of_seed(each) for each in seeds_for(count, first.seed if seed is None else seed, random=random)]
