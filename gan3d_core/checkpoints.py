"""Checkpoints: folders of `config.json`, `weights.safetensors` and `card.md`.

This module reads and checks them without torch; `generators.load` turns one into a network, strictly.
Where they are looked for: `pretrained/` beside this file, then the folders of the `GAN3D_CHECKPOINTS` variable and of
the caller (the add-on's preferences).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .files import write_text
from .latent import PRIORS
from .recipe import LIMITS

FORMAT = "gan3d-checkpoint"
VERSION = 1
PRETRAINED = Path(__file__).parent / "pretrained"


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """`config.json`: what must be known to build the generator and to show the checkpoint in a list."""

    label: str
    """Name in menus."""
    category: str
    """What it makes: `chair`, …"""
    architecture: str
    """Key of the catalogue in `generators`."""
    options: dict[str, Any]
    """Keyword arguments of that architecture."""
    latent_size: int
    prior: str
    """`uniform` or `normal`, see `latent.draw`."""
    size_m: float
    """Longest side of a generated shape in metres, where the generator itself does not say."""
    weights_sha256: str
    """SHA-256 of weights.safetensors."""
    truncation: float = 0.8
    """Default truncation, 0 … 1."""
    resolution: int = 64
    """Default samples along each axis of the field."""
    textured: bool = False
    """Whether the generator yields colour, roughness and metallic of its own."""
    draws: int = 1
    """How many codes are drawn for a seed at most until one makes a shape of one part (`drawing.choose`); 1 takes the
    first as it is."""
    rank: int = 100
    """Order in menus; the smallest of a category is its default."""

    @property
    def texture_latent(self) -> int:
        """How many of the last entries of a code decide the surface alone; 0 where none do."""
        size = self.options.get("texture_latent", 0)
        return size if isinstance(size, int) else 0


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk whose configuration has been read and whose weights file is whole."""

    id: str
    path: Path
    config: CheckpointConfig

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def hash(self) -> str:
        """First 16 hex digits of the weights' SHA-256, as recipes store it."""
        return self.config.weights_sha256[:16]

    def verify(self) -> None:
        """Compare the weights file with the hash of the configuration (tens of milliseconds for tens of MB)."""
        stat = self.weights.stat()
        if _sha256(self.weights, stat.st_mtime_ns, stat.st_size) != self.config.weights_sha256:
            raise CheckpointError(f"The weights of checkpoint {self.id!r} do not match their recorded hash.")


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    """Hash of one state of a file; the stamp is part of the cache's key."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def read(folder: str | os.PathLike[str]) -> Checkpoint:
    """Read one checkpoint folder.

    Raises:
        CheckpointError: the folder or a file in it is missing, truncated, not ours, or of another version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"There is no checkpoint folder {folder}.")
    try:
        data = json.loads((folder / "config.json").read_text("utf-8"))
    except OSError:
        raise CheckpointError(f"The checkpoint {folder.name!r} has no readable config.json.") from None
    except ValueError:
        raise CheckpointError(f"The config.json of checkpoint {folder.name!r} is not valid JSON.") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise CheckpointError(f"The config.json in {folder.name!r} is not a GAN3D checkpoint's.")
    version = data.pop("version", None)
    if version != VERSION:
        raise CheckpointError(
            f"The checkpoint {folder.name!r} has version {version!r}; this GAN3D reads version {VERSION}.",
            "Update GAN3D, or choose another checkpoint.",
        )
    config = _parse_config(folder.name, data)
    _check_container(folder.name, folder / "weights.safetensors")
    return Checkpoint(folder.name, folder, config)


