"""A plan: groups of entries, each a recipe of kind "gan" with some settings overridden.

    about = "Small networks, the same for all."
    set = ["batch=8"]                       # of every entry

    [groups.critics]
    about = "The same decoder before different critics."
    set = ["options.channels=[64, 32, 8]"]  # of every entry of the group, after those above

    [groups.critics.entries]
    volumetric = { recipe = "chair-3dgan-cpu" }
    points = { recipe = "chair-3dgan-cpu", set = ["discriminator=points", "discriminator_options={}"] }

Settings are written as for `--set` of `training.train`. A recipe is named as there; a relative path of a `.toml` is
taken from the plan's folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

from gan3d_core.errors import Gan3DError, TrainingError

from ..configuration import defaults, fill, override, read_toml
from ..gan_recipe import GanRecipe

NEVER = 10**9
SNAPSHOT_EVERY = 50


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of a table."""

    name: str
    recipe: str
    """The recipe's name."""
    settings: tuple[str, ...]
    """What was overridden, in order."""
    resolved: GanRecipe
    """Of seed 0, drawn and saved as all runs of a comparison are."""

    @property
    def run(self) -> str:
        """Name of its runs: equal for entries of equal recipes, which are trained once. What is as it is by default has
        no part in it, so that fields which come later leave names as they are."""
        plain = defaults(GanRecipe)
        data = {k: v for k, v in dataclasses.asdict(self.resolved).items() if k not in plain or v != plain[k]}
        digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.resolved.architecture}-{self.resolved.discriminator}-{self.resolved.objective}-{digest}"


@dataclasses.dataclass(frozen=True)
class Group:
    """One table."""

    name: str
    about: str
    entries: tuple[Entry, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is compared."""

    name: str
    about: str
    groups: tuple[Group, ...]

    @property
    def runs(self) -> dict[str, Entry]:
        """An entry for each run, by the run's name, in the order of the plan."""
        found: dict[str, Entry] = {}
        for group in self.groups:
            for entry in group.entries:
                found.setdefault(entry.run, entry)
        return found

    @property
    def category(self) -> str:
        return self.groups[0].entries[0].resolved.category


def read_plan(path: Path) -> Plan:
    """Read a plan strictly.

    Raises:
        TrainingError: no such file, no TOML, unknown keys, no entries, a recipe that does not resolve or is not of kind
            "gan", or entries of different or of several categories.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TrainingError(f"The plan {path} cannot be read ({error.strerror}).", "Name a .toml file.") from None
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"The plan {path} is no valid TOML ({error}).", "Correct that line.") from None
    _known(data, {"about", "set", "groups"}, "The plan")
    groups = []
    for name, table in _tables(data.get("groups"), "groups").items():
        _known(table, {"about", "set", "entries"}, f"Group {name!r}")
        common = [*_settings(data, "The plan"), *_settings(table, f"Group {name!r}")]
        entries = [
            _entry(each, of_it, common, path.parent, name)
            for each, of_it in _tables(table.get("entries"), f"groups.{name}.entries").items()
        ]
        groups.append(Group(name, str(table.get("about", "")), tuple(entries)))
    categories = sorted({entry.resolved.category for group in groups for entry in group.entries})
    if len(categories) > 1 or "," in categories[0]:
        raise TrainingError(
            f"A comparison is of one category, not of {', '.join(categories)}.", "Set category alike in every entry."
        )
    return Plan(path.stem, str(data.get("about", "")), tuple(groups))


def _entry(name: str, table: dict[str, Any], common: list[str], folder: Path, group: str) -> Entry:
    where = f"Entry {name!r} of {group!r}"
    _known(table, {"recipe", "set"}, where)
    recipe = table.get("recipe")
    if not isinstance(recipe, str):
        raise TrainingError(f"{where} names no recipe.", 'Write recipe = "NAME".')
    settings = [*common, *_settings(table, where)]
    source = str(folder / recipe) if recipe.endswith(".toml") else recipe
    try:
        data = override(read_toml(source), settings)
        if data.get("kind") != "gan":
            raise TrainingError(f"The recipe {recipe!r} is of kind {data.get('kind')!r}.", "Only kind gan is compared.")
        resolved = fill(GanRecipe, {**data, "seed": 0, "sheet_every": NEVER, "snapshot_every": SNAPSHOT_EVERY})
    except Gan3DError as error:
        raise TrainingError(f"{where}: {error.message}", error.hint) from None
    return Entry(name, recipe, tuple(settings), resolved)


def _tables(value: Any, name: str) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not value or not all(isinstance(each, dict) for each in value.values()):
        raise TrainingError(f"The plan has no tables under {name!r}.", "See training/plans for an example.")
    return value


def _settings(table: dict[str, Any], where: str) -> list[str]:
    settings = table.get("set", [])
    if not isinstance(settings, list) or not all(isinstance(one, str) for one in settings):
        raise TrainingError(f"{where} has a set that is no list of strings.", 'Write set = ["key=value"].')
    return settings


def _known(table: dict[str, Any], names: set[str], where: str) -> None:
    unknown = sorted(set(table) - names)
    if unknown:
        raise TrainingError(
            f"{where} has unknown keys: {', '.join(unknown)}.", f"Known are {', '.join(sorted(names))}."
        )
