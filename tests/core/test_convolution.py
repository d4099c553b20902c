"""Convolutions that are cheap to differentiate twice: the same function as torch's, to every order."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from gan3d_core.generators import convolution
from gan3d_core.generators.convolution import Steps, convolve

CASES = {
    "halving": ((2, 2, 4, 4, 4), (3, 2, 4, 4, 4), Steps((2,) * 3, (1,) * 3)),
    "points": ((2, 1, 2, 3, 2), (3, 1, 1, 1, 1), Steps((1,) * 3, (0,) * 3)),
    "pictures": ((2, 2, 3, 4), (2, 2, 3, 3), Steps((1, 1), (1, 1))),
}


def made(name: str, bias: bool = True) -> tuple[list[torch.Tensor], Steps]:
    inputs, weight, steps = CASES[name]
    random = torch.Generator().manual_seed(0)
    sizes = [inputs, weight, weight[:1]] if bias else [inputs, weight]
    return [torch.randn(size, dtype=torch.float64, generator=random).requires_grad_() for size in sizes], steps


def plain(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, steps: Steps) -> torch.Tensor:
    return (F.conv3d if inputs.dim() == 5 else F.conv2d)(inputs, weight, bias, steps.stride, steps.padding)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bias", [True, False])
def test_first_and_second_gradients_are_those_of_finite_differences(name, bias):
    tensors, steps = made(name, bias)

    def function(inputs, weight, *rest):
        return convolve(inputs, weight, rest[0] if rest else None, steps)

    torch.testing.assert_close(function(*tensors), plain(*tensors[:2], tensors[2] if bias else None, steps))
    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_penalty_and_its_gradients_are_torchs(name):
    """Behind a curve, so that the slope depends on the weights in two ways; and the third derivative."""
    tensors, steps = made(name)
    inputs, weight, bias = tensors
    found = []
    for function in (convolve, plain):
        out = torch.tanh(function(inputs, weight, bias, steps)).sum()
        (slope,) = torch.autograd.grad(out, inputs, create_graph=True)
        second = torch.autograd.grad((slope.norm() - 1) ** 2, [inputs, weight, bias], create_graph=True)
        third = torch.autograd.grad(sum(part.square().sum() for part in second), [inputs, weight, bias])
        found.append((slope, *second, *third))
    torch.testing.assert_close(*found)


def test_weights_have_no_gradient_where_none_is_asked_for(monkeypatch):
    (inputs, weight, bias), steps = made("halving")
    asked = []
    counted = convolution._gradients
    monkeypatch.setattr(convolution, "_gradients", lambda *a, **k: asked.append(k["of_inputs"]) or counted(*a, **k))
    out = convolve(inputs, weight, bias, steps).sum()
    torch.autograd.grad(out, inputs, create_graph=True)
    assert asked == [True]
    torch.autograd.grad(out, [weight, bias], retain_graph=True)
    assert asked == [True, False]
    convolve(inputs.detach(), weight, bias, steps).sum().backward()
    assert asked == [True, False, False]


def test_autocast_makes_products_narrow_and_gradients_wide():
    tensors = [tensor.detach().float().requires_grad_() for tensor in made("halving")[0]]
    steps = CASES["halving"][2]
    with torch.autocast("cpu", torch.bfloat16):
        out, wanted = convolve(*tensors, steps), plain(*tensors, steps)
    assert out.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(out, wanted)
    found, expected = (torch.autograd.grad(one.float().square().sum(), tensors) for one in (out, wanted))
    assert {part.dtype for part in found} == {torch.float32}
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.05)


def test_what_was_changed_in_place_is_noticed():
    (inputs, weight, bias), steps = made("halving")
    given = inputs * 1.0
    out = convolve(given, weight, bias, steps).sum()
    with torch.no_grad():
        given.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_nothing_is_kept_where_no_gradient_is_wanted():
    (inputs, weight, bias), steps = made("halving")
    with torch.no_grad():
        out = convolve(inputs, weight, bias, steps)
    assert not out.requires_grad
    torch.testing.assert_close(out, plain(inputs, weight, bias, steps))
