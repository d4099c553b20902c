"""Every figure of one checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gan3d_core import drawing, generators
from gan3d_core.checkpoints import Checkpoint
from gan3d_core.errors import EmptyShapeError
from gan3d_core.generators import Generator

from ..metrics.frechet import frechet_distance
from ..metrics.kernel_distance import kernel_distance
from ..metrics.memorising import QUANTILE, memorising
from ..metrics.path_length import STEPS, path_length, walk
from ..metrics.point_sets import POINTS
from ..metrics.precision_recall import NEIGHBOURS, precision_recall, within
from ..metrics.surface_grids import RESOLUTION, surface_distances, surface_grids
from ..progress import ProgressLine
from . import painted
from .painted import LOOSE, PaintedMesh, from_field
from .references import DRAWS, FEWEST, References

SEED_STEP = 1_000_000
"""Sets of samples begin at multiples of this, far from the seeds that people try."""
WALKS = 20
"""Walks between samples of each set at most: each is ten shapes, and they take longest."""
BATCH = 16


@dataclasses.dataclass
class Samples:
    """One set of samples."""

    codes: np.ndarray
    """(N, latent)."""
    meshes: list[PaintedMesh | None]
    """None where a code's field has no surface."""

    @property
    def solid(self) -> list[PaintedMesh]:
        return [mesh for mesh in self.meshes if mesh is not None]


@dataclasses.dataclass
class Judged:
    """A checkpoint's figures, and what the report shows of it."""

    checkpoint: Checkpoint
    truncation: float
    figures: dict[str, Any]
    samples: Samples
    """The first set."""
    nearest: np.ndarray
    """(N,) row of `References.compared` that is nearest to each solid sample of the first set."""
    nearest_distance: np.ndarray
    """(N,) their squared Chamfer distances between surfaces."""
    generator: Generator


