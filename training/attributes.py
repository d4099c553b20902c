"""What a dataset's labels say of its shapes, as `gan3d_core.generators.attributes` is told it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from gan3d_core.errors import TrainingError

from .data.store import Entry

Specification = Sequence[tuple[str, Sequence[str]]]
"""Names of attributes with their values."""
MOST_VALUES = 32
"""A label of more words than this names shapes and does not sort them."""


@dataclasses.dataclass(frozen=True)
class Labels:
    """Of N shapes."""

    attributes: list[tuple[str, list[str]]]
    conditions: torch.Tensor
    """(N, C), for each attribute a one for its value, or zeros for all where a shape has none of them."""

    def kinds(self) -> torch.Tensor:
        """(N,) which value of the first attribute each shape has, counted from 1, or 0."""
        own = self.conditions[:, : len(self.attributes[0][1])]
        return torch.where(own.any(1), own.argmax(1) + 1, 0)


def read_labels(entries: Sequence[Entry], names: Sequence[str], known: Specification | None = None) -> Labels | None:
    """Labels of a dataset's shapes.

    Args:
        entries: the shapes.
        names: of labels, or of parameters of a shape's factory.
        known: what a run that goes on was told: values that have come since are nothing to it.

    Returns:
        None without names.

    Raises:
        TrainingError: no shape has a label, or it is neither words nor yes and no.
    """
    if not names:
        return None
    before = dict(known or ())
    found = {name: [_find(entry, name) for entry in entries] for name in names}
    attributes = [(name, list(before.get(name) or _values(name, own))) for name, own in found.items()]
    words = {name: [_word(value) for value in own] for name, own in found.items()}
    columns = [[float(word == one) for word in words[name]] for name, values in attributes for one in values]
    return Labels(attributes, torch.tensor(columns).T.contiguous())


def _find(entry: Entry, name: str) -> Any:
    parameters = entry.labels.get("params")
    return entry.labels.get(name, parameters.get(name) if isinstance(parameters, dict) else None)


def _word(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else None


def _values(name: str, found: list[Any]) -> list[str]:
    """The values of an attribute, in order."""
    some = [value for value in found if value is not None]
    if not some:
        raise TrainingError(
            f"No shape has a label {name!r}.",
            "Choose attributes among the labels of the dataset, or none: --set attributes=[].",
        )
    words = sorted({word for word in map(_word, some) if word is not None})
    if len(words) > MOST_VALUES or any(_word(value) is None for value in some):
        raise TrainingError(
            f"The label {name!r} does not sort shapes: it has numbers, or {len(words)} different words.",
            f"Attributes are yes and no, or up to {MOST_VALUES} words.",
        )
    return words
