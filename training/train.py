"""`python -m training.train RECIPE DATASET RUN`: train a generator, or go on with a run.

With `torchrun --nproc-per-node N -m training.train …` N processes share every batch of a run of kind "gan".
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from gan3d_core.errors import Gan3DError, TrainingError

from .configuration import best_device, fill, override, read_toml


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        data = override(read_toml(options.recipe), options.set)
        kind = data.get("kind")
        if kind not in KINDS:
            raise TrainingError(f"The recipe's kind is {kind!r}.", f"Kinds: {', '.join(sorted(KINDS))}.")
        cls, run = KINDS[kind]
        recipe: Any = fill(cls, data)
        device = best_device(options.device)
        if kind != "gan" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise TrainingError(f"A run of kind {kind!r} is one process.", "Start it without torchrun.")
        if os.environ.get("RANK", "0") == "0":
            sys.stdout.write(json.dumps({"device": device, **dataclasses.asdict(recipe)}, indent=2) + "\n")
            sys.stdout.flush()
        if not options.dry_run:
            run(recipe, Path(options.dataset), Path(options.run), device)
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped; the snapshot is saved and the same command goes on from it.\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="name of a recipe in training/recipes, or path of a .toml file")
    parser.add_argument("dataset", help="folder made by python -m training.prepare")
    parser.add_argument("run", help="folder for snapshots, metrics and sheets; one that is there is gone on with")
    parser.add_argument(
        "--set", nargs="*", action="extend", default=[], metavar="KEY=VALUE", help="override fields of the recipe"
    )
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved recipe and stop")
    return parser


def _autoencoder(recipe: Any, dataset: Path, run: Path, device: str) -> None:
    from .train_autoencoder import train_autoencoder

    train_autoencoder(recipe, dataset, run, device)


def _gan(recipe: Any, dataset: Path, run: Path, device: str) -> None:
    from .train_gan import train_gan

    train_gan(recipe, dataset, run, device)


def _codes(recipe: Any, dataset: Path, run: Path, device: str) -> None:
    from .train_codes import train_codes

    train_codes(recipe, dataset, run, device)


def _judge(recipe: Any, dataset: Path, run: Path, device: str) -> None:
    from .train_judge import train_judge

    train_judge(recipe, dataset, run, device)


def _refined(recipe: Any, dataset: Path, run: Path, device: str) -> None:
    from .train_refined import train_refined

    train_refined(recipe, dataset, run, device)


def _rendered(recipe: Any, dataset: Path, run: Path, device: str) -> None:
    from .train_rendered import train_rendered

    train_rendered(recipe, dataset, run, device)


def _kinds() -> dict[str, tuple[type, Any]]:
    from .train_autoencoder import AutoencoderRecipe
    from .train_codes import CodesRecipe
    from .train_gan import GanRecipe
    from .train_judge import JudgeRecipe
    from .train_refined import RefinedRecipe
    from .train_rendered import RenderedRecipe

    return {
        "autoencoder": (AutoencoderRecipe, _autoencoder),
        "codes": (CodesRecipe, _codes),
        "gan": (GanRecipe, _gan),
        "judge": (JudgeRecipe, _judge),
        "refined": (RefinedRecipe, _refined),
        "rendered": (RenderedRecipe, _rendered),
    }


KINDS = _kinds()

if __name__ == "__main__":
    sys.exit(main())
