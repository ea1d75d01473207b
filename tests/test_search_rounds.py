"""What a trial measures where its load is searched: on engines whose latencies and throughput are known."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autotune.records import Load, LoadResult, Measurement, Mode, Status, Wording
from autotune.rounds import Rounds
from autotune.schema import (
    Config,
    Direction,
    LoadMode,
    MeasureConfig,
    ObjectiveConfig,
    SloConfig,
    WorkloadConfig,
)
from autotune.score.intervals import ENOUGH
from autotune.score.slo import is_overrun
from autotune.search_rounds import OPEN, most_between, saturated

Values = Callable[[float], dict[str, float]]


def config(*, mode: LoadMode = LoadMode.concurrency, most: float = 512, **measure: Any) -> Config:
    """Time per token at most 20 ms in the mean; requests/s are ranked."""
    workload = WorkloadConfig(
        loads="search", mode=mode, most_load=most, input_tokens=1, output_tokens=1, seed=0
    )
    return Config(
        workload=workload,
        objective=ObjectiveConfig(metric="requests_per_s", direction=Direction.maximize),
        slo=SloConfig(tpot_ms_mean=20.0),
        measure=MeasureConfig(**measure),
    )


def growing(load: float) -> dict[str, float]:
    """Meets 20 ms up to 100 in flight; throughput grows by ever less, up to 60 requests/s."""
    return {
        "tpot_ms_mean": 5 + 0.15 * load,
        "requests_per_s": 60 * load / (load + 40),
        "e2e_ms_p50": 1000 * (load + 40) / 60,
    }


def full(load: float) -> dict[str, float]:
    """Always meets the bound, and makes no more than with 32 in flight: the others wait."""
    return {
        "tpot_ms_mean": 10.0,
        "requests_per_s": min(load, 32.0),
        "e2e_ms_p50": 1000 * max(1.0, load / 32),
    }


def measured(load: Load, repeat: int, metrics: dict[str, float]) -> Measurement:
    """One repeat without a failure."""
    return Measurement(
        load=load,
        repeat=repeat,
        metrics={**metrics, "requests_completed": 100, "requests_failed": 0},
        requests_completed=100,
        requests_failed=0,
        errors={},
        duration_s=1.0,
    )


def play(rounds: Rounds, values: Values, noise: Callable[[], float] = lambda: 1.0) -> list[tuple[float, int]]:
    """Measure to the end; loads and repeats as they came."""
    came = []
    for repeat, load in rounds:
        came.append((load.value, repeat))
        metrics = values(load.value)
        metrics["tpot_ms_mean"] *= noise()
        rounds.take(measured(load, repeat, metrics), 1.0)
    return came


def rounds_of(asked: Config, **more: Any) -> Rounds:
    """Those of a trial on one GPU."""
    return Rounds(config=asked, gpus=1, recorded=False, **more)


def test_the_highest_load_within_the_slo_is_reported() -> None:
    """100 in flight: found within 5 %, in at most eight loads; it is one that was measured."""
    rounds = rounds_of(config(repeats=1))
    came = play(rounds, growing)
    best, status, failure = rounds.ended_as(rounds.results())
    assert best is not None
    assert (status, failure) == (Status.MEASURED, None)
    assert 95 <= best.load.value <= 100
    assert best.load.value in {load for load, _ in came}
    assert len({load for load, _ in came}) <= 8
    assert [repeat for _, repeat in came] == [0] * len(came)
    assert rounds.first.value == came[0][0]
    assert any(note.startswith("the highest load") for note in rounds.notes)


def test_a_load_of_which_the_noise_leaves_it_open_is_measured_again_and_does_not_count() -> None:
    """Four in a hundred from repeat to repeat: at most six repeats, and what is not shown is not reported."""
    draw = random.Random(1)  # noqa: S311  (no secret)
    rounds = rounds_of(config(repeats=3))
    came = play(rounds, growing, noise=lambda: draw.gauss(1, 0.04))
    repeats = {load: sum(each == load for each, _ in came) for load, _ in came}
    assert max(repeats.values()) == OPEN
    assert min(repeats.values()) == 3
    assert min(repeats[load] for load in repeats if 85 < load < 115) >= ENOUGH  # 15 % about the bound
    best, _, _ = rounds.ended_as(rounds.results())
    assert best is not None
    assert best.intervals["tpot_ms_mean"].high <= 20
    doubtful = [result for result in rounds.results() if result.slo is not None and result.slo.doubtful]
    assert doubtful
    assert not any(result.meets or result.ranks for result in doubtful)


def test_noise_seldom_lets_a_load_beyond_the_slo_be_reported() -> None:
    """5 % from repeat to repeat, 30 searches: the true latency of what is reported is hardly ever above 20 ms."""
    beyond = 0
    for seed in range(30):
        draw = random.Random(seed)  # noqa: S311  (no secret)
        rounds = rounds_of(config(repeats=3))
        play(rounds, growing, noise=lambda chance=draw: chance.lognormvariate(0, 0.05))  # type: ignore[misc]
        best, _, _ = rounds.ended_as(rounds.results())
        assert best is not None
        beyond += best.meets and growing(best.load.value)["tpot_ms_mean"] > 20
    assert beyond <= 2


def test_saturation_ends_a_search_within_the_slo() -> None:
    """Nothing is measured beyond the load that brought no more, and the trial says why."""
    rounds = rounds_of(config(repeats=1))
    came = play(rounds, full)
    assert any("saturated, 32 requests/s come out and the queue grows" in note for note in rounds.notes)
    assert any("brings no more throughput" in note for note in rounds.notes)
    best, status, _ = rounds.ended_as(rounds.results())
    assert best is not None
    assert (best.score, status) == (32, Status.MEASURED)
    assert max(load for load, _ in came) < 512


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param({"requests_per_s": 32.5, "e2e_ms_p50": 1900.0}, True, id="no more, and all wait"),
        pytest.param({"requests_per_s": 40.0, "e2e_ms_p50": 1900.0}, False, id="a quarter more"),
        pytest.param({"requests_per_s": 32.5, "e2e_ms_p50": 1010.0}, False, id="one slow request, no queue"),
    ],
)
def test_a_closed_loop_is_saturated_where_more_brings_nothing_and_requests_wait(
    after: dict[str, float], *, expected: bool
) -> None:
    """Twice as many in flight as before, when 32 requests/s were made in a second each."""
    before = _result(32, Mode.CONCURRENCY, {"requests_per_s": 32.0, "e2e_ms_p50": 1000.0})
    assert saturated(_result(64, Mode.CONCURRENCY, after), before) is expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(19.8, False, id="all come out"),
        pytest.param(17.0, True, id="some stay in the queue"),
    ],
)
def test_a_rate_is_overrun_where_less_comes_out_than_goes_in(made: float, *, expected: bool) -> None:
    """20 requests/s are offered."""
    assert is_overrun(_result(20, Mode.RATE, {"requests_per_s": made})) is expected
    assert not is_overrun(_result(20, Mode.CONCURRENCY, {"requests_per_s": made}))


def test_a_rate_that_cannot_be_sustained_does_not_count_as_met() -> None:
    """An engine that makes 50 requests/s: latencies of a short window say nothing of an endless queue."""

    def values(rate: float) -> dict[str, float]:
        made = min(rate, 50.0)
        return {
            "tpot_ms_mean": 5.0,
            "requests_per_s": made,
            "e2e_ms_p50": 100 * max(1.0, 4 * (rate / 50 - 1)),
        }

    rounds = rounds_of(config(mode=LoadMode.rate, repeats=1))
    play(rounds, values)
    best, _, _ = rounds.ended_as(rounds.results())
    assert best is not None
    assert 47 <= best.load.value <= 53


def test_a_trial_that_cannot_win_is_ended_and_says_so() -> None:
    """Even 60 requests/s, more than it makes at any load, are fewer than another trial's 100."""
    rounds = rounds_of(config(repeats=1), rival=lambda: 100.0)
    came = play(rounds, growing)
    alone = rounds_of(config(repeats=1))
    assert len(came) < len(play(alone, growing))
    assert any(
        note.startswith("stopped early: below concurrency") and "another trial has 100.0 within it" in note
        for note in rounds.notes
    )
    assert rounds.ended_as(rounds.results())[1] is Status.MEASURED


