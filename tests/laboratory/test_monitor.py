"""Failures are named: in series made for it, and in small runs made to fail. Healthy ones are left alone."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import read_page
from torch import nn

from gan3d_core.errors import NotFiniteError
from training import loop, report
from training.diversity import effective_count, relative_diversity
from training.monitor import Limits, Monitor
from training.monitor.detectors import growth, oscillation
from training.objectives import find
from training.regularisers import r1_penalty
from training.run_folder import RunFolder


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count)


def found_in(figures: dict[str, np.ndarray], limits: Limits | None = None) -> list[str]:
    """Kinds that a monitor names while it is shown these series, in order."""
    monitor = Monitor(limits)
    kinds = []
    for step in range(len(next(iter(figures.values())))):
        row = {key: float(series[step]) for key, series in figures.items()}
        kinds += [finding.kind for finding in monitor.watch(step + 1, row)]
    return kinds


# ── detectors ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_growth_of_an_exponential_is_that_of_its_middles():
    """Medians of thirds lie two thirds of the series apart."""
    series = 2.0 ** (np.arange(300) / 20)
    assert growth(series) == pytest.approx(2 ** (200 / 20))
    assert growth(-series) == growth(series)
    assert growth(np.r_[np.ones(100), np.full(200, 50.0)]) == 1  # a jump to a new level
    assert growth(np.zeros(300)) == 1


@pytest.mark.parametrize("period", [8, 20, 40])
def test_a_wave_has_its_period_all_of_the_variance_and_its_amplitude(period):
    steps = np.arange(240)
    found, share, amplitude = oscillation(5 + 0.01 * steps + np.sin(2 * math.pi * steps / period))
    assert found == pytest.approx(period, rel=0.1)
    assert share > 0.95
    assert amplitude == pytest.approx(math.sqrt(0.5) / (5 + 0.01 * 120), rel=0.05)


def test_noise_has_no_rhythm():
    shares = [oscillation(noise(256, seed))[1] for seed in range(100)]
    walks = [oscillation(np.cumsum(noise(256, seed)))[1] for seed in range(100)]
    assert max(shares) < 0.35
    assert np.mean(np.array(walks) > 0.5) < 0.05  # and none for as long as half a window, see below
    assert oscillation(np.zeros(256))[1] == 0


# ── diversity ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_effective_count_of_groups():
    """k equally large groups of equal samples, far apart, count as k; groups of other sizes by their entropy."""
    corners = 100 * torch.eye(6)
    assert effective_count(corners, 1.0) == pytest.approx(6, rel=1e-4)
    assert effective_count(corners[[0] * 6], 1.0) == pytest.approx(1, rel=1e-4)
    assert effective_count(corners[[0, 0, 0, 3, 3, 3]], 1.0) == pytest.approx(2, rel=1e-4)
    entropy = -(1 / 6 * math.log(1 / 6) + 5 / 6 * math.log(5 / 6))
    assert effective_count(corners[[0, 1, 1, 1, 1, 1]], 1.0) == pytest.approx(math.exp(entropy), rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 16, 16, 16), (2, 4, 24, 24), (400, 3), (400, 4)])
def test_diversity_of_any_representation(shape):
    """Volumes, pictures, points: 1 beside itself, 0 when collapsed, between them with half as many modes; no units."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(8, *[1] * (len(shape) - 1), shape[-1], generator=generator)
    samples = centres + 0.05 * torch.randn(8, *shape, generator=generator)
    assert relative_diversity(samples, samples) == pytest.approx(1)
    assert relative_diversity(samples, samples[:1].expand(8, *shape)) == pytest.approx(0, abs=1e-4)
    assert relative_diversity(samples[:1].expand(8, *shape), samples) is None  # nothing to compare with
    assert relative_diversity(samples[:1], samples[:1]) is None
    half = relative_diversity(samples, samples[[0, 1, 2, 3] * 2])
    assert 0.25 < half < 0.6
    assert relative_diversity(50 * samples, 50 * samples[[0, 1, 2, 3] * 2]) == pytest.approx(half, rel=1e-3)


# ── series ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(5))
def test_healthy_series_are_left_alone(seed):
    """Losses that find their level, drift, jump once, and are noisy, also every 16th step; samples that vary."""
    steps = np.arange(3000)
    settle = 30 * (1 - np.exp(-steps / 80)) * np.exp(-steps / 2000)
    lazy = np.where(steps % 16 == 0, 0.1, 0.0)
    figures = {
        "critic_loss": -settle + 0.5 * noise(3000, seed) + lazy,
        "generator_loss": 0.7 + np.cumsum(0.01 * noise(3000, seed + 50)) + 0.1 * noise(3000, seed + 9),
        "loss": 0.1 * np.exp(-steps / 500) * (1 + 0.1 * noise(3000, seed + 70)),
        "diversity": np.clip(steps / 300, 0, 0.6) + 0.1 * noise(3000, seed + 80),
    }
    assert found_in(figures) == []


