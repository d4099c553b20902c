"""`.blend` files: Blender itself writes their shapes into a folder, in a process of its own.

That is either this Python, where it has Blender as a module (`bpy`), or a Blender that is found on the PATH or named by
GAN3D_BLENDER. Nothing of Blender is imported here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from gan3d_core.errors import DatasetError

ROOT = Path(__file__).resolve().parents[2]
MODULE = "addon.sources"
TIME_LIMIT_S = 3600.0


def export(blend: Path, folder: Path) -> str:
    """Write the shapes of a .blend file and their manifest into a folder.

    Returns:
        what Blender said about them: shapes without readable colours, shapes without a surface.

    Raises:
        DatasetError: no Blender, or it cannot open the file, or there is nothing in it.
    """
    command = _command(blend.resolve(), folder.resolve())
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise DatasetError(f"Blender has not finished with {blend.name} in {TIME_LIMIT_S / 60:.0f} minutes.") from None
    except OSError as error:
        raise DatasetError(f"Blender cannot be started ({error}).", "Set GAN3D_BLENDER to Blender's program.") from None
    said = done.stderr.strip()
    if done.returncode != 0 or not (folder / "manifest.jsonl").exists():
        last = said.splitlines()[-1] if said else f"exit code {done.returncode}"
        raise DatasetError(f"The shapes of {blend.name} cannot be read: {last}", "Open the file in Blender to look.")
    return said


def _command(blend: Path, folder: Path) -> list[str]:
    arguments = [str(blend), str(folder)]
    named = os.environ.get("GAN3D_BLENDER")
    if not named and importlib.util.find_spec("bpy") is not None:
        return [sys.executable, "-m", MODULE, *arguments]
    program = named or shutil.which("blender")
    if program is None:
        raise DatasetError(
            f"{blend.name} takes Blender to read, and there is none.",
            "Install the bpy package, or set GAN3D_BLENDER to Blender's program.",
        )
    # Blender's own Python need not look for modules in this folder, nor know PYTHONPATH.
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    code += f"from {MODULE}.__main__ import main; sys.exit(main({arguments!r}))"
    return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python-expr", code]
