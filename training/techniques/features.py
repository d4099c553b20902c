"""The activations inside a critic, taken from outside: for feature matching, conditioning and probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from gan3d_core.errors import TrainingError


def feature_layers(critic: nn.Module) -> list[nn.Module]:
    """The layers whose outputs are a critic's features, from fine to coarse, as it names them itself.

    Raises:
        TrainingError: it names none.
    """
    layers = getattr(critic, "feature_layers", None)
    if not layers:
        raise TrainingError(
            f"{type(critic).__name__} names no feature_layers.", "Choose a discriminator that does, or leave this out."
        )
    return list(layers)


@contextmanager
def tapped(layers: Sequence[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Collect the outputs of layers while a network runs, in the order in which they are made.

    with tapped(feature_layers(critic)) as features:
        critic(samples)
    """
    outputs: list[torch.Tensor] = []
    handles = [layer.register_forward_hook(lambda _module, _given, out: outputs.append(out)) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
