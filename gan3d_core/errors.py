"""The typed errors of GAN3D. Each is one sentence on what happened and one on what to do about it.

They cross the worker's pipe as `{"code", "message", "hint"}` (`Gan3DError.to_dict` / `from_dict`), so the same class
that was raised in the worker is caught in Blender.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Gan3DError(Exception):
    """Base of every error a user can meet.

    Args:
        message: what went wrong, one sentence, with the value or file at fault in it.
        hint: what to do about it, one sentence.
    """

    code: ClassVar[str] = "error"
    default_hint: ClassVar[str] = "Copy this message into a bug report."
    _registry: ClassVar[dict[str, type[Gan3DError]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Gan3DError._registry[cls.code] = cls

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def to_dict(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "hint": self.hint}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Gan3DError:
        """Rebuild the error of `data["code"]`; an unknown code becomes a plain `Gan3DError`."""
        cls = Gan3DError._registry.get(str(data.get("code")), Gan3DError)
        return cls(str(data.get("message", "Unknown error.")), str(data.get("hint", "")))


class RecipeError(Gan3DError):
    """A recipe that names an unknown field, a value out of range, or a checkpoint of another hash."""

    code = "recipe"
    default_hint = "Correct the value, or press Generate with the panel's own settings."


class CheckpointError(Gan3DError):
    """A checkpoint folder that is missing, truncated, of another version or of another architecture."""

    code = "checkpoint"
    default_hint = "Choose another checkpoint, or reinstall the extension to restore the shipped ones."


class EmptyShapeError(Gan3DError):
    """A field without a surface: nothing to show for this seed."""

    code = "empty_shape"
    default_hint = "Try another seed, or a lower truncation."


class MeshFileError(Gan3DError):
    """A mesh file that is empty, not finite, a point cloud, too large, or no mesh at all."""

    code = "mesh_file"
    default_hint = "Open the file in Blender and export it again as a triangle mesh."


class DatasetError(Gan3DError):
    """A folder that is no dataset, or one that holds nothing for the request."""

    code = "dataset"
    default_hint = "Run `python -m training.prepare` on a folder of meshes first."


class TrainingError(Gan3DError):
    """Training cannot start or go on (bad settings, not-a-number losses, a snapshot of another recipe)."""

    code = "training"
    default_hint = "See the last lines of metrics.jsonl in the run folder."


class NotFiniteError(TrainingError):
    """A loss or a gradient that is infinite or not a number: the step was not made, the last snapshot is whole."""

    code = "not_finite"
    default_hint = "Lower the learning rates, and go on from the last snapshot with the same command."


class RenderingError(Gan3DError):
    """A mesh, cameras or an image that cannot be rendered: not finite, indices out of range, sizes that do not fit."""

    code = "rendering"
    default_hint = "Check the vertices, faces and cameras that were given."


class WorkerStartError(Gan3DError):
    """The worker could not start: wrong Python, no torch, a broken environment."""

    code = "worker_start"
    default_hint = "Open the add-on's preferences, choose the worker's Python and press Test Worker."


class WorkerDiedError(Gan3DError):
    """The worker process ended while it was needed."""

    code = "worker_died"
    default_hint = "Press Generate again: a new worker is started."


class WorkerTimeoutError(Gan3DError):
    """The worker lives but has not answered within its time limit."""

    code = "worker_timeout"
    default_hint = "It was stopped. Press Generate again, with a lower resolution if the machine is slow."


class ProtocolError(Gan3DError):
    """Bytes on the pipe that are no frame of this protocol: rubbish, too long, malformed, another version."""

    code = "protocol"
    default_hint = "Something else prints to the worker's output; check the worker's Python in the preferences."


class WorkerBusyError(Gan3DError):
    """A second request while one runs."""

    code = "busy"
    default_hint = "Wait for the running request or cancel it."


class OutOfMemoryError(Gan3DError):
    """The worker or its device ran out of memory."""

    code = "out_of_memory"
    default_hint = "Lower the resolution or the count, or set the device to CPU in the preferences."


class DeviceError(Gan3DError):
    """The device that was asked for does not exist on the worker's machine."""

    code = "device"
    default_hint = "Set the device to automatic or CPU."


class OutputError(Gan3DError):
    """A result that cannot be written where it was wanted."""

    code = "output"
    default_hint = "Choose another folder, or check its permissions and the free space on the disk."


class CancelledError(Gan3DError):
    """The user asked for it. Shapes that were finished before are kept."""

    code = "cancelled"
    default_hint = ""


class InternalError(Gan3DError):
    """A bug of ours, with its traceback in the message."""

    code = "internal"
