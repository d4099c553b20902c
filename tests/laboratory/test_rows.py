"""Equal rows found by sorting columns are those that NumPy finds by sorting rows."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.rows import unique_rows


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_as_numpy_finds_them(columns, kind):
    rows = np.random.default_rng(columns).integers(-3, 4, (200, columns)).astype(kind)
    first, which = unique_rows(rows)
    distinct, index, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    assert (rows[first] == distinct).all()
    assert (first == index).all(), "of equal rows the first"
    assert (which == inverse.reshape(-1)).all()
    assert (rows[first][which] == rows).all()


def test_no_rows_are_none():
    first, which = unique_rows(np.empty((0, 3)))
    assert len(first) == len(which) == 0
