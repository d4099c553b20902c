"""Techniques against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gan3d_core.errors import TrainingError
from gan3d_core.generators import build
from gan3d_core.generators.attention import SelfAttention
from gan3d_core.generators.virtual_batch_norm import VirtualBatch, VirtualBatchNorm
from training import averaging, discriminators
from training.objectives import OBJECTIVES, find
from training.regularisers import spectral_norm
from training.techniques import Techniques
from training.techniques.conditioning import ProjectionCritic, Told, channels_of
from training.techniques.feature_matching import feature_matching
from training.techniques.features import feature_layers, tapped
from training.techniques.historical_averaging import HistoricalAverage
from training.techniques.label_smoothing import smoothed
from training.techniques.minibatch_discrimination import MinibatchDiscrimination

DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Critic(nn.Module):
    """Two layers of features over cells, and a score."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 3, 1), nn.Conv1d(3, 4, 1)
        self.feature_layers = [self.first, self.second]

    def forward(self, x: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        return self.second(self.first(x)).relu().sum((1, 2))


# ── spectral normalisation ────────────────────────────────────────────────────────────────────────────────────────


def test_spectral_norm_divides_by_the_largest_singular_value():
    network = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1))
    plain = [layer.weight.detach().clone() for layer in network if isinstance(layer, nn.Linear)]
    assert spectral_norm(spectral_norm(network)) is network  # the second time finds nothing to do
    for _ in range(200):
        network(torch.randn(2, 6))
    network.eval()
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    for before, layer in zip(plain, layers, strict=True):
        largest = torch.linalg.svdvals(before)[0]
        assert torch.allclose(layer.weight, before / largest, rtol=1e-4, atol=1e-6)
    # All layers and activations are 1-Lipschitz then, and so is the network.
    x, y = torch.randn(2, 500, 6)
    assert ((network(x) - network(y)).norm(dim=1) <= (x - y).norm(dim=1) * (1 + 1e-4)).all()


def test_spectral_norm_of_a_convolution_is_that_of_its_matrix():
    layer = spectral_norm(nn.Sequential(nn.Conv3d(3, 5, 4)))[0]
    for _ in range(200):
        layer(torch.randn(1, 3, 4, 4, 4))
    layer.eval()
    assert float(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]) == pytest.approx(1, abs=1e-4)


# ── Salimans et al. ───────────────────────────────────────────────────────────────────────────────────────────────


def test_feature_matching_of_known_means():
    """Means (1, 2) and (4, 6): (3² + 4²) / 2. A layer of one feature with means 0 and 2 adds 4."""
    real = [torch.tensor([[0.0, 2.0], [2.0, 2.0]], dtype=DOUBLE), torch.zeros(2, 1, dtype=DOUBLE)]
    fake = [torch.tensor([[4.0, 6.0]], dtype=DOUBLE), torch.full((1, 1), 2.0, dtype=DOUBLE)]
    assert float(feature_matching(real, fake)) == pytest.approx(12.5 + 4)
    for layer in real:
        layer.requires_grad_(True)
    assert not feature_matching(real, fake).requires_grad


def test_features_are_tapped_in_order_and_no_longer_than_asked():
    critic, x = Critic(), torch.randn(2, 2, 5)
    with tapped(feature_layers(critic)) as features:
        critic(x)
    critic(x)
    assert len(features) == 2
    assert torch.equal(features[0], critic.first(x))
    assert torch.equal(features[1], critic.second(critic.first(x)))


def test_minibatch_discrimination_is_its_double_sum():
    layer = MinibatchDiscrimination(3, kernels=2, dimensions=4).double()
    f = torch.randn(5, 3, dtype=DOUBLE)
    out = layer(f).detach()
    assert out.shape == (5, layer.out_features) == (5, 5)
    assert torch.equal(out[:, :3], f)
    projected = [sum(f[i, a] * layer.tensor[a].detach() for a in range(3)) for i in range(5)]  # (2, 4) each
    for i in range(5):
        for b in range(2):
            told = sum(math.exp(-float((projected[i][b] - projected[j][b]).abs().sum())) for j in range(5))
            assert float(out[i, 3 + b]) == pytest.approx(told, rel=1e-12)


