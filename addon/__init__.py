"""GAN3D in Blender: a panel, its operators, and the session that talks to the worker.

Nothing heavy is imported here: the networks run in the worker, another process with a Python of its own.
"""

from . import catalogue, headless, operators, panels, preferences, properties, session

# Preferences first: the catalogue of checkpoints reads them, and the properties' menus read the catalogue.
_PARTS = (preferences, catalogue, properties, operators, panels, session, headless)


def register() -> None:
    for part in _PARTS:
        part.register()


def unregister() -> None:
    for part in reversed(_PARTS):
        part.unregister()