def _parse_config(name: str, data: dict[str, Any]) -> CheckpointConfig:
    kinds: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool}
    fields = {field.name: field for field in dataclasses.fields(CheckpointConfig)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise CheckpointError(f"The config.json of checkpoint {name!r} has unknown fields: {', '.join(unknown)}.")
    for key, field in fields.items():
        if key not in data:
            if field.default is dataclasses.MISSING:
                raise CheckpointError(f"The config.json of checkpoint {name!r} lacks {key!r}.")
            continue
        kind = kinds.get(str(field.type), dict)
        if not isinstance(data[key], kind) or (isinstance(data[key], bool) and kind is not bool):
            raise CheckpointError(f"In the config.json of checkpoint {name!r}, {key!r} must be {field.type}.")
    config = CheckpointConfig(**data)
    sound = (
        config.prior in PRIORS
        and 1 <= config.latent_size <= 65536
        and 0 < config.size_m < 1000
        and 0 <= config.truncation <= 1
        and 16 <= config.resolution <= 256
        and 1 <= config.draws <= LIMITS["attempt"][1] + 1
    )
    if not sound:
        raise CheckpointError(f"The config.json of checkpoint {name!r} has a value out of range.")
    return config


def _check_container(name: str, weights: Path) -> None:
    """Check that a safetensors file is whole, from its header alone (8 bytes of length, JSON, then the arrays)."""
    try:
        size = weights.stat().st_size
        with open(weights, "rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
            if length > size - 8:
                raise ValueError("truncated header")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        if size != 8 + length + max(ends, default=0):
            raise ValueError("truncated arrays")
    except FileNotFoundError:
        raise CheckpointError(f"The checkpoint {name!r} has no weights.safetensors.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise CheckpointError(f"The weights of checkpoint {name!r} are truncated or no safetensors file.") from None


def write_config(folder: str | os.PathLike[str], config: CheckpointConfig) -> None:
    """Write `config.json` for weights that lie in `folder` already; their hash is filled in."""
    folder = Path(folder)
    weights = folder / "weights.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    data = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(config), "weights_sha256": digest}
    write_text(folder / "config.json", json.dumps(data, indent=2) + "\n")


def search_path(extra: Iterable[str | os.PathLike[str]] = ()) -> list[Path]:
    """The folders whose sub-folders are checkpoints, first match wins."""
    variable = os.environ.get("GAN3D_CHECKPOINTS", "")
    named = [Path(part) for part in variable.split(os.pathsep) if part]
    return [PRETRAINED, *named, *(Path(part) for part in extra if str(part))]


def installed(extra: Iterable[str | os.PathLike[str]] = ()) -> tuple[list[Checkpoint], list[CheckpointError]]:
    """Every checkpoint that can be read, best first, and the error of each folder that cannot."""
    found: dict[str, Checkpoint] = {}
    broken: list[CheckpointError] = []
    for root in search_path(extra):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if not (folder / "config.json").exists() or folder.name in found:
                continue
            try:
                found[folder.name] = read(folder)
            except CheckpointError as error:
                broken.append(error)
    return sorted(found.values(), key=lambda c: (c.config.category, c.config.rank, c.id)), broken


def find(checkpoint: str, extra: Iterable[str | os.PathLike[str]] = ()) -> Checkpoint:
    """Resolve an identity (a folder's name on the search path) or a path to a checkpoint folder.

    Raises:
        CheckpointError: nothing of that name is there, or what is there cannot be used.
    """
    for root in search_path(extra):
        if checkpoint not in ("", ".", "..") and Path(checkpoint).name == checkpoint and (root / checkpoint).is_dir():
            return read(root / checkpoint)
    if Path(checkpoint).is_absolute() or os.sep in checkpoint:
        return read(checkpoint)
    names = ", ".join(c.id for c in installed(extra)[0]) or "none"
    raise CheckpointError(f"There is no checkpoint {checkpoint!r}.", f"Installed are: {names}.")


def default_for(category: str, extra: Iterable[str | os.PathLike[str]] = ()) -> Checkpoint:
    """The best installed checkpoint of a category.

    Raises:
        CheckpointError: none is installed.
    """
    every, broken = installed(extra)
    for checkpoint in every:
        if checkpoint.config.category == category:
            return checkpoint
    categories = ", ".join(sorted({c.config.category for c in every})) or "none"
    problem = f" ({broken[0].message})" if broken else ""
    raise CheckpointError(
        f"No checkpoint for the category {category!r} is installed{problem}.", f"Installed categories: {categories}."
    )
