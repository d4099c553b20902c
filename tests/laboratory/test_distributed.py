"""Two processes that share a run come to what one comes to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import parallel_process
import pytest
import torch

from gan3d_core.errors import TrainingError
from training.distributed import Group
from training.train import main

HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start(out: Path, rank: int, port: int) -> subprocess.Popen[str]:
    known = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths, **{name: str(value) for name, value in known.items()}}
    command = [sys.executable, str(HERE / "parallel_process.py"), str(out)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_processes_have_the_gradients_of_one_with_the_joined_batch(tmp_path):
    port = free_port()
    processes = [start(tmp_path, rank, port) for rank in range(2)]
    alone = parallel_process.run(Group(), tmp_path / "alone")
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first.keys() == second.keys() == alone.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    for name, value in alone.items():
        kind = name.rpartition(" ")[0]  # such as "gradient of critic"
        largest = max(float(other.abs().max()) for key, other in alone.items() if key.startswith(kind))
        assert largest > 0, kind
        assert torch.allclose(first[name], value, rtol=1e-3, atol=1e-5 * largest), name
    # One of the two wrote the run, and what it wrote is the mean over both.
    shared, single = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("run", "alone")
    )
    assert [row["step"] for row in shared] == [2]
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    for key in ("critic_loss", "generator_loss", "r1"):
        assert shared[0][key] == pytest.approx(single[0][key], rel=1e-3, abs=1e-5)


def test_shares_are_the_batch():
    groups = [Group(rank, 4) for rank in range(4)]
    rows = list(range(12))
    assert [row for group in groups for row in rows[group.share(12)]] == rows
    assert [group.first for group in groups] == [True, False, False, False]
    assert rows[Group().share(12)] == rows
    assert Group().mean({"loss": 3.0}) == {"loss": 3.0}
    with pytest.raises(TrainingError, match="10 shapes at a time cannot be dealt to 4"):
        groups[0].check(10)


def test_other_kinds_are_one_process(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["chair-textured", "nowhere", "nowhere", "--device", "cpu"]) == 1
    assert "is one process. Start it without torchrun." in capsys.readouterr().err
