"""Steps of 3D-GAN and of the implicit GAN at their published sizes, against the same step in plain float32 PyTorch.

Both take the same weights, shapes and noise, each in a process of its own, step by step in turn. Only the batch is
smaller than the published one, unless `--batch` says otherwise. Times are those of the processor, so that other work on
the computer counts for little; the clock's ratio stands beside them and is true only where there is none. On another
device (`--device cuda`) both are of the clock, and memory is the device's. `off` is the largest difference of a loss of
the first weights, in units of 1 + its size.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from gan3d_core.errors import TrainingError

MIB = 1 << 20
BATCHES = {"3dgan": 4, "implicit-gan": 1}
"""What a processor does in seconds; published are 100 and 16."""
TOLERANCE = 0.05
"""Of a loss, in units of 1 + its size: 16-bit products are good to 0.4 %, batch norm over few samples to less."""
COARSE = 32
"""Resolution at which batches and processes are compared."""


class Process:
    """A `gan_worker` that waits for its next step."""

    def __init__(self, case: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gan_worker", json.dumps(dict(case))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            text=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()

    def ask(self) -> None:
        """Begin a step."""
        assert self._child.stdin is not None
        self._child.stdin.write("step\n")
        self._child.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What it says once it is ready, or has made its step.

        Raises:
            TrainingError: it has ended.
        """
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise TrainingError(
            "A process of the benchmark has ended.", "Its message stands above; a smaller batch may fit."
        )

    def step(self) -> dict[str, Any]:
        self.ask()
        return self.answer()


@dataclasses.dataclass(frozen=True)
class Compared:
    """Steps of both, the first with the rates at zero."""

    plain: list[dict[str, Any]]
    ours: list[dict[str, Any]]

    def ratio(self, key: str) -> float:
        """How many times faster ours is: the median over steps after the first."""
        return statistics.median(a[key] / b[key] for a, b in zip(self.plain[1:], self.ours[1:], strict=True))

    def off(self) -> float:
        """Largest difference of a loss of the first weights, in units of 1 + the plain one's size."""
        first = zip(self.plain[0]["losses"], self.ours[0]["losses"], strict=True)
        return max(abs(a - b) / (1 + abs(a)) for a, b in first)


def run(options: argparse.Namespace) -> Iterator[str]:
    """a step of ours beside a plain float32 one: times faster, losses, peak memory, and how it grows."""
    for gan in options.gans:
        batch = options.batch or BATCHES[gan]
        kind = "float32" if options.float32 else "as its recipe says"
        where = f"{options.threads} thread{'s' * (options.threads > 1)}" if options.device == "cpu" else options.device
        yield f"{gan}, ours {kind}, {where}"
        yield from _beside_plain(gan, options, [(resolution, batch) for resolution in options.resolutions])
        coarse = min(COARSE, max(options.resolutions))
        yield from _beside_plain(gan, options, [(coarse, more) for more in options.batches])
        if options.processes:
            yield from _processes(gan, coarse, options)
        if options.accumulate > 1:
            yield from _whole_batch(gan, max(options.resolutions), options)


def _beside_plain(gan: str, options: argparse.Namespace, sizes: Sequence[tuple[int, int]]) -> Iterator[str]:
    """A line for each resolution and batch."""
    if sizes:
        heads = f"{'seconds a step':>18}{'steps/s':>9}{'times':>7}{'clock':>7}{'losses':>17}{'off':>8}{'peak, MiB':>15}"
        yield f"    {'plain, ours':<18}{heads}"
    for resolution, batch in sizes:
        found = compare(gan, resolution, batch, options)
        plain, ours = found.plain[-1], found.ours[-1]
        losses = "/".join(f"{loss:.3f}" for loss in found.plain[0]["losses"])
        yield (
            f"    {f'{resolution}³, batch {batch}':<18}{plain['processor']:9.2f}{ours['processor']:9.2f}"
            f"{1 / ours['processor']:9.3f}{found.ratio('processor'):7.2f}{found.ratio('clock'):7.2f}{losses:>17}"
            f"{found.off():8.4f}{plain['peak'] / MIB:8.0f}{ours['peak'] / MIB:7.0f}"
            f"{'  (losses differ)' if found.off() > TOLERANCE else ''}"
        )


def compare(gan: str, resolution: int, batch: int, options: argparse.Namespace) -> Compared:
    """Both step by step in turn, from the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        case = _case(gan, resolution, batch, options)
        case["weights"] = str(Path(folder) / "weights.pt")
        with Process(case) as ours:
            ours.answer()
            with Process(case | {"plain": True}) as plain:
                plain.answer()
                pairs = [(plain.step(), ours.step()) for _ in range(options.repeats + 1)]
    return Compared([a for a, _ in pairs], [b for _, b in pairs])


def _processes(gan: str, resolution: int, options: argparse.Namespace) -> Iterator[str]:
    """Ours alone, a batch shared by several processes: what each spends, and how long a step takes."""
    batch = max(options.processes)
    heads = f"{'processor seconds of each':>28}{'clock':>8}{'peak of each, MiB':>20}"
    yield f"    {f'{resolution}³, batch {batch}':<18}{heads}"
    for size in options.processes:
        port = _free_port()
        case = _case(gan, resolution, batch, options)
        known = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environments = [{name: str(value) for name, value in {**known, "RANK": rank}.items()} for rank in range(size)]
        steps = _together([Process(case, environment) for environment in environments], options.repeats + 1)
        last = steps[-1]
        spent, clock, peak = (statistics.mean(each[key] for each in last) for key in ("processor", "clock", "peak"))
        yield f"    {f'{size} process' + 'es' * (size > 1):<18}{spent:28.2f}{clock:8.2f}{peak / MIB:20.0f}"


def _together(processes: Sequence[Process], count: int) -> list[list[dict[str, Any]]]:
    """Some steps of processes that wait for each other."""
    try:
        for process in processes:
            process.answer()
        steps = []
        for _ in range(count):
            for process in processes:
                process.ask()
            steps.append([process.answer() for process in processes])
        return steps
    finally:
        for process in processes:
            process.__exit__(None, None, None)


def _whole_batch(gan: str, resolution: int, options: argparse.Namespace) -> Iterator[str]:
    """Ours alone with the published batch in parts."""
    from training.configuration import read_toml

    batch = read_toml(gan)["batch"]
    with Process(_case(gan, resolution, batch, options) | {"accumulate": options.accumulate}) as process:
        process.answer()
        found = process.step()
    yield (
        f"    {resolution}³, the published batch of {batch} in {options.accumulate} parts: {found['processor']:.1f} s, "
        f"{found['peak'] / MIB:.0f} MiB"
    )


def _case(gan: str, resolution: int, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """What a process of ours is told, see `gan_worker.Case`."""
    sizes = {"gan": gan, "resolution": resolution, "batch": batch}
    return {
        **sizes,
        "plain": False,
        "float32": options.float32,
        "threads": options.threads,
        "device": options.device,
    }


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
