"""The child process of `atlas`: arrays on its standard input, an atlas on its standard output.

xatlas (by J. Young, after I. Castaño's thekla_atlas) cannot be interrupted, so it runs in a process of its own, which
can. This file is started by its path and imports numpy and xatlas only. Its input: .npy arrays of the vertices (V, 3)
float32, the faces (F, 3) uint32, and the time limit in seconds, a float64. Its output: .npy arrays of the planar corner
coordinates (F, 3, 2) float32, one unit for all charts, and of each face's chart (F,) int32.
"""

from __future__ import annotations

import faulthandler
import io
import sys


def main() -> None:
    import numpy as np
    import xatlas

    source = io.BytesIO(sys.stdin.buffer.read())
    vertices, faces, limit = (np.load(source, allow_pickle=False) for _ in range(3))
    # A watchdog that needs no interpreter lock: should the parent die, this process does not outlive the limit.
    faulthandler.dump_traceback_later(float(limit), exit=True)
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces)
    chart = xatlas.ChartOptions()
    # Otherwise about half of the charts come mirrored: some from the start, others because the packer turns a chart by
    # swapping its axes. The packing itself is not used (see `packing`), so it is made cheap.
    chart.fix_winding = True
    pack = xatlas.PackOptions()
    pack.rotate_charts = False
    pack.texels_per_unit = 64.0
    atlas.generate(chart, pack)
    if atlas.atlas_count != 1:
        raise SystemExit(f"xatlas made {atlas.atlas_count} atlases")
    _, indices, uvs = atlas[0]
    corners = uvs[indices] * np.array([atlas.width, atlas.height], np.float32)
    charts = np.full(len(faces), -1, np.int32)
    for number in range(atlas.get_mesh_chart_count(0)):
        charts[np.asarray(atlas.get_mesh_chart(0, number).faces, np.int64)] = number
    output = io.BytesIO()
    np.save(output, corners.astype(np.float32), allow_pickle=False)
    np.save(output, charts, allow_pickle=False)
    sys.stdout.buffer.write(output.getvalue())


if __name__ == "__main__":
    main()