def test_a_trial_that_might_win_is_not_ended() -> None:
    """Another has 30 requests/s: at 100 in flight this one makes more."""
    rounds = rounds_of(config(repeats=1), rival=lambda: 30.0)
    play(rounds, growing)
    assert not any("stopped early" in note for note in rounds.notes)
    best, _, _ = rounds.ended_as(rounds.results())
    assert best is not None
    assert best.load.value >= 95


@pytest.mark.parametrize(
    ("below", "above", "most"),
    [
        pytest.param(None, {"requests_per_s": 50.0}, 50.0, id="no lower one"),
        pytest.param(20.0, {"requests_per_s": 50.0}, 50.0, id="as at the higher one"),
        pytest.param(20.0, {"requests_per_s": 90.0}, 80.0, id="no faster than the load grows"),
        pytest.param(20.0, {"requests_per_s": 15.0}, 80.0, id="the higher one is overloaded"),
        pytest.param(20.0, {}, None, id="not measured"),
    ],
)
def test_what_a_load_between_two_can_make(
    below: float | None, above: dict[str, float], most: float | None
) -> None:
    """Between 8 and 32 in flight."""
    lower = None if below is None else _result(8, Mode.CONCURRENCY, {"requests_per_s": below})
    higher = _result(32, Mode.CONCURRENCY, above)
    assert most_between(lower, higher, "requests_per_s") == most
    bound = replace(higher, client_bound=("it was late",))
    assert most_between(lower, bound, "requests_per_s") is None


