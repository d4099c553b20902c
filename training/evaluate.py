"""`python -m training.evaluate CHECKPOINT DATASET OUT`: judge a checkpoint against held-out shapes.

Writes `metrics.json`, sheets, a film, and `report.html`, which holds them all. With `--compare` several checkpoints
are judged against the same references, each in a folder of its own, and `comparison.html` and `comparison.json` stand
beside them.

What is measured, each beside its floor and with its protocol's name: MMD, coverage and 1-NNA of point clouds; Fréchet
distance, kernel distance, precision and recall of renders; near-copies of training shapes; path length.
`training/metrics/` has the formulas and sources.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gan3d_core import checkpoints
from gan3d_core.checkpoints import Checkpoint
from gan3d_core.errors import CheckpointError, Gan3DError, OutputError
from gan3d_core.files import write_text

from .configuration import best_device
from .evaluation.judge import Judged, judge
from .evaluation.references import FEWEST, References
from .evaluation.renders import Views
from .evaluation.report import write_comparison, write_report
from .metrics.features import load_features


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="identity of an installed checkpoint, or a checkpoint folder")
    parser.add_argument("dataset", type=Path, help="folder made by python -m training.prepare")
    parser.add_argument("out", type=Path, help="folder for the figures and sheets")
    parser.add_argument("--compare", nargs="+", default=[], metavar="CHECKPOINT", help="judge these too, in one table")
    parser.add_argument("--truncation", type=_share, help="0 to 1 (default: each checkpoint's own)")
    parser.add_argument("--seeds", type=_at_least(1), default=3, help="independent sets of samples")
    parser.add_argument("--count", type=_at_least(FEWEST), default=100, help="samples in a set, and references at most")
    parser.add_argument("--views", type=_at_least(1), default=Views.count, help="cameras around a shape")
    parser.add_argument("--size", type=_at_least(32), default=Views.size, help="pixels along a side of a render")
    parser.add_argument(
        "--inception", type=Path, metavar="FILE", help="weights of Inception v3, for features instead of EfficientNet's"
    )
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    try:
        found = [checkpoints.find(name) for name in (options.checkpoint, *options.compare)]
        figures = evaluate(
            found,
            options.dataset,
            options.out,
            truncation=options.truncation,
            sets=options.seeds,
            count=options.count,
            views=Views(options.views, options.size),
            inception=options.inception,
            device=best_device(options.device),
        )
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(figures[0] if len(figures) == 1 else figures, indent=2) + "\n")
    return 0


def evaluate(
    found: Sequence[Checkpoint],
    dataset: Path,
    out: Path,
    truncation: float | None = None,
    sets: int = 3,
    count: int = 100,
    views: Views | None = None,
    inception: Path | None = None,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Judge checkpoints of one category against the same references, and write the reports.

    Args:
        found: one, whose report goes to `out`; or more, whose reports go to folders in it.
        dataset: a prepared dataset.
        out: made if missing; files of earlier reports are replaced.
        truncation: of samples; None takes each checkpoint's own.
        sets: independent sets of samples.
        count: samples in a set, and held-out shapes at most.
        views: cameras and size of the renders.
        inception: weights of Inception v3 instead of EfficientNet-Lite0's.
        device: of generators and features.

    Returns:
        What `metrics.json` holds, for each checkpoint.

    Raises:
        CheckpointError: checkpoints of different categories or of one name, or weights that do not fit.
        DatasetError: too few shapes.
        EmptyShapeError: a checkpoint that makes hardly any surfaces.
        OutputError: `out` cannot be written.
    """
    categories = sorted({checkpoint.config.category for checkpoint in found})
    if len(categories) > 1:
        raise CheckpointError(
            f"Checkpoints of different categories ({', '.join(categories)}) have no references in common.",
            "Compare checkpoints of one category.",
        )
    names = [checkpoint.id for checkpoint in found]
    if len(set(names)) < len(names):
        raise CheckpointError(f"Two of the checkpoints have one name ({', '.join(names)}).", "Rename a folder.")
    folders = [out] if len(found) == 1 else [out / name for name in names]
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made a folder ({error.strerror}).") from None
    references = References(dataset, categories[0], count, views or Views(), load_features(inception, device))
    all_judged: list[Judged] = []
    for checkpoint, folder in zip(found, folders, strict=True):
        begin = time.monotonic()
        chosen = checkpoint.config.truncation if truncation is None else truncation
        judged = judge(checkpoint, references, chosen, sets, device)
        judged.figures["seconds"] = round(time.monotonic() - begin)
        write_text(folder / "metrics.json", json.dumps(judged.figures, indent=2) + "\n")
        write_report(judged, references, folder)
        all_judged.append(judged)
    figures = [judged.figures for judged in all_judged]
    if len(found) > 1:
        write_text(out / "comparison.json", json.dumps(figures, indent=2) + "\n")
        write_comparison(all_judged, folders, out)
    return figures


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _at_least(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is below {least}")
        return value

    return read


if __name__ == "__main__":
    sys.exit(main())
