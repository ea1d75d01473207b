"""Whether the client was the bottleneck: right both ways."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.benchmark.client.bottleneck import Offer, client_bound, client_metrics
from autotune.benchmark.client.meter import Used
from autotune.benchmark.metrics import RequestRecord
from autotune.records import Load, Mode

FOUR = Load(mode=Mode.CONCURRENCY, value=4)
TEN = Load(mode=Mode.RATE, value=10)
GOOD = {
    "requests_completed": 100,
    "requests_failed": 0,
    "ttft_ms_mean": 100.0,
    "client_cpu_fraction": 0.5,
    "client_wait_fraction": 0.02,
    "client_lag_ms_mean": 0.5,
    "schedule_delay_ms_mean": 0.1,
    "load_achieved": 3.99,
    "load_achieved_fraction": 0.998,
}
ONE = RequestRecord(
    phase="measure",
    index=0,
    sent_s=0.0,
    scheduled_s=None,
    ended_s=1.0,
    chunks_s=(0.5, 1.0),
    prompt_tokens=1,
    output_tokens=2,
    status=200,
    error=None,
    detail="",
)


def offer(load: Load, window_s: float, used: Used | None = None, *, paused_s: float = 0.0) -> Offer:
    """What was to be offered by one process."""
    used = used or Used(wall_s=window_s)
    return Offer(load=load, window_s=window_s, used=(used,), paused_s=paused_s)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, [], id="idle"),
        pytest.param({"client_cpu_fraction": 0.95}, ["97% of a core (95% used, 2% waited for), 90% is allowed"], id="busy"),
        pytest.param({"client_wait_fraction": 0.5}, ["100% of a core (50% used, 50% waited for)"], id="kept from its core"),
        pytest.param({"client_lag_ms_mean": 7.0}, ["7.0 ms late in the mean, 3.0 ms is allowed"], id="late"),
        pytest.param({"client_lag_ms_mean": 7.0, "ttft_ms_mean": 4000.0}, [], id="late, and nothing to what the engine takes"),
        pytest.param({"client_lag_ms_mean": 1.0, "ttft_ms_mean": 2.0}, [], id="late by a tick of the clock"),
        pytest.param({"schedule_delay_ms_mean": 20.0}, ["sent 20.0 ms late in the mean, 3.0 ms is allowed"], id="sent late"),
        pytest.param({"load_achieved": 3.0, "load_achieved_fraction": 0.75}, ["offered 3.0 requests in flight, 75% of what was"], id="too little"),
        pytest.param({"ttft_ms_mean": 60_000.0}, [], id="a saturated engine"),
        pytest.param({"client_cpu_fraction": 1.0, "requests_failed": 200}, [], id="an engine that refuses"),
    ],
)  # fmt: skip
def test_the_verdict(change: dict[str, float], expected: list[str]) -> None:
    """Each sentence says what, measured and allowed."""
    said = client_bound({**GOOD, **change}, FOUR, 2.0)
    assert len(said) == len(expected)
    assert all(part in sentence for part, sentence in zip(expected, said, strict=True))


def test_a_closed_loop_by_hand() -> None:
    """Two workers of four: one second each, and 0.5 s late; 0.5 of 1.5 s is missing for both."""
    records = [ONE, replace(ONE, begun_s=0.0)]
    records += [replace(ONE, due_s=1.0, begun_s=1.5, sent_s=1.5, ended_s=2.0) for _ in range(2)]
    metrics = client_metrics(records, offer(replace(FOUR, value=2), 2.0))
    assert metrics["schedule_delay_ms_mean"] == pytest.approx(500)
    assert metrics["in_flight_mean"] == metrics["load_achieved"] == pytest.approx(1.5)
    assert metrics["load_achieved_fraction"] == pytest.approx(0.75)


def test_a_pause_after_a_refusal_is_no_shortfall() -> None:
    """One of two workers was kept back for the whole window, on purpose."""
    metrics = client_metrics([ONE], offer(replace(FOUR, value=2), 1.0, paused_s=1.0))
    assert metrics["load_achieved_fraction"] == pytest.approx(1.0)


def test_an_open_loop_is_held_against_its_schedule() -> None:
    """Ten arrivals drawn over 0.9 s took 1.8 s; filler does not count."""
    records = [
        replace(ONE, scheduled_s=0.1 * n, due_s=0.1 * n, begun_s=0.2 * n, sent_s=0.2 * n, ended_s=0.2 * n + 1)
        for n in range(10)
    ]
    records.append(replace(records[-1], phase="fill", begun_s=9.0, sent_s=9.0, ended_s=9.1))
    metrics = client_metrics(records, offer(TEN, 2.8))
    assert metrics["load_achieved"] == pytest.approx(9 / 1.8)
    assert metrics["load_achieved_fraction"] == pytest.approx(0.5)
    assert metrics["schedule_delay_ms_mean"] == pytest.approx(450)


def test_of_several_processes_the_one_that_needed_most_counts() -> None:
    """Its share of a core; the lags are those of all."""
    used = (Used(wall_s=2, cpu_s=1, wait_s=0.5, lags_s=(0.001,)), Used(wall_s=2, cpu_s=0.2, lags_s=(0.003,)))
    metrics = client_metrics([ONE], replace(offer(FOUR, 1.0), used=used))
    assert (metrics["client_cpu_fraction"], metrics["client_wait_fraction"]) == (0.5, 0.25)
    assert metrics["client_lag_ms_mean"] == pytest.approx(2)


def test_the_shares_of_two_processes_are_not_added() -> None:
    """One works and the other waits: neither wants more than 55 % of a core, and both together no 100 %."""
    used = (Used(wall_s=2, cpu_s=1, wait_s=0.02), Used(wall_s=2, cpu_s=0.1, wait_s=1))
    metrics = client_metrics([ONE], replace(offer(FOUR, 1.0), used=used))
    assert (metrics["client_cpu_fraction"], metrics["client_wait_fraction"]) == (0.05, 0.5)
    assert client_bound({**GOOD, **metrics, "load_achieved_fraction": 1.0}, FOUR, 2.0) == []


def test_a_window_of_milliseconds_is_not_judged() -> None:
    """One pause of the scheduler would decide."""
    paused = {**GOOD, "client_lag_ms_mean": 50.0}
    assert client_bound(paused, FOUR, 0.1) == []
    assert client_bound(paused, FOUR, 1.0) != []
