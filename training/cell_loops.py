"""How an iso-surface passes through one lattice cell, for each of the 256 sign patterns of its corners.

The surface meets a cell in closed loops through its crossed edges; in Nielson's dual of marching cubes each loop
becomes one vertex. The table is made here from the cube's topology instead of being copied out: on each face the
crossed edges are joined in pairs, and loops are what these segments chain up to.

A face whose corners alternate in sign is ambiguous. By rule the inside corners are cut apart there, which both cells at
the face decide alike. One pattern breaks the dual mesh all the same: where in both cells the two segments of such a
face belong to one loop, their vertices would be joined by two edges at one place. A cell of that kind has a single
ambiguous face (`AMBIGUOUS` names it), so exactly there the rule may be reversed for both cells without touching
anything else, and the loop falls into two. Grosso and Zint (2021) describe the same remedy.

Corner c has the coordinates (c & 1, c >> 1 & 1, c >> 2 & 1); bit c of a case is set where corner c lies inside.

G. Nielson: Dual Marching Cubes, IEEE Visualization 2004.
R. Grosso, D. Zint: A Parallel Dual Marching Cubes Approach to Quad Only Surface Reconstruction, The Visual Computer,
2021.
"""

from __future__ import annotations

import numpy as np

CORNERS = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)])
"""(8, 3) coordinates of each corner."""
EDGES = np.array([[c, c | 1 << axis] for axis in range(3) for c in range(8) if not c >> axis & 1])
"""(12, 2) lower and upper corner of each edge; four along x, then y, then z."""
EDGE_AXES = np.arange(12) // 4
"""(12,) direction of each edge."""
FACES = np.array(
    [
        [base, base | 1 << b, base | 1 << b | 1 << c, base | 1 << c]
        for axis in range(3)
        for b, c in [((axis + 1) % 3, (axis + 2) % 3)]
        for base in (0, 1 << axis)
    ]
)
"""(6, 4) corners of each face in turn: the face at the low end of x, at the high end of x, then y, then z."""
_EDGE_NUMBER = {frozenset(edge): number for number, edge in enumerate(EDGES.tolist())}


def _segments(inside: np.ndarray, reverse: bool) -> list[list[tuple[int, int]]]:
    """Pairs of crossed edges that are joined, by face; `reverse` cuts the outside corners apart instead."""
    joined: list[list[tuple[int, int]]] = []
    for face in FACES.tolist():
        edges = [_EDGE_NUMBER[frozenset((face[i], face[(i + 1) % 4]))] for i in range(4)]
        crossed = [edges[i] for i in range(4) if inside[face[i]] != inside[face[(i + 1) % 4]]]
        if len(crossed) == 4:
            # Corner i lies between edges i − 1 and i.
            joined.append([(edges[i - 1], edges[i]) for i in range(4) if inside[face[i]] != reverse])
        else:
            joined.append([(crossed[0], crossed[1])] if crossed else [])
    return joined


def _loops(segments: list[list[tuple[int, int]]]) -> np.ndarray:
    """(12,) number of the loop through each edge, −1 where it is not crossed."""
    loops = np.full(12, -1)
    neighbours: dict[int, list[int]] = {}
    for first, second in (pair for face in segments for pair in face):
        neighbours.setdefault(first, []).append(second)
        neighbours.setdefault(second, []).append(first)
    for start in sorted(neighbours):
        if loops[start] < 0:
            number, waiting = loops.max() + 1, [start]
            while waiting:
                edge = waiting.pop()
                if loops[edge] < 0:
                    loops[edge] = number
                    waiting.extend(neighbours[edge])
    return loops


def _tables() -> tuple[np.ndarray, np.ndarray]:
    loops = np.empty((2, 256, 12), np.int64)
    ambiguous = np.full(256, -1, np.int64)
    for case in range(256):
        inside = (case >> np.arange(8) & 1).astype(bool)
        segments = _segments(inside, reverse=False)
        loops[0, case] = loops[1, case] = _loops(segments)
        for number, face in enumerate(segments):
            if len(face) == 2 and loops[0, case, face[0][0]] == loops[0, case, face[1][0]]:
                ambiguous[case] = number
                loops[1, case] = _loops(_segments(inside, reverse=True))
    return loops, ambiguous


LOOPS, AMBIGUOUS = _tables()
"""LOOPS (2, 256, 12): number of the loop through each edge, −1 where it is not crossed; by the rule [0], and with the
rule reversed at the face `AMBIGUOUS` [1]. AMBIGUOUS (256,): the face whose two segments belong to one loop, or −1."""
COUNTS = LOOPS.max(axis=2) + 1
"""(2, 256) loops in a cell."""
