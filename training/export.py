"""`python -m training.export RUN CHECKPOINT`: make a checkpoint folder of a run's averaged weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from gan3d_core.checkpoints import CheckpointConfig, write_config
from gan3d_core.errors import Gan3DError, TrainingError
from gan3d_core.files import atomic_path, write_text
from gan3d_core.generators.coded import CodedGenerator

from .configuration import fill
from .run_folder import read_run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("run", help="run folder of kind gan, codes, judge, refined or rendered")
    parser.add_argument("checkpoint", help="checkpoint folder to write; its name becomes the checkpoint's identity")
    parser.add_argument("--label", required=True, help="name in menus")
    parser.add_argument("--size", type=float, default=0.93, help="longest side in metres, for generators without one")
    parser.add_argument("--truncation", type=float, default=0.8, help="default truncation")
    parser.add_argument("--resolution", type=int, default=64, help="default field resolution")
    parser.add_argument("--draws", type=int, default=1, help="codes a seed may draw until its shape is one part")
    parser.add_argument("--rank", type=int, default=100, help="order in menus, smallest first")
    parser.add_argument("--category", help="which class of a run of several categories (the first)")
    parser.add_argument("--card", required=True, help="Markdown file that becomes card.md")
    options = parser.parse_args(arguments)
    try:
        card = Path(options.card)
        if not card.is_file():
            raise TrainingError(f"There is no card {card}.", "Write one: data with licences, recipe, seeds, figures.")
        generator, recipe, architecture, prior = load_run(Path(options.run))
        category, own = of_category(architecture, recipe["category"], options.category)
        config = CheckpointConfig(
            label=options.label,
            category=category,
            architecture=architecture[0],
            options=own,
            latent_size=generator.latent_size,  # type: ignore[arg-type]
            prior=prior,
            size_m=options.size,
            weights_sha256="",
            truncation=options.truncation,
            resolution=options.resolution,
            textured=isinstance(generator, CodedGenerator),
            draws=options.draws,
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
    from .train_codes import CodesRecipe, CodesTrainer, assemble, generator_options, load_autoencoder
    from .train_gan import GanRecipe, GanTrainer

    recipe, state = read_run(run)
    if recipe["kind"] == "gan":
        trainer = GanTrainer(fill(GanRecipe, recipe), "cpu")
        trainer.restore(state)
        return trainer.average.eval(), recipe, trainer.architecture, recipe["prior"]
    if recipe["kind"] == "codes":
        settings = fill(CodesRecipe, recipe)
        autoencoder = load_autoencoder(Path(settings.autoencoder), "cpu")
        attributes = state.get("attributes", ())
        options = generator_options(autoencoder)
        codes = CodesTrainer(settings, autoencoder.recipe.architecture, options, attributes=attributes)
        codes.restore(state)
        return assemble(autoencoder, codes), recipe, (codes.architecture, codes.options), "normal"
    if recipe["kind"] == "judge":
        from .train_judge import JudgeRecipe, JudgeTrainer

        own = fill(JudgeRecipe, recipe)
        drawer, _, (name, plain) = load_codes(Path(own.codes), "codes")
        judged = JudgeTrainer(own, drawer)
        judged.restore(state)
        return judged.finished(), recipe, (name, {**plain, "judged": True}), "normal"
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
        f"A run of kind {recipe['kind']!r} has no generator to ship.",
        "Name a gan, codes, judge, refined or rendered run.",
    )


def load_codes(run: Path, setting: str) -> tuple[CodedGenerator, dict[str, Any], tuple[str, dict[str, Any]]]:
    """The averaged generator of a codes run, the run's recipe as plain data, and (architecture, options).

    Args:
        run: its folder.
        setting: what names it in the recipe that needs it.

    Raises:
        TrainingError: no run, or one of another kind.
    """
    generator, recipe, architecture, _ = load_run(run)
    if recipe["kind"] != "codes":
        raise TrainingError(f"{run} is a run of kind {recipe['kind']!r}.", f"Name a codes run: --set {setting}=RUN.")
    assert isinstance(generator, CodedGenerator)
    return generator, recipe, architecture


def of_category(
    architecture: tuple[str, dict[str, Any]], trained: str, wanted: str | None
) -> tuple[str, dict[str, Any]]:
    """The category that a checkpoint is of, and the generator's options for it: a checkpoint makes one category.

    Raises:
        TrainingError: the run was not trained on that category.
    """
    categories = [part.strip() for part in trained.split(",")]
    category = wanted or categories[0]
    if category not in categories:
        raise TrainingError(f"The run has no category {category!r}.", f"It has {', '.join(categories)}.")
    name, options = architecture
    return category, {**options, "label": categories.index(category)} if name == "conditional" else options


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
