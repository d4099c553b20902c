"""3D-GAN and the implicit GAN as a reader of the papers would write them in PyTorch: float32, a batch as a whole.

What `gan_steps` measures our trainer against. Networks, losses and optimisers are those of the recipes.
"""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from gan3d_core.field import lattice
from gan3d_core.representations import DISTANCE_BAND
from training.gan_recipe import GanRecipe


class Draws(Protocol):
    """Where a step gets its data and its noise from."""

    def real(self) -> torch.Tensor:
        """(N, 1, R, R, R) recorded shapes, as the critic sees them."""
        ...

    def codes(self) -> torch.Tensor:
        """(N, latent_size)."""
        ...

    def mix(self) -> torch.Tensor:
        """(N,) in [0, 1)."""
        ...


def volumetric_generator(latent_size: int, channels: list[int]) -> nn.Sequential:
    """(N, latent_size, 1, 1, 1) to (N, 1, R, R, R) log-odds (Wu et al. 2016, section 3.1)."""
    layers: list[nn.Module] = [nn.ConvTranspose3d(latent_size, channels[0], 4, bias=False)]
    for before, after in itertools.pairwise([*channels, 1]):
        layers += [nn.BatchNorm3d(before), nn.ReLU()]
        layers.append(nn.ConvTranspose3d(before, after, 4, stride=2, padding=1, bias=after == 1))
    return nn.Sequential(*layers)


def volumetric_critic(channels: list[int]) -> nn.Sequential:
    """(N, 1, R, R, R) to (N,) log-odds (ibid.)."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise([1, *channels]):
        layers.append(nn.Conv3d(before, after, 4, stride=2, padding=1))
        if before > 1:
            layers.append(nn.BatchNorm3d(after))
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, nn.Conv3d(channels[-1], 1, 4), nn.Flatten(0))


def grown_critic(channels: list[int]) -> nn.Sequential:
    """(N, 1, R, R, R) to (N,): the critic of the implicit GAN when a resolution is grown and faded in."""
    layers: list[nn.Module] = [nn.Conv3d(1, channels[0], 1), nn.LeakyReLU(0.2)]
    for before, after in itertools.pairwise(channels):
        layers += [nn.Conv3d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv3d(channels[-1], 1, 4), nn.Flatten(0))


class DeepSdf(nn.Module):
    """(N, latent_size) to distances on a lattice, (N, 1, R, R, R) over the band (Park et al. 2019, figure 4)."""

    def __init__(self, latent_size: int, width: int, layers: list[int], resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.points: torch.Tensor
        self.register_buffer("points", torch.as_tensor(lattice(resolution)), persistent=False)
        first = [3 + latent_size] + [width] * layers[0]
        second = [width + 3 + latent_size] + [width] * (layers[1] - 1) + [1]
        self.first = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(first))
        self.second = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(second))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        points = self.points.expand(len(codes), -1, -1)
        given = torch.cat([points, codes[:, None].expand(-1, points.shape[1], -1)], -1)  # (N, P, 3 + latent_size)
        features = given
        for layer in self.first:
            features = F.relu(layer(features))
        features = torch.cat([features, given], -1)
        for layer in self.second[:-1]:  # type: ignore[union-attr]
            features = F.relu(layer(features))
        distance = DISTANCE_BAND * torch.tanh(self.second[-1](features))
        return (distance / DISTANCE_BAND).clamp(-1, 1).reshape(-1, 1, *(self.resolution,) * 3)


class PlainTrainer:
    """A step of either GAN.

    Args:
        recipe: `3dgan` or `implicit-gan`, or a smaller one of their kind.
        resolution: the one that a growing critic has grown to.
        device: where to train.
    """

    def __init__(self, recipe: GanRecipe, resolution: int, device: str = "cpu") -> None:
        self.recipe = recipe
        options, critic = recipe.options, recipe.discriminator_options
        self.implicit = recipe.architecture == "implicit"
        if self.implicit:
            self.level = recipe.growing[::-1].index(resolution)
            self.generator: nn.Module = DeepSdf(**options, resolution=resolution)
            self.critic = grown_critic(critic["channels"][self.level :])
        else:
            self.generator = volumetric_generator(options["latent_size"], options["channels"])
            self.critic = volumetric_critic(critic["channels"])
        self.generator.to(device)
        self.critic.to(device)

    def load(self, generator: dict[str, torch.Tensor], critic: dict[str, torch.Tensor]) -> None:
        """Take our networks' weights; the layers come in the same order."""
        if self.implicit:
            kept = ("last", f"entries.{self.level}.", *(f"downs.{i}." for i in range(self.level, len(critic))))
            critic = {name: value for name, value in critic.items() if name.startswith(kept)}
        for network, weights in ((self.generator, generator), (self.critic, critic)):
            names = network.state_dict()
            network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
        self.optimisers = [
            self._optimiser(self.generator, self.recipe.generator_rate),
            self._optimiser(self.critic, self.recipe.critic_rate),
        ]

    def _optimiser(self, network: nn.Module, rate: float) -> torch.optim.Optimizer:
        if self.recipe.optimiser == "rmsprop":
            return torch.optim.RMSprop(network.parameters(), rate)
        return torch.optim.Adam(network.parameters(), rate, (self.recipe.beta1, self.recipe.beta2))

    def sample(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, latent_size) to what the critic sees."""
        return self.generator(codes) if self.implicit else self.generator(codes[:, :, None, None, None]).sigmoid()

    def step(self, draws: Draws) -> dict[str, float]:
        """One generator step and the critic steps before it."""
        of_generator, of_critic = self.optimisers
        for _ in range(self.recipe.critic_steps):
            real = draws.real()
            with torch.no_grad():
                fake = self.sample(draws.codes())
            loss, sure = self._critic_loss(real, fake, draws)
            of_critic.zero_grad()
            loss.backward()
            if not sure:
                of_critic.step()
        judged = self.critic(self.sample(draws.codes()))
        generator_loss = -judged.mean() if self.implicit else -F.softplus(judged).mean()
        of_generator.zero_grad()
        generator_loss.backward()
        of_generator.step()
        return {"critic_loss": float(loss.detach()), "generator_loss": float(generator_loss.detach())}

    def _critic_loss(self, real: torch.Tensor, fake: torch.Tensor, draws: Any) -> tuple[torch.Tensor, bool]:
        """The loss, and whether the critic is too good to be updated (Wu et al. 2016, section 3.1)."""
        on_real, on_fake = self.critic(real), self.critic(fake)
        if not self.implicit:
            right = 0.5 * ((on_real > 0).float().mean() + (on_fake <= 0).float().mean())
            ones, zeros = torch.ones_like(on_real), torch.zeros_like(on_fake)
            loss = F.binary_cross_entropy_with_logits(on_real, ones) + F.binary_cross_entropy_with_logits(
                on_fake, zeros
            )
            return loss, bool(right > self.recipe.accuracy_gate)
        share = draws.mix()[:, None, None, None, None]
        between = (share * real + (1 - share) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        return on_fake.mean() - on_real.mean() + self.recipe.penalty_weight * penalty, False
