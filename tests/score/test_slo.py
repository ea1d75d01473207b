"""How loads stand to their bounds, and what a violation costs."""

from __future__ import annotations

import math

import pytest

from autotune.records import Bound, Interval, Load, LoadResult, Measurement, Mode, Status
from autotune.rounds import Rounds
from autotune.schema import Config, Direction, ObjectiveConfig, SloConfig, SloMode
from autotune.score.objective import best_result, summarize
from autotune.score.slo import error_rate, judge, penalty

TTFT = Bound(key="slo.ttft_ms_p95", metric="ttft_ms_p95", value=200)
KEPT = Bound(key="slo.attainment", metric="slo_attainment", value=0.9)
FAILING = Bound(key="slo.error_rate", metric="error_rate", value=0.01)
MOST = ObjectiveConfig(metric="output_tokens_per_s", direction=Direction.maximize)
TPOT_20 = SloConfig(tpot_ms_p95=20.0)


def measured(load: float, tpot_ms: float, rate: float, *, repeat: int = 0, failed: int = 0) -> Measurement:
    """One repeat: the slower, the more it makes."""
    metrics = {"output_tokens_per_s": rate, "tpot_ms_p95": tpot_ms}
    return Measurement(
        load=Load(mode=Mode.CONCURRENCY, value=load),
        repeat=repeat,
        metrics={**metrics, "requests_completed": 100 - failed, "requests_failed": failed},
        requests_completed=100 - failed,
        requests_failed=failed,
        errors={},
        duration_s=1.0,
    )


CURVE = [measured(1, 10, 100), measured(8, 19, 420), measured(32, 30, 900)]


def results(slo: SloConfig, curve: list[Measurement] = CURVE) -> tuple[LoadResult, ...]:
    """The loads of a curve, judged."""
    return summarize(curve, MOST, 1, price=None, slo=slo)


def rounds(config: Config) -> Rounds:
    """Those of a trial on one GPU."""
    return Rounds(config=config, gpus=1, recorded=False)


@pytest.mark.parametrize(
    ("metrics", "violations", "ratio"),
    [
        pytest.param({"ttft_ms_p95": 200.0}, {}, 1.0, id="just met"),
        pytest.param({"ttft_ms_p95": 150.0}, {}, 0.75, id="met"),
        pytest.param({"ttft_ms_p95": 250.0}, {"ttft_ms_p95": 0.25}, 1.25, id="a quarter too slow"),
        pytest.param({"slo_attainment": 0.9}, {}, 1.0, id="share just met"),
        pytest.param({"slo_attainment": 0.7}, {"slo_attainment": 0.2}, 3.0, id="three times the misses"),
        pytest.param({"error_rate": 0.05}, {"error_rate": 0.04}, 5.0, id="too many failures"),
        pytest.param(
            {"ttft_ms_p95": 300.0, "slo_attainment": 0.8},
            {"ttft_ms_p95": 0.5, "slo_attainment": 0.1},
            2.0,
            id="two at once",
        ),
    ],
)
def test_a_load_is_held_against_every_bound(
    metrics: dict[str, float], violations: dict[str, float], ratio: float
) -> None:
    """Each violation with its share; the ratio is that of the worst."""
    bounds = [bound for bound in (TTFT, KEPT, FAILING) if bound.metric in metrics]
    found = judge(metrics, {}, bounds)
    assert found is not None
    assert {each.bound.metric: each.excess for each in found.violations} == pytest.approx(violations)
    assert found.ratio == pytest.approx(ratio)
    assert found.meets == (not violations)
    assert found.excess == pytest.approx(sum(violations.values()))


def test_without_bounds_there_is_no_verdict() -> None:
    """Nothing is asked, nothing is judged."""
    assert judge({"ttft_ms_p95": 1.0}, {}, []) is None
    assert [result.slo for result in results(SloConfig())] == [None] * 3


def test_a_bound_that_was_not_measured_is_not_met() -> None:
    """Nobody can say that it is; only of failures a table may say nothing."""
    found = judge({}, {}, [TTFT, FAILING])
    assert found is not None
    assert (found.meets, found.unknown, found.violations) == (False, ("ttft_ms_p95",), ())


@pytest.mark.parametrize(
    ("interval", "doubtful", "shown"),
    [
        pytest.param(Interval(low=150, high=190), (), True, id="well below"),
        pytest.param(Interval(low=150, high=210), ("ttft_ms_p95",), False, id="over the bound"),
        pytest.param(None, (), False, id="noise unknown"),
    ],
)
def test_what_the_noise_allows_is_said(
    interval: Interval | None, doubtful: tuple[str, ...], *, shown: bool
) -> None:
    """A value within its bound is shown to be there only by an interval that is too."""
    intervals = {} if interval is None else {"ttft_ms_p95": interval}
    found = judge({"ttft_ms_p95": 170.0}, intervals, [TTFT])
    assert found is not None
    assert (found.meets, found.doubtful, found.shown) == (True, doubtful, shown)


