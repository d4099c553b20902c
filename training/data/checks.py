"""What is wrong with the sources, found before the long work starts: every file is read once, quickly.

Reading a mesh takes a small share of what making its record takes, so bad files, missing textures and mixed
orientations are known within minutes, and counted, instead of at the end.
"""

from __future__ import annotations

import collections
import dataclasses
import multiprocessing
import signal
import sys
from typing import Any, TextIO

from gan3d_core.errors import DatasetError, Gan3DError, MeshFileError

from ..progress import ProgressLine
from .agreement import Stance, agreement, stance, turned_axes
from .normalise import rotation, to_cube
from .readers import read
from .source import SourceFile

NAMED = 12
"""How many files a message names; the rest are counted."""
TURNED = ("keep", "turn", "skip")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What reading one file has shown."""

    reason: str = ""
    """Why it cannot be used; empty if it can."""
    missing: tuple[str, ...] = ()
    """Images that its materials name and that are not there."""
    colorless: bool = False
    stance: Stance | None = None


@dataclasses.dataclass
class Checked:
    """The outcome: what to prepare, and what was said."""

    files: list[SourceFile]
    """Those that can be used, turned ones as was asked for."""
    skipped: list[dict[str, str]]
    """`file` and `reason` of the others."""
    findings: list[dict[str, Any]]
    """`file`, `finding` (`unusable`, `missing_textures`, `no_colour`, `turned`) and what belongs to it."""
    looked: list[SourceFile]
    """All that were looked at."""


def look(file: SourceFile) -> Finding:
    """Read one file without its images."""
    try:
        mesh = read(file, images=False)
        vertices, _, _ = to_cube(mesh.vertices, mesh.faces, rotation(file.up, file.front))
        return Finding("", tuple(mesh.missing_textures), mesh.colorless, stance(vertices, mesh.faces))
    except MeshFileError as error:
        return Finding(error.message)
    except Gan3DError:
        raise
    except MemoryError:
        return Finding("There was not enough memory to read it.")


def check(
    files: list[SourceFile],
    processes: int = 1,
    turned: str = "keep",
    strict: bool = False,
    stream: TextIO | None = None,
) -> Checked:
    """Look at every file and say what was found, with counts.

    Args:
        files: what `layouts.discover` has found.
        processes: how many read at a time.
        turned: what to do with shapes that stand another way than the others of their category: `keep` them as they
            are, `turn` them to agree, or `skip` them.
        strict: stop if any file cannot be used.
        stream: takes the report; None = stderr.

    Raises:
        DatasetError: axes that are none; with `strict`, files that cannot be used; no file that can.
    """
    out = stream or sys.stderr
    for axes in {(file.up, file.front) for file in files}:
        rotation(*axes)
    findings = _look_at_all(files, processes)
    rows: list[dict[str, Any]] = []
    bad = {file.name: found.reason for file, found in zip(files, findings, strict=True) if found.reason}
    rows += [{"file": name, "finding": "unusable", "reason": reason} for name, reason in bad.items()]
    usable = len(files) - len(bad)
    out.write(f"Checked {counted(len(files), 'file', 'files')}: {usable} can be used, {len(bad)} cannot.\n")
    for reason, names in _grouped(bad).items():
        out.write(f"  {reason} ({_listed(names)})\n" if len(names) > 1 else f"  {about(names[0], reason)}\n")
    if bad and strict:
        name, reason = next(iter(bad.items()))
        raise DatasetError(about(name, reason), "Without --strict it is skipped.")
    if len(bad) == len(files):
        raise DatasetError(f"None of the {len(files)} files could be used.", f"The first: {next(iter(bad.values()))}")
    rows += _colours(files, findings, out)
    changed = _orientations(files, findings, turned, out)
    rows += [row for _, row in changed.values()]
    kept, skipped = [], [{"file": name, "reason": reason} for name, reason in bad.items()]
    for file in files:
        if file.name in bad:
            continue
        if file.name in changed and turned == "skip":
            skipped.append({"file": file.name, "reason": "It stands another way than the others of its category."})
            continue
        kept.append(changed[file.name][0] if file.name in changed and turned == "turn" else file)
    return Checked(kept, skipped, rows, files)


def about(name: str, reason: str) -> str:
    """Why a file cannot be used: the reason, after the file's name where it does not say it."""
    return reason if name in reason else f"{name} cannot be used: {reason}"


def counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _look_at_all(files: list[SourceFile], processes: int) -> list[Finding]:
    progress = ProgressLine("Checking", len(files))
    found: list[Finding] = []
    processes = max(1, min(processes, len(files) // 4))
    if processes == 1:  # starting a process costs as much as reading a few files
        for file in files:
            found.append(look(file))
            progress.update(len(found), "")
    else:
        with multiprocessing.get_context("spawn").Pool(processes, initializer=_ignore_interrupt) as pool:
            for one in pool.imap(look, files, chunksize=4):
                found.append(one)
                progress.update(len(found), "")
    progress.close()
    return found


def _ignore_interrupt() -> None:
    """Ctrl-C is the parent's to handle; it ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _grouped(reasons: dict[str, str]) -> dict[str, list[str]]:
    """Reason → names, with a file's own name taken out of its reason so that equal ones meet."""
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for name, reason in reasons.items():
        groups[reason.replace(name, "The file")].append(name)
    return {
        (reason if len(names) > 1 else reasons[names[0]]): names
        for reason, names in sorted(groups.items(), key=lambda pair: -len(pair[1]))
    }


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)}: {', '.join(names[:NAMED])}{more}"


def _colours(files: list[SourceFile], findings: list[Finding], out: TextIO) -> list[dict[str, Any]]:
    missing = {file.name: found.missing for file, found in zip(files, findings, strict=True) if found.missing}
    without = [file.name for file, found in zip(files, findings, strict=True) if found.colorless and not found.missing]
    if missing:
        images = sum(len(names) for names in missing.values())
        out.write(
            f"{counted(images, 'texture is', 'textures are')} missing or cannot be read; no colours are learned from "
            f"{'its shape' if images == 1 else 'their shapes'} "
            f"({_listed([*missing])}).\n"
        )
    if without:
        said = counted(len(without), "file says", "files say")
        out.write(f"{said} nothing about colour: only shape is learned from there.\n")
    return [
        *({"file": name, "finding": "missing_textures", "textures": [*images]} for name, images in missing.items()),
        *({"file": name, "finding": "no_colour"} for name in without),
    ]


def _orientations(
    files: list[SourceFile], findings: list[Finding], turned: str, out: TextIO
) -> dict[str, tuple[SourceFile, dict[str, Any]]]:
    """Name → the file with the axes that would agree, and its finding."""
    groups: dict[str, list[int]] = collections.defaultdict(list)
    for index, (file, found) in enumerate(zip(files, findings, strict=True)):
        if found.stance is not None:
            groups[file.category].append(index)
    changed: dict[str, tuple[SourceFile, dict[str, Any]]] = {}
    judged = 0
    unclear = []
    for category, members in sorted(groups.items()):
        result = agreement([stance for index in members if (stance := findings[index].stance) is not None])
        if not result.coherent:
            unclear.append(f"{category} ({len(members)})")
            continue
        judged += len(members)
        if result.sideways:
            out.write(
                f"The shapes of {category} are alike from {result.sideways} rather than from left to right: "
                "they may all stand the wrong way. Give --up and --front.\n"
            )
        for each in result.turned:
            file = files[members[each.index]]
            up, front = turned_axes(file.up, file.front, each.rotation)
            row: dict[str, Any] = {"file": file.name, "finding": "turned", "up": up, "front": front}
            row |= {"agreement": round(each.before, 3), "if_turned": round(each.after, 3)}
            changed[file.name] = (dataclasses.replace(file, up=up, front=front), row)
    if judged:
        done = {"keep": "are kept so; see --turned", "turn": "are turned to agree", "skip": "are skipped"}[turned]
        end = f" and {done}:" if changed else "."
        out.write(f"{len(changed)} of {judged} shapes stand another way than the others of their category{end}\n")
    for name, (file, row) in list(changed.items())[: 4 * NAMED]:
        fit = f"agreement {row['agreement']:.2f}, then {row['if_turned']:.2f}"
        out.write(f"  {name}: up {file.up}, front {file.front} would agree ({fit})\n")
    if len(changed) > 4 * NAMED:
        out.write(f"  and {len(changed) - 4 * NAMED} more, see findings.jsonl\n")
    if unclear:
        out.write(f"Too few or too different to compare their orientation: {', '.join(unclear)}.\n")
    return changed
