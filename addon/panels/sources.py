"""Sub-panel: the selected objects as training data."""

import bpy

from .generate import Sidebar


class GAN3D_PT_training(Sidebar, bpy.types.Panel):
    bl_idname = "GAN3D_PT_training"
    bl_label = "Training Data"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        column = self.layout.column()
        count = len(context.selected_objects)
        column.label(text="Nothing is selected" if not count else f"{count} selected", icon="RESTRICT_SELECT_OFF")
        # From a button Blender asks for the folder, with the category beside it.
        column.operator("gan3d.export_for_training", icon="EXPORT")


CLASSES = (GAN3D_PT_training,)
