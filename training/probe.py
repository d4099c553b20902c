"""`python -m training.probe RUN DATASET`: how well a critic's features tell categories apart that it was never told.

A linear support vector machine learns them from the features of training shapes and is judged on held-out ones
(validation and test). The critic's run needs to be of kind "gan"; the dataset needs two or more categories.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan3d_core.errors import DatasetError, Gan3DError, TrainingError

from .configuration import fill
from .data.store import Dataset
from .gan_recipe import GanRecipe
from .probes.features import critic_features
from .probes.svm import LinearSVM
from .real_shapes import RealShapes, Records
from .run_folder import read_run
from .train_gan import GanTrainer

BATCH = 16


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.probe", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run of kind gan")
    parser.add_argument("dataset", type=Path, help="folder made by python -m training.prepare, of several categories")
    parser.add_argument("--cost", type=float, default=0.01, help="C of the support vector machine (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        figures = probe(options.run, options.dataset, options.cost)
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


def probe(run: Path, dataset: Path, cost: float = 0.01) -> dict[str, Any]:
    """Judge the critic of a run.

    Returns:
        accuracy on held-out shapes, that of always naming the commonest category, and the accuracy of each category.

    Raises:
        TrainingError: no such run.
        DatasetError: a single category, or one without training or held-out shapes.
    """
    trainer = load_trainer(run)
    data = Dataset(dataset)
    categories = sorted({entry.category for entry in data.entries})
    if len(categories) < 2:
        raise DatasetError(f"{dataset} has one category alone.", "Prepare shapes of two or more.")
    records = Records.needed(data, trainer.generator, trainer.bridge, trainer.recipe.resolution, categories)
    training = np.array([entry.split == "train" for entry in data.entries])
    for rows, name in ((training, "training"), (~training, "held-out")):
        missing = [one for index, one in enumerate(categories) if index not in records.labels[rows]]
        if missing:
            raise DatasetError(f"There are no {name} shapes of {', '.join(missing)}.", "Prepare more shapes.")
    train, train_labels = features_of(trainer, records, training)
    held, held_labels = features_of(trainer, records, ~training)
    middle, size = train.mean(0), train.std(0)
    size[size < 1e-6 * max(size.max(), 1e-12)] = np.inf  # what never changes tells nothing
    machine = LinearSVM.fit((train - middle) / size, train_labels, cost)
    found = machine.classify((held - middle) / size)
    return {
        "protocol": f"linear SVM, squared hinge, C = {cost:g}, {train.shape[1]} features of the critic's last layers, "
        f"{len(train)} training shapes, {len(held)} held-out shapes",
        "accuracy": round(float((found == held_labels).mean()), 4),
        "commonest": round(float((held_labels == np.bincount(train_labels).argmax()).mean()), 4),
        "by_category": {
            name: round(float((found[held_labels == index] == index).mean()), 4)
            for index, name in enumerate(categories)
        },
    }


def load_trainer(run: Path) -> GanTrainer:
    """The networks of a run where its snapshot stands, on the CPU.

    Raises:
        TrainingError: no run of kind gan with a snapshot.
    """
    recipe, state = read_run(run)
    if recipe.get("kind") != "gan":
        raise TrainingError(f"A run of kind {recipe.get('kind')!r} has no critic of shapes.", "Name a run of kind gan.")
    trainer = GanTrainer(fill(GanRecipe, recipe), "cpu")
    trainer.restore(state)
    return trainer


def features_of(trainer: GanTrainer, records: Records, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and labels (N,) of some of the shapes, shown to the critic as in training but never mirrored.

    Args:
        chosen: (S,) which of the records.
    """
    some = Records(*(getattr(records, field.name)[chosen] for field in dataclasses.fields(records)))
    shapes = RealShapes(some, trainer.generator, trainer.bridge, mirror=False)
    settings = trainer.bridge.setting(len(some), torch.Generator().manual_seed(0))
    critic = trainer.plain_critic.eval()
    rows, labels = [], []
    for start in range(0, len(some), BATCH):
        share = slice(start, start + BATCH)
        # The same order each time, of which this is the share.
        drawn = shapes.draw(len(some), np.random.default_rng(0), share)
        seen = trainer.bridge(drawn.shapes, settings[share].asked(drawn.queries))
        rows.append(critic_features(critic, seen.samples, seen.given).numpy())
        labels.append(drawn.labels.numpy())
    return np.concatenate(rows).astype(np.float64), np.concatenate(labels)


if __name__ == "__main__":
    sys.exit(main())
