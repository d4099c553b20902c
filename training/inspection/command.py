"""`python -m training.prepare inspect DATASET`: one page about a dataset, to look at before training on it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from gan3d_core.errors import OutputError
from gan3d_core.files import write_text

from ..data.store import Dataset
from ..progress import ProgressLine


def main(arguments: list[str]) -> int:
    """Run the command.

    Raises:
        DatasetError: no dataset, or nothing in it for the request.
        OutputError: the page cannot be written.
    """
    options = _parser().parse_args(arguments)
    inspect(Path(options.dataset), options.output and Path(options.output), options.category, options.pictures)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.prepare inspect", description=__doc__)
    parser.add_argument("dataset", help="folder that prepare made")
    parser.add_argument("--output", help="where to write the page (default: inspection.html in the dataset)")
    parser.add_argument("--category", help="only this category")
    parser.add_argument(
        "--pictures", type=_count, default=40, help="shapes shown of each category and split (%(default)s)"
    )
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def inspect(dataset: Path, output: Path | None = None, category: str | None = None, pictures: int = 40) -> Path:
    """Write the page and say in a line each what it found.

    Returns:
        where the page lies.

    Raises:
        DatasetError: no dataset, or nothing in it for the request.
        OutputError: the page cannot be written.
    """
    from .page import inspection_page

    data = Dataset(dataset, category=category)
    output = output or dataset / "inspection.html"
    page, found = inspection_page(data, pictures, _watch)
    try:
        write_text(output, page)
    except OSError as error:
        raise OutputError(
            f"{output} cannot be written ({error.strerror}).", "Choose another place with --output."
        ) from None
    for finding in found:
        sys.stderr.write(f"{finding.level}: {finding.text}\n")
    sys.stderr.write(f"{output} ({len(page) / 1e6:.1f} MB): open it in a browser.\n")
    return output


def _watch(stage: str) -> Callable[[int, int], None]:
    line: ProgressLine | None = None

    def told(done: int, total: int) -> None:
        nonlocal line
        line = line or ProgressLine(stage, total)
        line.update(done)
        if done == total:
            line.close()

    return told
