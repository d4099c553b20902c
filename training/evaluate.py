"""`python -m training.evaluate CHECKPOINT DATASET OUT`: judge a checkpoint against held-out shapes.

Writes `metrics.json`, a sheet of samples, one of the same number of held-out shapes, one of interpolations, and one of
samples beside their nearest training shapes. Protocol: 2,048 surface points per shape, longest side 1, squared Chamfer
distance; as many samples as references; floors are the training set against the same references.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gan3d_core import checkpoints, generators, latent
from gan3d_core.checkpoints import Checkpoint
from gan3d_core.errors import DatasetError, Gan3DError
from gan3d_core.field import Field
from gan3d_core.files import write_text

from .data.distance import sample_surface
from .data.store import Dataset
from .metrics.point_sets import POINTS, distance_matrix, normalise, scores
from .progress import ProgressLine
from .rendering.grid_mesh import grid_mesh
from .rendering.preview import contact_sheet
from .sheets import draw_field, field_sheet


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="identity of an installed checkpoint, or a checkpoint folder")
    parser.add_argument("dataset", help="folder made by python -m training.prepare")
    parser.add_argument("out", help="folder for the figures and sheets")
    parser.add_argument("--truncation", type=float, help="default: the checkpoint's")
    parser.add_argument("--seeds", type=int, default=3, help="independent sets of samples")
    parser.add_argument("--count", type=int, default=100, help="samples in a set, and references at most")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    try:
        checkpoint = checkpoints.find(options.checkpoint)
        figures = evaluate(
            checkpoint,
            Path(options.dataset),
            Path(options.out),
            checkpoint.config.truncation if options.truncation is None else options.truncation,
            options.seeds,
            options.count,
            options.device,
        )
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


def evaluate(
    checkpoint: Checkpoint, dataset: Path, out: Path, truncation: float, seeds: int, count: int, device: str
) -> dict[str, object]:
    """Measure a checkpoint, write the report's files to `out`, and return its figures."""
    generator = generators.load(checkpoint, device)
    config = checkpoint.config
    references = held_out(dataset, config.category, count)
    count = len(references)
    training = Dataset(dataset, "train", config.category)

    def sample(number: int) -> list[Field]:
        first = 1_000_000 * (number + 1)  # far from the seeds that people try
        codes = [latent.draw(first + i, config.latent_size, config.prior, truncation) for i in range(count)]
        return list(generator.fields(np.stack(codes), config.size_m))  # type: ignore[operator]

    real = np.stack([cloud(mesh, 0) for mesh in references])
    within = distance_matrix(real)
    rows = []
    empty = 0
    progress = ProgressLine("Sets", seeds + 3)
    for number in range(seeds):
        clouds = []
        for index, field in enumerate(sample(number)):
            mesh = grid_mesh(field.values(64))
            if len(mesh[1]):
                clouds.append(cloud(mesh, index))
            else:
                empty += 1
        made = np.stack(clouds)
        rows.append(dataclasses.asdict(scores(distance_matrix(made), within, distance_matrix(made, real))))
        progress.update(number + 1, force=True)

    # Floors: real training shapes in place of samples.
    floors = []
    for number in range(3):
        chosen = np.random.default_rng(number).choice(len(training), count, replace=len(training) < count)
        drawn = np.stack([cloud(grid_mesh(training.array(i, "sdf64").astype(np.float32)), 1) for i in chosen])
        floors.append(dataclasses.asdict(scores(distance_matrix(drawn), within, distance_matrix(drawn, real))))
        progress.update(seeds + number + 1, force=True)
    progress.close()
    figures: dict[str, object] = {
        "checkpoint": checkpoint.id,
        "hash": checkpoint.hash,
        "protocol": f"chamfer-squared, {POINTS} points, longest side 1, {count} samples, {count} held-out references",
        "truncation": truncation,
        "empty_samples": empty,
        "samples": spread(rows),
        "floor_training_set": spread(floors),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "metrics.json", json.dumps(figures, indent=2) + "\n")
    write_sheets(generator, checkpoint, training, sample(0), out, truncation)
    return figures


def held_out(dataset: Path, category: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Meshes of up to `count` shapes that were not trained on."""
    meshes = []
    for split in ("test", "validation"):
        try:
            data = Dataset(dataset, split, category)
        except DatasetError:
            continue
        meshes += [grid_mesh(data.array(i, "sdf64").astype(np.float32)) for i in range(len(data))]
    if len(meshes) < 2:
        raise DatasetError(f"{dataset} has fewer than two held-out shapes of category {category!r}.")
    return meshes[:count]


def cloud(mesh: tuple[np.ndarray, np.ndarray], seed: int) -> np.ndarray:
    """(POINTS, 3) points of a mesh, normalised."""
    points, _, _, _ = sample_surface(*mesh, count=POINTS, seed=seed)
    return normalise(points)


def spread(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of every figure."""
    return {
        key: {
            "mean": round(float(np.mean([row[key] for row in rows])), 6),
            "std": round(float(np.std([row[key] for row in rows])), 6),
        }
        for key in rows[0]
    }


def write_sheets(
    generator: object, checkpoint: Checkpoint, training: Dataset, samples: list[Field], out: Path, truncation: float
) -> None:
    """Samples; interpolations; samples beside their nearest training shapes."""
    config = checkpoint.config
    field_sheet(samples[:32], out / "samples.png")
    rows = []
    for row in range(4):
        a, b = (latent.draw(77 + 2 * row + i, config.latent_size, config.prior, truncation) for i in (0, 1))
        rows += [a + (b - a) * share for share in np.linspace(0, 1, 8, dtype=np.float32)]
    field_sheet(generator.fields(np.stack(rows), config.size_m), out / "interpolation.png")  # type: ignore[attr-defined]
    # Nearest by the field itself: cheap, and what memorising would copy.
    grids = training.stack("sdf64")
    images = []
    for field in samples[:16]:
        values = np.clip(field.values(64), -0.05, 0.05)
        gaps = [np.abs(np.clip(grid.astype(np.float32), -0.05, 0.05) - values).mean() for grid in grids]
        nearest = int(np.argmin(gaps))
        images += [draw_field(field), draw_field(_GridField(grids[nearest].astype(np.float32)))]
    contact_sheet(images, out / "nearest.png", columns=8)


@dataclasses.dataclass
class _GridField:
    grid: np.ndarray
    size_m: float = 1.0

    def values(self, resolution: int) -> np.ndarray:
        return self.grid

    def materials(self, points: np.ndarray) -> None:
        return None


if __name__ == "__main__":
    sys.exit(main())
