"""A dataset on disk: `dataset.json`, `manifest.jsonl`, and shards that only grow (`shards` says of what they are made).

Every process that writes has a shard of its own, so writers never wait for each other, and a lock for every shape it
is at (`writer`). The shards alone are the truth. The manifest says where each record lies and repeats its entry, for
people and for a quick start; what the shards hold beyond it is found when a dataset is opened.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan3d_core.errors import DatasetError
from gan3d_core.files import write_text

from . import shards, version1
from .locks import Locks

FORMAT = "gan3d-dataset"
VERSION = 2
SPLITS = {"train": 80, "validation": 90, "test": 100}
LOCKS = ".locks"


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
    source: str = ""
    """The name of the source folder."""
    origin: str = ""
    """Tells source folders of one name apart (`SourceFile.origin`); empty in records of before there was such."""
    sha256: str = ""
    """Of the source file's bytes."""
    up: str = ""
    """Axis of the file that points up: +X −X +Y −Y +Z −Z, written with ASCII signs."""
    front: str = ""
    """Axis of the file in which the shape looks."""
    metres: float = 0.0
    """Metres per unit of the file; 0 where it is not known."""
    to_source: list[list[float]] = dataclasses.field(default_factory=list)
    """(4, 4) matrix from the cube to the file's axes and units: it undoes the normalisation."""
    parent: str = ""
    """Name of the shape that this is a variation of; empty for a shape as its file has it."""
    variation: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What was done to it (`augmentation.Variation.to_json`)."""
    written: float = 0.0
    """When, in seconds since 1970: of two shapes of one name from one folder, the later counts."""


@dataclasses.dataclass(frozen=True)
class Row:
    """An entry and where its record lies."""

    entry: Entry
    shard: str
    start: int
    end: int


class Dataset:
    """A prepared dataset, for reading. It can be pickled, as data loaders of several processes do.

    Args:
        folder: as written by `python -m training.prepare`, of version 2 or 1.
        split: `train`, `validation`, `test`; None takes all.
        category: keep only this one.

    Raises:
        DatasetError: no dataset, one of another version, or nothing in it for the request.
    """

    def __init__(self, folder: str | Path, split: str | None = None, category: str | None = None) -> None:
        self.folder = Path(folder)
        self.settings = read_settings(self.folder)
        every = read_rows(self.folder)
        self.rows = [
            row for row in every if split in (None, row.entry.split) and category in (None, row.entry.category)
        ]
        if not self.rows:
            there = sorted({(row.entry.category, row.entry.split) for row in every})
            raise DatasetError(
                f"The dataset {self.folder} has no shapes of category {category!r} in split {split!r}.",
                f"It has {', '.join('/'.join(pair) for pair in there) or 'nothing'}.",
            )
        self.entries = [row.entry for row in self.rows]
        self._heads: dict[int, shards.Head] = {}
        self._maps: dict[str, memoryview] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def names(self, index: int = 0) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of every array of one record, by name."""
        arrays = self._head(index).arrays
        return {name: (tuple(row["shape"]), np.dtype(row["dtype"])) for name, row in arrays.items()}

    def array(self, index: int, name: str) -> np.ndarray:
        """One array of one record, the caller's own to change."""
        return np.array(self.view(index, name))

    def view(self, index: int, name: str) -> np.ndarray:
        """One array of one record without reading it: read-only, mapped, brought in by the operating system where it
        is touched. Pictures are decoded, since they are kept compressed.

        Raises:
            DatasetError: the record has no such array, or its shard is damaged.
        """
        return self._decode(index, name, None)

    def views(self, index: int, name: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows along the first axis: of pictures, only those are decoded."""
        return self._decode(index, name, [int(row) for row in rows])

    def stack(self, name: str) -> np.ndarray:
        """That array of every record, stacked along a new first axis, in memory."""
        first = self.view(0, name)
        out = np.empty((len(self), *first.shape), first.dtype)
        for index in range(len(self)):
            out[index] = self.view(index, name)
        return out

    def damaged(self) -> list[Entry]:
        """Entries of records whose bytes are not those that were written: reads everything."""
        if self.settings["version"] == 1:
            return []
        folder = self.folder
        return [
            row.entry for index, row in enumerate(self.rows) if not shards.intact(folder / row.shard, self._head(index))
        ]

    def _decode(self, index: int, name: str, rows: list[int] | None) -> np.ndarray:
        head, row = self._head(index), self.rows[index]
        if name not in head.arrays:
            raise DatasetError(
                f"The dataset {self.folder} has no {name!r}.",
                f"It has {', '.join(head.arrays)}. Prepare it again in a new folder with what you need.",
            )
        try:
            return shards.decode(self._map(row.shard), head, name, rows)
        except (ValueError, OSError):
            raise _damaged(self.folder, row) from None

    def _head(self, index: int) -> shards.Head:
        if index not in self._heads:
            row = self.rows[index]
            reader = version1.read_head if self.settings["version"] == 1 else shards.read_head
            head = reader(self.folder / row.shard, row.start)
            if head is None or head.id != row.entry.id:
                raise _damaged(self.folder, row)
            self._heads[index] = head
        return self._heads[index]

    def _map(self, shard: str) -> memoryview:
        if shard not in self._maps:
            with (self.folder / shard).open("rb") as file:
                self._maps[shard] = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return self._maps[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}


def _damaged(folder: Path, row: Row) -> DatasetError:
    return DatasetError(
        f"The record of {row.entry.name} cannot be read from {folder / row.shard}.",
        "Run prepare again: it makes what is missing.",
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings a dataset was prepared with, and the `version` of its format.

    Raises:
        DatasetError: the folder is no dataset, or of a version that this program does not know.
    """
    try:
        data = json.loads((folder / "dataset.json").read_text("utf-8"))
    except (OSError, ValueError):
        raise DatasetError(f"{folder} is no GAN3D dataset.") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("settings"), dict):
        raise DatasetError(f"{folder} is no GAN3D dataset.")
    if data.get("version") not in (1, VERSION):
        raise DatasetError(
            f"{folder} is a GAN3D dataset of version {data.get('version')}; this program reads versions up to "
            f"{VERSION}.",
            "Prepare it again in a new folder, or use the program that made it.",
        )
    return {**data["settings"], "version": data["version"]}