def test_each_failure_is_named_once_and_again_after_it_was_gone():
    steps = np.arange(1200)
    calm = 1 + 0.05 * noise(1200)
    assert found_in({"critic_loss": np.exp(steps / 60) * calm}) == ["divergence"]
    assert found_in({"critic_loss": np.full(1200, -2e4) * calm}) == ["divergence"]
    assert found_in({"generator_loss": calm + np.sin(steps / 5)}) == ["oscillation"]
    assert found_in({"diversity": np.full(1200, 0.02)}) == ["mode collapse"]
    twice = np.where((steps // 300) % 2 == 0, 0.5, 0.0)
    assert found_in({"diversity": twice}) == ["mode collapse", "mode collapse"]
    assert found_in({"critic_accuracy": np.exp(steps / 60), "gap": np.sin(steps / 5)}) == []


def test_nothing_is_judged_within_the_grace():
    steps = np.arange(150)
    assert found_in({"critic_loss": np.exp(steps / 10), "diversity": np.zeros(150)}) == []


# ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass
class Schedule:
    steps: int
    snapshot_every: int = 50
    sheet_every: int = 10_000


QUICK = Limits(grace=50, window=128, every=16)
"""For runs of a few hundred steps."""


class Ring:
    """A GAN in the plane, whose data are eight spots on a circle; small enough to fail in many ways in seconds.

    Args:
        objective: its name.
        rate: of the critic's optimiser.
        generator_rate: of the generator's; None is the critic's.
        r1: weight of R1.
        spread: of the codes.
        dirac: data are one spot at the origin, the generator is a point and the critic a plane (Mescheder et al. 2018,
            section 2): what circles for ever.
    """

    def __init__(
        self,
        objective: str,
        rate: float,
        generator_rate: float | None = None,
        r1: float = 0.0,
        spread: float = 1.0,
        dirac: bool = False,
    ) -> None:
        torch.manual_seed(0)
        self.step, self.objective, self.r1, self.spread, self.dirac = 0, find(objective), r1, spread, dirac
        self.generator: nn.Module
        self.critic: nn.Module
        if dirac:
            self.generator, self.critic = nn.Linear(2, 2), nn.Linear(2, 1, bias=False)
            nn.init.zeros_(self.generator.weight)
            nn.init.ones_(self.generator.bias)
            self.optimisers = [torch.optim.SGD(n.parameters(), rate) for n in (self.generator, self.critic)]
            return
        self.generator = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 2))
        self.critic = nn.Sequential(
            nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)
        )
        self.optimisers = [
            torch.optim.Adam(network.parameters(), one, (0.5, 0.9))
            for network, one in ((self.generator, generator_rate or rate), (self.critic, rate))
        ]

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "critic": self.critic.state_dict(), "generator": self.generator.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]

    def real(self, count: int = 32) -> torch.Tensor:
        if self.dirac:
            return torch.zeros(count, 2)
        angle = torch.randint(8, (count,)) * (math.pi / 4)
        return torch.stack([angle.cos(), angle.sin()], 1) + 0.02 * torch.randn(count, 2)

    def judge(self, samples: torch.Tensor) -> torch.Tensor:
        return self.critic(samples)[:, 0]

    def make(self) -> torch.Tensor:
        return self.generator(self.spread * torch.randn(32, 2))

    def train_step(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        real, fake = self.real(), self.make().detach()
        loss = self.objective.critic(self.judge(real), self.judge(fake))
        if self.r1:
            loss = loss + self.r1 * r1_penalty(self.judge, real)
        loop.descend(loss, self.optimisers[1], figures, "critic_loss", self.step)
        if not self.dirac and self.step % 4 == 0:
            figures["diversity"] = relative_diversity(real, fake)
        made = self.judge(self.make())
        loop.descend(self.objective.generator(made), self.optimisers[0], figures, "generator_loss", self.step)
        self.step += 1
        return figures


def run(trainer: Ring, folder: Path, steps: int) -> list[str]:
    """Train, and read from the run's metrics what was found."""
    try:
        loop.run(
            trainer, RunFolder(folder, {"kind": "ring", "steps": steps}), Schedule(steps), "Ring", trainer.train_step,
            lambda: None, Monitor(QUICK),
        )  # fmt: skip
    finally:
        found = [finding.kind for finding in report.read_metrics(folder)[1]]
    return found


def test_a_healthy_run_is_left_alone(tmp_path):
    assert run(Ring("non-saturating", 2e-3, r1=0.1), tmp_path / "run", 250) == []


def test_a_run_that_diverges_is_called_so(tmp_path):
    """A Wasserstein critic without a bound, whose generator is too slow to follow: its slope grows without end."""
    assert run(Ring("wasserstein", 3e-2, generator_rate=1e-5), tmp_path / "run", 130) == ["divergence"]


def test_a_run_that_circles_is_called_so(tmp_path, capsys):
    """The Dirac-GAN, and the same with R1, which converges (Mescheder et al. 2018, theorem 4.1)."""
    assert run(Ring("wasserstein", 0.2, dirac=True), tmp_path / "circles", 220) == ["oscillation"]
    assert "! oscillation" in capsys.readouterr().err
    assert run(Ring("wasserstein", 0.2, r1=1.0, dirac=True), tmp_path / "settles", 220) == []


def test_a_run_that_collapses_is_called_so(tmp_path):
    """Codes too small to reach the output: all that is learned is one spot for all of them."""
    assert "mode collapse" in run(Ring("non-saturating", 2e-3, r1=0.1, spread=1e-2), tmp_path / "run", 100)


def test_not_a_number_stops_with_the_last_snapshot_and_is_on_the_page(tmp_path):
    trainer = Ring("non-saturating", 2e-3, r1=0.1)
    folder = tmp_path / "run"
    run(trainer, folder, 50)
    before = (folder / "snapshot.pt").read_bytes()
    with torch.no_grad():
        trainer.critic[0].weight[0, 0] = float("nan")
    with pytest.raises(NotFiniteError, match="critic_loss is not a number at step 50"):
        run(trainer, folder, 100)
    assert (folder / "snapshot.pt").read_bytes() == before
    assert [finding.kind for finding in report.read_metrics(folder)[1]] == ["not a number"]
    page = (folder / "report.html").read_text("utf-8")
    assert "Not a number" in page
    assert "critic_loss is not a number at step 50" in page


def test_a_gradient_that_is_not_a_number_changes_nothing():
    """√ at 0 has a finite value and an infinite slope."""
    weight = nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.SGD([weight], 0.1)
    with pytest.raises(NotFiniteError, match="gradient of loss"):
        loop.descend(weight.sqrt(), optimiser, {}, "loss", 3)
    assert float(weight.detach()) == 0


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_holds_curves_sheets_findings_and_the_recipe(tmp_path):
    folder = tmp_path / "<run>"
    run(Ring("wasserstein", 0.2, dirac=True), folder, 220)
    sheets = RunFolder(folder, {"kind": "ring", "steps": 220})
    from PIL import Image

    for step in (100, 220):
        Image.new("RGB", (32, 16), (step % 256, 0, 0)).save(sheets.sheet_path(step))
    sheets.drawn(220)
    sheets.close()
    page = (folder / "report.html").read_text("utf-8")
    read = read_page(page)
    assert read.pictures == 2
    assert read.rows == 1 + 2  # of the recipe
    assert "Oscillation" in read.text
    assert "critic_loss over the steps" in page
    assert "<run>" not in page
    assert report.main([str(folder), "--output", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text("utf-8") == page
    assert report.main([str(tmp_path)]) == 1


def test_a_run_that_went_on_is_read_as_one(tmp_path):
    """Steps after the snapshot are logged twice; the later ones count, and time adds up."""
    rows = [
        {"step": 20, "time": 2.0, "loss": 1.0}, {"step": 40, "time": 4.0, "loss": 0.5},
        {"step": 40, "time": 4.0, "finding": "divergence", "text": "It grew."},
        {"step": 40, "time": 1.5, "loss": 0.4}, {"step": 60, "time": 3.0, "loss": 0.3},
    ]  # fmt: skip
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines[:3], lines[3][:20], *lines[3:]]))
    read, found = report.read_metrics(tmp_path)
    assert [(row["step"], row["time"], row["loss"]) for row in read] == [(20, 2.0, 1.0), (40, 5.5, 0.4), (60, 7.0, 0.3)]
    assert found == []


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path):
    folder = RunFolder(tmp_path, {"kind": "ring"})
    folder.log(20, {"loss": 1.0})
    folder.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "ti')
    folder = RunFolder(tmp_path, {"kind": "ring"})
    folder.log(40, {"loss": 0.5})
    folder.close()
    assert [(row["step"], row["loss"]) for row in report.read_metrics(tmp_path)[0]] == [(20, 1.0), (40, 0.5)]


def test_sheets_and_figures_reach_tensorboard(tmp_path):
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder(tmp_path / "run", {"kind": "ring"})
    folder.log(20, {"loss": 0.25})
    Image.new("RGB", (8, 8)).save(folder.sheet_path(20))
    folder.drawn(20)
    folder.close()
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(20, 0.25)]
    assert [event.step for event in events.Images("samples")] == [20]


def test_a_run_does_without_tensorboard(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    folder = RunFolder(tmp_path / "run", {"kind": "ring"})
    folder.log(20, {"loss": 0.25})
    folder.close()
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text())["loss"] == 0.25
