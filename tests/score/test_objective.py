"""Scores: per GPU first, medians over repeats, the objective's load."""

from __future__ import annotations

import pytest

from autotune.records import Load, Measurement, Mode
from autotune.schema import Direction, ObjectiveConfig
from autotune.score.objective import (
    best_result,
    gain,
    order_key,
    overlap,
    per_gpu,
    ranked_metric,
    summarize,
    usd_per_mtok,
)

THROUGHPUT = ObjectiveConfig(metric="total_tokens_per_s_per_gpu", direction=Direction.maximize)


def measured(load: float, repeat: int, **metrics: float) -> Measurement:
    """One repeat at one concurrency."""
    return Measurement(
        load=Load(mode=Mode.CONCURRENCY, value=load),
        repeat=repeat,
        metrics=metrics,
        requests_completed=1,
        requests_failed=0,
        errors={},
        duration_s=1.0,
    )


def test_two_gpus_beat_four_when_each_does_more() -> None:
    """The known case: 1321.99 tokens/s on 2 GPUs beats 1538.03 on 4, as 661.0 beats 384.5 per GPU."""
    two = best_result(
        summarize([measured(8, 0, total_tokens_per_s=1321.99)], THROUGHPUT, 2, price=None), THROUGHPUT
    )
    four = best_result(
        summarize([measured(8, 0, total_tokens_per_s=1538.03)], THROUGHPUT, 4, price=None), THROUGHPUT
    )
    assert two is not None
    assert four is not None
    assert two.score == pytest.approx(661.0, abs=0.01)
    assert four.score == pytest.approx(384.5, abs=0.01)
    assert order_key(two.score, Direction.maximize) < order_key(four.score, Direction.maximize)


def test_every_throughput_is_divided_and_nothing_else() -> None:
    """Latencies stay as they are."""
    metrics = {"output_tokens_per_s": 30.0, "requests_per_s": 3.0, "ttft_ms_p50": 7.0}
    assert per_gpu(metrics, 3) == {
        **metrics,
        "output_tokens_per_s_per_gpu": 10.0,
        "requests_per_s_per_gpu": 1.0,
    }


def test_an_unknown_number_of_gpus_ranks_absolutely() -> None:
    """Without a number of GPUs nothing is divided, and the absolute metric ranks."""
    [result] = summarize([measured(1, 0, total_tokens_per_s=50.0)], THROUGHPUT, 0, price=None)
    assert ranked_metric(THROUGHPUT, 0) == "total_tokens_per_s"
    assert result.score == 50.0
    assert "total_tokens_per_s_per_gpu" not in result.metrics


def test_repeats_become_medians_and_are_kept() -> None:
    """One lucky repeat does not move the score."""
    repeats = [measured(4, n, total_tokens_per_s=value) for n, value in enumerate([10.0, 90.0, 12.0])]
    [result] = summarize(repeats, THROUGHPUT, 1, price=None)
    assert result.score == 12.0
    assert result.score_repeats == (10.0, 90.0, 12.0)


@pytest.mark.parametrize(
    ("load", "direction", "expected"),
    [
        pytest.param("best", Direction.maximize, 8.0, id="best of a maximum"),
        pytest.param("best", Direction.minimize, 1.0, id="best of a minimum"),
        pytest.param("lowest", Direction.maximize, 1.0, id="lowest"),
        pytest.param("highest", Direction.minimize, 8.0, id="highest"),
        pytest.param("4", Direction.maximize, 4.0, id="named"),
    ],
)
def test_the_objective_chooses_the_load(load: str, direction: Direction, expected: float) -> None:
    """`objective.load` says at which load candidates are compared."""
    objective = ObjectiveConfig(metric="total_tokens_per_s", direction=direction, load=load)
    rows = [measured(value, 0, total_tokens_per_s=value * 10) for value in (1, 4, 8)]
    chosen = best_result(summarize(rows, objective, 1, price=None), objective)
    assert chosen is not None
    assert chosen.load.value == expected


def test_a_load_that_was_not_measured_has_no_result() -> None:
    """A named load is never replaced by another one."""
    objective = ObjectiveConfig(metric="total_tokens_per_s", direction=Direction.maximize, load="16")
    assert (
        best_result(summarize([measured(8, 0, total_tokens_per_s=1.0)], objective, 1, price=None), objective)
        is None
    )


def test_a_metric_that_was_not_measured_scores_nothing() -> None:
    """Zero would rank; nothing does not."""
    [result] = summarize([measured(8, 0, ttft_ms_p50=1.0)], THROUGHPUT, 1, price=None)
    assert result.score is None
    assert order_key(None, Direction.minimize) > order_key(1e12, Direction.minimize)


def test_price_of_a_million_tokens() -> None:
    """2 GPUs at 3.60 $/h and 1,000 tokens/s: 7.20 $ buy 3.6 M tokens, so a million costs 2 $."""
    assert usd_per_mtok({"output_tokens_per_s": 1000.0}, 2, 3.6) == pytest.approx(2.0)
    assert usd_per_mtok({}, 2, 3.6) is None


@pytest.mark.parametrize(
    ("best", "other", "direction", "expected"),
    [(110.0, 100.0, Direction.maximize, 0.1), (90.0, 100.0, Direction.minimize, 0.1)],
    ids=["more is better", "less is better"],
)
def test_gain(best: float, other: float, direction: Direction, expected: float) -> None:
    """A gain is positive when the first is better, in either direction."""
    assert gain(best, other, direction) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [([1, 3], [2, 4], True), ([1, 2], [3, 4], False), ([3, 4], [1, 2], False), ([1, 9], [4, 5], True)],
    ids=["partly", "below", "above", "inside"],
)
def test_overlapping_repeats(first: list[float], second: list[float], expected: bool) -> None:  # noqa: FBT001
    """Ranges that overlap may be noise."""
    assert overlap(first, second) is expected