def test_minibatch_discrimination_tells_a_collapsed_batch():
    layer = MinibatchDiscrimination(3, kernels=2)
    assert torch.allclose(layer(torch.randn(1, 3).repeat(6, 1))[:, 3:], torch.tensor(6.0))
    apart = layer(100 * torch.randn(6, 3))[:, 3:]
    assert (apart < 1.5).all()
    assert (apart >= 1).all()


def test_historical_averaging_is_the_distance_from_the_mean_of_all_steps():
    network = nn.Linear(2, 1, bias=False).double()
    path = torch.randn(6, 1, 2, dtype=DOUBLE)
    with torch.no_grad():
        network.weight.copy_(path[0])
    history = HistoricalAverage(network)
    assert float(history.penalty().detach()) == 0
    for step in range(1, 6):
        with torch.no_grad():
            network.weight.copy_(path[step])
        history.update()
        expected = ((path[step] - path[: step + 1].mean(0)) ** 2).sum()
        assert float(history.penalty().detach()) == pytest.approx(float(expected), rel=1e-10)
    (gradient,) = torch.autograd.grad(history.penalty(), network.weight)
    assert torch.allclose(gradient, 2 * (path[5] - path.mean(0)))
    other = HistoricalAverage(network)
    other.load_state_dict(history.state_dict())
    assert torch.equal(other.penalty(), history.penalty())


@pytest.mark.parametrize("name", [name for name, objective in OBJECTIVES.items() if objective.has_target])
def test_smoothed_labels_move_the_optimum_on_the_real_side_alone(name):
    """The critic's loss on real samples is least where D(x) is 0.9, and on generated ones what it was."""
    plain, objective = find(name), smoothed(find(name), 0.1)
    assert smoothed(plain, 0.0) is plain
    at, fake = torch.tensor([0.8, 0.9, 0.95], dtype=DOUBLE), torch.tensor([0.3], dtype=DOUBLE)
    real = (at.logit() if objective.logits else at).requires_grad_(True)
    (slope,) = torch.autograd.grad(objective.critic(real, fake), real)
    assert slope[0] < 0 < slope[2]
    assert float(slope[1]) == pytest.approx(0, abs=1e-12)
    real, other = real.detach(), torch.tensor([-1.1], dtype=DOUBLE)
    change = [float(kind.critic(real, other) - kind.critic(real, fake)) for kind in (plain, objective)]
    assert change[0] == pytest.approx(change[1], rel=1e-9)
    assert objective.generator is plain.generator


def test_smoothing_that_makes_no_sense_is_refused():
    with pytest.raises(TrainingError, match="has a target"):
        smoothed(find("wasserstein"), 0.1)
    with pytest.raises(TrainingError, match="label_smoothing is 1"):
        smoothed(find("minimax"), 1.0)


# ── virtual batch normalisation ───────────────────────────────────────────────────────────────────────────────────


def test_virtual_batch_norm_is_the_formula():
    layer = VirtualBatchNorm(2, reference=3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, -1.0]))
        layer.bias.copy_(torch.tensor([0.5, 0.0]))
    x = torch.randn(5, 2, 4, dtype=DOUBLE)
    out = layer(x).detach()
    for channel, (scale, shift) in enumerate([(2.0, 0.5), (-1.0, 0.0)]):
        reference = x[:3, channel]
        alone = (reference - reference.mean()) / (reference.var(unbiased=False) + layer.EPSILON).sqrt()
        assert torch.allclose(out[:3, channel], scale * alone + shift)
        for sample in (3, 4):
            pool = torch.cat([reference, x[sample : sample + 1, channel]])  # four samples of equal size
            own = (x[sample, channel] - pool.mean()) / (pool.var(unbiased=False) + layer.EPSILON).sqrt()
            assert torch.allclose(out[sample, channel], scale * own + shift)
    # Used without its reference batch it remembers it.
    assert torch.allclose(layer.eval()(x[3:]), out[3:])


def test_a_virtual_batch_does_not_mix_samples_and_ships_without_its_reference():
    network = nn.Sequential(nn.Linear(4, 6), VirtualBatchNorm(6, 8), nn.ReLU(), nn.Linear(6, 2), VirtualBatchNorm(2, 8))
    network = network.double()
    training = VirtualBatch(network, torch.randn(8, 4, dtype=DOUBLE))
    x = torch.randn(3, 4, dtype=DOUBLE)
    together = training(x)
    assert together.shape == (3, 2)
    assert torch.allclose(training(x[1:2]), together[1:2])
    assert torch.allclose(network.eval()(x), together)
    with pytest.raises(ValueError, match="not 5"):
        VirtualBatch(network, torch.zeros(5, 4))


