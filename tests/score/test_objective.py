"""Scores: repeats together, per GPU, the objective's load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.records import Load, Measurement, Mode
from autotune.schema import Direction, ObjectiveConfig
from autotune.score.objective import (
    best_result,
    gain,
    left_out,
    order_key,
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


def test_repeats_become_their_mean_and_are_kept() -> None:
    """Mean 12, deviation 2, t = 4.3027 with 2 degrees: 12 ± 4.3027 · 2 / √3 = 4.9683; half of that for 2 GPUs."""
    repeats = [measured(4, n, total_tokens_per_s=value) for n, value in enumerate([10.0, 14.0, 12.0])]
    [result] = summarize(repeats, THROUGHPUT, 2, price=None)
    assert result.score == pytest.approx(6.0)
    assert result.score_repeats == (5.0, 7.0, 6.0)
    assert result.score_interval is not None
    assert result.score_interval.half_width == pytest.approx(4.9683 / 2, abs=1e-4)
    assert result.intervals["total_tokens_per_s"].low == pytest.approx(12 - 4.9683, abs=1e-4)
    assert result.deviations == pytest.approx({"total_tokens_per_s": 2.0, "total_tokens_per_s_per_gpu": 1.0})


def test_the_noise_of_one_repeat_is_unknown() -> None:
    """Without requests to look at there is no interval, no deviation and no outlier."""
    [result] = summarize([measured(4, 0, total_tokens_per_s=10.0)], THROUGHPUT, 2, price=1.0)
    assert (result.score_interval, result.intervals, result.deviations) == (None, {}, {})
    assert result.outliers == ()


def test_the_interval_of_the_price_is_that_of_the_rate_turned_over() -> None:
    """Dear is slow: price = 2 · 3.6 / 3600 · 10^6 / rate."""
    cost = ObjectiveConfig(metric="usd_per_mtok", direction=Direction.minimize)
    repeats = [measured(1, n, output_tokens_per_s=rate) for n, rate in enumerate([990.0, 1000.0, 1010.0])]
    [result] = summarize(repeats, cost, 2, price=3.6)
    rate, price = result.intervals["output_tokens_per_s"], result.score_interval
    assert price is not None
    assert result.score == pytest.approx(2.0)
    assert (price.low, price.high) == pytest.approx((2000 / rate.high, 2000 / rate.low))
    assert result.intervals["usd_per_mtok"] == price


def test_loads_come_lowest_first_whatever_their_order_was() -> None:
    """They are measured in a random order."""
    rows = [measured(load, 0, total_tokens_per_s=1.0) for load in (8, 1, 4)]
    assert [item.load.value for item in summarize(rows, THROUGHPUT, 1, price=None)] == [1, 4, 8]


def test_a_load_that_the_client_limited_does_not_rank() -> None:
    """One of two repeats is enough; the best of the other loads is chosen; without others it has no rank."""
    limited = replace(measured(8, 1, total_tokens_per_s=90.0), client_bound=("one core was not enough",))
    rows = [measured(4, 0, total_tokens_per_s=10.0), measured(8, 0, total_tokens_per_s=90.0), limited]
    chosen = best_result(summarize(rows, THROUGHPUT, 1, price=None), THROUGHPUT)
    assert chosen is not None
    assert (chosen.load.value, chosen.ranks) == (4, True)
    alone = best_result(summarize(rows[1:], THROUGHPUT, 1, price=None), THROUGHPUT)
    assert alone is not None
    assert (alone.load.value, alone.score, alone.ranks) == (8, 90.0, False)
    assert alone.client_bound == ("one core was not enough",)


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


def test_a_few_repeats_that_the_client_limited_do_not_count() -> None:
    """They are told; where they are half and more, all count and the load does not rank."""
    repeats = [measured(8, n, total_tokens_per_s=100.0, requests_failed=1) for n in range(3)]
    limited = replace(repeats[0], metrics={"total_tokens_per_s": 10.0}, client_bound=("one core",))
    (one,) = summarize([limited, *repeats[1:]], THROUGHPUT, 2, price=None)
    assert (one.score, one.score_repeats, one.client_bound) == (50.0, (50.0, 50.0), ())
    (note,) = left_out([limited, *repeats[1:]])
    assert note == "concurrency 8: 1 of 3 repeats do not count, the client limited them: one core"
    (two,) = summarize([limited, limited, repeats[2]], THROUGHPUT, 2, price=None)
    assert two.score == pytest.approx(20.0)
    assert two.client_bound == ("one core",)
    assert left_out(repeats) == []


def test_counts_are_those_of_all_repeats() -> None:
    """One failure in three repeats is one."""
    repeats = [measured(8, n, requests_completed=8.0, requests_failed=float(n == 0)) for n in range(3)]
    (result,) = summarize(repeats, THROUGHPUT, 2, price=None)
    assert (result.metrics["requests_completed"], result.metrics["requests_failed"]) == (24, 1)
