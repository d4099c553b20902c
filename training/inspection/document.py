"""One HTML file that needs no network: its frame, in the style of `page.css`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .markup import Markup, element, join

STYLE = Path(__file__).with_name("page.css")


def section(title: str, *content: object, lead: object = None) -> Markup:
    """A titled part of the page, with a sentence or two under its title."""
    anchor = title.lower().replace(" ", "-")
    return element("section", element("h2", title), lead and element("p", lead, class_="lead"), *content, id=anchor)


def document(title: str, facts: Sequence[tuple[str, str]], sections: Sequence[Markup], made_by: str) -> str:
    """The whole file.

    Args:
        title: of the page.
        facts: what a figure is of, and the figure; shown large at the top.
        sections: each made by `section`; links to them stand under the figures.
        made_by: the command, for the foot.
    """
    boxes = [element("div", element("b", figure), element("span", name)) for name, figure in facts]
    names = [part.split("<h2>")[1].split("</h2>")[0] for part in sections]
    links = [element("a", Markup(name), href="#" + name.lower().replace(" ", "-")) for name in names]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE.read_text("utf-8"))),
    )
    body = element(
        "body",
        element("header", element("h1", title), element("div", boxes, class_="facts"), element("nav", links)),
        element("main", *sections),
        element("footer", f"Made by {made_by}."),
    )
    return "<!doctype html>\n" + element("html", join(head, body), lang="en") + "\n"
