"""Where networks compute in 16 bits."""

from __future__ import annotations

import torch


def sixteen_bits(device: torch.device | str, wanted: bool) -> torch.autocast:
    """A context in which networks on a device compute in bfloat16, if that is wanted.

    It has the range of float32, so losses need no scaling; weights, their gradients and what is not a network stay in
    float32.
    """
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=wanted)
