"""Fixtures that every part of the suite shares: small checkpoints whose generators make a ball with a little noise."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # several processes, each with a thread for every core, only wait

# A busy machine takes its time, which is no fault of what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="",
        metavar="NAME",
        help="a device that this machine has, such as cuda, for tests/laboratory/test_devices.py and test_pairs.py; "
        "without it the former pretend one",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """End the process where Blender's module is loaded, after everything that Python does at its end.

    What its library then frees has been seen to wait for a lock for ever, after all tests had passed.
    """
    status = yield
    if "bpy" in sys.modules:
        config._ensure_unconfigure()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(status or 0))
    return status


def write_ball_checkpoint(
    folder: Path,
    *,
    channels: tuple[int, ...] = (8, 8),
    latent_size: int = 16,
    bias: float = -2.0,
    category: str = "chair",
    seed: int = 0,
) -> Path:
    """Write a checkpoint of the volumetric generator, 4 · 2^len(channels) cells along each side.

    One channel carries a ball from 4³ up through trilinear upsampling; random weights around it make each seed's
    surface differ. A very low `bias` leaves no surface at all.
    """
    import numpy as np
    import safetensors.torch
    import torch

    from gan3d_core.checkpoints import CheckpointConfig, write_config
    from gan3d_core.generators import build

    options = {"latent_size": latent_size, "channels": list(channels)}
    generator = build("threedgan", options)
    random = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(value.shape, generator=random) * 0.02
        if name.endswith("weight") and value.ndim == 5
        else value.clone()
        for name, value in generator.state_dict().items()
    }
    names = [name for name, value in weights.items() if value.ndim == 5]
    centre = torch.arange(4) - 1.5
    square = centre**2
    ball = (3.0 - (square[:, None, None] + square[None, :, None] + square[None, None, :])).clamp(min=0)
    # The code's entries have the mean 0.5, so their sum is about latent_size / 2.
    weights[names[0]][:, 0] += ball * 2.0 / latent_size
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    linear = line[:, None, None] * line[None, :, None] * line[None, None, :]
    for name in names[1:]:
        weights[name][0, 0] = linear * (4.0 if name == names[-1] else 1.0)
    last = names[-1].replace("weight", "bias")
    weights[last] = torch.tensor([bias])
    folder.mkdir(parents=True)
    safetensors.torch.save_file(weights, folder / "weights.safetensors")
    (folder / "card.md").write_text("A ball, for tests.\n")
    resolution = 4 * 2 ** len(channels)
    write_config(
        folder,
        CheckpointConfig(
            label=folder.name,
            category=category,
            architecture="threedgan",
            options=options,
            latent_size=latent_size,
            prior="uniform",
            size_m=0.9,
            weights_sha256="",
            resolution=int(np.clip(resolution, 16, 256)),
            rank=0,
        ),
    )
    return folder


@pytest.fixture(scope="session")
def checkpoint_writer() -> Callable[..., Path]:
    """`write_ball_checkpoint`, for tests that want a checkpoint of their own."""
    return write_ball_checkpoint


@pytest.fixture(scope="session")
def checkpoint_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: `test-ball` (16³), `test-empty` (no seed of it has a surface). Do not write into it."""
    root = tmp_path_factory.mktemp("checkpoints")
    write_ball_checkpoint(root / "test-ball")
    write_ball_checkpoint(root / "test-empty", bias=-50.0, category="nothing")
    return root
