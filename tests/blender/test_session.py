"""Requests from click to scene: where results go, and what else may happen to them on the way."""

import os
import signal

import bpy
import pytest
from boxes import box
from conftest import pump_until

from gan3d_core.recipe import Recipe


def click(operator="generate"):
    """What a click does. (Without a window Blender executes where it would invoke, so waiting is refused by name.)"""
    return getattr(bpy.ops.gan3d, operator)("EXEC_DEFAULT", wait=False)


def ours():
    """Objects in GAN3D collections of the current scene, in the order in which they came."""
    return [thing for each in bpy.context.scene.collection.children if each.get("gan3d") for thing in each.objects]


def start(count, seed=0):
    settings = bpy.context.scene.gan3d
    settings.count, settings.seed = count, seed
    assert click() == {"FINISHED"}


def bounds(thing):
    from addon import placing

    return placing.world_box(thing)


def test_results_stand_side_by_side_selected_and_named(gate):
    from addon import session

    gate(99)
    start(8, seed=40)
    pump_until(lambda: not session.get().busy)
    start(8, seed=48)
    pump_until(lambda: not session.get().busy)
    things = ours()
    assert [thing.name for thing in things] == [f"Stool {seed:04d}" for seed in range(40, 56)]
    boxes = [bounds(thing) for thing in things]
    assert all(abs(each[0][2]) < 1e-6 for each in boxes), "they stand on the floor"
    for index, one in enumerate(boxes):
        for other in boxes[:index]:
            apart = max((one[0] - other[1])[:2].max(), (other[0] - one[1])[:2].max())
            assert apart > 0.2, "two results are too close"
    assert {thing.name for thing in bpy.context.selected_objects} == {thing.name for thing in things[8:]}
    assert bpy.context.view_layer.objects.active == things[-1]
    assert session.get().summary.startswith("Finished: 8 of 8")


def test_each_object_carries_the_recipe_that_made_it(gate):
    from addon import scene, session

    settings = bpy.context.scene.gan3d
    settings.truncation, settings.smoothing, settings.texture_size = 0.3, 5, 128
    gate(2)
    start(2, seed=2**31 - 1)
    pump_until(lambda: not session.get().busy)
    recipes = [scene.recipe_of(thing) for thing in ours()]
    assert [recipe.seed for recipe in recipes] == [2**31 - 1, 0]
    for recipe in recipes:
        assert (recipe.checkpoint, recipe.checkpoint_hash) == ("ball", "0123456789abcdef")
        assert (recipe.truncation, recipe.smoothing, recipe.texture_size) == (0.3, 5, 128)


def test_one_undo_step_for_each_result(gate):
    from addon import session

    bpy.ops.ed.undo_push(message="before")
    gate(3)
    start(3)
    pump_until(lambda: not session.get().busy)
    for left in (2, 1, 0):
        bpy.ops.ed.undo()
        assert len(ours()) == left
    for count in (1, 2, 3):
        bpy.ops.ed.redo()
        assert len(ours()) == count


def test_undo_while_a_request_runs_loses_one_result_and_no_more(gate):
    from addon import session

    bpy.ops.ed.undo_push(message="before")
    start(3)
    gate(2)
    pump_until(lambda: len(ours()) == 2)
    bpy.ops.ed.undo()
    assert [thing.name for thing in ours()] == ["Stool 0000"]
    gate(3)
    pump_until(lambda: not session.get().busy)
    assert [thing.name for thing in ours()] == ["Stool 0000", "Stool 0002"]


def test_a_second_click_is_refused_and_disturbs_nothing(gate):
    from addon import session

    start(2)
    pump_until(lambda: session.get().client.state == "busy")
    with pytest.raises(RuntimeError, match="still generating"):
        click()
    gate(2)
    pump_until(lambda: not session.get().busy)
    assert len(ours()) == 2


@pytest.mark.parametrize("when", ["at once", "starting", "busy", "after one"])
def test_cancel(gate, when):
    from addon import session

    start(3)
    reached = {
        "at once": lambda: True,
        "starting": lambda: session.get().client.state in ("starting", "busy"),
        "busy": lambda: session.get().client.state == "busy",
        "after one": lambda: len(ours()) == 1,
    }[when]
    if when == "after one":
        gate(1)
    pump_until(reached)
    bpy.ops.gan3d.cancel()
    pump_until(lambda: not session.get().busy)
    kept = len(ours())
    assert kept == (1 if when == "after one" else 0)
    assert session.get().error is None
    assert session.get().summary.startswith("Cancelled")
    gate(kept + 1)
    start(1, seed=9)
    pump_until(lambda: not session.get().busy)
    assert len(ours()) == kept + 1


