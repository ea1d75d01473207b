"""The file of a trial's series, and what of it goes to MLflow."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from autotune.observe.series import (
    MOST_POINTS,
    MOST_VALUES,
    NAME,
    Clock,
    Measured,
    read_points,
    thinned,
    write_series,
)
from autotune.observe.windows import Window
from autotune.records import Load, Mode

CLOCK = Clock(epoch_s=1_700_000_000.0, ready_s=10.0)


def measured(begin_s: float, end_s: float, repeat: int) -> Measured:
    """A window at concurrency 8."""
    window = Window(begin_s=begin_s, end_s=end_s, slack_s=1.0)
    return Measured(load=Load(mode=Mode.CONCURRENCY, value=8), repeat=repeat, window=window)


def test_a_line_for_each_sample_in_the_order_of_time(tmp_path: Path) -> None:
    """With what was measured then; samples without a value have none."""
    samples = [(12.0, {"server/running": 8.0}), (10.5, {"system/gpu_0_power_usage_watts": 70.0}), (13.0, {})]
    write_series(tmp_path, samples, clock=CLOCK, measured=[measured(11.0, 12.5, 1)])
    rows = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert rows == [
        {"time_ms": 1_700_000_010_500, "at_s": 0.5, "values": {"system/gpu_0_power_usage_watts": 70.0}},
        {
            "time_ms": 1_700_000_012_000,
            "at_s": 2.0,
            "load": 8,
            "repeat": 1,
            "values": {"server/running": 8.0},
        },
    ]
    assert sorted(read_points(tmp_path)) == [
        ("server/running", 8.0, 1_700_000_012_000, 2),
        ("system/gpu_0_power_usage_watts", 70.0, 1_700_000_010_500, 0),
    ]


def test_without_a_sample_there_is_no_file(tmp_path: Path) -> None:
    """And nothing for MLflow."""
    write_series(tmp_path, [(1.0, {})], clock=CLOCK, measured=[])
    assert list(tmp_path.iterdir()) == []
    assert list(read_points(tmp_path)) == []


@pytest.mark.parametrize(("gpus", "most"), [(1, MOST_POINTS), (98, MOST_VALUES // 100)])
def test_a_long_trial_is_thinned(gpus: int, most: int, tmp_path: Path) -> None:
    """Both ends stay, what is between is chosen evenly, and many series share what there may be in all."""
    of_gpus = {f"system/gpu_{number}_power_usage_watts": 1.0 for number in range(gpus)}
    of_engine = {"server/running": 1.0, "server/waiting": 0.0}
    samples = [(s + half, vals) for s in range(3000) for half, vals in ((0.0, of_gpus), (0.5, of_engine))]
    write_series(tmp_path, samples, clock=CLOCK, measured=[])
    every = list(read_points(tmp_path))
    assert len(every) == most * (gpus + 2) <= MOST_VALUES
    for name in ("server/waiting", "system/gpu_0_power_usage_watts"):
        seconds = [point[3] for point in every if point[0] == name]
        assert len(seconds) == most
        assert (seconds[0], seconds[-1]) in {(-10, 2989), (-9, 2989)}
        gaps = {b - a for a, b in pairwise(seconds)}
        assert max(gaps) - min(gaps) <= 2


def test_few_points_stay_as_they_are() -> None:
    """Up to the limit nothing is lost."""
    assert thinned([1, 2, 3], 3) == [1, 2, 3]
    assert thinned([1, 2, 3, 4, 5], 2) == [1, 5]
