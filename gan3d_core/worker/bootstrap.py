"""Starts the worker: `PYTHON gan3d_core/worker/bootstrap.py [--device D] [--checkpoints DIR …]`.

This file is run by its path, in a Python that need not have GAN3D installed, and must say in a typed frame what is
wrong with that Python. So it imports nothing beyond the standard library before it has looked, and its syntax stays
within Python 3.8's.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

MINIMUM_PYTHON = (3, 11)

# Package as pip names it → module as Python imports it.
MODULES = {
    "numpy": "numpy",
    "torch": "torch",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "scikit-image": "skimage",
    "trimesh": "trimesh",
    "fast-simplification": "fast_simplification",
    "Pillow": "PIL",
}


def take_streams():
    """Keep stdin and stdout for the protocol alone.

    Libraries print to stdout, some of them from C. From here on file descriptor 1 is stderr, and 0 is empty, for them
    and for every child process; the pipe has private descriptors that nobody else knows.

    Returns:
        The unbuffered input and output of the protocol.
    """
    private = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if sys.platform == "win32":
        import msvcrt

        for descriptor in private:
            msvcrt.setmode(descriptor, os.O_BINARY)
    return open(private[0], "rb", buffering=0), open(private[1], "wb", buffering=0)


def load_package():
    """Make this very copy of `gan3d_core` importable.

    Its parent folder stays off sys.path: in Blender that is a folder of packages for Blender's Python, whose numpy
    would be found before this Python's own. So does this folder, whose module names are too common.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    folder = os.path.dirname(here)
    spec = importlib.util.spec_from_file_location(
        "gan3d_core", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["gan3d_core"] = module
    spec.loader.exec_module(module)


def missing_packages():
    """Names of the packages this Python lacks. None is imported."""
    return [package for package, module in MODULES.items() if importlib.util.find_spec(module) is None]


def find_problem():
    """What is wrong with this Python, as (message, hint), or None."""
    where = f"{sys.executable}, Python {sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
    if sys.version_info < MINIMUM_PYTHON:
        return (
            f"The worker needs Python {MINIMUM_PYTHON[0]}.{MINIMUM_PYTHON[1]} or newer; this is {where}.",
            "Choose another Python in the add-on's preferences, or let GAN3D set one up.",
        )
    missing = missing_packages()
    if missing:
        return (
            f"The worker's Python ({where}) lacks {', '.join(missing)}.",
            "Set the worker up in the add-on's preferences, or install GAN3D's worker requirements there.",
        )
    for package, module in MODULES.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken library fails in any way it likes
            return (
                f"{package} cannot be loaded by the worker's Python ({where}): {type(error).__name__}: "
                f"{str(error)[:300]}.",
                "Install GAN3D's worker requirements again, in a new environment.",
            )
    return None


def run(arguments, stdin, stdout):
    """Check this Python, then serve. `gan3d_core` must be importable.

    Returns:
        The exit code, where the worker cannot start; else the process ends with its input.
    """
    problem = find_problem()
    if problem is not None:
        from gan3d_core.errors import WorkerStartError
        from gan3d_core.worker.framing import pack, write_all

        error = WorkerStartError(*problem)
        write_all(stdout, pack({"kind": "failed", "request": None, "error": error.to_dict(), "arrays": []}))
        return 1
    from gan3d_core.worker.server import serve

    return serve(arguments, stdin, stdout)


def main(arguments):
    streams = take_streams()
    load_package()
    return run(arguments, *streams)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
