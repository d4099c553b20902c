"""`python -m training.prepare SOURCE DATASET`: make a dataset of a folder of meshes."""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np

from gan3d_core.errors import DatasetError, Gan3DError
from gan3d_core.files import write_text

from .data import record, store
from .data.layouts import discover
from .data.normalise import rotation
from .data.source import SourceFile
from .progress import ProgressLine

COMMANDS = {"inspect": "training.inspection.command"}
"""Words that may stand in the place of SOURCE, and the modules whose `main(arguments) -> int` they call."""


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in COMMANDS:
            return importlib.import_module(COMMANDS[arguments[0]]).main(arguments[1:])
        _prepare_by(arguments)
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Finished shapes are kept; the same command goes on from here.\n")
        return 130
    return 0


def _prepare_by(arguments: list[str]) -> None:
    options = _parser().parse_args(arguments)
    prepare(
        Path(options.source),
        Path(options.dataset),
        category=options.category,
        up=options.up,
        front=options.front,
        limit=options.limit,
        processes=options.processes,
        strict=options.strict,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare",
        description=__doc__,
        epilog="Other command: `inspect DATASET` writes a page about a dataset. (A source of that name is ./inspect.)",
    )
    parser.add_argument("source", help="folder of meshes, with or without a manifest.jsonl / metadata.jsonl")
    parser.add_argument("dataset", help="folder to make, or to go on with")
    parser.add_argument("--category", help="only this category")
    parser.add_argument("--up", help="axis of the files that points up, such as +Y (default: by format)")
    parser.add_argument("--front", help="axis of the files that the shapes look along (default: by format)")
    parser.add_argument("--limit", type=int, help="only the first so many files")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one per core")
    parser.add_argument("--strict", action="store_true", help="stop at the first file that cannot be used")
    return parser


def prepare(
    source: Path,
    dataset: Path,
    category: str | None = None,
    up: str | None = None,
    front: str | None = None,
    limit: int | None = None,
    processes: int | None = None,
    strict: bool = False,
) -> list[store.Entry]:
    """Prepare every usable mesh of a folder; what cannot be used is listed with its reason in `skipped.jsonl`.

    Returns:
        the dataset's entries, earlier ones included.

    Raises:
        DatasetError: nothing to read, axes that are none, a folder that is something else; with `strict`, the first
            file that cannot be used.
    """
    files = discover(source, category, up, front).files[:limit]
    rotation(files[0].up, files[0].front)  # bad axes are found before the long work
    counts = collections.Counter(file.category for file in files)
    sys.stderr.write(f"{len(files)} files: {', '.join(f'{n} {name}' for name, n in counts.most_common())}\n")
    store.create(dataset, record.SETTINGS)

    skipped: list[dict[str, str]] = []
    made = reused = 0
    progress = ProgressLine("Preparing", len(files))
    jobs = [(file, str(dataset)) for file in files]
    processes = max(1, min(processes or 1, len(jobs)))
    # spawn: warp's threads and its kernel cache do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_ignore_interrupt) as pool:
        for done, (name, status, reason) in enumerate(pool.imap_unordered(_job, jobs), 1):
            if status == "skipped":
                skipped.append({"file": name, "reason": reason})
                if strict:
                    raise DatasetError(f"{name} cannot be used: {reason}", "Without --strict it is skipped.")
            made += status == "made"
            reused += status == "reused"
            progress.update(done, f"{made} made, {reused} kept, {len(skipped)} skipped")
    progress.close()

    skipped.sort(key=lambda row: row["file"])
    write_text(dataset / "skipped.jsonl", "".join(json.dumps(row) + "\n" for row in skipped))
    entries = store.write_manifest(dataset)
    for row in skipped:
        sys.stderr.write(f"skipped {row['file']}: {row['reason']}\n")
    if not entries:
        raise DatasetError(f"None of the {len(files)} files could be used.", f"See {dataset / 'skipped.jsonl'}.")
    _summarise(dataset, entries)
    return entries


def _ignore_interrupt() -> None:
    """Ctrl-C is the parent's to handle; it ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _job(job: tuple[SourceFile, str]) -> tuple[str, str, str]:
    file, dataset = job
    try:
        name = record.identity(file)
        if store.read_entry(Path(dataset), name) is not None:
            return file.name, "reused", ""
        entry, arrays = record.make_record(file, name)
        store.write_record(Path(dataset), entry, arrays)
    except Gan3DError as error:
        return file.name, "skipped", error.message
    except FileNotFoundError:
        return file.name, "skipped", "The file is not there."
    except MemoryError:
        return file.name, "skipped", "There was not enough memory."
    return file.name, "made", ""


def _summarise(dataset: Path, entries: list[store.Entry]) -> None:
    from .data.sheet import dataset_sheet

    splits = collections.Counter((entry.category, entry.split) for entry in entries)
    for category in sorted({entry.category for entry in entries}):
        sizes = [f"{splits[category, split]} {split}" for split in store.SPLITS]
        sound = np.mean([entry.watertight for entry in entries if entry.category == category])
        sys.stderr.write(f"{category}: {', '.join(sizes)}; {100 * sound:.0f} % watertight\n")
    for category in sorted({entry.category for entry in entries}):
        dataset_sheet(dataset, category)
    sys.stderr.write(f"Look at {dataset}/sheet-*.png before training on it.\n")


if __name__ == "__main__":
    sys.exit(main())
