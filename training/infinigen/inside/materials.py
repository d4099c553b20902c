"""Materials that emit their own base colour, roughness or metallic, whatever they are made of.

Light passes lie for this purpose: a metal has no diffuse colour, a black one no glossy colour either, and glass has
neither. Instead every scattering node is exchanged for an emission of the quantity itself, mixes of shaders stay as
they are and so become mixes of that quantity, and the emission is baked: one sample is exact.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np

_METALS = {"BSDF_GLOSSY", "BSDF_ANISOTROPIC", "BSDF_METALLIC"}
_SCATTERING = {
    "BSDF_PRINCIPLED", "BSDF_DIFFUSE", "BSDF_GLASS", "BSDF_REFRACTION", "BSDF_TRANSLUCENT", "BSDF_TRANSPARENT",
    "BSDF_SHEEN", "BSDF_TOON", "BSDF_HAIR", "BSDF_HAIR_PRINCIPLED", "SUBSURFACE_SCATTERING", "EEVEE_SPECULAR",
    "EMISSION", *_METALS,
}  # fmt: skip
_CLEAR = {"BSDF_GLASS", "BSDF_REFRACTION", "BSDF_TRANSPARENT"}
_VOLUMES = {"VOLUME_ABSORPTION", "VOLUME_SCATTER", "PRINCIPLED_VOLUME"}
_COLOUR = ("Base Color", "Color")
_FINE = 100.0
"""A brick texture of this scale is a weave, and not bricks."""


class Emissions:
    """The materials of an object, made to emit. They are changed for good: nothing else can be done with them."""

    def __init__(self, target: bpy.types.Object) -> None:
        self._swapped: list[tuple[bpy.types.NodeTree, bpy.types.Node, bpy.types.Node, bpy.types.Node]] = []
        self._inside: dict[bpy.types.NodeTree, bpy.types.Node] = {}
        plain = None
        for index, slot in enumerate(target.material_slots):
            if slot.material is None or not slot.material.use_nodes:
                plain = plain or _plain()
                target.data.materials[index] = plain
        if not target.material_slots:
            target.data.materials.append(_plain())
        seen: set[str] = set()
        for slot in target.material_slots:
            for tree in _trees(slot.material.node_tree, seen):
                self._exchange(tree)

    def _exchange(self, tree: bpy.types.NodeTree) -> None:
        for node in list(tree.nodes):
            if node.type == "OUTPUT_MATERIAL":
                volume = node.inputs["Volume"].links
                if volume and node.is_active_output and volume[0].from_node.type in _VOLUMES:
                    self._inside[tree] = volume[0].from_node
                for name in ("Volume", "Displacement"):
                    for link in list(node.inputs[name].links):
                        tree.links.remove(link)
            elif node.type == "ADD_SHADER":
                # A sum of two lobes is one surface: its quantity is their mean, or white glass would be twice white.
                mix = tree.nodes.new("ShaderNodeMixShader")
                mix.inputs[0].default_value = 0.5
                for index in range(2):
                    for link in list(node.inputs[index].links):
                        tree.links.new(link.from_socket, mix.inputs[index + 1])
                _hand_over(tree, node, mix)
            elif node.type == "TEX_BRICK" and node.inputs["Scale"].default_value > _FINE:
                # Threads of a third of a millimetre: at a point in a hundred, the gap between them is a black fleck.
                node.inputs["Mortar Size"].default_value = 0.0
            elif node.type in _SCATTERING:
                emission = tree.nodes.new("ShaderNodeEmission")
                pack = tree.nodes.new("ShaderNodeCombineColor")
                _hand_over(tree, node, emission)
                self._swapped.append((tree, node, emission, pack))

    def base_color(self) -> None:
        """Emit the base colour, linear RGB; of glass with a clear surface, that of what it is filled with."""
        for tree, node, emission, _ in self._swapped:
            target = emission.inputs["Color"]
            if tree in self._inside and (node.type in _CLEAR or "Transmission Weight" in node.inputs):
                target = self._through(tree, node, target)
            _connect(tree, _socket(node, *_COLOUR), target, 0.8)

    def _through(
        self, tree: bpy.types.NodeTree, node: bpy.types.Node, target: bpy.types.NodeSocket
    ) -> bpy.types.NodeSocket:
        """Multiply what `target` gets by the colour of the volume, as far as the surface lets light in.

        Returns:
            the socket that takes the colour of the surface.
        """
        mix = tree.nodes.new("ShaderNodeMix")
        mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
        # Such a node has a set of sockets for each kind of data, of the same names: these are the colours'.
        share, surface, volume = (
            next(socket for socket in mix.inputs if socket.identifier == name)
            for name in ("Factor_Float", "A_Color", "B_Color")
        )
        _connect(tree, _socket(node, "Transmission Weight"), share, 1.0)
        _connect(tree, _socket(self._inside[tree], "Color"), volume, 1.0)
        tree.links.new(next(socket for socket in mix.outputs if socket.identifier == "Result_Color"), target)
        return surface

    def parameters(self) -> None:
        """Emit roughness as red, metallic as green, transmission as blue."""
        for tree, node, emission, pack in self._swapped:
            rough = _socket(node, "Roughness") if node.type != "BSDF_TRANSLUCENT" else None
            _connect(tree, rough, pack.inputs[0], 0.8)
            _connect(tree, _socket(node, "Metallic"), pack.inputs[1], float(node.type in _METALS))
            _connect(tree, _socket(node, "Transmission Weight"), pack.inputs[2], float(node.type in _CLEAR))
            tree.links.new(pack.outputs[0], emission.inputs["Color"])


def _trees(tree: bpy.types.NodeTree, seen: set[str]) -> Iterator[bpy.types.NodeTree]:
    """The tree and those of its groups, each once."""
    name = tree.name_full if tree.is_embedded_data is False else f"{id(tree)}"
    if name in seen:
        return
    seen.add(name)
    for node in list(tree.nodes):
        if node.type == "GROUP" and node.node_tree is not None:
            yield from _trees(node.node_tree, seen)
    yield tree


def _hand_over(tree: bpy.types.NodeTree, old: bpy.types.Node, new: bpy.types.Node) -> None:
    for link in list(old.outputs[0].links):
        tree.links.new(new.outputs[0], link.to_socket)


def _socket(node: bpy.types.Node, *names: str) -> bpy.types.NodeSocket | None:
    return next((node.inputs[name] for name in names if name in node.inputs), None)


def _connect(
    tree: bpy.types.NodeTree, source: bpy.types.NodeSocket | None, target: bpy.types.NodeSocket, fallback: float
) -> None:
    """Give `target` what `source` gets, be it a link or a value; `fallback` where the node has no such input."""
    for link in list(target.links):
        tree.links.remove(link)
    if source is not None and source.is_linked:
        tree.links.new(source.links[0].from_socket, target)
        return
    value = fallback if source is None else source.default_value
    if target.type == "RGBA":
        target.default_value = (*([value] * 3), 1.0) if isinstance(value, float) else tuple(value)
    else:
        target.default_value = value if isinstance(value, (int, float)) else float(np.mean(tuple(value)[:3]))


def _plain() -> bpy.types.Material:
    material = bpy.data.materials.new("plain")
    material.use_nodes = True
    return material
