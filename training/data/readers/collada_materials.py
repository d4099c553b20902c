"""Materials of a COLLADA document: what <profile_COMMON> says of colour, image and shininess."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from ..source import SurfaceMaterial
from . import images as image_files


class Materials:
    """Materials by their id, made when they are first asked for.

    Args:
        by_id: every element of the document that has an id.
        folder: where the document lies.
        images: decode the images.
    """

    def __init__(self, by_id: dict[str | None, ElementTree.Element], folder: Path, images: bool) -> None:
        self._by_id, self._folder, self._images = by_id, folder, images
        self._index: dict[str, int] = {}
        self.made: list[SurfaceMaterial] = []
        self.missing: list[str] = []
        self.colorless = True

    def of(self, identity: str) -> int:
        """Index of a material in `made`; one that is not in the document is light grey."""
        if identity not in self._index:
            self._index[identity] = len(self.made)
            self.made.append(self._make(identity))
        return self._index[identity]

    def _make(self, identity: str) -> SurfaceMaterial:
        grey = SurfaceMaterial(np.full(3, 0.8, np.float32))
        material = self._by_id.get(identity)
        link = None if material is None else material.find("instance_effect")
        effect = None if link is None else self._by_id.get(link.get("url", "").lstrip("#"))
        profile = None if effect is None else effect.find("profile_COMMON")
        if profile is None:
            return grey
        diffuse = profile.find("technique/*/diffuse")
        if diffuse is None:
            return grey
        self.colorless = False
        # Phong's exponent as a roughness: α = √(2 / (Ns + 2)), Walter et al. 2007, section 5.1.
        shininess = profile.findtext("technique/*/shininess/float")
        roughness = 0.6 if shininess is None else (2.0 / (max(float(shininess), 0.0) + 2.0)) ** 0.5
        texture = diffuse.find("texture")
        if texture is not None:
            return SurfaceMaterial(
                np.ones(3, np.float32), self._image(profile, texture.get("texture", "")), float(roughness)
            )
        words = (diffuse.findtext("color") or "0.8 0.8 0.8").split()
        return SurfaceMaterial(np.clip(np.array(words[:3], np.float32), 0, 1), None, float(roughness))

    def _image(self, profile: ElementTree.Element, name: str) -> np.ndarray | None:
        """Follow sampler → surface → image → file; note it where it does not end in an image."""
        parameters = {each.get("sid"): each for each in profile.findall("newparam")}
        for _ in range(3):
            parameter = parameters.get(name)
            if parameter is None:
                break
            instance = parameter.find(".//instance_image")
            name = (
                instance.get("url", "").lstrip("#")
                if instance is not None
                else (parameter.findtext(".//source") or parameter.findtext(".//init_from") or "").strip()
            )
        image = self._by_id.get(name)
        written = ""
        if image is not None:
            written = (image.findtext("init_from/ref") or image.findtext("init_from") or "").strip()
        path = image_files.find(self._folder, written) if written else None
        if path is None or not image_files.is_image(path.read_bytes()):
            self.missing.append(written or name or "an image without a name")
            return None
        if not self._images:
            return None
        with Image.open(path) as opened:
            return image_files.pixels(opened)
