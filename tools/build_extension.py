"""`make extension`: the installable extension, built and validated by Blender's own tool.

    python tools/build_extension.py [--out dist/]

What goes in: `addon/`, `gan3d_core` as a wheel (its shipped checkpoints inside), `blender_manifest.toml`, `LICENSE`.
The same sources give the same bytes. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EPOCH = "946684800"
"""2000-01-01, the time stamp of everything inside (zip files cannot hold dates before 1980)."""
ZIP_DATE = (2000, 1, 1, 0, 0, 0)
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


class BuildError(Exception):
    """Why there is no extension, in words for the person who asked for it."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build and validate the extension.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the .zip (default: dist)")
    parser.add_argument("--blender", help="a Blender executable whose tool to use (default: the bpy package's)")
    options = parser.parse_args(arguments)
    try:
        archive = build(options.out, options.blender)
    except BuildError as problem:
        print(f"The extension was not built. {problem}", file=sys.stderr)
        return 1
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    print(f"{archive}  {archive.stat().st_size / 1e6:.1f} MB  sha256 {digest}")
    return 0


def build(out: Path, blender: str | None = None) -> Path:
    """Stage, build and validate; returns the archive's path.

    Raises:
        BuildError: a version that disagrees, a wheel that cannot be built, or what Blender's tool finds wrong.
    """
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text("utf-8"))
    tool = extension_tool(blender)
    with tempfile.TemporaryDirectory(prefix="gan3d-extension-") as temporary:
        work = Path(temporary)
        stage = work / "stage"
        shutil.copytree(ROOT / "addon", stage, ignore=IGNORED)
        for name in ("blender_manifest.toml", "LICENSE"):
            shutil.copy(ROOT / name, stage / name)
        wheel = build_wheel(work / "core", stage / "wheels")
        if manifest["wheels"] != [f"./wheels/{wheel.name}"]:
            raise BuildError(f"blender_manifest.toml lists {manifest['wheels']}, but the wheel is {wheel.name}.")
        if manifest["version"] != wheel.name.split("-")[1]:
            raise BuildError("blender_manifest.toml and gan3d_core/__init__.py state different versions.")
        built = work / "built.zip"
        run([*tool, "build", "--source-dir", str(stage), "--output-filepath", str(built)])
        archive = work / f"{manifest['id']}-{manifest['version']}.zip"
        repack(built, archive)
        run([*tool, "validate", str(archive)])
        out.mkdir(parents=True, exist_ok=True)
        target = out / archive.name
        unfinished = out / f".{archive.name}"
        shutil.copy(archive, unfinished)
        os.replace(unfinished, target)
    return target


def build_wheel(work: Path, out: Path) -> Path:
    """The wheel of gan3d_core, by setuptools itself, from a copy: no build folders are left in the sources."""
    shutil.copytree(ROOT / "gan3d_core", work / "gan3d_core", ignore=IGNORED)
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, work / name)
    (work / "README.md").write_text("The core of GAN3D, as its Blender extension carries it.\n", "utf-8")
    out.mkdir(parents=True)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    run([sys.executable, "-c", code, str(out)], cwd=work)
    (wheel,) = out.glob("*.whl")
    normal = wheel.with_suffix(".new")
    repack(wheel, normal)
    os.replace(normal, wheel)
    return wheel


def repack(source: Path, target: Path) -> None:
    """Write an archive again with sorted entries, one date and one set of permissions: the same bytes everywhere."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for name in sorted(old.namelist()):
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            # A wheel is compressed already.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            new.writestr(entry, old.read(name))


def extension_tool(blender: str | None) -> list[str]:
    """The command of Blender's extension tool: inside the bpy package, else of a Blender executable."""
    spec = None if blender else importlib.util.find_spec("bpy")
    for folder in spec.submodule_search_locations or () if spec else ():
        for script in sorted(Path(folder).glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")):
            return [sys.executable, str(script)]
    if executable := blender or shutil.which("blender"):
        return [executable, "--factory-startup", "--command", "extension"]
    raise BuildError("It needs Blender's extension tool: install the bpy package, or name --blender.")


def run(command: list[str], cwd: Path | None = None) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"This step failed:\n$ {' '.join(command)}\n{done.stdout}")


if __name__ == "__main__":
    sys.exit(main())
