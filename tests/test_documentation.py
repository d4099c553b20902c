"""The documentation tells the truth about names: links resolve, commands and files that it mentions exist."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gan3d_core

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def anchors(text: str) -> set[str]:
    """The anchors that a forge makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> Iterator[str]:
    text = without_code(text)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)
    yield from re.findall(r"^\[[^\]]+\]:\s+(\S+)", text, re.MULTILINE)


def code(text: str) -> str:
    """Everything written as code."""
    fenced = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join(fenced + re.findall(r"`([^`\n]+)`", without_code(text)))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_the_documents_are_found() -> None:
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_links_resolve(name: str) -> None:
    path = ROOT / name
    text = path.read_text("utf-8")
    broken = []
    for link in links(text):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        inside = target.exists() and ROOT in (target, *target.parents)
        heading = not inside or not anchor or target.suffix != ".md" or anchor in anchors(target.read_text("utf-8"))
        if not (inside and heading):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_make_commands_exist(name: str) -> None:
    mentioned = set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", code((ROOT / name).read_text("utf-8"))))
    assert mentioned <= make_targets()


@pytest.mark.parametrize("name", NAMES)
def test_modules_that_are_run_exist(name: str) -> None:
    modules = set(re.findall(r"python(?:3[.\d]*)? -m ([\w.]+)", code((ROOT / name).read_text("utf-8"))))
    missing = {module for module in modules if importlib.util.find_spec(module) is None}
    assert missing == set()


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name: str) -> None:
    """Paths written as code whose first folder is one of ours; capitals and <…> stand for what the reader chooses."""
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in {"out", "dist"})
    text = code((ROOT / name).read_text("utf-8"))
    paths = set(re.findall(rf"(?<![\w/.])((?:{folders})/[\w./-]*\w/?)", text))
    missing = {path for path in paths if not (ROOT / path).exists() and not re.search(r"[A-Z]{2}|lamp", path)}
    assert missing == set()


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_a_developers_machine(name: str) -> None:
    assert not re.search(r"(?<!\w)/(home|root|Users|work|opt|tmp)/", (ROOT / name).read_text("utf-8"))


def test_the_readme_names_every_make_target_of_a_user_and_the_help_all() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for target in ("demo", "test", "lint", "bench", "extension", "test-blender52", "test-gui"):
        assert f"make {target}" in readme
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert make_targets() == set(re.findall(r"^  make ([a-z0-9-]+) ", listed, re.MULTILINE))


@pytest.mark.parametrize(
    "command",
    [
        "gan3d_core",
        "gan3d_core generate",
        "training.prepare",
        "training.prepare infinigen",
        "training.prepare inspect",
        "training.train",
        "training.export",
        "training.evaluate",
        "training.compare",
        "training.report",
        "training.probe",
        "training.explore samples",
        "training.explore arithmetic",
        "training.explore walk",
    ],
)
def test_options_in_the_documents_are_taken(command: str) -> None:
    """Each `--option` in a documented command line of ours is one that its parser knows."""
    helped = subprocess.run(
        [sys.executable, "-m", *command.split(), "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known = set(re.findall(r"--[a-z-]+", helped.stdout))
    module, _, below = command.partition(" ")
    others = {
        "gan3d_core": ("generate",),
        "training.prepare": ("infinigen", "inspect"),
        "training.explore": ("samples", "arithmetic", "walk"),
    }.get(module, ())
    for path in DOCUMENTS:
        for line in code(path.read_text("utf-8")).splitlines():
            found = re.search(rf"-m {re.escape(module)} +([a-z-]*)", line)
            if found and (found[1] == below if below or found[1] in others else True):
                ours = line.split("#")[0].partition(f"-m {module}")[2]  # what stands before are options of torchrun
                used = set(re.findall(r"(?<=\s)--[a-z-]+", ours))
                assert used <= known, f"{path.name}: {line}"


def test_the_changelog_has_the_version() -> None:
    assert f"## [{gan3d_core.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
