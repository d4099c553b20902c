"""What somebody should know before training on a dataset, worst first."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np

from ..data.oklab import luminance
from ..data.store import SPLITS, Dataset
from .duplicates import Pair
from .measures import Measures

FEW = 5
"""Fewer held-out shapes than this tell nothing."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One sentence, how grave it is, and which shapes it is about."""

    level: str
    """`bad`, `warn` or `note`."""
    text: str
    shapes: tuple[int, ...] = ()


def findings(data: Dataset, measures: Measures, pairs: list[Pair], skipped: list[dict[str, str]]) -> list[Finding]:
    """Everything found, worst first."""
    found = [*_splits(data), *_duplicates(data, pairs), *_materials(data, measures), *_surfaces(data, measures)]
    found += _sources(data, skipped)
    return sorted(found, key=lambda finding: ("bad", "warn", "note").index(finding.level))


def _splits(data: Dataset) -> list[Finding]:
    counts = collections.Counter((entry.category, entry.split) for entry in data.entries)
    found = []
    for category in sorted({entry.category for entry in data.entries}):
        none = [split for split in SPLITS if counts[category, split] == 0]
        if none:
            found.append(Finding("bad", f"The category {category} has no shape for {' and '.join(none)}."))
        few = [split for split in SPLITS if split != "train" and 0 < counts[category, split] < FEW]
        if few:
            shapes = " and ".join(f"{counts[category, split]} for {split}" for split in few)
            found.append(Finding("warn", f"The category {category} has only {shapes}: too few for figures."))
    return found


def _duplicates(data: Dataset, pairs: list[Pair]) -> list[Finding]:
    crossing = [pair for pair in pairs if pair.crosses(data)]
    found = []
    if crossing:
        text = f"{_many(len(crossing), 'pair')} of near-duplicates lie in different splits: evaluation sees training."
        found.append(Finding("bad", text.replace("pair of near-duplicates lie", "pair of near-duplicates lies")))
    inside = len(pairs) - len(crossing)
    if inside:
        found.append(Finding("note", f"{_many(inside, 'pair')} of near-duplicates within one split."))
    return found


def _materials(data: Dataset, measures: Measures) -> list[Finding]:
    trusted = np.array([entry.colored for entry in data.entries])
    light = luminance(measures.colour)  # (N, P)
    black_metal = ((measures.metallic > 0.5) & (light < 0.01)).mean(axis=1)
    red, green, blue = np.moveaxis(measures.colour, -1, 0)
    magenta = ((red > 0.85) & (green < 0.15) & (blue > 0.85)).mean(axis=1)
    found = []
    for level, mask, text in (
        (
            "warn",
            ~trusted,
            "without colours to be trusted (a texture is missing, or the file has none): drawn plain here",
        ),
        ("warn", trusted & (magenta > 0.1), "with the magenta of a missing texture on over 10 % of the surface"),
        ("warn", trusted & (black_metal > 0.1), "with black metal on over 10 % of the surface"),
        ("warn", trusted & (np.median(light, axis=1) < 0.004), "black on over half of the surface"),
    ):
        shapes = np.flatnonzero(mask)
        if len(shapes):
            found.append(Finding(level, f"{_shapes(shapes, len(data))} {text}.", tuple(shapes.tolist())))
    return found


def _surfaces(data: Dataset, measures: Measures) -> list[Finding]:
    found = []
    thin = np.array([entry.thin_share for entry in data.entries])
    shapes = np.flatnonzero(thin > 0.3)
    shapes = shapes[np.argsort(-thin[shapes], kind="stable")]
    if len(shapes):
        text = f"{_shapes(shapes, len(data))} thickened on over 30 % of the surface."
        found.append(Finding("note", text, tuple(shapes.tolist())))
    longest = measures.sides_m.max(axis=1)
    for category in sorted({entry.category for entry in data.entries}):
        of_it = np.array([entry.category == category for entry in data.entries])
        middle = np.median(longest[of_it])
        ratio = np.abs(np.log(longest / middle))
        shapes = np.flatnonzero(of_it & (ratio > np.log(4)))
        shapes = shapes[np.argsort(-ratio[shapes], kind="stable")]
        if len(shapes):
            text = (
                f"{_shapes(shapes, int(of_it.sum()))} of the category {category} over four times larger or smaller "
                f"than its median of {middle:.2f} m: are the files in other units?"
            )
            found.append(Finding("warn", text, tuple(shapes.tolist())))
    return found


def _sources(data: Dataset, skipped: list[dict[str, str]]) -> list[Finding]:
    found = []
    if skipped:
        found.append(Finding("warn", f"{_many(len(skipped), 'file')} could not be used; reasons are below."))
    unknown = [e for e in data.entries if "unknown" in (e.licence.lower(), e.author.lower())]
    if unknown:
        text = f"{_shapes(unknown, len(data))} without a stated licence or author: may you train on them?"
        found.append(Finding("note", text))
    return found


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _shapes(some: object, total: int) -> str:
    count = len(some)  # type: ignore[arg-type]
    if total == 1:
        return "The only shape"
    return f"All {total:,} shapes" if count == total else f"{count:,} of {total:,} shapes"
