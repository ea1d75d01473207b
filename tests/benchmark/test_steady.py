"""When a warm-up is over: latency without a trend."""

from __future__ import annotations

import random

import pytest

from autotune.benchmark.client.steady import Steadiness


def judged(latencies: list[float | None], units: int = 4, order: list[int] | None = None) -> bool:
    """Whether these latencies, in the order of sending, are steady when they have ended in `order`."""
    steadiness = Steadiness(units)
    for place in order or range(len(latencies)):
        steadiness.add(place, latencies[place])
    return steadiness.steady


@pytest.mark.parametrize(
    ("latencies", "steady"),
    [
        pytest.param([1.0] * 4, False, id="one batch tells nothing"),
        pytest.param([1.0] * 7, False, id="the second is not complete"),
        pytest.param([1.0] * 8, True, id="two alike"),
        pytest.param([2.0] * 4 + [1.0] * 4, False, id="the first was slow"),
        pytest.param([2.0] * 4 + [1.0] * 8, True, id="and is forgotten"),
        pytest.param([1.0] * 4 + [1.04] * 4, True, id="within 5 %"),
        pytest.param([1.0] * 4 + [1.06] * 4, False, id="beyond"),
        pytest.param([1.0, 2.0, 3.0, 4.0, 2.0, 3.0, 4.0, 4.0], True, id="within the noise of unlike answers"),
        pytest.param([1.0] * 4 + [None] * 4 + [1.0] * 4, True, id="a batch that failed does not count"),
        pytest.param([1.0, None, 1.0, 1.0, None, None, 1.0, 1.0], True, id="nor do failures in one"),
        pytest.param([None] * 12, False, id="nothing but failures"),
    ],
)
def test_what_is_steady(latencies: list[float | None], steady: bool) -> None:  # noqa: FBT001
    """By the last two complete batches of four."""
    assert judged(latencies) is steady


def test_batches_are_of_what_was_sent_together() -> None:
    """Short answers end first; taken by their end they would look like a trend, and they are none."""
    chance = random.Random(1)  # noqa: S311  (repeatable)
    lengths: list[float | None] = [chance.uniform(1, 9) for _ in range(64)]
    by_end = sorted(range(64), key=lambda place: lengths[place] or 0)
    assert judged(lengths, units=32, order=by_end)
    assert not judged([lengths[place] for place in by_end], units=32)


def test_a_ramp_of_queueing_is_no_steady_state() -> None:
    """Each batch of an engine that falls behind takes longer."""
    assert not judged([1.0 + 0.1 * (place // 4) for place in range(40)])
