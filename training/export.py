"""`python -m training.export RUN CHECKPOINT`: make a checkpoint folder of a run's averaged weights."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from gan3d_core.checkpoints import CheckpointConfig, write_config
from gan3d_core.errors import Gan3DError, TrainingError
from gan3d_core.files import atomic_path, write_text

from .configuration import fill


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("run", help="run folder of kind gan, codes or rendered")
    parser.add_argument("checkpoint", help="checkpoint folder to write; its name becomes the checkpoint's identity")
    parser.add_argument("--label", required=True, help="name in menus")
    parser.add_argument("--size", type=float, default=0.93, help="longest side in metres, for generators without one")
    parser.add_argument("--truncation", type=float, default=0.8, help="default truncation")
    parser.add_argument("--resolution", type=int, default=64, help="default field resolution")
    parser.add_argument("--rank", type=int, default=100, help="order in menus, smallest first")
    parser.add_argument("--card", required=True, help="Markdown file that becomes card.md")
    options = parser.parse_args(arguments)
    try:
        card = Path(options.card)
        if not card.is_file():
            raise TrainingError(f"There is no card {card}.", "Write one: data with licences, recipe, seeds, figures.")
        generator, recipe, architecture, prior = load_run(Path(options.run))
        config = CheckpointConfig(
            label=options.label,
            category=recipe["category"],
            architecture=architecture[0],
            options=architecture[1],
            latent_size=generator.latent_size,  # type: ignore[arg-type]
            prior=prior,
            size_m=options.size,
            weights_sha256="",
            truncation=options.truncation,
            resolution=options.resolution,
            textured=architecture[0] == "textured",
            rank=options.rank,
        )
        export(generator, config, card.read_text("utf-8"), Path(options.checkpoint))
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def load_run(run: Path) -> tuple[nn.Module, dict[str, Any], tuple[str, dict[str, Any]], str]:
    """The averaged generator of a run.

    Returns:
        generator, recipe as plain data, (architecture, options), prior.

    Raises:
        TrainingError: no run, or one of a kind without a generator of its own.
    """
    from .train_codes import CodesRecipe, CodesTrainer, assemble, load_autoencoder
    from .train_gan import GanRecipe, GanTrainer

    try:
        recipe = json.loads((run / "recipe.json").read_text("utf-8"))
        state = torch.load(run / "snapshot.pt", map_location="cpu", weights_only=True)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{run} holds no run with a snapshot ({error}).", "Name a run folder.") from None
    if recipe["kind"] == "gan":
        trainer = GanTrainer(fill(GanRecipe, recipe), "cpu")
        trainer.restore(state)
        return trainer.average.eval(), recipe, (recipe["architecture"], recipe["options"]), recipe["prior"]
    if recipe["kind"] == "codes":
        settings = fill(CodesRecipe, recipe)
        autoencoder = load_autoencoder(Path(settings.autoencoder), "cpu")
        codes = CodesTrainer(settings, autoencoder.recipe.options)
        codes.restore(state)
        return assemble(autoencoder, codes), recipe, ("textured", codes.options), "normal"
    if recipe["kind"] == "rendered":
        from .train_rendered import RenderedRecipe, RenderedTrainer

        rendered = RenderedTrainer(fill(RenderedRecipe, recipe), "cpu", begin=False)
        rendered.restore(state)
        return rendered.average.eval(), recipe, ("textured", rendered.options), "normal"
    if recipe["kind"] == "refined":
        from .train_refined import RefinedRecipe, RefinedTrainer

        refined = RefinedTrainer(fill(RefinedRecipe, recipe), "cpu")
        refined.restore(state)
        return refined.average.eval(), recipe, ("textured", recipe["options"]), "normal"
    raise TrainingError(
        f"A run of kind {recipe['kind']!r} has no generator to ship.", "Name a gan, codes, refined or rendered run."
    )


def export(generator: nn.Module, config: CheckpointConfig, card: str, folder: Path) -> None:
    """Write weights (16-bit), configuration and card."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in generator.state_dict().items()
    }
    with atomic_path(folder / "weights.safetensors") as temporary:
        save_file(weights, temporary)
    write_text(folder / "card.md", card)
    write_config(folder, config)


if __name__ == "__main__":
    sys.exit(main())
