"""`python -m training.prepare SOURCE DATASET`: make a dataset of a folder of meshes."""

from __future__ import annotations

import argparse
import collections
import importlib
import os
import sys
from pathlib import Path

import numpy as np

from gan3d_core.errors import DatasetError, Gan3DError

from .data import homonyms, jobs, reports, store
from .data.augmentation import AugmentationRecipe, variations
from .data.checks import TURNED, about
from .data.gather import gathered
from .data.record import RecordSettings
from .data.source import SourceFile
from .progress import ProgressLine

COMMANDS = {"infinigen": "training.infinigen.command", "inspect": "training.inspection.command"}
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
        metres_per_unit=options.metres_per_unit,
        turned=options.turned,
        limit=options.limit,
        processes=options.processes,
        strict=options.strict,
        settings=RecordSettings(grids=tuple(options.grids), views=options.views, image_size=options.image_size),
        augment=options.augment,
        limits=AugmentationRecipe.read(options.augment_recipe, options.augment_set),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare",
        description=__doc__,
        epilog="Other commands: `inspect DATASET` writes a page about a dataset, `infinigen CATEGORY COUNT FOLDER` "
        "makes furniture. (Sources of those names are ./inspect and ./infinigen.)",
    )
    parser.add_argument("source", help="folder of meshes or voxels, ShapeNet, ModelNet, or a .blend file")
    parser.add_argument("dataset", help="folder to make, or to go on with")
    parser.add_argument("--category", help="only this category, or these, with commas between them")
    parser.add_argument("--up", help="axis of the files that points up, such as +Y (default: by format)")
    parser.add_argument("--front", help="axis of the files that the shapes look along (default: by format)")
    parser.add_argument("--metres-per-unit", type=float, help="size of the files' unit (default: by format)")
    parser.add_argument(
        "--turned",
        choices=TURNED,
        default="keep",
        help="what to do with shapes that stand another way than the others of their category (default: keep)",
    )
    parser.add_argument("--limit", type=int, help="only the first so many files")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one per core")
    default = RecordSettings()
    parser.add_argument(
        "--grids",
        type=int,
        nargs="+",
        default=list(default.grids),
        metavar="N",
        help=f"resolutions of the signed-distance grids (default: {' '.join(map(str, default.grids))})",
    )
    parser.add_argument(
        "--views", type=int, default=default.views, help=f"pictures of each shape (default: {default.views}; 0: none)"
    )
    parser.add_argument(
        "--image-size",
        type=int,
        default=default.image_size,
        metavar="S",
        help=f"pixels along the side of a picture (default: {default.image_size})",
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first file that cannot be used")
    parser.add_argument(
        "--augment", type=int, default=0, metavar="N", help="make N variations of each training shape (default: none)"
    )
    parser.add_argument("--augment-recipe", metavar="FILE", help="limits of the variations, a .toml file")
    parser.add_argument(
        "--augment-set", nargs="+", default=[], metavar="KEY=VALUE", help="limits by name, such as hue=90 mirror=0"
    )
    return parser


def prepare(
    source: Path,
    dataset: Path,
    category: str | None = None,
    up: str | None = None,
    front: str | None = None,
    metres_per_unit: float | None = None,
    turned: str = "keep",
    limit: int | None = None,
    processes: int | None = None,
    strict: bool = False,
    settings: RecordSettings | None = None,
    augment: int = 0,
    limits: AugmentationRecipe | None = None,
) -> list[store.Entry]:
    """Prepare every usable shape of a folder or .blend file; what cannot be used is listed with its reason in
    `skipped.jsonl`, and what was noticed about the sources in `findings.jsonl`.

    Args:
        category, up, front, metres_per_unit: see `layouts.discover`.
        turned: what to do with shapes that stand another way than the others: see `checks.check`.
        augment: how many variations to make of each training shape, within `limits`.

    Returns:
        the dataset's entries, earlier ones included.

    Raises:
        DatasetError: nothing to read, axes that are none, a folder that is something else; with `strict`, the first
            file that cannot be used.
    """
    settings = settings or RecordSettings()
    if augment < 0:
        raise DatasetError(f"There cannot be {augment} variations of a shape.", "Choose 0 or more.")
    processes = processes or 1
    options = (category, up, front, metres_per_unit, limit, processes, turned, strict)
    # Shapes of .blend files are there only as long as this lasts.
    with gathered(source, *options) as checked:
        files, skipped = checked.files, checked.skipped
        store.create(dataset, settings.to_json())
        named_alike = homonyms.homonyms(files, [row.entry for row in store.read_rows(dataset, manifest=False)])
        if named_alike:
            sys.stderr.write(f"{homonyms.sentence(named_alike)}\n")
        reports.note(dataset, reports.FINDINGS, checked.looked, [*checked.findings, *named_alike])
        unusable = {row["file"] for row in skipped}
        reports.note(dataset, reports.SKIPPED, [file for file in checked.looked if file.name in unusable], skipped)
        try:
            late = _run("Preparing", files, dataset, settings, processes, strict)
            if augment:
                # Only shapes that could be used have variations, and of two files with the same bytes only the one
                # kept.
                there = {(entry.source, entry.name) for entry in store.write_manifest(dataset)}
                usable = [file for file in files if (file.source, file.name) in there]
                varied = variations(usable, augment, limits or AugmentationRecipe())
                late += _run("Varying", varied, dataset, settings, processes, strict) if varied else []
        finally:  # an interrupted run, too, leaves a manifest of what it finished
            entries = store.write_manifest(dataset)

    for row in late:
        sys.stderr.write(f"skipped: {about(row['file'], row['reason'])}\n")
    if not entries:
        raise DatasetError(f"None of the {len(files)} files could be used.", f"See {dataset / reports.SKIPPED}.")
    _summarise(dataset, entries)
    return entries


def _run(
    label: str, files: list[SourceFile], dataset: Path, settings: RecordSettings, processes: int, strict: bool
) -> list[dict[str, str]]:
    """Prepare files and return those that were skipped, with the reasons; they are in the report then, too."""
    reasons: dict[str, str] = {}
    counts: collections.Counter[str] = collections.Counter()
    progress = ProgressLine(label, len(files))
    results = jobs.run(files, dataset, settings, processes)
    try:
        for done, result in enumerate(results, 1):
            counts[result.status] += 1
            reasons[result.name] = result.reason
            if result.status == "skipped" and strict:
                raise DatasetError(about(result.name, result.reason), "Without --strict it is skipped.")
            progress.update(done, f"{counts['made']} made, {counts['kept']} kept, {counts['skipped']} skipped")
    finally:
        results.close()
        progress.close()
        skipped = [{"file": name, "reason": reason} for name, reason in sorted(reasons.items()) if reason]
        reports.note(dataset, reports.SKIPPED, [file for file in files if file.name in reasons], skipped)
    return skipped


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
