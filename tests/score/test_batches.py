"""Requests that are known, cut into batches."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from autotune.benchmark.metrics import UNFINISHED, RequestRecord, summarize
from autotune.records import RequestLimits
from autotune.score.batches import LEAST, MOST, cut, read_records

ONE = RequestRecord(
    phase="measure",
    index=0,
    sent_s=0.0,
    scheduled_s=None,
    ended_s=1.0,
    chunks_s=(0.5, 0.75, 1.0),
    prompt_tokens=10,
    output_tokens=3,
    status=200,
    error=None,
    detail="",
)


def after(number: int, **more: object) -> RequestRecord:
    """The same request `number` seconds later."""
    chunks_s = tuple(number + at_s for at_s in ONE.chunks_s)
    return replace(
        ONE,
        index=number,
        sent_s=float(number),
        ended_s=number + 1.0,
        chunks_s=chunks_s,
        **more,  # type: ignore[arg-type]
    )


def test_good_requests_have_rates_and_shares_of_their_own() -> None:
    """Of ten every third is slow, which makes four batches of two and three; a failed one is not good."""
    records = [after(n) if n % 3 else replace(after(n), sent_s=n - 0.3) for n in range(10)]
    limits = RequestLimits(ttft_ms=600)
    found = cut(records, 1, limits)
    assert found.kept == ((1, 2), (2, 3), (1, 2), (2, 3))
    assert [good for good, _ in found.rates["goodput_requests_per_s"]] == [1, 2, 1, 2]
    failed = [*records[:9], replace(records[9], error="http_500", chunks_s=())]
    by_time = cut(failed, 1, limits)
    assert sum(good for good, _ in by_time.kept) == 6
    assert sum(good for good, _ in by_time.rates["goodput_requests_per_s"]) == pytest.approx(6)


def test_a_batch_spans_two_requests_one_after_the_other() -> None:
    """Ten requests of a second each, one in flight: five batches of two."""
    found = cut([after(n) for n in range(10)], 1)
    assert [list(batch) for batch in found.latencies["ttft_ms"]] == [[500.0, 500.0]] * 5
    assert [len(batch) for batch in found.latencies["itl_ms"]] == [4] * 5
    assert found.rates["output_tokens_per_s"] == ((6.0, 2.0),) * 5
    assert found.rates["total_tokens_per_s"] == ((26.0, 2.0),) * 5


def test_requests_in_flight_together_are_in_one_batch() -> None:
    """Four in flight, twelve rounds: a batch is two rounds, in the order of sending."""
    records = [replace(after(n), index=4 * n + lane) for n in range(12) for lane in range(4)]
    found = cut(records[::-1], 4)
    assert [len(batch) for batch in found.latencies["e2e_ms"]] == [8] * 6
    assert found.rates["requests_per_s"] == ((8.0, 2.0),) * 6


def test_what_passes_between_two_requests_of_a_closed_loop_is_time_as_well() -> None:
    """Due when the one before had ended, a quarter of a second before it was sent: 1.25 s each."""
    records = [replace(after(n), due_s=n - 0.25) for n in range(10)]
    assert cut(records, 1).rates["requests_per_s"] == ((2.0, 2.5),) * 5


def test_there_are_no_more_batches_than_are_worth_it() -> None:
    """A long run has larger ones."""
    found = cut([after(n) for n in range(200)], 1)
    assert [len(batch) for batch in found.latencies["ttft_ms"]] == [10] * MOST


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_a_short_run_says_nothing_of_its_noise(count: int) -> None:
    """Fewer than three batches: the values are there, in one piece, and no rates."""
    found = cut([after(n) for n in range(count)], 1)
    assert [len(batch) for batch in found.latencies["ttft_ms"]] == [count]
    assert found.rates == {}
    assert LEAST == 3


def test_only_measured_requests_that_ended_well_count() -> None:
    """Neither warm-up nor filler nor failures."""
    others = [
        replace(after(3), phase="warmup"),
        replace(after(4), phase="fill"),
        replace(after(5), error="http_500", chunks_s=()),
    ]
    found = cut([*(after(n) for n in range(8)), *others], 1)
    assert sum(len(batch) for batch in found.latencies["ttft_ms"]) == 8


@pytest.mark.parametrize("in_flight", [None, 1.0])
def test_parts_of_the_window_hold_what_was_made_in_them(in_flight: float | None) -> None:
    """In an open loop, and where requests failed, amounts are cut by time and add up to the whole."""
    failed = [] if in_flight is None else [replace(after(9), error="http_500", chunks_s=())]
    records = [*(after(n) for n in range(9)), *failed, replace(after(2), phase="fill")]
    window_s = max(record.ended_s for record in records if record.phase == "measure")
    found = cut(records, in_flight)
    metrics = summarize(records, window_s=window_s)
    for name, parts in found.rates.items():
        assert sum(took_s for _, took_s in parts) == pytest.approx(window_s)
        assert sum(amount for amount, _ in parts) / window_s == pytest.approx(metrics[name])
    assert len(found.rates["output_tokens_per_s"]) == int(window_s / 2)


def test_parts_count_what_was_cut_off_as_the_metrics_do() -> None:
    """A filler request in flight at the end: the sum of the parts is the metric."""
    cut_off = RequestRecord(
        phase="fill",
        index=0,
        sent_s=7.25,
        scheduled_s=None,
        ended_s=8.0,
        chunks_s=(7.75,),
        prompt_tokens=0,
        output_tokens=0,
        status=200,
        error=UNFINISHED,
        detail="",
    )
    records = [*(after(n) for n in range(8)), cut_off]
    metrics = summarize(records, window_s=8.0)
    parts = cut(records, None).rates["output_tokens_per_s"]
    assert sum(amount for amount, _ in parts) / 8 == pytest.approx(metrics["output_tokens_per_s"])


def test_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    """A record for a record; of a client that keeps something else nothing is read."""
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    ours.write_text(json.dumps([asdict(after(1)), asdict(after(2))]))
    theirs.write_text(json.dumps([{"ttft": 1}]))
    assert read_records(ours) == [after(1), after(2)]
    assert read_records(theirs) is None
