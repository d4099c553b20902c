"""Weights of other projects, by the name of their importer, made into checkpoint folders.

To add one: write a module here with `convert(state) -> Converted` and a line in `CATALOGUE`. It says what the weights
must look like and never guesses; reading the file safely and writing the folder are done here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoints import Checkpoint, CheckpointConfig, read, write_config
from ..errors import CheckpointError, OutputError

if TYPE_CHECKING:
    import torch

# name → (module in this package, what it reads)
CATALOGUE: dict[str, tuple[str, str]] = {
    "shapegan": ("shapegan", "implicit generators of M. Kleineberg's shapegan (.to state dicts)"),
}


@dataclasses.dataclass(frozen=True)
class Converted:
    """Foreign weights in the terms of one of our generators."""

    architecture: str
    options: dict[str, Any]
    latent_size: int
    prior: str
    weights: dict[str, torch.Tensor]
    origin: str
    """Where such weights come from, for the card."""


def import_checkpoint(
    name: str,
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    label: str = "",
    category: str = "chair",
    size_m: float = 1.0,
    truncation: float = 1.0,
    resolution: int = 64,
) -> Checkpoint:
    """Make a checkpoint folder of a foreign file. It appears whole or not at all.

    Args:
        name: of the importer.
        source: the file.
        folder: to be made; its name becomes the checkpoint's identity.
        label: name in menus; empty takes the folder's.
        category: what it makes.
        size_m: longest side of a shape in metres, which such weights do not say.
        truncation, resolution: defaults of the checkpoint.

    Raises:
        CheckpointError: no such importer, or a file that is not what it reads.
        OutputError: the folder is there already, or cannot be written.
    """
    from .state import read_state

    if name not in CATALOGUE:
        raise CheckpointError(f"There is no importer {name!r}.", f"Importers: {', '.join(sorted(CATALOGUE))}.")
    source, folder = Path(source), Path(folder)
    if folder.exists():
        raise OutputError(f"{folder} is there already.", "Name a new folder.")
    convert: Callable[[dict[str, torch.Tensor]], Converted]
    convert = importlib.import_module(f".{CATALOGUE[name][0]}", __name__).convert
    converted = convert(read_state(source))
    prove(converted)
    config = CheckpointConfig(
        label=label or folder.name,
        category=category,
        architecture=converted.architecture,
        options=converted.options,
        latent_size=converted.latent_size,
        prior=converted.prior,
        size_m=size_m,
        weights_sha256="",
        truncation=truncation,
        resolution=resolution,
    )
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    card = CARD.format(label=config.label, name=source.name, digest=digest, importer=name, origin=converted.origin)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}).") from None
    try:
        _write(temporary, converted, config, card)
        read(temporary)  # a value out of range is found before the folder has its name
        os.chmod(temporary, 0o755)
        os.rename(temporary, folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}).") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return read(folder)


CARD = """# {label}

Weights of another project, brought into GAN3D's format by its importer `{importer}`.

- File: {name}, SHA-256 {digest}.
- Made by: {origin}.
- Data and licence: those of the weights' authors. GAN3D does not know them; ask before you pass this folder on.
"""


def prove(converted: Converted) -> None:
    """See that the generator takes the weights strictly, and that a field of it is finite.

    Raises:
        CheckpointError: it does not, or is not.
    """
    import numpy as np

    from ..generators import build

    generator = build(converted.architecture, converted.options)
    try:
        generator.load_state_dict(converted.weights, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"The weights do not fit the generator ({str(error).splitlines()[0]}).") from None
    (field,) = generator.eval().fields(np.zeros((1, converted.latent_size), np.float32), 1.0)
    if not np.isfinite(field.values(16)).all():
        raise CheckpointError("The weights are too large: the field of their mean code is not finite.", HINT)


HINT = "Check that the file is whole and of the project that the importer is for."


def _write(folder: Path, converted: Converted, config: CheckpointConfig, card: str) -> None:
    from safetensors.torch import save_file

    # As they are, in 32 bit: the values should be those of the other project.
    weights = {key: tensor.float().contiguous() for key, tensor in converted.weights.items()}
    save_file(weights, folder / "weights.safetensors")
    (folder / "card.md").write_text(card, "utf-8")
    write_config(folder, config)
