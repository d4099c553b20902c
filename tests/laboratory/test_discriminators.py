"""The critics: what they see and what they must not."""

from __future__ import annotations

import pytest
import torch

from gan3d_core.errors import TrainingError
from training import discriminators
from training.discriminators import minibatch
from training.discriminators.volumetric import NORMALISATIONS


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_one_output_per_volume(normalisation):
    critic = discriminators.build("volumetric", {"channels": [4, 8], "normalisation": normalisation})
    assert critic(torch.rand(4, 1, 16, 16, 16)).shape == (4,)


def test_without_batch_statistics_samples_do_not_touch_each_other():
    critic = discriminators.build("volumetric", {"channels": [4, 8], "normalisation": "none"})
    volumes = torch.rand(4, 1, 16, 16, 16)
    assert torch.allclose(critic(volumes)[:1], critic(volumes[:1]), atol=1e-5)


def test_minibatch_deviation_tells_a_collapsed_batch():
    """Zero, up to its epsilon, when all samples are one; it grows with their spread as a standard deviation does."""
    one = torch.rand(1, 8, 4, 4, 4).repeat(8, 1, 1, 1, 1)
    assert minibatch.standard_deviation(one).max() < 2e-4
    features = torch.randn(8, 8, 4, 4, 4)
    spread = minibatch.standard_deviation(features)
    assert spread.shape == (8, 1, 4, 4, 4)
    assert torch.allclose(minibatch.standard_deviation(3 * features), 3 * spread, rtol=1e-4)
    expected = features.reshape(4, 2, -1).std(0, unbiased=False).mean(1)
    assert torch.allclose(spread[:2, 0, 0, 0, 0], expected, rtol=1e-4)


def test_spectral_norm_bounds_the_layers():
    critic = discriminators.build("volumetric", {"channels": [4, 8], "normalisation": "spectral"})
    for _ in range(50):  # power iteration runs in training mode
        critic(torch.rand(2, 1, 16, 16, 16))
    for module in critic.modules():
        if isinstance(module, torch.nn.Conv3d):
            assert float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.02)


def test_unknown_names_and_options():
    with pytest.raises(TrainingError, match="no discriminator"):
        discriminators.build("oracle", {})
    with pytest.raises(TrainingError, match="not valid"):
        discriminators.build("volumetric", {"depth": 3})
    with pytest.raises(TrainingError, match="not valid"):
        discriminators.build("volumetric", {"normalisation": "layer"})
