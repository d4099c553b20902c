"""The operators. They are thin: what they do is the session's and the scene's."""

import bpy

from . import generate, objects, sources, worker

_CLASSES = (*generate.CLASSES, *objects.CLASSES, *sources.CLASSES, *worker.CLASSES)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