def test_the_best_load_is_one_that_meets_the_bounds() -> None:
    """420 tokens/s within beats 900 outside; what violates does not rank."""
    found = results(TPOT_20)
    best = best_result(found, MOST)
    assert best is not None
    assert (best.load.value, best.ranks) == (8, True)
    assert [result.ranks for result in found] == [True, True, False]


@pytest.mark.parametrize(
    ("load", "chosen", "status"),
    [
        pytest.param("best", 1, Status.SLO_VIOLATED, id="the one that misses by least"),
        pytest.param("highest", 1, Status.SLO_VIOLATED, id="likewise"),
        pytest.param("lowest", 1, Status.SLO_VIOLATED, id="lowest"),
        pytest.param("32", 32, Status.SLO_VIOLATED, id="named"),
    ],
)
def test_where_nothing_meets_them_the_trial_violates(load: str, chosen: float, status: Status) -> None:
    """With the load that misses by least, unless one is named."""
    objective = ObjectiveConfig(metric=MOST.metric, direction=MOST.direction, load=load)
    config = Config(objective=objective, slo=SloConfig(tpot_ms_p95=5.0))
    best, ended, failure = rounds(config).ended_as(results(config.slo))
    assert best is not None
    assert (best.load.value, ended, failure) == (chosen, status, None)
    assert not best.ranks


def test_a_named_load_is_judged_though_others_meet_the_bounds() -> None:
    """Whoever names a load wants to know of that one."""
    objective = ObjectiveConfig(metric=MOST.metric, direction=MOST.direction, load="32")
    best, ended, _ = rounds(Config(objective=objective, slo=TPOT_20)).ended_as(results(TPOT_20))
    assert best is not None
    assert (best.load.value, ended) == (32, Status.SLO_VIOLATED)


def test_highest_is_the_highest_that_meets_them() -> None:
    """Not the highest that was measured."""
    objective = ObjectiveConfig(metric=MOST.metric, direction=MOST.direction, load="highest")
    best = best_result(results(TPOT_20), objective)
    assert best is not None
    assert best.load.value == 8


def test_a_bound_without_a_measurement_fails_the_trial() -> None:
    """The message names the metric."""
    slo = SloConfig(itl_ms_p99=5.0)
    best, ended, failure = rounds(Config(objective=MOST, slo=slo)).ended_as(results(slo))
    assert (best, ended) == (None, Status.FAILED)
    assert failure is not None
    assert "itl_ms_p99 was not measured" in failure.message


def test_failures_violate_wherever_anything_is_bound() -> None:
    """One in ten fails: the latencies of the others must not make it good."""
    [result] = results(TPOT_20, [measured(8, 10, 400, failed=10)])
    assert result.slo is not None
    assert [each.bound.metric for each in result.slo.violations] == ["error_rate"]
    assert result.metrics["error_rate"] == pytest.approx(0.1)
    [free] = results(SloConfig(tpot_ms_p95=20.0, error_rate=0.2), [measured(8, 10, 400, failed=10)])
    assert free.meets


def test_a_penalty_lets_violators_rank_behind() -> None:
    """900 at 50 % too slow is 900 · e^-2.5 = 73.9; the verdict stays."""
    slo = SloConfig(tpot_ms_p95=20.0, mode=SloMode.penalty)
    found = results(slo)
    assert [result.score for result in found] == pytest.approx([100, 420, 900 * math.exp(-2.5)])
    assert [result.ranks for result in found] == [True] * 3
    assert found[2].metrics["output_tokens_per_s"] == 900
    assert found[2].score_repeats == pytest.approx((900 * math.exp(-2.5),))
    assert not found[2].meets
    best, ended, _ = rounds(Config(objective=MOST, slo=slo)).ended_as(found[2:])
    assert best is not None
    assert ended is Status.SLO_VIOLATED


def test_a_penalty_raises_what_is_to_be_small() -> None:
    """10 % too slow: e^0.5 times the latency."""
    slo = SloConfig(tpot_ms_p95=20.0, mode=SloMode.penalty)
    objective = ObjectiveConfig(metric="tpot_ms_p95", direction=Direction.minimize)
    [result] = summarize([measured(8, 22, 400)], objective, 1, price=None, slo=slo)
    assert result.score == pytest.approx(22 * math.exp(0.5))
    assert penalty(None) == 1.0


@pytest.mark.parametrize(("completed", "failed", "rate"), [(9, 1, 0.1), (0, 4, 1.0), (0, 0, None)])
def test_the_share_of_failures(completed: int, failed: int, rate: float | None) -> None:
    """Of all that were measured."""
    assert error_rate(completed, failed) == rate
