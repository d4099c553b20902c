"""Finding a Python for the worker, saying what it lacks, and making one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from workers import PATIENCE, wait_until

from gan3d_core.errors import WorkerStartError
from gan3d_core.recipe import Recipe
from gan3d_core.worker import bootstrap, environment, setup
from gan3d_core.worker.client import WorkerClient
from gan3d_core.worker.events import Failed, Started
from gan3d_core.worker.framing import FrameReader

RECIPE = Recipe("test-ball")
PACKAGES = set(bootstrap.MODULES)
SITE_PACKAGES = [path for path in sys.path if path.endswith("site-packages")]


def make_venv(folder: Path) -> Path:
    """A virtual environment with nothing in it; made in a moment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return environment.environment_python(folder)


def site_packages(folder: Path) -> Path:
    return next(folder.glob("lib/python*/site-packages"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> str:
    """A real Python without torch, numpy and the rest."""
    return str(make_venv(tmp_path_factory.mktemp("bare") / "venv"))


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No Python is to be found but by what the test sets up."""
    for variable in (environment.VARIABLE, "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(sys, "executable", "")


def test_a_python_without_torch_is_probed_and_named(bare):
    result = environment.find_worker_python(bare)
    assert not result.usable
    assert set(result.missing) == set(bootstrap.MODULES.values())
    assert result.version == sys.version_info[:3]
    assert bare in result.explain()
    assert "torch" in result.explain()


def test_a_complete_python_is_usable():
    result = environment.find_worker_python(sys.executable)
    assert result.usable
    assert result.missing == ()


@pytest.mark.parametrize("program", ["/nonexistent", "/", sys.prefix])
def test_what_is_no_program_is_said(program):
    result = environment.find_worker_python(program)
    assert result.version is None
    assert program in result.explain()


def test_what_is_no_python_is_said(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho I am a shell script; sleep 0\n")
    program.chmod(0o755)
    assert "no Python" in environment.find_worker_python(str(program)).explain()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    probe = environment.Probe(str(program), limit_s=0.2)
    assert "in time" in probe.wait().explain()
    program.write_text('#!/bin/sh\necho \'GAN3D{"version": [3, 9, 1], "missing": []}\'\n')
    old = environment.find_worker_python(str(program))
    assert not old.usable
    assert "older than Python 3.11" in old.explain()


def test_candidates_come_in_order_and_once(monkeypatch, tmp_path, alone):
    def program(path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(0o755)
        return str(path)

    own = environment.worker_environment_dir()
    expected = [
        program(tmp_path / "named" / "python"),
        program(environment.environment_python(own)),
        program(environment.environment_python(tmp_path / "active")),
        program(environment.environment_python(tmp_path / "conda")),
        program(tmp_path / "this" / "python"),
        program(tmp_path / "bin" / "python3"),
    ]
    monkeypatch.setenv(environment.VARIABLE, expected[0])
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    monkeypatch.setattr(sys, "executable", expected[4])
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), str(tmp_path / "this")]))
    # Until it is stamped as finished, our own environment does not count.
    assert list(environment.candidates()) == [expected[0], *expected[2:]]
    stamp = {"made_by": "GAN3D", "complete": True, "requirements": environment.requirements_digest()}
    (own / environment.STAMP).write_text(json.dumps(stamp))
    assert list(environment.candidates()) == expected
    assert list(environment.candidates("/explicit")) == ["/explicit"]
    (own / environment.STAMP).write_text(json.dumps({**stamp, "requirements": "older"}))
    assert expected[1] not in list(environment.candidates())


def test_the_search_passes_over_what_lacks_something(monkeypatch, alone, bare):
    complete = next(path for path in [os.path.join(sys.prefix, "bin", "python")] if os.path.exists(path))
    monkeypatch.setenv(environment.VARIABLE, bare)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert environment.find_worker_python().python == complete


def test_the_client_without_any_python_says_what_each_lacks(monkeypatch, alone, bare):
    monkeypatch.setenv(environment.VARIABLE, bare)
    client = WorkerClient()
    failure = list(client.run([RECIPE]))[-1]
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, WorkerStartError)
    assert bare in failure.error.message
    assert "torch" in failure.error.message


def test_the_client_finds_a_python_by_itself(monkeypatch):
    monkeypatch.setenv(environment.VARIABLE, sys.executable)
    client = WorkerClient(device="cpu")
    client.start()
    events = []
    deadline = time.monotonic() + PATIENCE
    while not events and time.monotonic() < deadline:
        time.sleep(0.01)
        events = client.poll()
    assert isinstance(events[0], Started)
    assert events[0].info.executable == sys.executable
    client.stop()


def test_the_worker_of_a_bare_python_says_what_lacks(bare):
    """Its first words need no numpy."""
    failure = list(WorkerClient(python=bare).run([RECIPE]))[-1]
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, WorkerStartError)
    assert all(package in failure.error.message for package in PACKAGES)
    assert bare in failure.error.message
    assert "preferences" in failure.error.hint


def test_a_library_that_cannot_be_loaded_is_named(tmp_path):
    python = make_venv(tmp_path / "venv")
    for module in bootstrap.MODULES.values():
        (site_packages(tmp_path / "venv") / f"{module}.py").touch()
    broken = site_packages(tmp_path / "venv") / "torch.py"
    broken.write_text("raise OSError('libcudart.so.13: cannot open shared object file')\n")
    failure = list(WorkerClient(python=str(python)).run([RECIPE]))[-1]
    assert isinstance(failure.error, WorkerStartError)
    assert "torch cannot be loaded" in failure.error.message
    assert "libcudart.so.13" in failure.error.message


def test_an_old_python_is_refused_with_its_version(tmp_path):
    code = (
        "import runpy, sys; sys.argv.pop(0); module = runpy.run_path(sys.argv[0])\n"
        "module['find_problem'].__globals__['MINIMUM_PYTHON'] = (9, 9); sys.exit(module['main']([]))"
    )
    failure = list(WorkerClient(command=[sys.executable, "-c", code, str(environment.BOOTSTRAP)]).run([RECIPE]))[-1]
    assert isinstance(failure.error, WorkerStartError)
    assert "needs Python 9.9" in failure.error.message
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in failure.error.message


def test_the_bootstrap_parses_in_python_3_8():
    import ast

    for name in ("bootstrap.py", "framing.py", "../errors.py", "../__init__.py", "__init__.py"):
        ast.parse((environment.BOOTSTRAP.parent / name).read_text("utf-8"), feature_version=(3, 8))


def test_the_packages_beside_gan3d_core_are_not_the_workers(tmp_path, bare):
    """In Blender gan3d_core lies among packages for Blender's Python, which must not be found."""
    import shutil

    shutil.copytree(environment.BOOTSTRAP.parents[1], tmp_path / "gan3d_core", ignore=shutil.ignore_patterns("*.pyc"))
    for module in bootstrap.MODULES.values():
        (tmp_path / f"{module}.py").write_text("raise SystemExit('the wrong one')\n")
    process = subprocess.run(
        [bare, "-E", str(tmp_path / "gan3d_core" / "worker" / "bootstrap.py")],
        input=b"",
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    reader = FrameReader(Bytes(process.stdout))
    header, body = reader.read()
    assert header["kind"] == "failed"
    assert all(package in header["error"]["message"] for package in PACKAGES)
    assert not body
    assert reader.read() is None
    assert process.returncode == 1


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def readinto(self, buffer) -> int:
        count = min(len(buffer), len(self.data))
        buffer[:count], self.data = self.data[:count], self.data[count:]
        return count


def test_what_belongs_to_the_callers_python_is_not_passed_on(monkeypatch):
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"):
        monkeypatch.setenv(name, "/blender")
    monkeypatch.setenv("GAN3D_CHECKPOINTS", "/mine")
    clean = environment.clean_environment()
    assert "/blender" not in clean.values()
    assert clean["GAN3D_CHECKPOINTS"] == "/mine"
    assert clean["PATH"] == os.environ["PATH"]


def steps(folder: Path, *more: list[str]) -> list[list[str]]:
    """An environment that borrows this one's packages instead of installing them; then it is checked as always."""
    venv, _, check = setup.setup_commands(folder)
    link = f"import pathlib; pathlib.Path({str(folder)!r}).joinpath({BORROWED!r}).write_text({LINES!r})"
    return [[*venv, "--without-pip"], [sys.executable, "-c", link], *more, check]


BORROWED = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/borrowed.pth"
LINES = "\n".join(SITE_PACKAGES)


def test_an_environment_is_made_checked_and_then_counts(tmp_path, alone, monkeypatch):
    monkeypatch.undo()
    folder = tmp_path / "a folder" / "worker"
    making = setup.EnvironmentSetup(folder, commands=steps(folder, [sys.executable, "-c", "print('Collecting torch')"]))
    assert making.state == "running"
    lines = making.wait()
    assert making.state == "done", making.error
    assert making.step == 4
    assert "Collecting torch" in lines
    assert environment.is_complete(folder)
    assert environment.find_worker_python(making.python).usable
    # Once more finds it complete and runs nothing.
    again = setup.EnvironmentSetup(folder, commands=[["/nonexistent"]])
    again.wait()
    assert again.state == "done"


def test_the_commands_make_a_venv_and_install_the_pinned_requirements(tmp_path):
    create, install, check = setup.setup_commands(tmp_path / "e", "/usr/bin/python3", "https://example.org/simple")
    python = str(environment.environment_python(tmp_path / "e"))
    assert create[0] == "/usr/bin/python3"
    assert create[-3:] == ["-m", "venv", str(tmp_path / "e")]
    assert install[0] == check[0] == python
    assert install[-2:] == ["-r", str(environment.REQUIREMENTS)]
    assert "https://example.org/simple" in install


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        (
            [sys.executable, "-c", "import sys; print('No matching distribution'); sys.exit(3)"],
            "No matching distribution",
        ),
        (["/nonexistent/pip"], "/nonexistent/pip"),
    ],
)
def test_a_failure_is_typed_and_leaves_nothing(tmp_path, command, seen):
    folder = tmp_path / "worker"
    making = setup.EnvironmentSetup(
        folder, commands=[[sys.executable, "-m", "venv", "--without-pip", str(folder)], command]
    )
    making.wait()
    assert making.state == "failed"
    assert isinstance(making.error, WorkerStartError)
    assert seen in making.error.message
    assert not folder.exists()
    assert not environment.is_complete(folder)


def test_an_environment_that_cannot_load_everything_does_not_count(tmp_path):
    folder = tmp_path / "worker"
    venv, _, check = setup.setup_commands(folder)
    making = setup.EnvironmentSetup(folder, commands=[[*venv, "--without-pip"], check])
    making.wait()
    assert making.state == "failed"
    assert "torch" in making.error.message
    assert not folder.exists()


def test_cancel_ends_the_step_and_leaves_nothing(tmp_path):
    folder = tmp_path / "worker"
    sleeper = [sys.executable, "-c", "import time; print('downloading', flush=True); time.sleep(600)"]
    making = setup.EnvironmentSetup(folder, commands=[sleeper])
    wait_until(lambda: "downloading" in making.poll(), "it never began")
    assert folder.exists()
    second = setup.EnvironmentSetup(folder, commands=[sleeper])
    second.wait()
    assert "another program" in second.error.message
    making.cancel()
    making.wait()
    assert making.state == "cancelled"
    assert making.error is None
    assert not folder.exists()


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "thesis.txt").write_text("irreplaceable")
    (tmp_path / "link").symlink_to(tmp_path / "worker")
    (tmp_path / "file").write_text("irreplaceable")
    for name in ("worker", "link", "file"):
        making = setup.EnvironmentSetup(tmp_path / name, commands=[[sys.executable, "-c", "pass"]])
        making.wait()
        assert making.state == "failed"
        assert isinstance(making.error, WorkerStartError)
    assert (tmp_path / "worker" / "thesis.txt").read_text() == "irreplaceable"
    assert (tmp_path / "file").read_text() == "irreplaceable"
    assert (tmp_path / "link").is_symlink()


