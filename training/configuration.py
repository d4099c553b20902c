"""Recipes of training: dataclasses filled from a TOML file, overridden from the command line, checked, and printed."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from gan3d_core.errors import TrainingError

RECIPES = Path(__file__).parent / "recipes"

T = TypeVar("T")


def read_toml(name: str) -> dict[str, Any]:
    """A recipe by the name of a file in `training/recipes`, or by path.

    Raises:
        TrainingError: none of that name, or one that is no TOML.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError:
        there = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise TrainingError(
            f"There is no recipe {name!r}.", f"Recipes: {there}; or the path of a .toml file."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"The recipe {path} is no valid TOML ({error}).", "Correct that line.") from None


def override(data: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Apply `key=value` and `table.key=value`, the value as TOML (a bare word counts as a string).

    Raises:
        TrainingError: an assignment without `=`.
    """
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign or not key:
            raise TrainingError(f"{assignment!r} is no override.", "Write key=value.")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        target = data
        *tables, last = key.split(".")
        for table in tables:
            target = target.setdefault(table, {})
            if not isinstance(target, dict):
                raise TrainingError(f"{key!r} names a table that is a value.", "Correct the override.")
        target[last] = value
    return data


def fill(cls: type[T], data: dict[str, Any]) -> T:
    """Make the dataclass `cls` of `data`, strictly.

    Raises:
        TrainingError: unknown or missing fields, or values of a wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise TrainingError(
            f"The recipe has unknown fields: {', '.join(unknown)}.", f"Known are {', '.join(sorted(fields))}."
        )
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "str": (str,), "bool": (bool,)}
    values = {}
    for name, field in fields.items():
        if name not in data:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise TrainingError(f"The recipe lacks {name!r}.", "Add it to the TOML file or the command line.")
            continue
        value = data[name]
        kind = kinds.get(str(field.type).split(" |")[0])
        if kind and (not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind)):
            raise TrainingError(f"The recipe's {name} must be of type {field.type}, not {value!r}.", "Correct it.")
        if str(field.type) == "list[int]" and not (isinstance(value, list) and all(type(v) is int for v in value)):
            raise TrainingError(f"The recipe's {name} must be a list of whole numbers, not {value!r}.", "Correct it.")
        values[name] = float(value) if kind and float in kind else value
    return cls(**values)


def defaults(cls: type) -> dict[str, Any]:
    """What a recipe's fields are where nothing is said, as plain data: what a recipe from before a field means."""
    found = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return json.loads(json.dumps(found))  # tuples are lists in a file


def best_device(wanted: str = "auto") -> str:
    """`cuda`, `mps` or `cpu`.

    Raises:
        TrainingError: a device that this machine or this torch does not have.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(wanted.split(":")[0], False):
        raise TrainingError(f"The device {wanted!r} is not available.", "Use auto, or one of this machine's devices.")
    return wanted
