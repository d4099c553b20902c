"""Stages, their times and the time left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan3d_core.progress import ONCE, STAGES, Estimator, StageClock

seconds = st.floats(0.0, 1e4)
shape_timings = st.fixed_dictionaries(dict.fromkeys(STAGES, seconds))


@given(st.lists(st.tuples(st.sampled_from("ab"), shape_timings), min_size=1, max_size=5), st.floats(0, 1))
def test_the_fraction_never_falls_and_the_time_left_never_is_negative(shapes, part):
    estimator = Estimator()
    estimator.begin([key for key, _ in shapes])
    last = 0.0
    for index, (_, timings) in enumerate(shapes):
        for stage in STAGES:
            for fraction in (0.0, part, 1.0):
                whole, left = estimator.at(index, stage, fraction)
                assert last <= whole <= 1.0
                assert left is None or left >= 0.0
                last = whole
        estimator.finished(index, timings)


@given(shape_timings, st.integers(2, 6))
def test_what_was_measured_is_what_is_left(timings, count):
    estimator = Estimator()
    estimator.begin(["a"] * count)
    assert estimator.at(0, "load", 0.0)[1] is None
    estimator.finished(0, timings)
    each = sum(cost for stage, cost in timings.items() if stage not in ONCE)
    assert estimator.at(1, "load", 0.0)[1] == pytest.approx(each * (count - 1))
    assert estimator.at(count - 1, STAGES[-1], 1.0)[1] == pytest.approx(0.0, abs=1e-6)
    # The next request of the kind knows from its start, and has to load again.
    estimator.begin(["a"] * count)
    assert estimator.at(0, "load", 0.0)[1] == pytest.approx(each * count + sum(timings[s] for s in ONCE))


def test_there_is_no_estimate_for_what_was_never_made():
    estimator = Estimator()
    estimator.begin(["a", "b"])
    estimator.finished(0, dict.fromkeys(STAGES, 1.0))
    assert estimator.at(1, "load", 0.0)[1] is None


def test_the_clock_passes_calls_on_and_sums_each_stage(monkeypatch):
    now = iter([0.0, 2.0, 2.0, 7.0, 7.0, 8.0])
    monkeypatch.setattr("gan3d_core.progress.time.perf_counter", lambda: next(now))
    calls = []
    clock = StageClock(lambda stage, fraction: calls.append((stage, fraction)))
    for stage, fraction in [("load", 0.0), ("load", 1.5), ("bake", -1.0), ("load", 0.5)]:
        clock(stage, fraction)
    clock.stop()
    assert calls == [("load", 0.0), ("load", 1.0), ("bake", 0.0), ("load", 0.5)]
    assert clock.timings == {"load": 3.0, "bake": 5.0}
