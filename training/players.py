"""The two players of a run of kind "gan": which networks they are, what they need to fit, what moves them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gan3d_core.errors import TrainingError
from gan3d_core.representations import Surfaces, Views

from .bridges import Bridge, Sampler
from .gan_recipe import GanRecipe
from .techniques.conditioning import ProjectionCritic, channels_of


def architecture(recipe: GanRecipe) -> tuple[str, dict[str, Any]]:
    """The generator's architecture and options, with classes where there are several categories.

    Raises:
        TrainingError: several categories, and no latent_size.
    """
    classes = len(recipe.categories)
    if classes == 1:
        return recipe.architecture, recipe.options
    inner = dict(recipe.options)
    if "latent_size" not in inner:
        raise TrainingError("Several categories need options.latent_size, the length of z.", "State it in the recipe.")
    latent_size = inner.pop("latent_size")
    options = {"architecture": recipe.architecture, "options": inner, "latent_size": latent_size, "classes": classes}
    return "conditional", options


def conditioned(recipe: GanRecipe, critic: nn.Module, sampler: Sampler, device: str) -> nn.Module:
    """The critic, told classes where there are several categories."""
    classes = len(recipe.categories)
    if classes == 1:
        return critic
    # How wide its features are is found by showing it something; nothing else of that counts.
    was = sampler.training
    with torch.no_grad():
        asked = torch.zeros(2, sampler.bridge.queries, 4)
        setting = sampler.bridge.setting(2, torch.Generator().manual_seed(0), asked).to(device)
        size = int(sampler.generator.latent_size)  # type: ignore[arg-type]
        seen = sampler.eval()(torch.zeros(2, size, device=device), setting)
    sampler.train(was)
    return ProjectionCritic(critic, classes, channels_of(critic, seen.samples, seen.given)).to(device)


def check(recipe: GanRecipe, generator: nn.Module, critic: nn.Module) -> None:
    """See that a pair fits.

    Raises:
        TrainingError: it does not, and why.
    """
    if not hasattr(generator, "yields"):
        raise TrainingError(
            f"The architecture {recipe.architecture!r} has no shapes to show to a critic.", "Train it by another kind."
        )
    if not hasattr(critic, "consumes"):
        raise TrainingError(
            f"The discriminator {recipe.discriminator!r} judges pictures of textured shapes.",
            "Use multiview here, or kind = rendered.",
        )
    for network, name in ((generator, "resolution"), (critic, "resolution"), (critic, "finest")):
        own = getattr(network, name, recipe.resolution)
        if own != recipe.resolution:
            raise TrainingError(
                f"{type(network).__name__} works at {own}³, the recipe at {recipe.resolution}³.",
                "Give each one more or one fewer channel width: every width doubles the resolution.",
            )
    if recipe.growing and not hasattr(critic, "fade"):
        raise TrainingError(f"The discriminator {recipe.discriminator!r} does not grow.", "Use growing.")
    if recipe.penalty_weight and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in critic.modules()):
        raise TrainingError(
            "The gradient penalty is of each sample, and batch norm mixes samples.", 'Set normalisation = "none".'
        )


def term_weights(recipe: GanRecipe, generator: nn.Module, bridge: Bridge) -> dict[str, float]:
    """The weights of the terms that have a meaning for this pair."""
    if generator.yields is Surfaces:
        return {"roughness": recipe.smoothness_weight} if recipe.smoothness_weight else {}
    sees_surface = bridge.consumes != "volume" and not bridge.queries
    # One camera of several can carve a shape to nothing, and is the only one whose gradient then reaches it.
    may_vanish = sees_surface or generator.yields is Views
    return {"hollowness": recipe.inside_weight} if recipe.inside_weight and may_vanish else {}


def optimiser(recipe: GanRecipe, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """What moves a network's weights."""
    if recipe.optimiser == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), rate)
    return torch.optim.Adam(network.parameters(), rate, (recipe.beta1, recipe.beta2), fused=True)


@torch.no_grad()
def channels_last(network: nn.Module) -> None:
    """Lay out the weights of convolutions so that bfloat16 is fast: the channels of a cell or pixel side by side."""
    for parameter in network.parameters():
        layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(parameter.dim())
        if layout is not None:
            parameter.data = parameter.data.contiguous(memory_format=layout)
