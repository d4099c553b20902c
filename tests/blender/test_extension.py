"""The archive: built twice it is the same, and it installs, registers and leaves in a Blender of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SCRIPT = """
import sys
import bpy
import addon_utils

bpy.ops.wm.read_factory_settings(use_empty=True)
repository = next(r for r in bpy.context.preferences.extensions.repos if r.module == "user_default")
print(bpy.ops.extensions.package_install_files(
    filepath=sys.argv[1], repo=repository.module, enable_on_install=True))
name = "bl_ext.user_default.gan3d"
assert name in bpy.context.preferences.addons, "it is not switched on"
assert hasattr(bpy.types, "GAN3D_PT_generate")
import gan3d_core
assert ".local" in gan3d_core.__file__, gan3d_core.__file__
assert "torch" not in sys.modules
scene = bpy.context.scene.gan3d
assert scene.category == "chair"
addon_utils.disable(name, default_set=True)
assert not hasattr(bpy.types, "GAN3D_PT_generate")
assert not hasattr(bpy.types.Scene, "gan3d")
print("ALL WELL")
"""


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory, worker_python: str) -> Path:
    """Built by the Python that has setuptools: in Blender 5.2's environment, the worker's."""
    return build(tmp_path_factory.mktemp("dist"), worker_python)


def build(out: Path, python: str) -> Path:
    subprocess.run([python, str(ROOT / "tools" / "build_extension.py"), "--out", str(out)], check=True)
    (found,) = out.glob("*.zip")
    return found


def test_the_same_sources_give_the_same_bytes(archive, worker_python, tmp_path):
    assert build(tmp_path, worker_python).read_bytes() == archive.read_bytes()


def test_it_installs_registers_and_leaves(archive, tmp_path):
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(archive)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert "ALL WELL" in done.stdout
