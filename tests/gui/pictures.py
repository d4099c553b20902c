"""In a real window: the panel before, during and after a click on Generate, undo, a killed worker, the preferences.

Executed by the runner of `run.py`. It takes the documentation's pictures and reports what it saw.
"""

import json
import os
import signal
from pathlib import Path

import bpy

HERE = Path(__file__).parent
SETTINGS = json.loads((HERE / "settings.json").read_text())
OUT = Path(SETTINGS["out"])
MODULE = "bl_ext.user_default.gan3d"
report = {"blender": bpy.app.version_string}


def names():
    return sorted(thing.name for thing in bpy.data.objects if "gan3d_recipe" in thing)


def picture(name):
    redraw()  # noqa: F821
    return shot(str(OUT / f"{name}.png"))  # noqa: F821


def prepare():
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python = SETTINGS["python"]
    preferences.checkpoint_dir = SETTINGS["checkpoints"]
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    _, area = view3d()  # noqa: F821
    area.spaces.active.show_region_ui = True
    # Solid shading with the textures: what Material Preview would show, without its shaders' compilation.
    area.spaces.active.shading.color_type = "TEXTURE"
    view = area.spaces.active.region_3d
    view.view_distance = 5.5
    view.view_location = (1.3, 0.0, 0.35)
    # From the front, a little above, so that the row runs across the picture.
    view.view_rotation = (0.80, 0.57, 0.10, 0.14)


def generate_button():
    """Where the Generate button is on the screen, from the top left.

    Blender does not tell; the row is the same distance below the region's top in every version: the panel's header, and
    six rows above it.
    """
    window, area = view3d()  # noqa: F821
    region = ui_region(area)  # noqa: F821
    return region.x + region.width // 2 - 20, window.height - (region.y + region.height) + 199


def until(condition):
    """Wait for what follows at once, a few seconds at most."""
    for _ in range(50):
        if condition():
            return
        yield 0.1


def run():
    import sys

    session = sys.modules[f"{MODULE}.session"].get()
    prepare()
    yield 0.5
    choose_tab("GAN3D")  # noqa: F821
    yield 1
    settings = bpy.context.scene.gan3d
    settings.count, settings.seed, settings.random_seed = 4, 26, False
    yield 0.5
    yield picture("panel-before")
    yield click(*generate_button())  # noqa: F821
    yield from until(lambda: session.busy)
    report["clicked"] = session.busy
    if not session.busy:
        yield picture("missed")
        raise AssertionError("The click did not reach Generate; see missed.png")
    seen = set()
    while session.busy:
        job = session.job
        if job.index == 1 and job.fraction > 0.3 and "during" not in seen:
            seen.add("during")
            yield picture("panel-during")
        yield 0.1
    report["error"] = str(session.error) if session.error else ""
    report["summary"] = session.summary
    report["made"] = names()
    yield 1
    yield picture("panel-after")

    yield key("ctrl+z")  # noqa: F821
    yield 1
    report["after_undo"] = names()
    yield key("ctrl+shift+z")  # noqa: F821
    yield 1
    report["after_redo"] = names()

    settings = bpy.context.scene.gan3d
    settings.seed, settings.count = 10, 3
    yield click(*generate_button())  # noqa: F821
    yield from until(lambda: session.busy)
    while session.busy and (session.job.index == 0 or session.client.info is None):
        yield 0.05
    os.kill(session.client.info.pid, signal.SIGKILL)
    while session.busy:
        yield 0.1
    yield 0.5
    report["killed"] = session.error.code
    yield picture("panel-error")

    count = len(names())
    with bpy.context.temp_override(window=view3d()[0], area=view3d()[1]):  # noqa: F821
        bpy.context.scene.gan3d.count = 1
        bpy.ops.gan3d.generate("INVOKE_DEFAULT")
    report["returned_at_once"] = session.busy
    while session.busy:
        yield 0.1
    report["next_click"] = {"new": len(names()) - count, "error": str(session.error or "")}

    bpy.ops.gan3d.stop_worker()
    # In the 3D view's place: a window of its own would cover the panel, and not every runner can picture two.
    view3d()[1].type = "PREFERENCES"  # noqa: F821
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "GAN3D"
    bpy.ops.preferences.addon_expand(module=MODULE)
    yield 1.5
    bpy.ops.gan3d.test_worker()
    while session.client.state == "starting":
        yield 0.1
    yield 1
    report["tested"] = session.client.state
    yield picture("preferences")
    (OUT / "report.json").write_text(json.dumps(report, indent=2))
