"""What the monitor finds."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

Kind = Literal["divergence", "not a number", "oscillation", "mode collapse"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One failure, from the step at which it was seen."""

    step: int
    kind: Kind
    text: str
    """One sentence on what was seen and one on what to try."""

    def row(self) -> dict[str, Any]:
        """As a line of metrics.jsonl."""
        return {"step": self.step, "finding": self.kind, "text": self.text}

    @staticmethod
    def of_row(row: dict[str, Any]) -> Finding:
        """Of a line of metrics.jsonl that has a finding."""
        return Finding(int(row["step"]), row["finding"], str(row["text"]))
