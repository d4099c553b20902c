"""Which code a seed stands for, where a checkpoint may draw more than once for it.

A generator's samples are not all whole: a bar may end in the air. Drawing again until a sample passes is rejection
sampling; S. Azadi et al. (Discriminator Rejection Sampling, ICLR 2019) let the critic decide. Ours does not know whole
chairs from broken ones, as tried; a judge that is trained afterwards does (`generators.judge`). Much can be seen
besides: a whole chair is one part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from scipy import ndimage

from . import latent
from .field import EXTENT

if TYPE_CHECKING:
    from .checkpoints import CheckpointConfig
    from .field import Field
    from .generators import Generator

LOOKED_AT = 64
"""Cells along each axis in which loose parts are looked for."""
SHORT = 0.1
"""By what share a shape may be smaller than all training shapes before something seems to be missing."""
Flaws = tuple[float, float, float]
"""What is loose or missing, what was loose before mending, what the judge doubts: the first counts most."""
_TOUCHING = np.ones((3, 3, 3), bool)


@runtime_checkable
class Judged(Protocol):
    """A field that a generator drew, looked at, and may have mended."""

    loose_before: float
    """See `loose_share`, of what it was before."""
    doubt: float
    """How far its judge would rather not show it; 0 for none."""


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What a seed stands for."""

    code: np.ndarray
    """(latent_size,) float32."""
    attempt: int
    """Which of the seed's codes it is, from 0."""
    field: Field


def loose_share(values: np.ndarray) -> float:
    """The share of the inside that is not part of the largest connected part.

    Args:
        values: (R, R, R), negative inside. Cells touch by faces, edges and corners.

    Returns:
        0 for one part, towards 1 for many; 1 where nothing is inside.
    """
    parts, count = ndimage.label(values < 0, _TOUCHING)
    if not count:
        return 1.0
    sizes = np.bincount(parts.ravel())[1:]
    return 1.0 - float(sizes.max()) / float(sizes.sum())


def missing_share(values: np.ndarray) -> float:
    """By what share a shape's longest side falls short of that of every training shape, 0 if hardly.

    All are made as large as the cube allows: what is smaller is a part, as a seat whose legs are not there.

    Args:
        values: (R, R, R), negative inside.
    """
    inside = values < 0
    spans = [np.flatnonzero(inside.any(other)) for other in ((1, 2), (0, 2), (0, 1))]
    longest = max((float(span[-1] - span[0] + 1) if len(span) else 0.0) for span in spans) * 2.0 / len(values)
    short = 1.0 - longest / (2.0 * EXTENT)
    return short if short > SHORT else 0.0


def choose(
    generator: Generator,
    config: CheckpointConfig,
    code_of: Callable[[int], np.ndarray],
    progress: Callable[[float], None] = lambda _: None,
) -> Drawn:
    """Of the codes of a seed the first whose shape its judge lets pass and that is one part, and all of it; of
    `config.draws` with flaws that with the least.

    A generator that mends its shapes says what was loose before: a bar whose other half was mended away ends in the
    air. So a shape that needed no mending comes first.

    Args:
        code_of: attempt → code.
        progress: told the share of the attempts that is over; what it raises passes through.
    """
    best: tuple[Flaws, Drawn] | None = None
    doubted: list[Drawn] = []

    def flawless(drawn: Drawn) -> bool:
        nonlocal best
        values = drawn.field.values(LOOKED_AT)
        flaws = loose_share(values) + missing_share(values), *said(drawn.field)
        if best is None or flaws < best[0]:
            best = flaws, drawn
        return not any(flaws[:2])

    for attempt in range(config.draws):
        code = code_of(attempt)
        drawn = Drawn(code, attempt, generator.fields(code[None], config.size_m)[0])
        if config.draws == 1:
            return drawn
        if said(drawn.field)[1]:  # most are; they are looked at if nothing better comes
            doubted.append(drawn)
        elif flawless(drawn):
            return drawn
        progress((attempt + 1) / config.draws)
    for drawn in sorted(doubted, key=lambda one: said(one.field)[1]):
        if flawless(drawn):
            break
    assert best is not None
    return best[1]


def said(field: Field) -> tuple[float, float]:
    """What a generator says of a field that it drew: what was loose before it was mended, and its judge's doubt."""
    return (field.loose_before, field.doubt) if isinstance(field, Judged) else (0.0, 0.0)


def of_seed(generator: Generator, config: CheckpointConfig, seed: int, truncation: float) -> Drawn:
    """What an artist would get for a seed."""

    def code_of(attempt: int) -> np.ndarray:
        return latent.draw(seed, config.latent_size, config.prior, truncation, attempt)

    return choose(generator, config, code_of)


def codes(generator: Generator, config: CheckpointConfig, seeds: Sequence[int], truncation: float) -> np.ndarray:
    """The codes of seeds, (N, latent_size) float32, chosen as for an artist."""
    if config.draws == 1:  # there is no choice, and no field is asked for
        return np.stack([latent.draw(seed, config.latent_size, config.prior, truncation) for seed in seeds])
    return np.stack([of_seed(generator, config, seed, truncation).code for seed in seeds])
