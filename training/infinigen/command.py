"""`python -m training.prepare infinigen CATEGORY COUNT FOLDER`: furniture from Infinigen, as much as you like.

The shapes land in FOLDER/CATEGORY with their labels in FOLDER/metadata.jsonl, ready for `python -m training.prepare
FOLDER DATASET`. The first call makes an environment for Infinigen in your cache folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import environment
from .catalogue import CATALOGUE, EVALUATION_SEED, check_seeds
from .generate import generate
from .process import GeneratorProcess

LIMIT_S = 600.0


def main(arguments: list[str]) -> int:
    """Run the command.

    Raises:
        DatasetError, OutputError, WorkerStartError: see `generate` and `environment.ensure`.
    """
    if "--where" in arguments:
        sys.stdout.write(f"{environment.environment_folder()}\n")
        return 0
    options = _parser().parse_args(arguments)
    first = options.first_seed
    if first is None:
        first = EVALUATION_SEED if options.evaluation_seeds else 0
    check_seeds(first, options.count, options.evaluation_seeds)  # before anything is downloaded
    python = environment.ensure(_say, options.python)
    command = [str(python), "-E", str(environment.GENERATOR), str(environment.FACTORIES)]
    made = generate(
        Path(options.folder),
        options.category,
        options.count,
        first,
        lambda: GeneratorProcess(command, options.limit),
        processes=options.processes,
        evaluation=options.evaluation_seeds,
        light=options.light_materials,
    )
    sys.stderr.write(f"{made} made. Next: python -m training.prepare {options.folder} DATASET\n")
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.prepare infinigen", description=__doc__)
    parser.add_argument("category", choices=sorted(CATALOGUE))
    parser.add_argument("count", type=_positive, help="how many shapes FOLDER shall have of it from the first seed on")
    parser.add_argument("folder", help="folder to make, or to go on with")
    parser.add_argument("--first-seed", type=int, help=f"default: 0; below {EVALUATION_SEED}")
    parser.add_argument(
        "--evaluation-seeds",
        action="store_true",
        help=f"make shapes of the seeds from {EVALUATION_SEED} on, which nothing is ever trained on",
    )
    parser.add_argument(
        "--light-materials",
        action="store_true",
        help="leave out Infinigen's black materials, of which half of its chairs' legs are, and draw others lighter",
    )
    parser.add_argument("--processes", type=_positive, default=1, help="at a time (default: 1); 1 GB of memory each")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for one shape (default: %(default)g)")
    parser.add_argument("--python", help="a Python 3.11 to make the environment with")
    parser.add_argument("--where", action="store_true", help="print where the environment lies, and nothing else")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value
