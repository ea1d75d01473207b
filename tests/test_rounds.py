"""Which load comes next: order, repeats, and when the noise is small enough."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from autotune.errors import TrialError
from autotune.records import Load, Measurement
from autotune.rounds import LEAST, Rounds
from autotune.schema import Config, Direction, MeasureConfig, ObjectiveConfig, WorkloadConfig
from tests.score.test_batches import after

Rate = Callable[[float, int], float]


def config(loads: list[float], *, load: str = "best", seed: int = 0, **measure: Any) -> Config:
    """Output tokens/s at these loads."""
    return Config(
        workload=WorkloadConfig(loads=loads, input_tokens=1, output_tokens=1, seed=0),
        objective=ObjectiveConfig(metric="output_tokens_per_s", direction=Direction.maximize, load=load),
        measure=MeasureConfig(**measure),
        seed=seed,
    )


def measured(load: Load, repeat: int, rate: float, **more: Any) -> Measurement:
    """One repeat that made so many tokens a second."""
    return Measurement(
        load=load,
        repeat=repeat,
        metrics={"output_tokens_per_s": rate},
        requests_completed=1,
        requests_failed=0,
        errors={},
        duration_s=1.0,
        **more,
    )


def play(rounds: Rounds, rate: Rate = lambda load, _repeat: load) -> list[tuple[int, float]]:
    """Measure to the end; what came in which order."""
    came = []
    for repeat, load in rounds:
        came.append((repeat, load.value))
        rounds.take(measured(load, repeat, rate(load.value, repeat)), 1.0)
    return came


def noisy(sizes: dict[float, float], at: dict[float, float]) -> Rate:
    """Draws around a rate, by load, whatever their order."""

    def rate(load: float, repeat: int) -> float:
        draw = random.Random(f"{load:g}/{repeat}")  # noqa: S311  (draws, not secrets)
        return at[load] * (1 + sizes[load] * draw.gauss(0, 1))

    return rate


def test_every_repeat_goes_over_all_loads_in_an_order_of_its_own() -> None:
    """Each load once a repeat; the order is drawn anew and says which load is prepared first."""
    rounds = Rounds(config=config([1, 2, 4, 8], repeats=6), gpus=1, recorded=False)
    came = play(rounds)
    orders = [[value for number, value in came if number == repeat] for repeat in range(6)]
    assert all(sorted(order) == [1, 2, 4, 8] for order in orders)
    assert len({tuple(order) for order in orders}) > 2
    assert rounds.first.value == orders[0][0]
    assert [number for number, _ in came] == sorted(number for number, _ in came)


def test_the_same_seed_gives_the_same_order() -> None:
    """So has every candidate, and the next attempt; another seed gives another."""
    loads = [1.0, 2, 4, 8, 16]
    same = [play(Rounds(config=config(loads, seed=3), gpus=gpus, recorded=False)) for gpus in (1, 2)]
    other = play(Rounds(config=config(loads, seed=4), gpus=1, recorded=False))
    assert same[0] == same[1] != other


@pytest.mark.parametrize("recorded", [True, False], ids=["a replay", "not shuffled"])
def test_loads_as_they_stand(recorded: bool) -> None:  # noqa: FBT001
    """Where nothing can be disturbed, and where the user says so; a replay is read once."""
    rounds = Rounds(config=config([4, 1, 2], repeats=2, shuffle=recorded), gpus=1, recorded=recorded)
    once = [(0, 4.0), (0, 1.0), (0, 2.0)]
    assert play(rounds) == (once if recorded else [*once, *((1, value) for _, value in once)])


def test_without_until_there_are_just_the_repeats() -> None:
    """However noisy."""
    rounds = Rounds(config=config([1], repeats=4), gpus=1, recorded=False)
    assert len(play(rounds, noisy({1: 0.5}, {1: 10}))) == 4
    assert rounds.notes == []


def test_repeats_go_on_until_the_score_is_known() -> None:
    """Of noise of 2 % some ten repeats make ± 1.5 %, and one more would not have been made."""
    rounds = Rounds(config=config([8], until=0.015, max_repeats=40), gpus=1, recorded=False)
    count = len(play(rounds, noisy({8: 0.02}, {8: 100})))
    [result] = rounds.results()
    assert result.score_interval is not None
    assert result.score is not None
    assert result.score_interval.half_width / result.score <= 0.015
    assert LEAST < count < 40
    assert rounds.notes == []


def test_a_narrow_interval_of_few_repeats_is_not_believed() -> None:
    """Who stops at the first that is narrow stops too often by luck."""
    rounds = Rounds(config=config([8], until=0.5), gpus=1, recorded=False)
    assert len(play(rounds, noisy({8: 0.001}, {8: 100}))) == LEAST


def test_it_is_bounded_and_says_how_far_it_came() -> None:
    """By measure.max_repeats; also where that is below the usual least."""
    rounds = Rounds(config=config([8], until=0.001, max_repeats=4), gpus=1, recorded=False)
    assert len(play(rounds, noisy({8: 0.1}, {8: 100}))) == 4
    [note] = rounds.notes
    assert note.startswith("concurrency 8: after 4 repeats its noise is ± ")
    assert note.endswith("more than measure.until=0.001: measure.max_repeats=4")


def test_what_would_go_beyond_the_time_out_is_not_begun() -> None:
    """A trial is not lost for a repeat more."""
    left = iter([100.0, 50.0, 1.1])
    rounds = Rounds(config=config([8], until=0.001), gpus=1, recorded=False, left_s=lambda: next(left))
    assert len(play(rounds, noisy({8: 0.1}, {8: 100}))) == 5
    [note] = rounds.notes
    assert note.endswith("another would go beyond measure.trial_timeout_s")


def test_only_loads_that_can_be_the_best_are_repeated() -> None:
    """Load 1 is clearly behind, 4 and 8 may be as good as each other."""
    rounds = Rounds(config=config([1, 4, 8], until=0.012, max_repeats=30), gpus=1, recorded=False)
    rate = noisy({1: 0.02, 4: 0.02, 8: 0.02}, {1: 10, 4: 100, 8: 100})
    counts = Counter(load for _, load in play(rounds, rate))
    assert counts[1] == 3
    assert counts[4] > 3
    assert counts[8] > 3


@pytest.mark.parametrize(("load", "repeated"), [("lowest", 1), ("highest", 8), ("4", 4)])
def test_only_the_load_of_the_objective_is_repeated(load: str, repeated: float) -> None:
    """The others do not rank."""
    rounds = Rounds(config=config([4, 8, 1], load=load, until=0.5), gpus=1, recorded=False)
    counts = Counter(
        value for _, value in play(rounds, noisy(dict.fromkeys((1, 4, 8), 0.01), {1: 1, 4: 4, 8: 8}))
    )
    assert counts == {1: 3, 4: 3, 8: 3} | {repeated: LEAST}


def test_what_the_client_limited_is_not_repeated() -> None:
    """More of it would not rank either."""
    rounds = Rounds(config=config([8], until=0.001), gpus=1, recorded=False)
    for repeat, load in rounds:
        rounds.take(measured(load, repeat, 10.0 + repeat, client_bound=("one core",)), 1.0)
    assert [item.repeat for item in rounds.measurements] == [0, 1, 2]


def test_requests_narrow_the_interval(tmp_path: Path) -> None:
    """The noise within a repeat is read from its raw file: one repeat then has an interval."""
    raw = tmp_path / "requests.json"
    records = [after(number, output_tokens=3 + number % 3) for number in range(12)]
    raw.write_text(json.dumps([asdict(record) for record in records]))
    rounds = Rounds(config=config([1], repeats=1), gpus=2, recorded=False)
    for repeat, load in rounds:
        rounds.take(measured(load, repeat, 4.0, raw=raw), 1.0)
    [result] = rounds.results()
    assert result.score_interval is not None
    assert result.score_interval.freedom == 5
    assert result.metrics["output_tokens_per_s_per_gpu"] == 2.0
    assert raw.exists()


def test_a_load_without_a_row_is_left_out() -> None:
    """With none left the candidate has failed."""
    rounds = Rounds(config=config([1, 2]), gpus=1, recorded=True)
    for repeat, load in rounds:
        if load.value == 1:
            rounds.leave_out(load)
        else:
            rounds.take(measured(load, repeat, 5.0), 1.0)
    assert rounds.notes == ["concurrency 1: not in the table, left out"]
    empty = Rounds(config=config([1]), gpus=1, recorded=True)
    coming = iter(empty)
    empty.leave_out(next(coming)[1])
    with pytest.raises(TrialError, match="no row for any load"):
        next(coming)
