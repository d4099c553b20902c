"""The arguments of `generate`, once for `python -m gan3d_core` and for Blender's own command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from .docstrings import field_docs
from .errors import RecipeError
from .recipe import COMPONENT_RULES, Recipe
from .request import MAX_COUNT, recipes_for

SETTINGS = (
    "texture_seed",
    "truncation",
    "resolution",
    "target_faces",
    "texture_size",
    "smoothing",
    "flattening",
    "components",
    "min_component",
)


def add_generate(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what both command lines share.

    Returns:
        The group "where", for the file formats, in which the two differ.
    """
    what = command.add_argument_group("what")
    what.add_argument("--category", default="", help="take its best installed checkpoint, such as chair")
    what.add_argument("--checkpoint", default="", metavar="ID", help="a checkpoint by its name or its folder")
    what.add_argument("--recipe", type=Path, metavar="FILE", help="start from a recipe that was written beside a shape")
    what.add_argument("--count", type=int, default=1, metavar="N", help=f"how many shapes, 1 … {MAX_COUNT} (1)")
    what.add_argument("--seed", type=int, metavar="S", help="seed of the first; the others follow (0)")
    what.add_argument("--random", action="store_true", help="random seeds instead")
    how = command.add_argument_group("how", "Defaults come from the checkpoint and the recipe.")
    docs = field_docs(Recipe)
    for name in SETTINGS:
        kind = {"int": int, "float": float, "str": str}[str(Recipe.__dataclass_fields__[name].type)]
        choices = COMPONENT_RULES if name == "components" else None
        metavar = None if choices else "N"
        text = docs.get(name, "").replace("%", "%%").replace("`", "")
        how.add_argument("--" + name.replace("_", "-"), type=kind, choices=choices, metavar=metavar, help=text)
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (%(default)s)")
    add_checkpoint_dirs(how)
    where = command.add_argument_group("where")
    where.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder of the files (this one)")
    return where


def add_checkpoint_dirs(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--checkpoints", action="append", default=[], metavar="DIR", help="a folder of checkpoints, may be repeated"
    )


def recipes_of(options: argparse.Namespace) -> list[Recipe]:
    """The recipes that parsed arguments ask for.

    Raises:
        RecipeError: the recipe file cannot be read, or a value is out of range.
        CheckpointError: no such checkpoint, or a broken one.
    """
    base = None
    if options.recipe is not None:
        try:
            base = Recipe.from_json(options.recipe.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"The recipe {options.recipe} cannot be read ({error}).") from None
    return recipes_for(
        category=options.category,
        checkpoint=options.checkpoint,
        base=base,
        count=options.count,
        seed=options.seed,
        random=options.random,
        checkpoint_dirs=options.checkpoints,
        **{name: getattr(options, name) for name in SETTINGS},
    )
