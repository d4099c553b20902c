"""From a file's axes and units to the cube: +Z up, −Y front, centred, longest side 2·EXTENT."""

from __future__ import annotations

import numpy as np

from gan3d_core.errors import DatasetError
from gan3d_core.field import EXTENT

AXES = {
    sign + letter: (1.0 if sign == "+" else -1.0) * np.eye(3)[index]
    for sign in "+-"
    for index, letter in enumerate("XYZ")
}


def rotation(up: str, front: str) -> np.ndarray:
    """(3, 3) matrix that turns a file's `up` to +Z and its `front` to −Y.

    Raises:
        DatasetError: names that are no axes, or two that are parallel.
    """
    try:
        up_axis, front_axis = AXES[up.upper()], AXES[front.upper()]
    except KeyError as error:
        raise DatasetError(f"{error.args[0]!r} is no axis.", f"Axes are {', '.join(sorted(AXES))}.") from None
    if abs(up_axis @ front_axis) > 0.5:
        raise DatasetError(f"Up {up} and front {front} are parallel.", "Give two different axes.")
    back = -front_axis
    return np.stack([np.cross(back, up_axis), back, up_axis])


def to_cube(vertices: np.ndarray, faces: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Turn, centre and scale.

    Args:
        vertices: (V, 3) in the file's axes. Vertices that no face uses do not count for the extent.
        faces: (F, 3).
        turn: as from `rotation`.

    Returns:
        vertices (V, 3) float32 in the cube, the longest side in the file's units, and its centre (3,) in turned axes.
    """
    turned = vertices @ turn.T
    used = turned[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    centre, longest = (low + high) / 2, float((high - low).max())
    return ((turned - centre) * (2 * EXTENT / longest)).astype(np.float32), longest, centre


def to_source(turn: np.ndarray, longest: float, centre: np.ndarray) -> np.ndarray:
    """(4, 4) matrix that takes points of the cube back to the file's axes and units; see `to_cube`."""
    matrix = np.eye(4)
    matrix[:3, :3] = turn.T * (longest / (2 * EXTENT))
    matrix[:3, 3] = turn.T @ centre
    return matrix
