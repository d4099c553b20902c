"""What autocast asks for, for layers that it does not know."""

from __future__ import annotations

import torch


def wanted(values: torch.Tensor) -> torch.dtype:
    """The type that autocast has layers compute values in; their own outside of it."""
    kind = values.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else values.dtype


def cast(values: torch.Tensor) -> torch.Tensor:
    """Values in that type."""
    return values.to(wanted(values))
