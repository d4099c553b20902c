"""Where to compute: cuda, mps or cpu."""

from __future__ import annotations

from .errors import DeviceError

KINDS = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> str:
    """Resolve a device's name.

    Args:
        name: `auto` (the first of cuda, mps, cpu that exists), `cpu`, `cuda`, `cuda:1`, …, or `mps`.

    Returns:
        A name that torch takes.

    Raises:
        DeviceError: it is no such name, or this machine or this torch has no such device.
    """
    import torch

    kind, _, number = name.partition(":")
    if kind not in KINDS or (number and (kind != "cuda" or not number.isdecimal())):
        raise DeviceError(f"{name!r} is no device.", f"Choose one of {', '.join(KINDS)}.")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("The device mps was asked for, but this machine has no Apple GPU that torch can use.")
    if kind == "cuda" and not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        raise DeviceError(f"The device {name} was asked for, but torch finds none (torch is built with {built}).")
    if number and int(number) >= torch.cuda.device_count():
        raise DeviceError(f"The device {name} was asked for, but there are only {torch.cuda.device_count()}.")
    return name


def device_name(device: str) -> str:
    """What people call a device that `choose_device` returned."""
    import platform

    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device == "mps":
        return "Apple GPU"
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