# ── self-attention ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dimensions", [2, 3])
def test_self_attention_is_its_sums(dimensions):
    layer = SelfAttention(8, dimensions).double()
    x = torch.randn(2, 8, *[3] * dimensions, dtype=DOUBLE)
    assert torch.equal(layer(x), x)  # γ begins at 0
    with torch.no_grad():
        layer.gain.fill_(0.7)
    f, g, h, v = (w.weight.detach().flatten(1) for w in (layer.key, layer.query, layer.value, layer.out))
    cells = x[1].flatten(1)
    out = layer(x)[1].detach().flatten(1)
    for j in range(cells.shape[1]):
        scores = torch.stack([(f @ cells[:, i]) @ (g @ cells[:, j]) for i in range(cells.shape[1])])
        share = scores.exp() / scores.exp().sum()
        seen = sum(share[i] * (h @ cells[:, i]) for i in range(cells.shape[1]))
        assert torch.allclose(out[:, j], 0.7 * (v @ seen) + cells[:, j])


def test_self_attention_has_second_derivatives():
    """What gradient penalties differentiate."""
    layer = SelfAttention(8, 2).double()
    with torch.no_grad():
        layer.gain.fill_(1.0)
    x = torch.randn(1, 8, 2, 2, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,))


def test_self_attention_follows_a_permutation_of_cells():
    layer = SelfAttention(8, 2)
    with torch.no_grad():
        layer.gain.fill_(1.0)
    x = torch.randn(1, 8, 4, 4)
    assert torch.allclose(layer(x.flip(3)), layer(x).flip(3), atol=1e-6)


# ── classes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_projection_adds_the_product_with_the_class_vector():
    critic = Critic().double()
    x, labels = torch.randn(5, 2, 6, dtype=DOUBLE), torch.tensor([0, 2, 1, 1, 0])
    conditioned = ProjectionCritic(critic, classes=3, channels=channels_of(critic, x, None)).double()
    assert torch.allclose(conditioned(x, Told(None, labels)), critic(x))  # classes begin unheard
    with torch.no_grad():
        conditioned.embedding.weight.copy_(torch.randn(3, 4))
    pooled = critic.second(critic.first(x)).mean(2)
    expected = critic(x) + torch.stack([pooled[i] @ conditioned.embedding.weight[labels[i]] for i in range(5)]) / 2
    assert torch.allclose(conditioned(x, Told(None, labels)), expected)


def test_projection_averages_over_the_pictures_of_a_shape():
    """A critic whose features have the pictures of all shapes one after another."""

    class Pictures(Critic):
        def forward(self, x: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
            return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)

    critic = Pictures()
    conditioned = ProjectionCritic(critic, 2, 4)
    torch.nn.init.normal_(conditioned.embedding.weight)
    x, labels = torch.randn(3, 2, 2, 6), torch.tensor([0, 1, 1])
    pooled = critic.second(critic.first(x.flatten(0, 1))).mean(2).reshape(3, 2, 4).mean(1)
    expected = critic(x) + (conditioned.embedding.weight[labels] * pooled).sum(1) / 2
    assert torch.allclose(conditioned(x, Told(None, labels)), expected, atol=1e-5)


def test_a_conditional_generator_puts_the_class_behind_the_code():
    options = {"latent_size": 3, "channels": [4, 4]}
    generator = build("conditional", {
        "architecture": "threedgan", "options": options, "latent_size": 3, "classes": 2, "label": 1, "class_size": 2,
    }).eval()  # fmt: skip
    z, labels = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    inner = torch.cat([z, generator.embedding.weight[labels]], 1)
    assert torch.equal(generator.represent(z, labels).occupancy, generator.generator.represent(inner).occupancy)
    assert torch.equal(generator.represent(z).occupancy[1:3], generator.represent(z, labels).occupancy[1:3])
    assert generator.resolution == 16
    other, own = generator.fields(z[:2].numpy(), 1.0, labels=[0, 1]), generator.fields(z[:2].numpy(), 1.0)
    assert (own[0].values(16) != other[0].values(16)).any()
    assert (own[1].values(16) == other[1].values(16)).all()