def create(folder: Path, settings: dict[str, Any]) -> None:
    """Make an empty dataset, or accept one that is there with the same settings.

    Raises:
        DatasetError: a folder with other things in it, or a dataset with other settings.
    """
    if not (folder / "dataset.json").exists():
        if folder.exists() and not folder.is_dir():
            raise DatasetError(f"{folder} is a file.", "Choose a new folder.")
        if folder.exists() and _is_foreign(folder):
            raise DatasetError(f"{folder} is not empty and no dataset.", "Choose a new folder.")
        folder.mkdir(parents=True, exist_ok=True)
        locks = Locks(folder / LOCKS)
        try:
            with locks.held("create"):
                if not (folder / "dataset.json").exists():
                    (folder / "shards").mkdir(exist_ok=True)
                    header = {"format": FORMAT, "version": VERSION, "settings": settings}
                    write_lines(folder / "dataset.json", json.dumps(header, indent=1) + "\n")
        finally:
            locks.close()
    there = read_settings(folder)
    if there.pop("version") == 1:
        raise DatasetError(
            f"{folder} is a dataset of version 1, which can be read but not added to.", "Choose a new folder."
        )
    if there != settings:
        differing = sorted(key for key in {*there, *settings} if there.get(key) != settings.get(key))
        raise DatasetError(
            f"{folder} was prepared with other settings ({', '.join(differing)}).",
            f"It has {json.dumps(there)}. Choose a new folder, or the same settings.",
        )


