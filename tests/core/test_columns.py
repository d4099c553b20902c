"""Convolutions by columns are the convolutions that they stand for, to the last derivative."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan3d_core.generators.columns import DoublingConv3d, HalvingConv3d

DOUBLE = torch.float64


def halving(width: int = 3) -> tuple[HalvingConv3d, nn.Conv3d, torch.Tensor]:
    torch.manual_seed(0)
    layer, usual = HalvingConv3d(width).to(DOUBLE), nn.Conv3d(1, width, 4, stride=2, padding=1).to(DOUBLE)
    usual.load_state_dict(layer.state_dict())
    return layer, usual, torch.randn(2, 1, 8, 4, 6, dtype=DOUBLE, requires_grad=True)


def doubling(width: int = 3) -> tuple[DoublingConv3d, nn.ConvTranspose3d, torch.Tensor]:
    torch.manual_seed(0)
    layer, usual = DoublingConv3d(width).to(DOUBLE), nn.ConvTranspose3d(width, 1, 4, stride=2, padding=1).to(DOUBLE)
    usual.load_state_dict(layer.state_dict())
    return layer, usual, torch.randn(2, width, 4, 2, 3, dtype=DOUBLE, requires_grad=True)


@pytest.mark.parametrize("made", [halving, doubling])
def test_values_and_gradients_are_those_of_the_usual_layer(made):
    layer, usual, x = made()
    found, expected = layer(x), usual(x)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    slope = torch.randn_like(expected)
    ours = torch.autograd.grad(found, [x, *layer.parameters()], slope)
    theirs = torch.autograd.grad(expected, [x, *usual.parameters()], slope)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-11) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("made", [halving, doubling])
def test_second_derivatives_are_those_of_the_usual_layer(made):
    """What a gradient penalty needs: how the gradient's size depends on the weights."""
    layer, usual, x = made()
    found = []
    for each in (layer, usual):
        (slope,) = torch.autograd.grad(each(x).pow(3).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [x, *each.parameters()]))
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("made", [halving, doubling])
def test_autocast_computes_in_sixteen_bits(made):
    layer, _, x = made(16)
    layer, x = layer.float(), x.float()
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert float((found.float() - exact).norm() / exact.norm()) < 0.01
