"""Write the selected objects for training."""

from pathlib import Path

import bpy
from bpy.props import StringProperty

from gan3d_core.errors import Gan3DError, MeshFileError, OutputError

from ..sources import assets, folder
from .generate import report


class GAN3D_OT_export_for_training(bpy.types.Operator):
    """Write the selected objects, modifiers applied, into a folder that training.prepare reads. Each object without a selected parent becomes one shape"""  # noqa: E501 (Blender shows it as one line)

    bl_idname = "gan3d.export_for_training"
    bl_label = "Export Selected for Training"

    directory: StringProperty(name="Folder", description="Where the shapes and their manifest go", subtype="DIR_PATH")
    category: StringProperty(
        name="Category", description="Of all of them. Empty: the collection that each lies in", maxlen=64
    )

    @classmethod
    def poll(cls, context):
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave Edit Mode first")
            return False
        if not context.selected_objects:
            cls.poll_message_set("Select the objects to write")
            return False
        return True

    def invoke(self, context, _event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        try:
            done = self.write(context)
        except Gan3DError as error:
            report(self, error)
            return {"CANCELLED"}
        text = "1 shape is written" if done.shapes == 1 else f"{done.shapes} shapes are written"
        if done.without_color:
            self.report({"WARNING"}, f"{text}; without colours: {', '.join(done.without_color)}")
        else:
            self.report({"INFO"}, f"{text} to {self.directory}")
        return {"FINISHED"}

    def write(self, context):
        path = bpy.path.abspath(self.directory)
        if not self.directory or (self.directory.startswith("//") and not bpy.data.filepath):
            raise OutputError("No folder is chosen.", "Choose one; paths from // on need a saved file.")
        found = assets.of_selection(context, self.category.strip())
        if not found:
            raise MeshFileError("Nothing that is selected has a surface.", "Select meshes that show in renders.")
        metres = context.scene.unit_settings.scale_length
        return folder.write(found, context.evaluated_depsgraph_get(), Path(path), metres)


CLASSES = (GAN3D_OT_export_for_training,)
