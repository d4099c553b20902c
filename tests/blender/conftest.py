"""Blender as a module, with the add-on switched on for one test and off again after it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def pump_until(condition: Callable[[], object], what: str = "it never came") -> None:
    """Do what Blender's timer would do, until the condition holds."""
    from addon import session

    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}; the session's error: {session.get().error}"
        session.pump()
        time.sleep(0.005)


@pytest.fixture(scope="session")
def worker_python() -> str:
    """A Python with the worker's packages: this one, or (in Blender 5.2's environment) GAN3D_PYTHON or .venv's."""
    if importlib.util.find_spec("torch"):
        return sys.executable
    return os.environ.get("GAN3D_PYTHON") or str(ROOT / ".venv" / "bin" / "python")


@pytest.fixture(scope="session")
def chair_checkpoints(worker_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one checkpoint of the category `stool`: a ball. Written by the worker's Python: it takes torch."""
    folder = tmp_path_factory.mktemp("checkpoints")
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'tests')!r}, {str(ROOT)!r}]\n"
        "import conftest, pathlib\n"
        "conftest.write_ball_checkpoint(pathlib.Path(sys.argv[1]) / 'ball', category='stool')"
    )
    subprocess.run([worker_python, "-c", code, str(folder)], check=True)
    return folder


@pytest.fixture
def blender() -> Iterator[None]:
    """An empty file and the add-on, registered."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module="addon")
    yield
    if "addon" in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_disable(module="addon")


@pytest.fixture
def gate(
    blender: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chair_checkpoints: Path
) -> Callable[..., None]:
    """The session with a patient worker; call it with the number of shapes the worker may send."""
    from addon import preferences

    path = tmp_path / "gate"
    path.write_text("0")
    command = [sys.executable, str(Path(__file__).with_name("patient_worker.py")), str(path)]
    monkeypatch.setattr(preferences, "worker_settings", lambda: {"command": command})
    bpy.context.preferences.addons["addon"].preferences.checkpoint_dir = str(chair_checkpoints)
    bpy.context.scene.gan3d.category = "stool"
    bpy.context.scene.gan3d.random_seed = False

    def let(shapes: int) -> None:
        # Replaced in one go: the worker must not read a half-written number.
        new = path.with_suffix(".new")
        new.write_text(str(shapes))
        new.replace(path)

    return let