def test_a_click_while_cancelling_is_served_next(gate):
    from addon import session

    start(1)
    pump_until(lambda: session.get().client.state == "busy")
    bpy.ops.gan3d.cancel()
    start(1, seed=5)
    gate(1)
    pump_until(lambda: not session.get().busy)
    assert [thing.name for thing in ours()] == ["Stool 0005"]


def test_a_killed_worker_is_reported_and_the_next_click_works(gate):
    from addon import session

    gate(1)
    start(3)
    pump_until(lambda: len(ours()) == 1)
    os.kill(session.get().client.info.pid, signal.SIGKILL)
    pump_until(lambda: not session.get().busy)
    assert session.get().error.code == "worker_died"
    assert session.get().error.hint
    assert len(ours()) == 1, "what was finished stays"
    start(1, seed=7)
    pump_until(lambda: not session.get().busy)
    assert session.get().error is None
    assert [thing.name for thing in ours()] == ["Stool 0000", "Stool 0007"]


def test_nothing_of_a_closed_file_reaches_the_next_one(gate):
    from addon import session

    start(3)
    gate(1)
    pump_until(lambda: len(ours()) == 1)
    bpy.ops.wm.read_homefile(use_empty=True)
    gate(9)
    pump_until(lambda: not session.get().busy)
    assert not bpy.data.objects
    assert not bpy.data.meshes
    bpy.context.scene.gan3d.category = "stool"
    bpy.context.scene.gan3d.random_seed = False
    start(1, seed=3)
    pump_until(lambda: not session.get().busy)
    assert [thing.name for thing in ours()] == ["Stool 0003"]


def test_saving_while_a_request_runs_says_nothing_of_it(gate, tmp_path):
    from addon import session

    start(2)
    pump_until(lambda: session.get().client.state == "busy")
    path = tmp_path / "during.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    gate(2)
    pump_until(lambda: not session.get().busy)
    assert len(ours()) == 2
    session.get().stop()
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert not session.get().busy
    assert session.get().client is None
    assert bpy.context.scene.gan3d.count == 2


def test_results_go_to_the_scene_they_were_asked_for(gate):
    from addon import session

    first = bpy.context.scene
    start(2)
    pump_until(lambda: session.get().client.state == "busy")
    bpy.context.window.scene = bpy.data.scenes.new("Other")
    gate(1)
    pump_until(lambda: len(first.objects) == 1)
    assert not bpy.context.scene.objects
    bpy.data.scenes.remove(first)
    gate(2)
    pump_until(lambda: not session.get().busy)
    assert len(ours()) == 1, "its scene is gone, so the other takes it"


def test_results_wait_for_object_mode(gate):
    from addon import meshes, session

    mine = bpy.data.objects.new("mine", meshes.make_mesh(box(0), "mine"))
    bpy.context.scene.collection.objects.link(mine)
    bpy.context.view_layer.objects.active = mine
    gate(2)
    start(2)
    bpy.ops.object.mode_set(mode="EDIT")
    pump_until(lambda: not session.get().busy)
    assert len(session.get().waiting) == 2
    assert not ours()
    bpy.ops.object.mode_set(mode="OBJECT")
    pump_until(lambda: not session.get().waiting)
    assert len(ours()) == 2


def test_an_artist_who_works_on_something_else_keeps_the_selection(gate):
    from addon import session

    mine = bpy.data.objects.new("mine", None)
    bpy.context.scene.collection.objects.link(mine)
    start(2)
    gate(1)
    pump_until(lambda: len(ours()) == 1)
    ours()[0].select_set(False)
    mine.select_set(True)
    bpy.context.view_layer.objects.active = mine
    gate(2)
    pump_until(lambda: not session.get().busy)
    assert bpy.context.selected_objects == [mine]
    assert bpy.context.view_layer.objects.active == mine


def test_regenerate_replaces_in_place(gate):
    from addon import scene, session

    gate(9)
    start(2, seed=1)
    pump_until(lambda: not session.get().busy)
    things = ours()
    things[0].location = (5, 6, 7)
    things[1].modifiers.new("Bevel", "BEVEL")
    meshes = [thing.data.session_uid for thing in things]
    thing = things[1]
    thing[scene.RECIPE_KEY] = scene.recipe_of(thing).replace(seed=4).to_json()
    assert click("regenerate") == {"FINISHED"}
    pump_until(lambda: not session.get().busy)
    assert [thing.name for thing in ours()] == ["Stool 0001", "Stool 0002"]
    things = ours()
    assert things[0].location[:] == (5, 6, 7)
    assert [modifier.type for modifier in things[1].modifiers] == ["BEVEL"]
    assert not {thing.data.session_uid for thing in things} & set(meshes)
    for thing, seed in zip(things, (1, 4), strict=True):
        positions = [tuple(vertex.co) for vertex in thing.data.vertices]
        assert positions == [tuple(map(float, row)) for row in box(seed).vertices]
    assert len(bpy.data.meshes) == 2


