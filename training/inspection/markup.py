"""HTML and SVG as escaped text: names come from other people's files."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image


class Markup(str):
    """Text that is markup already; any other text is escaped where it is put in."""

    __slots__ = ()


def element(name: str, /, *content: object, **attributes: object) -> Markup:
    """One element. An attribute `class_` or `font_size` loses its last underscore and the others become dashes.

    Content: markup as it is, other things as escaped text, None not at all, lists one after the other. An attribute of
    None is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if not content and name in ("img", "line", "rect", "path", "circle", "meta"):
        return Markup(f"<{name}{given}/>" if name != "meta" else f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(*content)}</{name}>")


def join(*content: object) -> Markup:
    parts: list[str] = []
    for part in content:
        if part is None:
            continue
        if isinstance(part, list | tuple):
            parts.append(join(*part))
        else:
            parts.append(part if isinstance(part, Markup) else html.escape(str(part)))
    return Markup("".join(parts))


def table(head: list[object], rows: list[list[object]], numeric: tuple[int, ...] = ()) -> Markup:
    """A table; the columns in `numeric` are set to the right."""

    def cells(name: str, row: list[object]) -> list[Markup]:
        return [element(name, cell, class_="number" if i in numeric else None) for i, cell in enumerate(row)]

    return element(
        "table",
        element("thead", element("tr", *cells("th", head))),
        element("tbody", *[element("tr", *cells("td", row)) for row in rows]),
    )


def data_uri(image: np.ndarray, lossless: bool = False) -> str:
    """(H, W, 3 or 4) uint8 as a WebP picture inside an address."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=82, lossless=lossless, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
