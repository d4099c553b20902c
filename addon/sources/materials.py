"""A Blender material as a dataset understands it: base colour, roughness and metallic, each a value or an image.

Read are the Principled BSDF and simpler shaders, with values, images, colour attributes, and images multiplied by a
colour. What is computed in nodes (noise, mixing by masks, projection) has no image: such a material is named with the
reason, and no colour is learned from its shape. Baking makes an image of it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import bpy
import numpy as np

MOST_STEPS = 32
LONGEST_SIDE = 1024
_SHADERS = {
    "BSDF_PRINCIPLED": ("Base Color", "Roughness", "Metallic"),
    "BSDF_DIFFUSE": ("Color", None, None),
    "BSDF_GLOSSY": ("Color", "Roughness", None),
    "BSDF_METALLIC": ("Base Color", "Roughness", None),
    "BSDF_GLASS": ("Color", "Roughness", None),
    "SUBSURFACE_SCATTERING": ("Color", None, None),
    "EMISSION": ("Color", None, None),
}
_METALLIC = {"BSDF_GLOSSY", "BSDF_METALLIC"}


@dataclasses.dataclass
class Channel:
    """Where one input of a shader gets its values from."""

    value: tuple[float, ...] = (0.8, 0.8, 0.8)
    """Linear; multiplies the image."""
    image: bpy.types.Image | None = None
    component: int | None = None
    """Which of the image's channels, where one was taken out of it."""
    uv_map: str = ""
    attribute: str | None = None
    """Name of a colour attribute; empty: the active one."""
    scale: tuple[float, float] = (1.0, 1.0)
    angle: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)


class UnreadableError(Exception):
    """Why a channel cannot be read, for the report. Never leaves this module."""


@dataclasses.dataclass
class Material:
    """One material, read."""

    name: str
    color: Channel
    roughness: Channel
    metallic: Channel
    missing: list[str] = dataclasses.field(default_factory=list)
    """What its colour cannot be known for."""


def read(material: bpy.types.Material | None) -> Material:
    """Read a material; None (an empty slot) is light grey."""
    grey, rough, dielectric = Channel(), Channel((0.5,)), Channel((0.0,))
    if material is None:
        return Material("none", grey, rough, dielectric)
    out = Material(material.name, grey, rough, dielectric)
    if material.node_tree is None or not _uses_nodes(material):
        out.color = Channel(tuple(material.diffuse_color[:3]))
        out.roughness, out.metallic = Channel((material.roughness,)), Channel((material.metallic,))
        return out
    try:
        shader = _shader(material.node_tree)
        color, roughness, metallic = _SHADERS[shader.type]
        out.metallic = Channel((1.0 if shader.type in _METALLIC else 0.0,))
        for name, attribute in ((roughness, "roughness"), (metallic, "metallic")):
            if name is not None:
                setattr(out, attribute, _scalar(shader.inputs[name]))
        out.color = _trace(shader.inputs[color])
        if out.color.image is not None:
            _check_image(out.color.image)
    except UnreadableError as problem:
        out.missing.append(f"{material.name}: {problem}")
    return out


def _uses_nodes(material: bpy.types.Material) -> bool:
    return bpy.app.version >= (5, 0, 0) or material.use_nodes


def _scalar(socket: bpy.types.NodeSocket) -> Channel:
    """Roughness or metallic. Where it is computed, the socket's own value must do: it is no reason to lose a colour."""
    try:
        channel = _trace(socket)
        if channel.image is not None:
            _check_image(channel.image)
        return channel
    except UnreadableError:
        return Channel((float(socket.default_value),))


