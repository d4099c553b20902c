"""The GAN3D tab of the 3D view's sidebar. Drawing only reads what the session and the catalogue hold in memory."""

import bpy

from . import generate, objects, sources, worker

_CLASSES = (*generate.CLASSES, *objects.CLASSES, *sources.CLASSES, *worker.CLASSES)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
