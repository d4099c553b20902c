"""A dataset on disk: `manifest.jsonl` and one memory-mappable safetensors record per shape.

A record is named by the hash of its source file and of the settings that shaped it, is written atomically, and is never
written twice: the same command goes on where it stopped, and two processes on one folder do each other no harm.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gan3d_core.errors import DatasetError
from gan3d_core.files import atomic_path, write_text

FORMAT = "gan3d-dataset"
VERSION = 1
SPLITS = {"train": 80, "validation": 90, "test": 100}


def split_of(identity: str) -> str:
    """80 % train, 10 % validation, 10 % test, by hash: adding shapes moves none."""
    bucket = int(hashlib.sha256(identity.encode()).hexdigest()[:8], 16) % 100
    return next(name for name, end in SPLITS.items() if bucket < end)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One shape of a dataset, as a line of its manifest."""

    id: str
    """Hash of the source file and settings; the record's name."""
    name: str
    """Where the shape came from, relative to its source folder."""
    category: str
    split: str
    licence: str
    author: str
    size_m: float
    """Longest side in metres."""
    faces: int
    watertight: bool
    thin_share: float
    """Share of the surface that had to be thickened, 0 … 1."""
    colored: bool
    """Whether its colours can be trusted."""
    labels: dict[str, Any]


class Dataset:
    """A prepared dataset, for reading.

    Args:
        folder: as written by `python -m training.prepare`.
        split: `train`, `validation`, `test`; None takes all.
        category: keep only this one.

    Raises:
        DatasetError: no dataset, one of another version, or nothing in it for the request.
    """

    def __init__(self, folder: str | Path, split: str | None = None, category: str | None = None) -> None:
        self.folder = Path(folder)
        read_settings(self.folder)
        every = read_manifest(self.folder)
        self.entries = [entry for entry in every if split in (None, entry.split) and category in (None, entry.category)]
        if not self.entries:
            there = sorted({(entry.category, entry.split) for entry in every})
            raise DatasetError(
                f"The dataset {self.folder} has no shapes of category {category!r} in split {split!r}.",
                f"It has {', '.join('/'.join(pair) for pair in there) or 'nothing'}.",
            )

    def __len__(self) -> int:
        return len(self.entries)

    def array(self, index: int, name: str) -> np.ndarray:
        """One array of one record, read from disk."""
        path = record_path(self.folder, self.entries[index].id)
        try:
            with safe_open(path, framework="numpy") as record:
                return record.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise DatasetError(
                f"The record {path.name} cannot be read ({error}).", "Delete it and run prepare again."
            ) from None

    def stack(self, name: str) -> np.ndarray:
        """That array of every record, stacked along a new first axis."""
        first = self.array(0, name)
        out = np.empty((len(self), *first.shape), first.dtype)
        out[0] = first
        for index in range(1, len(self)):
            out[index] = self.array(index, name)
        return out


def record_path(folder: Path, identity: str) -> Path:
    return folder / "records" / f"{identity}.safetensors"


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings a dataset was prepared with.

    Raises:
        DatasetError: the folder is no dataset, or of another version.
    """
    try:
        data = json.loads((folder / "dataset.json").read_text("utf-8"))
    except (OSError, ValueError):
        raise DatasetError(f"{folder} is no GAN3D dataset.") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise DatasetError(f"{folder} is no GAN3D dataset of version {VERSION}.", "Prepare it again in a new folder.")
    return data["settings"]


def create(folder: Path, settings: dict[str, Any]) -> None:
    """Make an empty dataset, or accept one that is there with the same settings.

    Raises:
        DatasetError: a folder with other things in it, or a dataset with other settings.
    """
    if (folder / "dataset.json").exists():
        there = read_settings(folder)
        if there != settings:
            raise DatasetError(f"{folder} was prepared with other settings ({there}).", "Choose a new folder.")
        return
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"{folder} is not empty and no dataset.", "Choose a new folder.")
    (folder / "records").mkdir(parents=True, exist_ok=True)
    write_text(folder / "dataset.json", json.dumps({"format": FORMAT, "version": VERSION, "settings": settings}))


def write_record(folder: Path, entry: Entry, arrays: dict[str, np.ndarray]) -> None:
    """Write a record with its manifest line inside, so that the manifest can always be made again from the records."""
    metadata = {"entry": json.dumps(dataclasses.asdict(entry))}
    with atomic_path(record_path(folder, entry.id)) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, metadata)


def read_entry(folder: Path, identity: str) -> Entry | None:
    """The entry of a finished record; None where there is none or it is broken."""
    path = record_path(folder, identity)
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as record:
            return Entry(**json.loads(record.metadata()["entry"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def write_manifest(folder: Path) -> list[Entry]:
    """Write `manifest.jsonl` from the records that are there."""
    found = (read_entry(folder, path.stem) for path in sorted((folder / "records").glob("[!.]*.safetensors")))
    entries = sorted((entry for entry in found if entry is not None), key=lambda entry: (entry.category, entry.name))
    write_text(folder / "manifest.jsonl", "".join(json.dumps(dataclasses.asdict(entry)) + "\n" for entry in entries))
    return entries


def read_manifest(folder: Path) -> list[Entry]:
    """Every entry of a dataset.

    Raises:
        DatasetError: the manifest is missing or broken.
    """
    try:
        lines = (folder / "manifest.jsonl").read_text("utf-8").splitlines()
        return [Entry(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError):
        raise DatasetError(
            f"The manifest of {folder} is missing or broken.", "Run prepare again: it makes it from the records."
        ) from None