def test_a_load_that_the_client_limited_is_not_met() -> None:
    """From 40 in flight on the client is the limit: the engine's latencies there say nothing."""
    rounds = rounds_of(config(repeats=1))
    for repeat, load in rounds:
        item = measured(load, repeat, growing(load.value))
        why = ("the client was late",) if load.value >= 40 else ()
        rounds.take(replace(item, client_bound=why), 1.0)
    best, _, _ = rounds.ended_as(rounds.results())
    assert best is not None
    assert 37 <= best.load.value < 40


def test_one_that_is_ended_before_it_met_the_slo_is_pruned() -> None:
    """Nobody knows whether a lower load would have met it."""

    def slow(load: float) -> dict[str, float]:
        return {**growing(load), "tpot_ms_mean": 30 + load}

    rounds = rounds_of(config(repeats=1), rival=lambda: 100.0)
    assert len(play(rounds, slow)) == 1
    assert rounds.ended_as(rounds.results())[1] is Status.PRUNED


def test_with_until_the_load_that_was_found_is_repeated() -> None:
    """Until its score is known to the share that was asked for."""
    draw = random.Random(2)  # noqa: S311  (no secret)

    def values(load: float) -> dict[str, float]:
        found = growing(load)
        return {**found, "requests_per_s": found["requests_per_s"] * draw.gauss(1, 0.05)}

    rounds = rounds_of(config(repeats=2, until=0.03, max_repeats=40))
    came = play(rounds, values)
    best, _, _ = rounds.ended_as(rounds.results())
    assert best is not None
    assert best.score_interval is not None
    assert best.score is not None
    assert best.score_interval.half_width <= 0.03 * best.score
    others = [
        sum(each == load for each, _ in came) for load in {each for each, _ in came} - {best.load.value}
    ]
    assert max(others) <= OPEN < len(best.score_repeats)


def test_conversations_of_a_file_are_not_sent_twice() -> None:
    """Each measurement takes those that follow the ones before it had."""
    rounds = rounds_of(config(repeats=2))
    taken: list[int] = []
    for repeat, load in rounds:
        taken.append(rounds.traffic(Wording()).taken or 0)
        rounds.take(measured(load, repeat, growing(load.value)), 1.0)
    assert taken[0] == 0
    assert taken == sorted(set(taken))


def _result(load: float, mode: Mode, metrics: dict[str, float]) -> LoadResult:
    return LoadResult(load=Load(mode=mode, value=load), metrics=metrics, score=None, score_repeats=())
