"""Objectives and regularisers against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from gan3d_core.errors import TrainingError
from training.objectives import OBJECTIVES, find
from training.regularisers import clip_weights, gradient_penalty, r1_penalty

REAL, FAKE = [0.3, -1.2, 2.0], [-0.7, 0.4, -2.5]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


CLASSICAL_CRITIC = -mean(math.log(sigmoid(a)) for a in REAL) - mean(math.log(1 - sigmoid(a)) for a in FAKE)
CLOSED_FORMS = {
    "minimax": (CLASSICAL_CRITIC, mean(math.log(1 - sigmoid(a)) for a in FAKE)),
    "non-saturating": (CLASSICAL_CRITIC, -mean(math.log(sigmoid(a)) for a in FAKE)),
    "wasserstein": (mean(FAKE) - mean(REAL), -mean(FAKE)),
    "hinge": (mean(max(0, 1 - a) for a in REAL) + mean(max(0, 1 + a) for a in FAKE), -mean(FAKE)),
    "least-squares": (
        0.5 * mean((a - 1) ** 2 for a in REAL) + 0.5 * mean(a**2 for a in FAKE),
        0.5 * mean((a - 1) ** 2 for a in FAKE),
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_closed_forms(name):
    objective = find(name)
    real, fake = torch.tensor(REAL, dtype=torch.float64), torch.tensor(FAKE, dtype=torch.float64)
    critic, generator = CLOSED_FORMS[name]
    assert float(objective.critic(real, fake)) == pytest.approx(critic, rel=1e-12)
    assert float(objective.generator(fake)) == pytest.approx(generator, rel=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_two_sides_pull_apart(name):
    """The critic wants real up and generated down; the generator wants generated up."""
    objective = find(name)
    real = torch.zeros(4, requires_grad=True)
    fake = torch.zeros(4, requires_grad=True)
    objective.critic(real, fake + 0.5).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    fake.grad = None
    objective.generator(fake).backward()
    assert (fake.grad < 0).all()


def test_minimax_saturates_where_non_saturating_does_not():
    sure = torch.full((1,), -20.0, requires_grad=True)
    (flat,) = torch.autograd.grad(find("minimax").generator(sure), sure)
    (steep,) = torch.autograd.grad(find("non-saturating").generator(sure), sure)
    assert abs(float(flat)) < 1e-8
    assert float(steep) == pytest.approx(-1, abs=1e-6)


def test_losses_stay_finite_for_extreme_outputs():
    extreme = torch.tensor([-1e4, 1e4])
    for objective in OBJECTIVES.values():
        assert torch.isfinite(objective.critic(extreme, extreme))
        assert torch.isfinite(objective.generator(extreme))


def test_unknown_objective():
    with pytest.raises(TrainingError, match="no objective"):
        find("earth-mover")


def linear_critic(weights: torch.Tensor):
    return lambda volumes: volumes.flatten(1) @ weights


def test_penalties_of_a_linear_critic():
    """Its gradient is w everywhere, so the penalties are (‖w‖ − 1)² and ½‖w‖²."""
    weights = torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64)
    real, fake = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    mix = torch.rand(5, dtype=torch.float64)
    assert float(gradient_penalty(linear_critic(weights), real, fake, mix)) == pytest.approx((3 - 1) ** 2)
    assert float(r1_penalty(linear_critic(weights), real)) == pytest.approx(4.5)


@pytest.mark.parametrize("norm", [0.1, 1.0, 750.0])
def test_the_penalty_asks_for_the_norm_that_it_is_told(norm):
    """It is nothing at that norm, and of a critic that is scaled with it the penalty is the same."""
    weights = torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64)
    real, fake = torch.randn(2, 5, 3, dtype=torch.float64)
    mix = torch.rand(5, dtype=torch.float64)
    assert float(gradient_penalty(linear_critic(norm * weights / 3), real, fake, mix, norm)) == pytest.approx(0)
    scaled = gradient_penalty(linear_critic(norm * weights), real, fake, mix, norm)
    assert float(scaled) == pytest.approx(float(gradient_penalty(linear_critic(weights), real, fake, mix)))


def test_penalties_of_a_quadratic_critic():
    """D(x) = ½‖x‖² has the gradient x."""

    def critic(x: torch.Tensor) -> torch.Tensor:
        return 0.5 * (x.flatten(1) ** 2).sum(1)

    real, fake = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0]])
    assert float(r1_penalty(critic, real)) == pytest.approx(12.5)
    for share in (0.0, 0.5, 1.0):
        found = float(gradient_penalty(critic, real, fake, torch.tensor([share])))
        assert found == pytest.approx((5 * share - 1) ** 2)


def test_penalties_reach_the_weights():
    weights = torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda w: r1_penalty(linear_critic(w), torch.ones(2, 3, dtype=torch.float64)), weights
    )


def test_clipping():
    network = torch.nn.Linear(4, 4)
    with torch.no_grad():
        network.weight[0, 0] = 0.005
    clip_weights(network, 0.01)
    assert network.weight.abs().max() <= 0.01
    assert float(network.weight[0, 0].detach()) == pytest.approx(0.005)