def _shader(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """The shader that decides how the surface looks."""
    outputs = [node for node in tree.nodes if node.type == "OUTPUT_MATERIAL" and node.is_active_output]
    link = outputs[0].inputs["Surface"].links[0] if outputs and outputs[0].inputs["Surface"].links else None
    if link is None:
        raise UnreadableError("nothing is linked to its surface")
    waiting: list[Any] = [link.from_node]
    seen = 0
    while waiting and seen < MOST_STEPS:
        node = waiting.pop(0)
        seen += 1
        if node.type in _SHADERS:
            return node
        if node.type == "GROUP" and node.node_tree is not None:
            inner = [each for each in node.node_tree.nodes if each.type == "GROUP_OUTPUT" and each.is_active_output]
            waiting += [socket.links[0].from_node for each in inner for socket in each.inputs if socket.links]
        elif node.type in ("MIX_SHADER", "ADD_SHADER", "REROUTE"):
            shaders = [socket for socket in node.inputs if socket.type == "SHADER" or node.type == "REROUTE"]
            waiting += [socket.links[0].from_node for socket in shaders if socket.links]
    raise UnreadableError("it has no shader that can be read")


def _origin(socket: bpy.types.NodeSocket) -> tuple[Any, Any]:
    """The node and the socket that a linked socket gets its value from."""
    links: Any = socket.links
    return links[0].from_node, links[0].from_socket


def _trace(socket: bpy.types.NodeSocket) -> Channel:
    """Follow the links from a socket to where its values come from."""
    factor = np.ones(3)
    component = None
    for _ in range(MOST_STEPS):
        if not socket.links:
            return Channel(tuple(float(x) for x in factor * _value(socket.default_value)), component=component)
        node, source = _origin(socket)
        if node.type == "REROUTE":
            socket = node.inputs[0]
        elif node.type in ("RGB", "VALUE"):
            return Channel(tuple(float(x) for x in factor * _value(source.default_value)))
        elif node.type in ("VERTEX_COLOR", "ATTRIBUTE"):
            name = node.layer_name if node.type == "VERTEX_COLOR" else node.attribute_name
            return Channel(tuple(factor), attribute=name)
        elif node.type in ("SEPARATE_COLOR", "SEPRGB"):
            component = [each.name for each in node.outputs].index(source.name)
            socket = node.inputs[0]
        elif node.type == "TEX_IMAGE":
            if node.image is None:
                raise UnreadableError("an image node has no image")
            return _placed(Channel(tuple(factor), node.image, component), node)
        elif node.type in ("MIX", "MIX_RGB"):
            socket, tint = _mixed(node)
            factor = factor * tint
        else:
            raise UnreadableError(f"its colour is computed ({node.bl_label})")
    raise UnreadableError("its nodes are too many to follow")


def _mixed(node: bpy.types.Node) -> tuple[bpy.types.NodeSocket, np.ndarray]:
    """Where a mixing node passes one input on, or multiplies it by a constant: that input, and the constant."""
    if node.type == "MIX":
        if node.data_type != "RGBA":
            raise UnreadableError("its colour is computed (Mix)")
        live = [each for each in node.inputs if each.enabled]
        amount, one, two = live[0], live[1], live[2]
    else:
        amount, one, two = node.inputs[0], node.inputs[1], node.inputs[2]
    if not amount.links:
        share = float(amount.default_value)
        if share == 0.0:
            return one, np.ones(3)
        if share == 1.0 and node.blend_type == "MIX":
            return two, np.ones(3)
        if share == 1.0 and node.blend_type == "MULTIPLY":
            if not two.links:
                return one, _value(two.default_value)
            if not one.links:
                return two, _value(one.default_value)
    raise UnreadableError("its colour is mixed of several")


def _placed(channel: Channel, node: bpy.types.Node) -> Channel:
    """Note how an image lies on the surface."""
    if node.projection != "FLAT":
        raise UnreadableError("an image is projected")
    socket = node.inputs["Vector"]
    for _ in range(MOST_STEPS):
        if not socket.links:
            return channel
        source, output = _origin(socket)
        if source.type == "REROUTE":
            socket = source.inputs[0]
        elif source.type == "UVMAP":
            channel.uv_map = source.uv_map
            return channel
        elif source.type == "TEX_COORD" and output.name == "UV":
            return channel
        elif (
            source.type == "MAPPING"
            and source.vector_type == "POINT"
            and not any(source.inputs[name].links for name in ("Location", "Rotation", "Scale"))
        ):
            values = {name: source.inputs[name].default_value for name in ("Location", "Rotation", "Scale")}
            channel.scale = tuple(values["Scale"][:2])
            channel.angle, channel.offset = float(values["Rotation"][2]), tuple(values["Location"][:2])
            socket = source.inputs["Vector"]
        else:
            raise UnreadableError(f"an image lies by {source.bl_label} rather than by UVs")
    raise UnreadableError("its nodes are too many to follow")


def _value(value: Any) -> np.ndarray:
    """A socket's value as three numbers."""
    numbers = np.asarray(value, np.float64).reshape(-1)[:3] if hasattr(value, "__len__") else np.full(3, float(value))
    return np.clip(numbers, 0.0, 1.0)


def _check_image(image: bpy.types.Image) -> None:
    if image.source == "TILED":
        raise UnreadableError(f"{image.name} has several tiles (UDIM)")
    if image.source in ("MOVIE", "SEQUENCE"):
        raise UnreadableError(f"{image.name} is a film")
    # Asking for its size makes Blender load it; a file that is not there has none.
    if min(image.size[:]) == 0 or image.channels == 0:
        raise UnreadableError(f"{image.name} is missing")


def place(uv: np.ndarray, channel: Channel) -> np.ndarray:
    """(N, 2) texture coordinates after the channel's Mapping node."""
    turned = uv * np.asarray(channel.scale)
    cos, sin = math.cos(channel.angle), math.sin(channel.angle)
    return turned @ np.array([[cos, sin], [-sin, cos]]) + np.asarray(channel.offset)


def pixels(image: bpy.types.Image, component: int | None, is_color: bool) -> np.ndarray:
    """An image as a dataset stores it.

    Returns:
        (H, W, 3) uint8 sRGB for a colour, (H, W) uint8 for a value; row 0 at the top, at most `LONGEST_SIDE` a side.
    """
    width, height = image.size[:]
    values = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    values = values.reshape(height, width, image.channels)[::-1]
    step = -(-max(width, height) // LONGEST_SIDE)
    if step > 1:
        values = values[: height // step * step, : width // step * step]
        values = values.reshape(height // step, step, width // step, step, -1).mean(axis=(1, 3))
    if not is_color:
        one = values[..., :3].mean(axis=-1) if component is None else values[..., min(component, image.channels - 1)]
        return np.rint(np.clip(one, 0, 1) * 255).astype(np.uint8)
    color = values[..., :3] if image.channels >= 3 else np.repeat(values[..., :1], 3, axis=-1)
    # Blender keeps 8-bit images as they are stored, and floating-point ones linear.
    color = linear_to_srgb(color) if image.is_float else np.clip(color, 0, 1)
    return np.rint(color * 255).astype(np.uint8)


def linear_to_srgb(color: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    color = np.clip(color, 0, 1)
    return np.where(color <= 0.0031308, 12.92 * color, 1.055 * color ** (1 / 2.4) - 0.055)
