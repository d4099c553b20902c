"""Infinigen's command: which seeds may be used, what it refuses, and the environment that it makes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan3d_core.errors import DatasetError, WorkerStartError
from gan3d_core.worker import environment as worker_environment
from training.infinigen import catalogue, command, environment
from training.prepare import main

# ── seeds ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(-5, 200_000), st.integers(0, 100_000), st.booleans())
def test_no_seed_of_evaluation_without_asking_and_no_other_with_it(first, count, evaluation):
    wanted = {first, first + max(count, 1) - 1}
    allowed = count >= 1 and first >= 0 and all((seed >= catalogue.EVALUATION_SEED) == evaluation for seed in wanted)
    if allowed:
        catalogue.check_seeds(first, count, evaluation)
    else:
        with pytest.raises(DatasetError):
            catalogue.check_seeds(first, count, evaluation)


def test_the_command_refuses_before_it_makes_an_environment(monkeypatch, tmp_path, capsys):
    def never(*_):
        raise AssertionError("nothing may be downloaded for a command that is refused")

    monkeypatch.setattr(command.environment, "ensure", never)
    assert main(["infinigen", "chair", "2", str(tmp_path / "out"), "--first-seed", "99999"]) == 1
    assert "kept for evaluation" in capsys.readouterr().err
    assert main(["infinigen", "chair", "2", str(tmp_path / "out"), "--first-seed", "5", "--evaluation-seeds"]) == 1
    with pytest.raises(SystemExit):
        main(["infinigen", "teapot", "2", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_kinds_are_fixed_by_the_seed_and_come_in_their_shares():
    for category, kinds in catalogue.CATALOGUE.items():
        drawn = [catalogue.kind_of(category, seed).name for seed in range(4000)]
        assert drawn == [catalogue.kind_of(category, seed).name for seed in range(4000)]
        total = sum(kind.weight for kind in kinds)
        for kind in kinds:
            assert drawn.count(kind.name) / len(drawn) == pytest.approx(kind.weight / total, abs=0.035)


# ── its environment ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_environment_is_made_once_and_not_left_half_made(monkeypatch, tmp_path):
    folder = tmp_path / "cache" / "infinigen"
    monkeypatch.setenv(environment.VARIABLE, str(folder))
    steps = [[sys.executable, "-c", "print('made')"], [sys.executable, "-c", "import sys; sys.exit('no wheel')"]]
    monkeypatch.setattr(environment, "setup_commands", lambda *_: steps)
    said: list[str] = []
    with pytest.raises(WorkerStartError, match=r"Infinigen's environment failed[^$]*no wheel"):
        environment.ensure(said.append, sys.executable)
    assert not folder.exists()
    steps.pop()
    assert environment.ensure(said.append, sys.executable) == worker_environment.environment_python(folder)
    count = len(said)
    environment.ensure(said.append, "/nonexistent")
    assert len(said) == count, "nothing to do the second time"
    # It stands for its own list of packages and not for the worker's.
    assert worker_environment.is_complete(folder, environment.REQUIREMENTS)
    assert not worker_environment.is_complete(folder)


def test_an_older_or_missing_python_is_named():
    assert environment.find_python(sys.executable) == sys.executable
    with pytest.raises(DatasetError, match="/nonexistent/python"):
        environment.find_python("/nonexistent/python")


def test_its_requirements_are_pinned_and_need_no_compiler():
    lines = [line for line in environment.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert "bpy==4.2.0" in lines
    install = environment.setup_commands(Path("x"), "python3.11")[1]
    assert install[install.index("--only-binary") + 1] == ":all:"
