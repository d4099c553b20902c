"""Runs the benchmarks and prints their tables: `python -m benchmarks [NAME …]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gan3d_core.errors import Gan3DError

from . import gan_steps, prepare, rasteriser, surfacing, worker

ALL = {
    "worker": worker.run,
    "surfacing": surfacing.run,
    "rasteriser": rasteriser.run,
    "prepare": prepare.run,
    "gan_steps": gan_steps.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(ALL)} (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, or meshes; the median is shown")
    parser.add_argument("--checkpoint", default="", help="for `worker` (default: the best for chairs)")
    parser.add_argument("--meshes", default="", help="for `prepare`: a folder of meshes")
    parser.add_argument("--category", help="for `prepare`: only this one")
    parser.add_argument("--mesh-to-sdf", default="", help="for `prepare`: a Python that has mesh-to-sdf")
    parser.add_argument(
        "--processes",
        type=int,
        nargs="*",
        default=[1, 2],
        metavar="N",
        help="for `prepare`, `gan_steps`: so many at a time",
    )
    steps = parser.add_argument_group("gan_steps")
    steps.add_argument("--gans", nargs="+", default=list(gan_steps.BATCHES), choices=gan_steps.BATCHES, help="which")
    steps.add_argument("--resolutions", type=int, nargs="*", default=[16, 32, 64], metavar="R", help="cells a side")
    steps.add_argument("--batch", type=int, default=0, help="shapes at each resolution (default: what takes seconds)")
    steps.add_argument("--batches", type=int, nargs="*", default=[1, 2, 4], metavar="N", help="batches compared at 32³")
    steps.add_argument("--accumulate", type=int, default=0, help="also the published batch, in so many parts")
    steps.add_argument("--float32", action="store_true", help="ours without 16-bit products")
    steps.add_argument("--device", default="cpu", help="cpu, or what torch calls another one: cuda, mps")
    steps.add_argument("--threads", type=int, default=1, help="of torch, in each process")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(ALL))
    if unknown or options.repeats < 1:
        parser.error(f"unknown: {', '.join(unknown)}" if unknown else "--repeats must be at least 1")
    try:
        for name in options.names or ALL:
            print(f"\n{name}: {ALL[name].__doc__}\n")
            for row in ALL[name](options):
                print(row)
    except Gan3DError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