def _is_foreign(folder: Path) -> bool:
    """Whether there is anything that `create` does not make itself, in another process perhaps at this moment."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".dataset-")}
    return bool(names - {LOCKS, "dataset.json", *(("shards",) if LOCKS in names else ())})


def shard_paths(folder: Path) -> list[Path]:
    return sorted((folder / "shards").glob("*.tar"))


def read_rows(folder: Path, manifest: bool = True) -> list[Row]:
    """Every shape of a dataset and where it lies, sorted by category, source and name.

    Args:
        manifest: take from the manifest what it knows and look into the shards only for more; else trust the shards
            alone.

    Raises:
        DatasetError: a shard is shorter than the manifest says (a torn copy, a full disk), or of version 1 the
            manifest is broken.
    """
    if read_settings(folder)["version"] == 1:
        return [Row(Entry(**fields), shard, 0, 0) for fields, shard in version1.read_manifest(folder)]
    rows = _listed(folder) if manifest else []
    ends: dict[str, int] = {}
    for row in rows:
        ends[row.shard] = max(row.end, ends.get(row.shard, 0))
    for path in shard_paths(folder):
        shard = f"shards/{path.name}"
        end = ends.pop(shard, 0)
        size = path.stat().st_size
        if size < end:
            raise DatasetError(
                f"{path} has {size:,} bytes where {end:,} are expected.",
                "Copy it again, or run prepare again: it makes what is missing.",
            )
        if size > end:
            rows += [Row(Entry(**head.entry), shard, head.start, head.end) for head in shards.scan(path, end)]
    if ends:
        raise DatasetError(
            f"{folder / next(iter(ends))} is missing.", "Copy it again, or run prepare again: it makes what is missing."
        )
    return _latest(rows)


def _latest(rows: list[Row]) -> list[Row]:
    """One row for each name in each folder: a file that was changed and prepared again replaces what it was, and one of
    the same name in another folder does not. Where no origin is known, the folder's name must do."""
    chosen: dict[tuple[str, str, str, str], Row] = {}
    for row in sorted(rows, key=lambda row: (row.entry.written, row.shard, row.start)):
        entry = row.entry
        chosen.pop((entry.category, entry.source, entry.name, ""), None)
        chosen[entry.category, entry.source, entry.name, entry.origin] = row
    return [chosen[key] for key in sorted(chosen)]


def _listed(folder: Path) -> list[Row]:
    """What the manifest lists; nothing where there is none or it is broken, since the shards know it all."""
    try:
        lines = (folder / "manifest.jsonl").read_text("utf-8").splitlines()
        rows = []
        for line in lines:
            fields = json.loads(line)
            place = fields.pop("record")
            rows.append(Row(Entry(**fields), place["shard"], place["start"], place["end"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
    return rows


def write_manifest(folder: Path) -> list[Entry]:
    """Write `manifest.jsonl` from the records that are there. Processes that do it at once wait for each other."""
    locks = Locks(folder / LOCKS)
    try:
        with locks.held("manifest"):
            rows = read_rows(folder, manifest=False)
            lines = []
            for row in rows:
                place = {"shard": row.shard, "start": row.start, "end": row.end}
                lines.append(json.dumps({**dataclasses.asdict(row.entry), "record": place}) + "\n")
            write_lines(folder / "manifest.jsonl", "".join(lines))
    finally:
        locks.close()
    return [row.entry for row in rows]


def write_lines(path: Path, text: str) -> None:
    """Write a file of a dataset that people read, too.

    Raises:
        DatasetError: the disk is full or fails; what was there stays.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be written ({error.strerror}).",
            "Make room and run the same command again: it goes on where it stopped.",
        ) from None


def read_manifest(folder: Path) -> list[Entry]:
    """Every entry of a dataset.

    Raises:
        DatasetError: as of `read_rows`.
    """
    return [row.entry for row in read_rows(folder)]
