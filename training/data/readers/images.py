"""Finding the images that a material names, and reading them.

Names in material files were true on the author's machine: with his slashes, his upper and lower case, his folders. The
same image is usually there under a slightly different name, so it is looked for before it is called missing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from PIL import Image, UnidentifiedImageError

LONGEST_SIDE = 1024
"""Larger images are reduced: a dataset's points are coarser than that by far."""
BESIDE = ("", "images", "textures", "texture", "maps", "../images", "../textures")
"""Folders in which a bare file name is looked for, from the mesh's own."""


def find(folder: Path, name: str) -> Path | None:
    """The file that `name` means, seen from `folder`; None where there is none.

    Tried in this order: as it stands; without the options or the comment that may stand around it in an MTL file;
    each of those with the other slash, with another case, and by its bare name in the usual folders.
    """
    for candidate in _spellings(name):
        found = _ignoring_case(folder, candidate)
        if found is not None:
            return found
    for candidate in _spellings(name):
        for place in BESIDE:
            found = _ignoring_case(folder, f"{place}/{candidate.rpartition('/')[2]}".lstrip("/"))
            if found is not None:
                return found
    return None


def _spellings(name: str) -> Iterator[str]:
    name = name.strip().strip('"')
    bare = name.split("#")[0].strip()
    words = bare.split()
    # `map_Kd -s 2 2 1 wood.jpg`: options stand before the name, and names may hold blanks.
    last = words[-1] if words and words[0].startswith("-") else bare
    seen = set()
    for text in (name, bare, last, unquote(bare)):
        text = text.removeprefix("file://").replace("\\", "/")
        if text and text not in seen:
            seen.add(text)
            yield text


def _ignoring_case(folder: Path, name: str) -> Path | None:
    try:
        direct = folder / name
        if direct.is_file():
            return direct
        here = folder
        for part in Path(name).parts:
            if part in ("..", "/") or (here / part).exists():
                here = here / part
                continue
            alike = [entry for entry in here.iterdir() if entry.name.lower() == part.lower()] if here.is_dir() else []
            if not alike:
                return None
            here = sorted(alike)[0]
        return here if here.is_file() else None
    except (OSError, ValueError):  # too long, or no name at all
        return None


def is_image(data: bytes) -> bool:
    """Whether these bytes are an image that can be read. The header alone is looked at."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return min(image.size) > 0
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return False


def pixels(image: Image.Image) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1], as stored, reduced to `LONGEST_SIDE`."""
    image = image.copy()
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return np.asarray(image.convert("RGB"), np.float32) / 255
