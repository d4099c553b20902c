"""Convolutions of kernel 4 and stride 2 from one channel, or to one, as matrix products.

A processor's convolutions work on many channels at a time; those at a volume's own end have one, and take as long as
layers of ten times the arithmetic. Here the four places that each cell reads along an axis are laid side by side
("columns"), axis by axis, and one matrix product with the kernel follows (K. Chellapilla, S. Puri, P. Simard: High
Performance Convolutional Neural Networks for Document Processing, 2006, section 3.1). The same sums in another order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from .convolution import Convolution3d
from .precision import cast

KERNEL = 4


class _Unfold(torch.autograd.Function):
    """(N, C, 2R, 2R, 2R) to (4, 4, 4, N, C, R, R, R): at [i, j, k, …, x, y, z] the cell [2x + i − 1, 2y + j − 1,
    2z + k − 1], zero outside."""

    @staticmethod
    def forward(ctx: Any, volumes: torch.Tensor) -> torch.Tensor:
        # The last axis first: so the large steps copy long runs. Each step puts the next one at 4.
        return _unfold_axis(_unfold_axis(_unfold_axis(volumes, 4), 4), 4)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return _Fold.apply(gradient)


class _Fold(torch.autograd.Function):
    """The adjoint of `_Unfold`: every cell is the sum of its copies."""

    @staticmethod
    def forward(ctx: Any, columns: torch.Tensor) -> torch.Tensor:
        return _fold_axis(_fold_axis(_fold_axis(columns, 4), 4), 4)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return _Unfold.apply(gradient)


def _unfold_axis(values: torch.Tensor, axis: int) -> torch.Tensor:
    """One axis of 2R cells to R, and a new first axis of the four places around each."""
    even, odd = values.unflatten(axis, (-1, 2)).unbind(axis + 1)
    rest = even.shape[axis] - 1
    out = even.new_zeros(KERNEL, *even.shape)
    out[0].narrow(axis, 1, rest).copy_(odd.narrow(axis, 0, rest))
    out[1], out[2] = even, odd
    out[3].narrow(axis, 0, rest).copy_(even.narrow(axis, 1, rest))
    return out


def _fold_axis(columns: torch.Tensor, axis: int) -> torch.Tensor:
    """The adjoint of `_unfold_axis`, of the axis that `axis` is once the first is gone."""
    rest = columns.shape[axis + 1] - 1
    even, odd = columns[1].clone(), columns[2].clone()
    even.narrow(axis, 1, rest).add_(columns[3].narrow(axis, 0, rest))
    odd.narrow(axis, 0, rest).add_(columns[0].narrow(axis, 1, rest))
    return torch.stack([even, odd], axis + 1).flatten(axis, axis + 1)


class HalvingConv3d(Convolution3d):
    """`Conv3d(1, width, 4, stride=2, padding=1)`, on a processor by columns.

    Args:
        width: channels that it makes.
    """

    def __init__(self, width: int) -> None:
        super().__init__(1, width, KERNEL, stride=2, padding=1)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """(N, 1, 2R, 2R, 2R) to (N, width, R, R, R)."""
        if volumes.device.type != "cpu":
            return super().forward(volumes)
        # Columns are many, and shall be small before they are made.
        columns = _Unfold.apply(cast(volumes)).flatten(0, 2)  # (64, N, 1, R, R, R)
        out = F.linear(columns.flatten(1).t(), self.weight.flatten(1), self.bias)  # (N R³, width)
        return out.unflatten(0, columns.shape[1:2] + columns.shape[3:]).movedim(-1, 1)


class DoublingConv3d(nn.ConvTranspose3d):
    """`ConvTranspose3d(width, 1, 4, stride=2, padding=1)`, on a processor by columns.

    Args:
        width: channels that it reads.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, 1, KERNEL, stride=2, padding=1)

    def forward(self, features: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """(N, width, R, R, R) to (N, 1, 2R, 2R, 2R)."""
        if features.device.type != "cpu":
            return super().forward(features, output_size)
        rows = features.movedim(1, -1)  # (N, R, R, R, width)
        columns = self.weight.flatten(1).t() @ rows.reshape(-1, rows.shape[-1]).t()  # (64, N R³)
        out = _Fold.apply(columns.reshape(KERNEL, KERNEL, KERNEL, len(rows), 1, *rows.shape[1:4]))
        return out + self.bias.to(out).reshape(1, -1, 1, 1, 1)  # type: ignore[union-attr]
