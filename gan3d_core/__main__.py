"""GAN3D on the command line: `python -m gan3d_core generate | checkpoints | import-checkpoint | doctor | worker`.

Exit codes: 0 all went well, 1 something did not (one sentence on stderr says what), 2 wrong usage, 130 cancelled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__, checkpoints, doctor, importers
from .arguments import add_checkpoint_dirs, add_generate, recipes_of
from .errors import CancelledError, Gan3DError
from .export import FORMATS, export
from .worker import bootstrap, server


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="python -m gan3d_core", description="Generates textured 3D shapes.")
    top.add_argument("--version", action="version", version=f"GAN3D {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_generate(commands.add_parser("generate", help="make shapes and write them to files"))
    listing = commands.add_parser("checkpoints", help="list what is installed, and what is broken")
    add_checkpoint_dirs(listing)
    _add_import(commands.add_parser("import-checkpoint", help="make a checkpoint of another project's weights"))
    add_checkpoint_dirs(commands.add_parser("doctor", help="say what this Python has and lacks"))
    server.add_arguments(commands.add_parser("worker", help="serve Blender over stdin and stdout"))
    return top


def _add_generate(command: argparse.ArgumentParser) -> None:
    where = add_generate(command)
    where.add_argument(
        "--format", action="append", choices=sorted(FORMATS), help="of the shapes, may be repeated (glb)"
    )


def _add_import(command: argparse.ArgumentParser) -> None:
    known = "; ".join(f"{name}: {what}" for name, (_, what) in importers.CATALOGUE.items())
    command.add_argument("importer", metavar="NAME", help=known)
    command.add_argument("source", type=Path, metavar="SOURCE", help="the file of weights")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="to be made; its name becomes the identity")
    command.add_argument("--label", default="", help="name in menus (the folder's)")
    command.add_argument("--category", default="chair", help="what it makes (%(default)s)")
    command.add_argument("--size", type=float, default=1.0, metavar="M", help="longest side in metres (%(default)s)")
    command.add_argument("--truncation", type=float, default=1.0, help="default truncation (%(default)s)")
    command.add_argument("--resolution", type=int, default=64, help="default field resolution (%(default)s)")


def import_checkpoint(options: argparse.Namespace) -> int:
    """Make a checkpoint folder of another project's weights."""
    doctor.require_packages()
    checkpoint = importers.import_checkpoint(
        options.importer,
        options.source,
        options.folder,
        label=options.label,
        category=options.category,
        size_m=options.size,
        truncation=options.truncation,
        resolution=options.resolution,
    )
    print(f"{checkpoint.path}: weights {checkpoint.hash}. Its card.md says what is not known of them.")
    return 0


def generate(options: argparse.Namespace) -> int:
    """Make shapes and write them."""
    recipes = recipes_of(options)
    doctor.require_packages()
    formats = list(dict.fromkeys(options.format or ["glb"]))
    return export(recipes, options.out, formats, options.device, options.checkpoints)


def list_checkpoints(options: argparse.Namespace) -> int:
    """Print every checkpoint on the search path."""
    good, broken = checkpoints.installed(options.checkpoints)
    width = max((len(each.id) for each in good), default=0)
    for each in good:
        config = each.config
        megabytes = each.weights.stat().st_size / 1e6
        look = "textured" if config.textured else "plain"
        print(f"{each.id:{width}}  {config.category}  {config.architecture}  {look}  {megabytes:.1f} MB  {each.path}")
        print(f"{'':{width}}  {config.label}; weights {each.hash}")
    for error in broken:
        print(f"BROKEN: {error}")
    if not good:
        places = ", ".join(str(place) for place in checkpoints.search_path(options.checkpoints))
        print(f"No checkpoint is installed; looked in {places}.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(arguments)
    try:
        if options.command == "worker":
            return bootstrap.run(arguments[1:], *bootstrap.take_streams())
        if options.command == "generate":
            return generate(options)
        if options.command == "checkpoints":
            return list_checkpoints(options)
        if options.command == "import-checkpoint":
            return import_checkpoint(options)
        return doctor.report(options.checkpoints, sys.stdout)
    except CancelledError as error:
        print(f"{error}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)
        return 130
    except Gan3DError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
