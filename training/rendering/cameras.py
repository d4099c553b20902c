"""Pinhole cameras around a shape: drawn at random as GET3D draws them, or placed on a ring for a sheet.

The frame is the shapes': +Z up, −Y front. Azimuth 0 looks at the front, and grows towards the shape's left hand (+X);
every camera looks at the origin. Pixel rows run downwards, and pixel (row, column) has its centre at (+½, +½).
"""

from __future__ import annotations

import dataclasses
import functools
import math

import torch

from gan3d_core.errors import RenderingError
from gan3d_core.field import EXTENT

FIELD_OF_VIEW = 2 * math.atan(16 / 35)
"""Vertical, 49.13°: a lens of 35 mm on a sensor of 32 mm."""
RADIUS = 1.2 / 0.7 * 2 * EXTENT
"""GET3D scales a chair's longest side to 0.7 and looks from 1.2; ours is 2 · EXTENT. From 1.2 for a side of 0.9, which
is what cars get there, two views in three of a chair are cut off at its feet."""
ELEVATION = math.radians(20.0)
"""Of pictures for people."""
MAX_ELEVATION = math.radians(30.0)
NEAR, FAR = 0.05, 20.0
"""What lies nearer than this along the view, in units of the cube, is not seen."""


@dataclasses.dataclass(frozen=True)
class Cameras:
    """N cameras, each of which looks at one mesh of a batch. Tensors are float32 and live on one device."""

    azimuth: torch.Tensor
    """(N,) radians."""
    elevation: torch.Tensor
    """(N,) radians above the horizon, within ±π/2."""
    radius: torch.Tensor
    """(N,) distance from the origin in units of the cube."""
    field_of_view: torch.Tensor
    """(N,) vertical, radians; images are square, so it is the horizontal one too."""
    mesh: torch.Tensor
    """(N,) int64: which mesh of the batch each camera sees."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value.shape != (len(self),):
                raise RenderingError(
                    f"Cameras: {field.name} has the shape {tuple(value.shape)} for {len(self)} cameras."
                )
        if not all(bool(torch.isfinite(value).all()) for value in (self.azimuth, self.elevation)):
            raise RenderingError("A camera's azimuth or elevation is not a finite number.")
        if not bool((self.elevation.abs() <= math.pi / 2 + 1e-6).all()):
            raise RenderingError("A camera's elevation is beyond ±90°.", "Give angles in radians.")
        if not bool(((self.radius > NEAR) & torch.isfinite(self.radius)).all()):
            raise RenderingError(f"A camera's radius must be above {NEAR}.")
        if not bool(((self.field_of_view > 0) & (self.field_of_view < math.pi)).all()):
            raise RenderingError("A camera's field of view must lie between 0 and 180°.", "Give angles in radians.")

    @classmethod
    def at(
        cls,
        azimuth: torch.Tensor | list[float],
        elevation: torch.Tensor | list[float] | float = ELEVATION,
        radius: torch.Tensor | list[float] | float = RADIUS,
        field_of_view: torch.Tensor | list[float] | float = FIELD_OF_VIEW,
        mesh: torch.Tensor | list[int] | int = 0,
    ) -> Cameras:
        """Place cameras; what is given once holds for all of them."""
        azimuth = torch.as_tensor(azimuth, dtype=torch.float32).reshape(-1)

        def full(value: object, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(value, dtype=dtype, device=azimuth.device).expand(len(azimuth)).contiguous()

        real = torch.float32
        return cls(
            azimuth, full(elevation, real), full(radius, real), full(field_of_view, real), full(mesh, torch.int64)
        )

    @classmethod
    def draw(
        cls,
        count: int,
        generator: torch.Generator | None = None,
        mesh: torch.Tensor | None = None,
        radius: float = RADIUS,
    ) -> Cameras:
        """Draw as GET3D does: any azimuth, elevation from 0° to 30°, both uniform; one radius, one field of view.

        J. Gao et al.: GET3D: A Generative Model of High Quality 3D Textured Shapes, NeurIPS 2022, section 4.1.

        Args:
            generator: its device is the cameras' device.
            mesh: (count,) which mesh each one sees (default: camera i sees mesh i).
        """
        device = torch.device("cpu") if generator is None else generator.device
        uniform = torch.rand(2, count, generator=generator, device=device)
        mesh = torch.arange(count, device=device) if mesh is None else mesh
        return cls.at(uniform[0] * (2 * math.pi), uniform[1] * MAX_ELEVATION, radius, mesh=mesh)

    @classmethod
    def ring(cls, count: int, elevation: float = ELEVATION, start: float = 0.0, mesh: int = 0) -> Cameras:
        """Evenly spaced azimuths all the way round, from `start` (radians)."""
        return cls.at(start + torch.arange(count) * (2 * math.pi / count), elevation, mesh=mesh)

    def __len__(self) -> int:
        return len(self.azimuth)

    def __getitem__(self, index: torch.Tensor | slice | list[int]) -> Cameras:
        """Some of the cameras, by a slice or a list of indices."""
        return Cameras(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def to(self, device: torch.device | str) -> Cameras:
        return Cameras(*(getattr(self, field.name).to(device) for field in dataclasses.fields(self)))

    def seeing(self, mesh: torch.Tensor) -> Cameras:
        """The same cameras in front of other meshes, (N,) int64."""
        return dataclasses.replace(self, mesh=mesh)

    @property
    def positions(self) -> torch.Tensor:
        """(N, 3) in the cube's frame."""
        return -self.radius[:, None] * self.axes[:, 2]

    @functools.cached_property
    def axes(self) -> torch.Tensor:
        """(N, 3, 3) orthonormal rows: right, up, forward."""
        sin, cos, rise, level = self.azimuth.sin(), self.azimuth.cos(), self.elevation.sin(), self.elevation.cos()
        zero = torch.zeros_like(sin)
        right = torch.stack([cos, sin, zero], dim=-1)
        up = torch.stack([-sin * rise, cos * rise, level], dim=-1)
        forward = torch.stack([-sin * level, cos * level, -rise], dim=-1)
        return torch.stack([right, up, forward], dim=1)

    @property
    def view(self) -> torch.Tensor:
        """(N, 4, 4) from the cube's frame to the camera's: +X right, +Y up, looking along −Z, as OpenGL's."""
        matrix = torch.zeros(len(self), 4, 4, device=self.azimuth.device)
        matrix[:, :3, :3] = self.axes * self.axes.new_tensor([1.0, 1.0, -1.0])[:, None]
        matrix[:, 2, 3] = -self.radius
        matrix[:, 3, 3] = 1.0
        return matrix

    @property
    def projection(self) -> torch.Tensor:
        """(N, 4, 4) from the camera's frame to OpenGL's clip space, with `NEAR` and `FAR`."""
        focal = 1.0 / torch.tan(self.field_of_view / 2)
        matrix = torch.zeros(len(self), 4, 4, device=self.azimuth.device)
        matrix[:, 0, 0] = matrix[:, 1, 1] = focal
        matrix[:, 2, 2] = -(FAR + NEAR) / (FAR - NEAR)
        matrix[:, 2, 3] = -2 * FAR * NEAR / (FAR - NEAR)
        matrix[:, 3, 2] = -1.0
        return matrix

    def rays(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Through every pixel's centre.

        Returns:
            origins (N, 3) and directions (N, size, size, 3), whose component along the view is 1: a point at `depth`
            is `origin + depth · direction`.
        """
        slope = torch.tan(self.field_of_view / 2)[:, None, None]
        offset = (torch.arange(size, device=slope.device, dtype=slope.dtype) * 2 + 1) / size - 1
        across = (slope * offset[None, :, None]) * self.axes[:, None, 0]  # (N, S, 3)
        down = self.axes[:, None, 2] - (slope * offset[None, :, None]) * self.axes[:, None, 1]  # (N, S, 3)
        return self.positions, down[:, :, None] + across[:, None]  # (N, S, S, 3)

    def to_pixels(self, size: int) -> torch.Tensor:
        """(N, 3, 3): applied to a point less the camera's position it gives (c·z, r·z, z), with c and r the column and
        row of the pixel whose centre the point falls on, and z the depth."""
        middle = (size - 1) / 2
        right, up, forward = self.axes.unbind(1)
        scale = (size / 2 / torch.tan(self.field_of_view / 2))[:, None]
        return torch.stack([scale * right + middle * forward, -scale * up + middle * forward, forward], dim=1)
