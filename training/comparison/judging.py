"""What is measured of a run: `evaluation` and `metrics` on samples of its averaged generator."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan3d_core import latent
from gan3d_core.errors import EmptyShapeError
from gan3d_core.files import write_text

from ..evaluation.judge import SEED_STEP, decode
from ..evaluation.painted import LOOSE, PaintedMesh
from ..evaluation.references import DRAWS, FEWEST, References
from ..evaluation.renders import portrait
from ..export import load_run
from ..metrics.frechet import frechet_distance
from ..metrics.point_sets import POINTS
from ..rendering.preview import contact_sheet
from .runs import Outcome, read_json

JUDGED, ROW = "judged.json", "row.png"
SHOWN = 8
"""Samples of each entry on a sheet, of the codes 0, 1, 2, …"""
PIXELS = 112


def floors(references: References) -> list[dict[str, float]]:
    """The figures of training shapes in the samples' place, for each draw of them."""
    real = _flat(references.held_features("plain"))
    return [
        {
            **dataclasses.asdict(references.floor_geometry[number]),
            "frechet": frechet_distance(real, _flat(references.draw_features("plain", number))),
            "whole": float(np.mean([mesh.whole() for mesh in references.draws[number].meshes])),
            "empty": 0.0,
        }
        for number in range(DRAWS)
    ]


def judge(outcome: Outcome, references: References, resolution: int) -> dict[str, Any]:
    """The figures of one run, from its folder where that has them of its present step.

    Args:
        resolution: of the fields whose surfaces are judged, that of the references.

    Writes `judged.json` and `row.png`, the strip of its first samples.

    Returns:
        `figures` for `evaluation.judge.spread`, or the `reason` why there are none.

    Raises:
        TrainingError: a run that cannot be read.
    """
    known = {"steps": outcome.steps, "protocol": protocol(references, resolution)}
    kept = read_json(outcome.folder / JUDGED)
    if all(kept.get(key) == value for key, value in known.items()):
        return kept
    generator, _, _, prior = load_run(outcome.folder)
    size = int(generator.latent_size)  # type: ignore[arg-type]

    def sample(first: int, count: int) -> list[PaintedMesh | None]:
        codes = np.stack([latent.draw(first + i, size, prior) for i in range(count)])
        return list(decode(generator, codes, 1.0, resolution))  # type: ignore[arg-type]

    contact_sheet([portrait(mesh, PIXELS) for mesh in sample(0, SHOWN)], outcome.folder / ROW, columns=SHOWN)
    found: dict[str, Any]
    try:
        found = {"figures": measure(sample(SEED_STEP, len(references)), references)}
    except EmptyShapeError as error:
        found = {"reason": error.message}
    write_text(outcome.folder / JUDGED, json.dumps({**known, **found}, indent=2) + "\n")
    return {**known, **found}


def measure(meshes: Sequence[PaintedMesh | None], references: References) -> dict[str, float]:
    """The figures of one set of samples.

    Raises:
        EmptyShapeError: hardly any has a surface.
    """
    solid = [mesh for mesh in meshes if mesh is not None]
    if len(solid) < FEWEST:
        raise EmptyShapeError(
            f"Only {len(solid)} of {len(meshes)} samples have a surface; {FEWEST} are the fewest that can be judged."
        )
    geometry = references.geometry(np.stack([mesh.cloud(1) for mesh in solid]))
    seen = _flat(references.see(list(solid), "plain"))
    return {
        **dataclasses.asdict(geometry),
        "frechet": frechet_distance(_flat(references.held_features("plain")), seen),
        "whole": float(np.mean([mesh.whole() for mesh in solid])),
        "empty": 1 - len(solid) / len(meshes),
    }


def protocol(references: References, resolution: int) -> str:
    """What the figures are of, in words; those of different protocols cannot be compared."""
    count = len(references)
    return (
        f"averaged weights, truncation 1, {count} samples, {count} held-out references; geometry: chamfer-squared, "
        f"{POINTS} points, longest side 1; Fréchet distance: {references.features.name}, {references.views.protocol}, "
        f"all in grey; one piece: at most {LOOSE:.0%} of the volume is loose; surfaces of {resolution}³ fields"
    )


def draw_references(references: References, path: Path) -> None:
    """The strip of held-out shapes that stands under the samples."""
    contact_sheet([portrait(_grey(mesh), PIXELS) for mesh in references.meshes[:SHOWN]], path, columns=SHOWN)


def _grey(mesh: PaintedMesh) -> PaintedMesh:
    return dataclasses.replace(mesh, colours=None)


def _flat(features: np.ndarray) -> np.ndarray:
    """(N, V, D) to (N V, D)."""
    return features.reshape(-1, features.shape[-1])