@pytest.mark.parametrize("changes", [{"attention": 8}, {"normalisation": "virtual", "reference": 4}])
def test_options_of_the_volumetric_generator(changes):
    """A shape does not depend on its batch in use; with a virtual one in training neither; the reference counts."""
    generator = build("threedgan", {"latent_size": 3, "channels": [8, 8], **changes})
    generator.set_reference(lambda count: torch.rand(count, 3))
    z = torch.randn(6, 3)
    first = generator.represent(z).occupancy
    assert first.shape == (6, 16, 16, 16)
    if "normalisation" in changes:
        assert torch.allclose(generator.represent(z[2:3]).occupancy, first[2:3], atol=1e-5)
        assert torch.allclose(generator.eval().represent(z).occupancy, first, atol=1e-5)
        generator.train().set_reference(lambda count: torch.randn(count, 3))
        assert not torch.allclose(generator.represent(z).occupancy, first, atol=1e-3)
    generator.eval()
    assert torch.allclose(generator.represent(z[:1]).occupancy, generator.represent(z).occupancy[:1], atol=1e-5)
    first.sum().backward()
    assert all(p.grad is not None for p in generator.parameters())


def test_options_of_the_volumetric_critic():
    critic = discriminators.build(
        "volumetric", {"channels": [4, 8], "normalisation": "none", "discrimination": 3, "attention": 4}
    )
    volumes = torch.rand(3, 1, 16, 16, 16)
    assert critic(volumes).shape == (3,)
    assert not torch.allclose(critic(volumes)[:1], critic(volumes[:1]))  # it sees the batch
    with pytest.raises(TrainingError, match="attention must be at one of 8, 4"):
        discriminators.build("volumetric", {"channels": [4, 8], "attention": 16})


# ── moving average ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_moving_average_settles_on_a_constant_and_forgets_its_start():
    """Towards a constant c the gap shrinks by k at each step; k is t/(t + 10) first and then 1 − 1/τ."""
    average, live = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        average.weight.fill_(5.0)
        live.weight.fill_(1.0)
    gap = 4.0
    for step in range(1, 60):
        averaging.update(average, live, step, time_constant=4.0)
        gap *= min(1 - 1 / 4.0, step / (step + 10))
        assert float(average.weight.detach()) == pytest.approx(1 + gap, rel=1e-10)


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recipes_table_is_strict():
    with pytest.raises(TrainingError, match="unknown fields: magic"):
        Techniques({"magic": 1}, nn.Linear(1, 1), Critic())
    with pytest.raises(TrainingError, match="negative"):
        Techniques({"feature_matching": -1.0}, nn.Linear(1, 1), Critic())
    with pytest.raises(TrainingError, match="names no feature_layers"):
        Techniques({"feature_matching": 1.0}, nn.Linear(1, 1), nn.Linear(1, 1))


def test_an_empty_table_changes_nothing():
    critic = Critic()
    techniques = Techniques({}, nn.Linear(1, 1), critic)
    assert techniques.objective(find("hinge")) is find("hinge")
    assert techniques.history("critic") == 0
    assert not techniques.matches_features
    assert techniques.state_dict() == {}
    assert set(critic.state_dict()) == set(Critic().state_dict())


def test_a_table_reaches_both_players():
    generator, critic = nn.Linear(2, 2), Critic()
    table = {"historical_averaging": 0.5, "feature_matching": 2.0, "spectral_norm": True, "label_smoothing": 0.1}
    techniques = Techniques(table, generator, critic)
    with torch.no_grad():
        generator.weight += 1.0
    assert float(techniques.history("generator").detach()) == pytest.approx(0.5 * 4)
    techniques.stepped("generator")
    assert float(techniques.history("generator").detach()) == pytest.approx(0.5 * 4 * 0.25)
    assert float(techniques.history("critic").detach()) == 0
    real, fake = torch.randn(3, 2, 5), torch.randn(3, 2, 5)
    with techniques.tapping() as on_real:
        critic(real)
    with techniques.tapping() as on_fake:
        critic(fake)
    assert torch.equal(techniques.matching(on_real, on_fake), 2 * feature_matching(on_real, on_fake))
    other = Techniques(table, generator, Critic())
    other.load_state_dict(techniques.state_dict())
    assert torch.equal(other.history("generator"), techniques.history("generator"))
