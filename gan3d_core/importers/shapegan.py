"""Generators of shapegan: M. Kleineberg, M. Fey, F. Weichert: Adversarial Generation of Continuous Implicit Shape
Representations, Eurographics 2020 (short papers).

Theirs: [p, z] → 4 linear layers of 256 with ReLU → [features, p, z] → 4 more → tanh; z of 128 from N(0, 1); shapes in
[−1, 1]³ within a sphere of radius 1.1, +Y up, −Z front as in ShapeNet. It is our implicit generator but for axes and
scale, which are folded into the columns of the two layers that read p.
"""

from __future__ import annotations

import torch

from ..field import EXTENT
from . import Converted
from .state import expect

LATENT, WIDTH, SPHERE = 128, 256, 1.1

# p of theirs = AXES p of ours: their x is our −x, their up (y) our z, their back (z) our y. A rotation.
AXES = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])

_WIDTHS = {
    "layers1": (3 + LATENT, WIDTH, WIDTH, WIDTH, WIDTH),
    "layers2": (WIDTH + 3 + LATENT, WIDTH, WIDTH, WIDTH, 1),
}
SHAPES: dict[str, tuple[int, ...]] = {}
for _name, _widths in _WIDTHS.items():
    for _index in range(4):
        SHAPES[f"{_name}.{2 * _index}.weight"] = (_widths[_index + 1], _widths[_index])
        SHAPES[f"{_name}.{2 * _index}.bias"] = (_widths[_index + 1],)


def convert(state: dict[str, torch.Tensor]) -> Converted:
    """Their state dict as weights of `ImplicitGenerator`.

    Theirs span [−1, 1] along the longest side and ours ±EXTENT, so distances shrink by as much too.

    Raises:
        CheckpointError: other tensors than theirs.
    """
    expect(state, SHAPES)
    weights = {key: tensor.float().clone() for key, tensor in state.items()}
    for key, start in (("layers1.0.weight", 0), ("layers2.0.weight", WIDTH)):
        columns = weights[key][:, start : start + 3]
        columns.copy_(columns @ AXES / EXTENT)
    options = {
        "latent_size": LATENT, "width": WIDTH, "layers": [4, 4], "scale": EXTENT, "sphere": SPHERE * EXTENT,
    }  # fmt: skip
    origin = "shapegan, github.com/marian42/shapegan, a generator of signed distance fields"
    return Converted("implicit", options, LATENT, "normal", weights, origin)
