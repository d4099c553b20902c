"""The three arrows: `addon` → `gan3d_core` ← `training`, and what each of the three may import at all."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLENDER = {"bpy", "bmesh", "mathutils", "gpu", "blf", "bl_ui", "bpy_extras", "addon_utils"}
HEAVY = {"torch", "scipy", "skimage", "trimesh", "fast_simplification", "xatlas", "PIL", "safetensors", "warp"}
LIGHT = (
    "gan3d_core",
    "gan3d_core.errors",
    "gan3d_core.files",
    "gan3d_core.latent",
    "gan3d_core.recipe",
    "gan3d_core.shape",
    "gan3d_core.checkpoints",
    "gan3d_core.progress",
    "gan3d_core.worker.protocol",
    "gan3d_core.worker.client",
)
"""Modules that the add-on may always count on; whatever else it imports is found below and held to the same."""

Import = tuple[Path, int, str]


# Scripts that the Python of another environment runs, beside packages of that environment; nothing here imports them.
ELSEWHERE = ROOT / "training" / "infinigen" / "inside"


def python_files(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if ELSEWHERE not in path.parents)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file with its absolute name, those inside functions and `if TYPE_CHECKING` included.

    `from a.b import c` yields a.b and a.b.c, since c may be a module.
    """
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield path, node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(relative, package) if node.level else relative
            yield path, node.lineno, base
            for alias in node.names:
                yield path, node.lineno, f"{base}.{alias.name}"


def imports_in(package: str) -> list[Import]:
    found = [entry for path in python_files(package) for entry in imports_of(path)]
    assert found, f"{package} has no imports: the test looks in the wrong place"
    return found


def offending(found: list[Import], forbidden: set[str]) -> list[str]:
    """`file:line name` of each import whose top-level package is forbidden."""
    return sorted(
        {f"{path.relative_to(ROOT)}:{line} {name}" for path, line, name in found if name.split(".")[0] in forbidden}
    )


def project_modules(names: set[str]) -> set[str]:
    """Those of the names that are modules of gan3d_core."""
    own = {module_name(path) for path in python_files("gan3d_core")}
    return names & own


def modules_after(statement: str) -> set[str]:
    """Top-level and project modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


# ── the arrows, as they are written ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("package", ["gan3d_core", "training"])
def test_only_the_addon_imports_blender(package: str) -> None:
    assert offending(imports_in(package), BLENDER) == []


def test_the_addon_imports_no_heavy_library_even_inside_functions() -> None:
    assert offending(imports_in("addon"), HEAVY) == []


@pytest.mark.parametrize("package", ["gan3d_core", "addon"])
def test_nothing_imports_training(package: str) -> None:
    assert offending(imports_in(package), {"training", "tests", "tools", "benchmarks"}) == []


@pytest.mark.parametrize("package", ["gan3d_core", "training"])
def test_nothing_imports_the_addon(package: str) -> None:
    assert offending(imports_in(package), {"addon", "bl_ext"}) == []


def test_the_addon_imports_itself_relatively() -> None:
    """Installed, it is called `bl_ext.<repository>.gan3d`; an absolute `addon.…` works in the source tree only."""
    found = []
    for path in python_files("addon"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] == "addon"]
    assert found == []


# ── the same, as it runs ──────────────────────────────────────────────────────────────────────────────────────────


def addon_needs() -> list[str]:
    """Modules of gan3d_core that any file of the add-on imports."""
    return sorted(project_modules({name for _, _, name in imports_in("addon")}) | set(LIGHT))


def test_what_the_addon_needs_loads_only_the_standard_library_and_numpy() -> None:
    before = modules_after("import numpy")
    loaded = modules_after("\n".join(f"import {name}" for name in addon_needs())) - before
    roots = {name.split(".")[0] for name in loaded}
    assert roots <= set(sys.stdlib_module_names) | {"numpy", "gan3d_core"}


def test_importing_the_core_loads_nothing_else() -> None:
    """`import gan3d_core` is what `--version`, the build and every sub-module pay."""
    loaded = modules_after("import gan3d_core") - modules_after("pass")
    assert loaded <= {"gan3d_core"}


def test_nothing_imports_what_runs_elsewhere():
    module = ".".join(ELSEWHERE.relative_to(ROOT).parts)
    packages = ("gan3d_core", "addon", "training", "tools", "benchmarks")
    importers = [path for package in packages for path, _, name in imports_in(package) if name.startswith(module)]
    assert importers == []


def test_the_tests_of_the_arrows_can_fail() -> None:
    """The same checks on modules that are known to break the rule: a check that passes there is blind."""
    assert "torch" in modules_after("import gan3d_core.generators.volumetric")
    assert offending(imports_in("gan3d_core"), HEAVY)
    assert offending(imports_in("addon"), BLENDER)
    source = ROOT / "gan3d_core" / "worker" / "imaginary.py"
    assert importlib.util.resolve_name("..errors", module_name(source).rpartition(".")[0]) == "gan3d_core.errors"


# ── what is imported is pinned ────────────────────────────────────────────────────────────────────────────────────

DISTRIBUTIONS = {
    "skimage": "scikit-image",
    "PIL": "pillow",
    "warp": "warp-lang",
    **dict.fromkeys(BLENDER, "bpy"),
}
"""Where pip's name is not the module's."""


def canonical(name: str) -> str:
    """A distribution's name as pip compares them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_lines(*names: str) -> dict[str, set[str]]:
    """Distribution → its `==` pins in the named files of requirements/; a line without a pin gives the empty set."""
    found: dict[str, set[str]] = {}
    for name in names:
        for line in (ROOT / name).read_text("utf-8").splitlines():
            line = line.split("#")[0].split(";")[0].strip()
            if line and not line.startswith("-"):
                package, _, version = line.partition("==")
                found.setdefault(canonical(package), set()).update({version} - {""})
    return found


WORKER = "gan3d_core/worker/requirements.txt"
DEMO = "requirements/demo.txt"
DEVELOPMENT = "requirements/development.txt"
LOCK = "requirements/lock.txt"


@pytest.mark.parametrize(
    ("packages", "files"),
    [
        (("gan3d_core",), (WORKER,)),
        (("gan3d_core", "addon"), (WORKER, DEMO)),
        (("gan3d_core", "addon", "training", "tests", "benchmarks", "tools"), (WORKER, DEMO, DEVELOPMENT)),
    ],
)
def test_every_third_party_import_is_a_stated_requirement(packages: tuple[str, ...], files: tuple[str, ...]) -> None:
    own = {path.name for path in ROOT.iterdir() if path.is_dir()} | {"conftest"}
    stated = set(requirement_lines(*files))
    missing = set()
    # Scripts find modules beside them, and tests those of tools/.
    siblings = {path.stem for package in packages for path in python_files(package)}
    for package in packages:
        for path, _, name in imports_in(package):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in own or top in siblings:
                continue
            if canonical(DISTRIBUTIONS.get(top, top)) not in stated:
                missing.add(f"{path.relative_to(ROOT)}: {top}")
    assert sorted(missing) == []


def test_every_requirement_has_one_version_and_it_is_the_locked_one() -> None:
    locked = requirement_lines(LOCK)
    assert all(locked.values()), "a line of the lock has no =="
    for name, versions in requirement_lines(WORKER, DEMO, DEVELOPMENT, "requirements/blender52.txt").items():
        assert versions, f"{name} is not pinned"
        assert versions <= locked[name], f"{name}: {versions} is stated, {locked[name]} is locked"
