"""HTML pages as tests read them."""

from __future__ import annotations

import html.parser
import re
from typing import NamedTuple


class Page(NamedTuple):
    """What a page that stands alone holds."""

    text: str
    """All of it, with single spaces."""
    pictures: int
    rows: int
    """Of tables."""


def read_page(page: str) -> Page:
    """Read a page, and see that its elements are closed in order, that it would fetch and run nothing, that every link
    leads to a section, and that rows of one table are equally long."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert not {"script", "link", "iframe", "object"} & reader.names
    assert "url(" not in page
    assert "@import" not in page
    assert len(reader.anchors) == len(set(reader.anchors))
    links = {source[1:] for source in reader.sources if source.startswith("#")}
    assert links <= set(re.findall(r'<section id="([^"]+)"', page))
    assert all(source.startswith(("data:image/", "#")) for source in reader.sources)
    assert all(len(set(lengths)) == 1 for lengths in reader.tables)
    pictures = sum(source.startswith("data:") for source in reader.sources)
    return Page(" ".join(" ".join(reader.text).split()), pictures, sum(map(len, reader.tables)))


class _Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.anchors: list[str] = []
        self.names: set[str] = set()
        self.text: list[str] = []
        self.tables: list[list[int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.sources += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "data", "poster")]
        self.anchors += [value or "" for key, value in attrs if key == "id"]
        assert not any(key.startswith("on") for key, _ in attrs)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append(0)
        elif tag in ("td", "th"):
            self.tables[-1][-1] += 1
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
