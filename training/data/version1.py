"""Reading datasets of version 1: one safetensors file for each shape in `records/`, and a manifest without places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gan3d_core.errors import DatasetError

from .shards import Head

_DTYPES = {"F16": "<f2", "F32": "<f4", "U8": "|u1"}


def read_manifest(folder: Path) -> list[tuple[dict[str, Any], str]]:
    """The entries as dictionaries, and the file of each, relative to the folder.

    Raises:
        DatasetError: the manifest is missing or broken.
    """
    try:
        rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines()]
        return [(row, f"records/{row['id']}.safetensors") for row in rows]
    except (OSError, ValueError, TypeError, KeyError):
        raise DatasetError(
            f"The manifest of {folder} is missing or broken.", "Prepare it again in a new folder."
        ) from None


def read_head(path: Path, start: int = 0) -> Head | None:
    """The table of a record's arrays; None where the file is missing or broken. `start` is always 0."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            table = json.loads(file.read(size))
            table.pop("__metadata__", None)
            data = 8 + size
            arrays = {
                name: {"dtype": _DTYPES[row["dtype"]], "shape": row["shape"], "offset": row["data_offsets"][0]}
                for name, row in table.items()
            }
            end = data + max(row["data_offsets"][1] for row in table.values())
            return Head(path.stem, start, end, data, 0, {}, arrays)
    except (OSError, ValueError, TypeError, KeyError, MemoryError):
        return None
