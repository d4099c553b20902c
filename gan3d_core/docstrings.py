"""The docstrings under a dataclass's fields, at run time: tooltips, help and printed recipes share them."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
    """Name of each annotated field of `cls` → the string literal written below it, on one line.

    Fields without one are left out. The class's source must be readable (it is in a wheel).
    """
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if not isinstance(following, ast.Expr) or not isinstance(following.value, ast.Constant):
            continue
        if isinstance(following.value.value, str):
            docs[statement.target.id] = " ".join(following.value.value.split())
    return docs
