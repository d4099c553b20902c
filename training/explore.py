"""`python -m training.explore samples | arithmetic | walk CHECKPOINT PICTURE`: what codes make, as sheets.

`samples` draws seeds in a row, nothing left out, and says how many are of one part.
`arithmetic` adds and subtracts shapes as J. Wu et al. do (3D-GAN, NIPS 2016, section 4.3): the code of a − b + c, of
three or more seeds each if one alone is too much itself. `walk` goes from seed to seed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gan3d_core import checkpoints, drawing, generators
from gan3d_core.checkpoints import Checkpoint, CheckpointConfig
from gan3d_core.errors import Gan3DError, RecipeError
from gan3d_core.generators import Generator

from .configuration import best_device
from .evaluation.judge import decode
from .evaluation.painted import from_field
from .evaluation.renders import portrait
from .metrics.path_length import walk
from .rendering.preview import contact_sheet


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        checkpoint = checkpoints.find(options.checkpoint)
        if options.command == "samples":
            whole = draw_samples(checkpoint, options.first, options.count, options.picture, options.device)
            sys.stdout.write(f"{whole} of {options.count} are of one part.\n")
        elif options.command == "arithmetic":
            draw_arithmetic(checkpoint, (options.a, options.b, options.c), options.picture, options.device)
        else:
            draw_walk(checkpoint, options.seeds, options.picture, options.steps, options.device)
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.explore", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    row = commands.add_parser("samples", help="a sheet of seeds in a row")
    sums = commands.add_parser("arithmetic", help="a sheet of a, b, c and a − b + c")
    path = commands.add_parser("walk", help="a sheet of walks from each seed to the next")
    for command in (row, sums, path):
        command.add_argument("checkpoint", help="identity of an installed checkpoint, or a checkpoint folder")
        command.add_argument("picture", type=Path, help="the .png to write")
        command.add_argument("--device", default="cpu")
    row.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (%(default)s)")
    row.add_argument("--count", type=int, default=32, metavar="N", help="how many (%(default)s)")
    for name in ("a", "b", "c"):
        sums.add_argument(f"--{name}", type=int, nargs="+", required=True, metavar="SEED", help="one or more seeds")
    path.add_argument("--seeds", type=int, nargs="+", required=True, metavar="SEED", help="two or more")
    path.add_argument("--steps", type=int, default=8, help="shapes of each walk, ends included (%(default)s)")
    return parser


def draw_samples(checkpoint: Checkpoint, first: int, count: int, path: Path, device: str = "cpu") -> int:
    """Seeds in a row, as an artist would get them, eight beside each other.

    Returns:
        how many are of one part.

    Raises:
        RecipeError: none are asked for, or a seed is none.
    """
    if count < 1:
        raise RecipeError(f"A sheet of {count} shapes cannot be drawn.", "Ask for one or more.")
    config, generator = checkpoint.config, _load(checkpoint, device)
    seeds = _checked(range(first, first + count))
    fields = [drawing.of_seed(generator, config, seed, config.truncation).field for seed in seeds]
    contact_sheet([portrait(from_field(field)) for field in fields], path, min(8, count), None)
    return sum(not drawing.loose_share(field.values(drawing.LOOKED_AT)) for field in fields)


def arithmetic(a: np.ndarray, b: np.ndarray, c: np.ndarray, prior: str) -> np.ndarray:
    """a − b + c of codes (…, latent), brought back to where the prior has codes.

    A sum of three is longer than a code of a normal prior ever is, and lies outside the cube of a uniform one: it is
    shortened to the longest of the three, or clipped.
    """
    found = a - b + c
    if prior == "uniform":
        return found.clip(0, 1).astype(np.float32)
    longest = np.max([np.linalg.norm(one, axis=-1, keepdims=True) for one in (a, b, c)], axis=0)
    length = np.linalg.norm(found, axis=-1, keepdims=True)
    return (found * np.minimum(1.0, longest / np.maximum(length, 1e-12))).astype(np.float32)


def draw_arithmetic(
    checkpoint: Checkpoint, seeds: tuple[Sequence[int], Sequence[int], Sequence[int]], path: Path, device: str = "cpu"
) -> None:
    """A row of a, b, c and a − b + c for each seed, and one of the means where there are several.

    Raises:
        RecipeError: not as many seeds of each, or one that is none.
    """
    if len({len(each) for each in seeds}) > 1:
        raise RecipeError("--a, --b and --c have different numbers of seeds.", "Give as many of each.")
    config, generator = checkpoint.config, _load(checkpoint, device)
    codes = np.stack([_codes(generator, checkpoint, each) for each in seeds])  # (3, N, latent)
    if codes.shape[1] > 1:
        codes = np.concatenate([codes, codes.mean(1, keepdims=True)], 1)
    a, b, c = codes
    rows = np.stack([a, b, c, arithmetic(a, b, c, config.prior)], 1)  # (N, 4, latent)
    names = [f"{name} {seed}" for row in zip(*seeds, strict=True) for name, seed in zip("abc", row, strict=True)]
    captions = [part for i in range(0, len(names), 3) for part in (*names[i : i + 3], "a - b + c")]
    captions += ["mean a", "mean b", "mean c", "a - b + c"] if len(rows) > len(seeds[0]) else []
    _draw(generator, config, rows.reshape(-1, config.latent_size), path, 4, captions)


def draw_walk(checkpoint: Checkpoint, seeds: Sequence[int], path: Path, steps: int = 8, device: str = "cpu") -> None:
    """A row for each walk from a seed to the next: arcs for a normal prior, lines for a uniform one.

    Raises:
        RecipeError: fewer than two seeds or steps, or a seed that is none.
    """
    if len(seeds) < 2 or steps < 2:
        raise RecipeError("A walk needs two seeds and two steps.", "Give more.")
    generator = _load(checkpoint, device)
    codes = _codes(generator, checkpoint, seeds)
    share = np.linspace(0, 1, steps)
    legs = [
        walk(np.repeat(first[None], steps, 0), np.repeat(second[None], steps, 0), share, checkpoint.config.prior)
        for first, second in itertools.pairwise(codes)
    ]
    _draw(generator, checkpoint.config, np.concatenate(legs), path, steps, None)


def _load(checkpoint: Checkpoint, device: str) -> Generator:
    return generators.load(checkpoint, best_device(device))  # type: ignore[return-value]


def _codes(generator: Generator, checkpoint: Checkpoint, seeds: Sequence[int]) -> np.ndarray:
    """(N, latent) at the checkpoint's own truncation."""
    config = checkpoint.config
    return drawing.codes(generator, config, _checked(seeds), config.truncation)


def _checked(seeds: Sequence[int]) -> Sequence[int]:
    if min(seeds) < 0:
        raise RecipeError(f"{min(seeds)} is no seed.", "Seeds are 0 or more.")
    return seeds


def _draw(
    generator: Generator,
    config: CheckpointConfig,
    codes: np.ndarray,
    path: Path,
    columns: int,
    captions: list[str] | None,
) -> None:
    meshes = decode(generator, codes, config.size_m)
    contact_sheet([portrait(mesh) for mesh in meshes], path, columns, captions)


if __name__ == "__main__":
    sys.exit(main())