def test_an_object_deleted_meanwhile_is_not_brought_back(gate):
    from addon import session

    gate(1)
    start(1)
    pump_until(lambda: not session.get().busy)
    click("regenerate")
    pump_until(lambda: session.get().client.state == "busy")
    bpy.data.objects.remove(ours()[0])
    gate(2)
    pump_until(lambda: not session.get().busy)
    assert not ours()
    assert session.get().error is None


def test_vary_makes_a_sibling(gate):
    from addon import scene, session

    gate(2)
    bpy.context.scene.gan3d.smoothing = 3
    start(1, seed=2**31 - 1)
    pump_until(lambda: not session.get().busy)
    click("vary")
    pump_until(lambda: not session.get().busy)
    one, other = (scene.recipe_of(thing) for thing in ours())
    assert one.seed != other.seed
    assert one == other.replace(seed=one.seed)


def test_new_texture_keeps_seed_shape_and_place(gate):
    """The request differs from the object's recipe in the texture's seed alone, and the object stays where it is."""
    from addon import scene, session

    gate(9)
    start(1, seed=3)
    pump_until(lambda: not session.get().busy)
    thing = ours()[0]
    thing.location = (1, 2, 3)
    before = scene.recipe_of(thing)
    assert click("retexture") == {"FINISHED"}
    pump_until(lambda: not session.get().busy)
    (thing,) = ours()
    after = scene.recipe_of(thing)
    assert after.texture_seed >= 0
    assert after.replace(texture_seed=-1) == before
    assert thing.location[:] == (1, 2, 3)
    # The panel takes it over, and asks for it again only where the checkpoint has textures of their own.
    settings = bpy.context.scene.gan3d
    settings.take(after)
    assert (settings.own_texture, settings.texture_seed) == (True, after.texture_seed)
    settings.take(before)
    assert not settings.own_texture


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 1}', '{"version": 9, "checkpoint": "x"}'])
def test_a_damaged_recipe_is_refused_in_words(gate, text):
    from addon import scene

    thing = scene.add_shape(bpy.context.scene, box(0), Recipe("ball"), "Box", select=True)
    thing[scene.RECIPE_KEY] = text
    with pytest.raises(RuntimeError, match=r"[Rr]ecipe"):
        click("regenerate")


def test_use_its_settings_brings_the_recipe_back(gate):
    from addon import scene

    recipe = Recipe("ball", seed=77, truncation=0.25, resolution=40, components="all", smoothing=2, texture_size=256)
    scene.add_shape(bpy.context.scene, box(0), recipe, "Box", select=True)
    bpy.ops.gan3d.take_settings()
    assert bpy.context.scene.gan3d.recipes() == [recipe]


def test_switching_off_while_busy_ends_the_worker(gate):
    from addon import session

    start(2)
    pump_until(lambda: session.get().client.state == "busy")
    process = session.get().client._process
    bpy.ops.preferences.addon_disable(module="addon")
    assert process.join(10)
    assert session.get().client is None
    assert not hasattr(bpy.types.Scene, "gan3d")
    assert not any("gan3d" in str(function.__module__) for function in bpy.app.handlers.load_pre)
    bpy.ops.preferences.addon_enable(module="addon")
    assert bpy.context.scene.gan3d.count == 2


def test_a_missing_worker_python_is_an_error_in_words(blender, chair_checkpoints):
    from addon import session

    prefs = bpy.context.preferences.addons["addon"].preferences
    prefs.checkpoint_dir = str(chair_checkpoints)
    prefs.python = "/nowhere/python3"
    bpy.context.scene.gan3d.category = "stool"
    start(1)
    pump_until(lambda: not session.get().busy)
    assert session.get().error.code == "worker_start"
    assert "/nowhere/python3" in session.get().error.message
    bpy.ops.gan3d.copy_error()
    assert "/nowhere/python3" in session.get().error_report()


def test_without_a_checkpoint_the_click_says_so(blender, monkeypatch, tmp_path):
    from addon import catalogue
    from gan3d_core import checkpoints

    monkeypatch.setattr(checkpoints, "PRETRAINED", tmp_path)
    monkeypatch.delenv("GAN3D_CHECKPOINTS", raising=False)
    catalogue.refresh()
    with pytest.raises(RuntimeError, match="No checkpoint for the category 'chair'"):
        click()
