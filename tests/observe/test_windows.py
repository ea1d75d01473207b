"""Windows, counters and integrals."""

from __future__ import annotations

import itertools

import pytest

from autotune.benchmark.protocol import Progress
from autotune.observe.sampler import Reading
from autotune.observe.windows import Ear, Window, at, increase, integral

READINGS = [Reading(at_s=float(second), value=second) for second in range(10)]


def window(begin_s: float, end_s: float, slack_s: float = 1.0) -> Window:
    """A window."""
    return Window(begin_s=begin_s, end_s=end_s, slack_s=slack_s)


@pytest.mark.parametrize(
    ("begin_s", "end_s", "inside", "around"),
    [
        (2.0, 5.0, [2, 3, 4, 5], [2, 3, 4, 5]),
        (2.4, 5.4, [3, 4, 5], [2, 3, 4, 5]),
        (2.6, 4.6, [3, 4], [3, 4, 5]),
        (3.1, 3.4, [3], [3]),
        (3.4, 3.8, [4], [3, 4]),
        (8.0, 9.9, [8, 9], [8, 9]),
        (8.0, 10.1, [8, 9], []),
        (20.0, 21.0, [], []),
    ],
)
def test_readings_of_a_window(begin_s: float, end_s: float, inside: list[int], around: list[int]) -> None:
    """Gauges are those inside, or the nearest; counters need one near either end, and none stands in for far."""
    one = window(begin_s, end_s)
    assert [reading.value for reading in one.inside(READINGS)] == inside
    assert [reading.value for reading in one.around(READINGS)] == around


def test_without_readings() -> None:
    """There is nothing to tell."""
    assert window(0, 1).inside([]) == []
    assert list(window(0, 1).around([])) == []


def progress(phase: str, completed: int) -> Progress:
    """A report of ten requests in all."""
    assert phase in {"warmup", "measure"}
    kind = "warmup" if phase == "warmup" else "measure"
    return Progress(phase=kind, requests_completed=completed, requests_failed=0, requests_total=10)  # type: ignore[arg-type]


def test_the_window_ends_with_the_last_report() -> None:
    """What the client works out afterwards is not in it; warm-up reports and its end do not count."""
    times = itertools.chain([100.0, 103.0, 104.0, 105.0], itertools.repeat(999.0))
    begun: list[int] = []
    ear = Ear(lambda: begun.append(1), clock=lambda: next(times))
    ear.heard(progress("warmup", 10))
    assert begun == []
    for completed in (0, 5, 10):
        ear.heard(progress("measure", completed))
    assert len(begun) == 2  # at the beginning and at the end
    found = ear.window(2.5, slack_s=1.0)
    assert (found.begin_s, found.end_s) == (102.5, 105.0)


def test_a_client_that_does_not_report() -> None:
    """The window ends now, and begins no earlier than the client was called."""
    times = iter([100.0, 110.0])
    found = Ear(lambda: None, clock=lambda: next(times)).window(30.0, slack_s=1.0)
    assert (found.begin_s, found.end_s) == (100.0, 110.0)


@pytest.mark.parametrize(
    ("counts", "grown"),
    [
        ([{"0": 3.0}, {"0": 5.0}, {"0": 9.0}], 6.0),
        ([{"0": 3.0, "1": 10.0}, {"0": 4.0, "1": 10.0}], 1.0),
        ([{"0": 90.0, "1": 1.0}, {"0": 2.0, "1": 4.0}], 5.0),  # the first began anew
        ([{}, {"0": 4.0}], 4.0),  # it appears with its first event
        ([{"0": 4.0}], None),
        ([], None),
    ],
)
def test_counters(counts: list[dict[str, float]], grown: float | None) -> None:
    """Each replica's counter goes on where it began anew."""
    assert increase(counts) == grown


def test_values_between_points() -> None:
    """Linear between two points, exact on one, unknown outside."""
    points = [(1.0, 10.0), (2.0, 20.0), (4.0, 0.0)]
    assert [at(points, time) for time in (1.0, 1.5, 2.0, 3.0, 4.0)] == [10.0, 15.0, 20.0, 10.0, 0.0]
    assert at(points, 0.9) is at(points, 4.1) is at([], 1.0) is None


def test_integrals() -> None:
    """Trapezoids, with the ends interpolated."""
    points = [(0.0, 100.0), (1.0, 300.0), (2.0, 300.0)]
    assert integral(points, 0.0, 2.0) == 500.0
    assert integral(points, 0.5, 1.5) == pytest.approx(125.0 + 150.0)
    assert integral(points, 1.5, 2.5) is None
