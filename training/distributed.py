"""Several processes on one run, as torchrun starts them: each computes its share of every batch.

torchrun --nproc-per-node 4 -m training.train RECIPE DATASET RUN

Every process draws the random numbers of the whole batch, from the same seeds, and keeps the rows of its share. So the
gradients, which `DistributedDataParallel` averages, are those of one process with the whole batch. Three things see
shares and not batches: minibatch layers of critics, feature matching, and batch norm on the CPU (on CUDA it is
synchronised).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from gan3d_core.errors import TrainingError


@dataclasses.dataclass(frozen=True)
class Group:
    """The processes of a run. One process alone is a group too, which costs nothing."""

    rank: int = 0
    """Number of this process; the first one writes."""
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.size == 1

    def share(self, count: int) -> slice:
        """This process's rows of a batch of `count`, which `size` divides."""
        rows = count // self.size
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def check(self, count: int) -> None:
        """See that a batch can be dealt out evenly.

        Raises:
            TrainingError: it cannot; uneven shares would weigh samples differently.
        """
        if count % self.size:
            raise TrainingError(
                f"{count} shapes at a time cannot be dealt to {self.size} processes evenly.",
                "Make batch a multiple of accumulate times the number of processes.",
            )

    def parallel(self, network: nn.Module, partly: bool = False) -> nn.Module:
        """The network to be called where its gradients are wanted: they are averaged over the processes.

        Args:
            network: with equal weights everywhere.
            partly: whether some of its parameters may be without a gradient.
        """
        if self.alone:
            return network
        # Buffers are not sent at each pass: they are equal anyway, or a share's own, and a critic runs twice before it
        # learns.
        return DistributedDataParallel(network, forward_sync_buffers=False, find_unused_parameters=partly)

    def synchronised(self, network: nn.Module, device: str) -> nn.Module:
        """The network with batch norm over all processes, where that exists."""
        if self.alone or not device.startswith("cuda"):
            return network
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)

    @contextlib.contextmanager
    def gathering(self, network: nn.Module, last: bool) -> Iterator[None]:
        """For a part of a batch, forward and backward: processes are to agree on gradients after the last part only."""
        with contextlib.nullcontext() if last or self.alone else network.no_sync():  # type: ignore[operator]
            yield

    def mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Figures, under the same names everywhere, averaged over the processes."""
        if self.alone or not figures:
            return dict(figures)
        values = torch.tensor([figures[key] for key in sorted(figures)], dtype=torch.float64)
        if distributed.get_backend() == "nccl":
            values = values.to("cuda", torch.float32)
        distributed.all_reduce(values)
        return dict(zip(sorted(figures), (values / self.size).tolist(), strict=True))

    def wait(self) -> None:
        """Until all processes are here."""
        if not self.alone:
            distributed.barrier()


@contextlib.contextmanager
def joined(device: str) -> Iterator[tuple[Group, str]]:
    """The group that torchrun has put this process into, and the device it should use; left at the end."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group(), device
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Group(distributed.get_rank(), size), device
    finally:
        distributed.destroy_process_group()