def test_an_empty_folder_of_the_user_is_used_but_not_removed(tmp_path):
    (tmp_path / "worker").mkdir()
    making = setup.EnvironmentSetup(tmp_path / "worker", commands=[["/nonexistent"]])
    making.wait()
    assert making.state == "failed"
    assert list((tmp_path / "worker").iterdir()) == []


def test_what_an_earlier_attempt_left_is_made_anew(tmp_path):
    folder = tmp_path / "worker"
    setup._claim(folder)
    (folder / "lib").mkdir()
    (folder / "lib" / "half.py").touch()
    assert not environment.is_complete(folder)
    making = setup.EnvironmentSetup(folder, commands=[[sys.executable, "-c", "pass"]])
    making.wait()
    assert making.state == "done"
    assert {path.name for path in folder.iterdir()} == {environment.STAMP}


SETTING_UP = """
import sys, time
sys.path.insert(0, sys.argv[1])
from gan3d_core.worker.setup import EnvironmentSetup
sleeper = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
making = EnvironmentSetup(sys.argv[2], commands=[[sys.executable, "-c", sleeper]])
while True:
    for line in making.poll():
        if line.startswith("pid"):
            print(line.split()[1], flush=True)
            if sys.argv[3] == "leaves":
                sys.exit()
    time.sleep(0.01)
"""


@pytest.mark.parametrize("how", ["leaves", "is killed"])
def test_a_blender_that_ends_while_setting_up_does_no_harm(tmp_path, how):
    folder = tmp_path / "worker"
    command = [sys.executable, "-c", SETTING_UP, str(environment.BOOTSTRAP.parents[2]), str(folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as blender:
        installer = int(blender.stdout.readline())
        if how == "is killed":
            blender.kill()
    if how == "is killed":
        # Its installer goes on for a while, so nobody else may begin.
        other = setup.EnvironmentSetup(folder, commands=[])
        other.wait()
        assert "another program" in other.error.message
        os.kill(installer, signal.SIGKILL)
    wait_until(lambda: not alive(installer), "the installer goes on")
    again = setup.EnvironmentSetup(folder, commands=[[sys.executable, "-c", "pass"]])
    again.wait()
    assert again.state == "done", again.error


def alive(pid: int) -> bool:
    """Whether a process that is nobody's child here still runs; a zombie that waits for its reaper does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")
