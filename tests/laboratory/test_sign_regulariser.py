"""The sign regulariser against its definition, and what it does to floaters."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from training.sign_regulariser import sign_regulariser


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.parametrize("mean", [True, False])
def test_it_is_cross_entropy_with_the_other_ends_sign(mean):
    values = noise(0, 4, 5, 6)
    terms = []
    for index in torch.cartesian_prod(*(torch.arange(n) for n in values.shape)).tolist():
        for axis in range(3):
            other = list(index)
            other[axis] += 1
            if other[axis] < values.shape[axis]:
                a, b = values[tuple(index)], values[tuple(other)]
                if a * b < 0:
                    terms += [binary_cross_entropy_with_logits(x, (y > 0).double()) for x, y in ((a, b), (b, a))]
    expected = torch.stack(terms).mean() if mean else torch.stack(terms).sum()
    assert torch.allclose(sign_regulariser(values, mean), expected)


def test_a_batch_counts_all_its_edges():
    values = noise(1, 3, 4, 4, 4)
    assert torch.allclose(sign_regulariser(values, False), sum(sign_regulariser(v, False) for v in values))


def test_gradients_agree_with_finite_differences():
    values = noise(2, 3, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(sign_regulariser, values)


@pytest.mark.parametrize("mean", [True, False])
def test_one_sign_costs_nothing(mean):
    values = torch.ones(3, 3, 3, requires_grad=True)
    loss = sign_regulariser(values, mean)
    assert loss == 0
    loss.backward()
    assert (values.grad == 0).all()


def test_floaters_vanish_and_the_body_stays():
    """A speck of weak sign among strong neighbours flips; a solid's inner corners have no edge that pulls."""
    values = torch.ones(9, 9, 9)
    values[1:5, 1:5, 1:5] = -1
    values[7, 7, 7] = -0.2
    values.requires_grad_()
    optimiser = torch.optim.SGD([values], 20.0)
    for _ in range(30):
        optimiser.zero_grad()
        sign_regulariser(values).backward()
        optimiser.step()
        if values[7, 7, 7] > 0:
            break
    assert values[7, 7, 7] > 0
    assert (values[2:4, 2:4, 2:4] == -1).all()
