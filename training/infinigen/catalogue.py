"""Which of Infinigen's factories make which category, and which seeds may be used."""

from __future__ import annotations

import dataclasses
import random

from gan3d_core.errors import DatasetError

EVALUATION_SEED = 100_000
"""Seeds from here on are kept for evaluation: whatever is trained on them is measured on its own training set."""


@dataclasses.dataclass(frozen=True)
class Kind:
    name: str
    factory: str
    """`module:Class` below `infinigen.assets.objects`."""
    weight: float


CATALOGUE = {
    "chair": (
        Kind("Chair", "seating.chairs:ChairFactory", 0.86),
        Kind("BarChair", "seating.chairs:BarChairFactory", 0.08),
        Kind("OfficeChair", "seating.chairs:OfficeChairFactory", 0.06),
    ),
    "table": (
        Kind("TableDining", "tables:TableDiningFactory", 0.3),
        Kind("CoffeeTable", "tables:CoffeeTableFactory", 0.25),
        Kind("SideTable", "tables:SideTableFactory", 0.2),
        Kind("TableCocktail", "tables:TableCocktailFactory", 0.25),
    ),
    "lamp": (
        Kind("FloorLamp", "lamp:FloorLampFactory", 0.5),
        Kind("DeskLamp", "lamp:DeskLampFactory", 0.5),
    ),
    "sofa": (
        Kind("Sofa", "seating.sofa:SofaFactory", 0.6),
        Kind("ArmChair", "seating.sofa:ArmChairFactory", 0.4),
    ),
}


def kind_of(category: str, seed: int) -> Kind:
    """The kind that a seed of a category is: the same one every time, in the shares of the catalogue."""
    kinds = CATALOGUE[category]
    # A string seeds by its SHA-512, the same in every Python.
    return random.Random(f"{category}/{seed}").choices(kinds, [kind.weight for kind in kinds])[0]


def check_seeds(first: int, count: int, evaluation: bool) -> None:
    """Keep the seeds of evaluation apart.

    Raises:
        DatasetError: seeds on both sides of the line, or on the wrong one.
    """
    if first < 0 or count < 1:
        raise DatasetError(f"{count} shapes from seed {first} cannot be made.", "Name a count from 1, a seed from 0.")
    if not evaluation and first + count > EVALUATION_SEED:
        raise DatasetError(
            f"Seeds {first} to {first + count - 1} reach into those from {EVALUATION_SEED} on, which are kept for "
            "evaluation.",
            "Choose a lower --first-seed, or pass --evaluation-seeds for a set that nothing is ever trained on.",
        )
    if evaluation and first < EVALUATION_SEED:
        raise DatasetError(
            f"Seed {first} is not one of those kept for evaluation.",
            f"With --evaluation-seeds, --first-seed is {EVALUATION_SEED} or more.",
        )
