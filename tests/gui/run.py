"""Runs a script of this folder in a real Blender window.

`GAN3D_GUI_RUNNER` names the command that opens the window. It is called as

    RUNNER EXTENSION.zip SCRIPT.py PICTURE.png

and must install the extension into a fresh profile, open a window of 1600 × 1000, execute SCRIPT in it, and exit
non-zero if the script raised. SCRIPT finds `bpy` and these names in its globals: `view3d()` → (window, area of the
first 3D view), `ui_region()`, `choose_tab(name)`, `shot(path)`, `click(x, y)`, `key(name)`, `redraw()`. It defines
`run()`, a generator: `yield seconds` gives control back to Blender, `yield shot(path)` and its like wait until done.

What the scripts need to know lies in `settings.json` beside the copy of the script that is executed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIMIT_S = 600


def runner() -> str:
    """The command, or an explanation for whoever runs the tests."""
    command = os.environ.get("GAN3D_GUI_RUNNER")
    if not command:
        raise RuntimeError("Set GAN3D_GUI_RUNNER to a command that opens a Blender window; see tests/gui/run.py.")
    return command


def run(script: str, extension: Path, work: Path, python: str, checkpoints: str = "") -> dict[str, object]:
    """Run `script` (a name in this folder); pictures and `report.json` land in `work`.

    Args:
        python: the worker's Python.
        checkpoints: a folder of checkpoints beyond the shipped ones.

    Returns:
        What the script wrote into its report.
    """
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / script, work / script)
    report = work / "report.json"
    report.unlink(missing_ok=True)
    settings = {"python": python, "checkpoints": checkpoints, "out": str(work)}
    (work / "settings.json").write_text(json.dumps(settings))
    command = [runner(), str(extension), str(work / script), str(work / "end.png")]
    done = subprocess.run(command, timeout=LIMIT_S, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode or not report.is_file():
        raise RuntimeError(f"The window's script failed (exit code {done.returncode}):\n{done.stdout}")
    return json.loads(report.read_text())


def main() -> int:
    """`python tests/gui/run.py OUT [CHECKPOINTS]`: build the extension, and take every picture of the documentation."""
    sys.path.insert(0, str(ROOT / "tools"))
    import build_extension

    out = Path(sys.argv[1]).resolve()
    extension = build_extension.build(out)
    python = os.environ.get("GAN3D_PYTHON", sys.executable)
    report = run("pictures.py", extension, out, python, sys.argv[2] if len(sys.argv) > 2 else "")
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