def judge(checkpoint: Checkpoint, references: References, truncation: float, sets: int, device: str) -> Judged:
    """Measure a checkpoint.

    Args:
        references: of its category.
        truncation: of the samples' codes, 0 … 1.
        sets: independent sets of as many samples as there are references.
        device: of the generator.

    Raises:
        EmptyShapeError: hardly any sample has a surface.
    """
    generator: Generator = generators.load(checkpoint, device)  # type: ignore[assignment]
    count, config = len(references), checkpoint.config
    progress = ProgressLine(checkpoint.id, sets * count)
    drawn = []
    for number in range(sets):
        seeds = range(SEED_STEP * (number + 1), SEED_STEP * (number + 1) + count)
        codes = drawing.codes(generator, config, seeds, truncation)
        meshes = []
        for mesh in decode(generator, codes, config.size_m):
            meshes.append(mesh)
            progress.update(number * count + len(meshes))
        drawn.append(Samples(codes, meshes))
    progress.close()
    fewest = min(len(one.solid) for one in drawn)
    if fewest < FEWEST:
        raise EmptyShapeError(
            f"Only {fewest} of {count} samples of {checkpoint.id!r} at truncation {truncation} have a surface.",
            f"{FEWEST} are the fewest that can be judged. Raise --count, or try another truncation.",
        )

    coloured = all(mesh.colours is not None for one in drawn for mesh in one.solid) and references.has_colours()
    looks = ("plain", "coloured") if coloured else ("plain",)
    own = looks[-1]
    seen = {look: [references.see(one.meshes, look) for one in drawn] for look in looks}
    to_training = []
    copying = []
    for one in drawn:
        grids = surface_grids([mesh.dense() for mesh in one.solid])
        to_training.append(surface_distances(grids, references.training_grids))
        copying.append(
            memorising(
                to_training[-1],
                references.held_to_training,
                references.among_training,
                surface_distances(grids, grids),
                references.among_held,
            )
        )

    half = min(count // 2, WALKS)
    walks, between = [], []
    for number, one in enumerate(drawn):
        ends = seen[own][number][:half], seen[own][number][half : 2 * half]
        first, second = one.codes[:half], one.codes[half : 2 * half]
        passed = _Passed(generator, config.size_m, references, own)
        walks.append(path_length(passed, first, second, ends, config.prior, STEPS, number))
        between.append(passed.figures())

    geometry = [references.geometry(np.stack([mesh.cloud(1) for mesh in one.solid])) for one in drawn]
    figures: dict[str, Any] = {
        "checkpoint": checkpoint.id,
        "hash": checkpoint.hash,
        "category": config.category,
        "truncation": truncation,
        "samples_in_a_set": count,
        "sets": sets,
        "empty_samples": sum(count - len(one.solid) for one in drawn),
        "protocol": f"chamfer-squared, {POINTS} points, longest side 1, {count} samples, {count} held-out references; "
        + painted.PROTOCOL,
        "samples": spread([dataclasses.asdict(one) for one in geometry]),
        "floor_training_set": spread([dataclasses.asdict(one) for one in references.floor_geometry]),
        "pieces": {
            "protocol": f"whole: no more than {LOOSE:.0%} of the volume is outside the largest part",
            "samples": spread([_pieces(one.solid) for one in drawn]),
            "floor_training_set": spread([_pieces(one.meshes) for one in references.draws]),
        },
        "renders": {
            "protocol": f"features: {references.features.name}, {references.features.channels}; "
            f"{references.views.protocol}; {painted.PROTOCOL}; {count} samples, {count} held-out references; Fréchet "
            f"and kernel distance over all views, precision and recall over shapes, k = {NEIGHBOURS}",
        }
        | {look: _looks(seen[look], drawn, references, look) for look in looks},
        "memorising": {
            "protocol": f"squared chamfer distance between surfaces, longest side 1, grids of {RESOLUTION}³, "
            f"{len(references.compared)} training shapes; near is below the {QUANTILE:.0%} quantile of training "
            "shapes' distances to their nearest other one",
            "samples": spread([dataclasses.asdict(one) for one in copying]),
        },
        "path_length": {
            "protocol": f"walks between samples ({'arcs' if config.prior == 'normal' else 'lines'}), {STEPS} steps, "
            f"{half} walks, features and views as above, {own}",
            "samples": spread([dataclasses.asdict(one) for one in walks]),
        },
        "between": {
            "protocol": f"the {2 * half} shapes from which the path length is measured, two of each walk; whole and "
            f"precision ({own}) as of samples, and a shape without a surface is neither",
            "samples": spread(between),
        },
    }
    return Judged(checkpoint, truncation, figures, drawn[0], to_training[0].argmin(1), to_training[0].min(1), generator)


class _Passed:
    """Features of codes on walks, for `path_length`; and what figures their shapes have.

    A generator can draw good samples and nothing good between them: then its z is a list of shapes, and no slider.
    """

    def __init__(self, generator: Generator, size_m: float, references: References, look: str) -> None:
        self._generator, self._size_m, self._references, self._look = generator, size_m, references, look
        self._meshes: list[PaintedMesh | None] = []
        self._seen: list[np.ndarray] = []

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        meshes = list(decode(self._generator, codes, self._size_m))
        self._meshes += meshes
        self._seen.append(self._references.see(meshes, self._look))
        return self._seen[-1]

    def figures(self) -> dict[str, float]:
        there = np.array([mesh is not None for mesh in self._meshes])
        if not there.any():
            return {"whole": 0.0, "precision": 0.0}
        real, made = self._references.held_features(self._look), np.concatenate(self._seen)[there]
        share = float(there.mean())
        return {
            "whole": share * _pieces([mesh for mesh in self._meshes if mesh is not None])["whole"],
            "precision": share * within(real.reshape(len(real), -1), made.reshape(len(made), -1)),
        }


def decode(
    generator: Generator, codes: np.ndarray, size_m: float, resolution: int | None = None
) -> Iterator[PaintedMesh | None]:
    """The meshes of codes, one by one."""
    for start in range(0, len(codes), BATCH):
        for field in generator.fields(codes[start : start + BATCH], size_m):
            yield from_field(field, resolution)


def interpolations(judged: Judged, rows: int, steps: int) -> list[list[PaintedMesh | None]]:
    """`rows` walks between neighbouring samples of the first set, ends included."""
    config, codes = judged.checkpoint.config, judged.samples.codes
    share = np.linspace(0, 1, steps)
    out = []
    for row in range(min(rows, len(codes) // 2)):
        first, second = (np.repeat(codes[2 * row + i : 2 * row + i + 1], steps, axis=0) for i in (0, 1))
        out.append(list(decode(judged.generator, walk(first, second, share, config.prior), config.size_m)))
    return out


def other_surfaces(judged: Judged, rows: int, surfaces: int) -> list[list[PaintedMesh | None]]:
    """The first `rows` samples of the first set, each with its own surface and then those of its next neighbours;
    nothing where a checkpoint has no code for the surface alone."""
    config, codes = judged.checkpoint.config, judged.samples.codes
    if not config.texture_latent:
        return []
    out = []
    for row in range(min(rows, len(codes))):
        dressed = np.repeat(codes[row : row + 1], surfaces, axis=0)
        lent = codes[(row + np.arange(surfaces)) % len(codes), -config.texture_latent :]
        dressed[:, -config.texture_latent :] = lent
        out.append(list(decode(judged.generator, dressed, config.size_m)))
    return out


def spread(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of every figure."""
    return {
        key: {
            "mean": round(float(np.mean([row[key] for row in rows])), 6),
            "std": round(float(np.std([row[key] for row in rows])), 6),
        }
        for key in rows[0]
    }


def _pieces(meshes: Sequence[PaintedMesh]) -> dict[str, float]:
    loose = np.array([mesh.loose_share() for mesh in meshes])
    return {"whole": float((loose <= LOOSE).mean()), "one": float((loose < 1e-6).mean())}


def _looks(seen: list[np.ndarray], drawn: list[Samples], references: References, look: str) -> dict[str, Any]:
    """Figures of one look, of the samples and of the floor."""
    real = references.held_features(look)
    solid = [features[[mesh is not None for mesh in one.meshes]] for features, one in zip(seen, drawn, strict=True)]
    floors = [references.draw_features(look, number) for number in range(DRAWS)]
    return {
        "samples": spread([_render_figures(real, made) for made in solid]),
        "floor_training_set": spread([_render_figures(real, made) for made in floors]),
    }


def _render_figures(real: np.ndarray, made: np.ndarray) -> dict[str, float]:
    """Of features (N, V, D) and (M, V, D)."""
    channels = real.shape[-1]
    found = precision_recall(real.reshape(len(real), -1), made.reshape(len(made), -1))
    return {
        "frechet": frechet_distance(real.reshape(-1, channels), made.reshape(-1, channels)),
        "kernel": kernel_distance(real, made),
        **dataclasses.asdict(found),
    }
