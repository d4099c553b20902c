"""From a recipe to a shape: checkpoint → generator → field → surface. torch is imported when the first shape is made.

result = Pipeline().generate(Recipe("chair-3dgan", seed=7))
result.shape.write_glb("chair.glb")
"""

from __future__ import annotations

import dataclasses
import gc
import os
import sys
import traceback
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checkpoints, devices, latent
from .errors import Gan3DError, InternalError, OutOfMemoryError, RecipeError
from .progress import Progress, StageClock, no_progress
from .recipe import Recipe
from .shape import Shape

if TYPE_CHECKING:
    from .checkpoints import Checkpoint

MAX_MODELS = 3
"""Generators kept in memory; the one not used for longest goes first."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One generated shape."""

    shape: Shape
    recipe: Recipe
    """The recipe that was asked for, with the checkpoint's hash and attempt filled in: it makes this shape again."""
    timings: dict[str, float]
    """Seconds by stage, see `progress.STAGES`."""


class Pipeline:
    """Makes shapes, and keeps the generators it has loaded.

    Args:
        device: see `devices.choose_device`; resolved when the first generator is loaded.
        checkpoint_dirs: folders of checkpoints beyond the shipped ones.
    """

    def __init__(self, device: str = "auto", checkpoint_dirs: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._wanted = device
        self._device: str | None = None
        self._checkpoint_dirs = list(checkpoint_dirs)
        self._models: OrderedDict[tuple[Path, str], Any] = OrderedDict()

    @property
    def device(self) -> str:
        """The device in use.

        Raises:
            DeviceError: the one that was asked for does not exist.
        """
        if self._device is None:
            self._device = devices.choose_device(self._wanted)
        return self._device

    def generate(self, recipe: Recipe, progress: Progress = no_progress) -> Result:
        """Make one shape.

        Args:
            recipe: what to make.
            progress: told of every stage; it may raise `CancelledError` to end the work.

        Raises:
            CheckpointError: the recipe's checkpoint is missing or cannot be used.
            RecipeError: the recipe was made with other weights than this checkpoint's.
            EmptyShapeError: this seed's field has no surface.
            OutOfMemoryError, DeviceError, CancelledError: as their names say.
            InternalError: anything else, with the end of its traceback.
        """
        clock = StageClock(progress)
        try:
            clock("load", 0.0)
            checkpoint = checkpoints.find(recipe.checkpoint, self._checkpoint_dirs)
            if recipe.checkpoint_hash not in ("", checkpoint.hash):
                raise RecipeError(
                    f"The recipe was made with weights {recipe.checkpoint_hash} of checkpoint {checkpoint.id!r}, but "
                    f"those installed are {checkpoint.hash}.",
                    "Install the older checkpoint, or generate anew with this one: the shape will differ.",
                )
            generator = self._model(checkpoint)
            clock("load", 1.0)
            clock("generate", 0.0)
            # With SciPy, as surfacing: where that is missing, the generator above has said so already.
            from . import drawing
            from .surfacing import surface

            config = checkpoint.config
            if recipe.attempt < 0:
                drawn = drawing.choose(
                    generator,
                    config,
                    lambda attempt: latent.of_recipe(recipe, config, attempt),
                    lambda share: clock("generate", share),
                )
                recipe, field = recipe.replace(attempt=drawn.attempt), drawn.field
            else:
                field = generator.fields(latent.of_recipe(recipe, config)[None], config.size_m)[0]
            clock("generate", 1.0)
            shape = surface(field, recipe, clock)
        except Exception as error:
            raise typed(error) from error
        clock.stop()
        return Result(shape, recipe.replace(checkpoint_hash=checkpoint.hash), clock.timings)

    def release(self) -> None:
        """Drop every generator and give the device's memory back."""
        self._models.clear()
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
        elif torch is not None and torch.backends.mps.is_available():
            torch.mps.empty_cache()

    @property
    def loaded(self) -> int:
        """How many generators are in memory."""
        return len(self._models)

    def _model(self, checkpoint: Checkpoint) -> Any:
        key = (checkpoint.path, checkpoint.config.weights_sha256)
        if key not in self._models:
            from . import generators

            while len(self._models) >= MAX_MODELS:
                self._models.popitem(last=False)
            self._models[key] = generators.load(checkpoint, self.device)
        self._models.move_to_end(key)
        return self._models[key]


def typed(error: BaseException) -> Gan3DError:
    """The typed error for anything that was raised while a shape was made."""
    if isinstance(error, Gan3DError):
        return error
    if _is_out_of_memory(error):
        first = str(error).strip().splitlines()
        return OutOfMemoryError(
            f"There is not enough memory for this shape ({first[0][:200] if first else 'no detail'})."
        )
    lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-5)
    return InternalError("Something went wrong that GAN3D did not foresee:\n" + "".join(lines).strip()[-3000:])


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # torch's allocators for the CPU and for MPS raise a plain RuntimeError, told apart by its text only.
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
