"""Metrics of records that can be computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.benchmark.metrics import (
    UNFINISHED,
    RequestRecord,
    errors_by_kind,
    percentile,
    statistics_of,
    summarize,
)
from autotune.records import RequestLimits

ONE = RequestRecord(
    phase="measure",
    index=0,
    sent_s=0.0,
    scheduled_s=None,
    ended_s=0.4,
    chunks_s=(0.1, 0.2, 0.4),
    prompt_tokens=10,
    output_tokens=3,
    status=200,
    error=None,
    detail="",
)
TWO = replace(ONE, index=1, sent_s=0.5, ended_s=1.0, chunks_s=(0.8, 1.0), prompt_tokens=20, output_tokens=5)
FAILED = replace(ONE, index=2, chunks_s=(), ended_s=9.0, output_tokens=0, status=500, error="http_500")


def test_two_requests_by_hand() -> None:
    """ttft 100 and 300; tpot 300/2 and 200/4; itl 100, 200, 200; e2e 400 and 500; 8 and 38 tokens in 1 s."""
    metrics = summarize([ONE, TWO], window_s=1.0)
    assert {key: metrics[key] for key in metrics if key.endswith("_mean")} == pytest.approx(
        {"ttft_ms_mean": 200, "tpot_ms_mean": 100, "itl_ms_mean": 500 / 3, "e2e_ms_mean": 450}
    )
    assert metrics["ttft_ms_p90"] == pytest.approx(100 + 0.9 * 200)
    assert metrics["itl_ms_p50"] == pytest.approx(200)
    assert metrics["output_tokens_per_s"] == pytest.approx(3 + 5)
    assert metrics["total_tokens_per_s"] == pytest.approx(3 + 5 + 10 + 20)
    assert metrics["requests_per_s"] == metrics["goodput_requests_per_s"] == 2
    assert (metrics["requests_completed"], metrics["requests_failed"]) == (2, 0)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        pytest.param([7.0], 99, 7.0, id="one value is every percentile"),
        pytest.param([1.0, 2.0], 50, 1.5, id="half way between two"),
        pytest.param([1.0, 2.0, 3.0, 4.0], 0, 1.0, id="the least"),
        pytest.param([1.0, 2.0, 3.0, 4.0], 100, 4.0, id="the greatest"),
        pytest.param([0.0, 10.0, 20.0, 30.0, 40.0], 90, 36.0, id="rank 3.6"),
        pytest.param([0.0, 10.0, 20.0, 30.0, 40.0], 25, 10.0, id="on a rank"),
    ],
)
def test_percentiles_are_interpolated(values: list[float], percent: float, expected: float) -> None:
    """Linearly between the nearest ranks, (n - 1) × percent / 100."""
    assert percentile(values, percent) == pytest.approx(expected)


def test_statistics_sort_their_values() -> None:
    """0 to 100 in any order: each percentile is its own number."""
    expected = {"mean": 50, "p50": 50, "p90": 90, "p95": 95, "p99": 99}
    assert statistics_of([float(value) for value in range(100, -1, -1)]) == pytest.approx(expected)
    assert statistics_of([]) == {}


@pytest.mark.parametrize(
    ("record", "output", "total", "ended"),
    [
        pytest.param(replace(ONE, phase="fill"), 3, 13, 1, id="filler inside counts"),
        pytest.param(
            replace(ONE, phase="warmup", sent_s=-0.3, chunks_s=(-0.2, -0.1, 0.1)),
            0.5,
            0.5,
            0.5 / 3,
            id="half of the warm-up's last chunk inside, its prompt before",
        ),
        pytest.param(
            replace(ONE, phase="warmup", sent_s=-0.1, chunks_s=(0.1, 0.2, 0.3)),
            2.5,
            2.5 + 5,
            2.5 / 3,
            id="half of the first chunk and of the prompt inside",
        ),
        pytest.param(
            replace(ONE, phase="warmup", sent_s=-0.3, chunks_s=(-0.1, 0.1, 0.1)),
            1,
            1,
            1 / 3,
            id="two chunks of one read share the time before it",
        ),
        pytest.param(
            replace(ONE, phase="warmup", sent_s=-0.4, chunks_s=(-0.3, -0.2, -0.1)), 0, 0, 0, id="all before"
        ),
        pytest.param(
            replace(ONE, phase="fill", sent_s=0.7, chunks_s=(0.8, 0.9, 1.1), output_tokens=6),
            5,
            15,
            2.5 / 3,
            id="two and a half of three chunks of two tokens, its end after",
        ),
        pytest.param(
            replace(ONE, phase="fill", sent_s=1.0, chunks_s=(1.1, 1.2, 1.3)), 0, 0, 0, id="all after"
        ),
    ],
)
def test_throughput_counts_what_was_made_inside_the_window(
    record: RequestRecord, output: float, total: float, ended: float
) -> None:
    """A window of 1 s in which only this request and TWO (5 tokens, prompt 20) were answered."""
    metrics = summarize([record, TWO], window_s=1.0)
    assert metrics["output_tokens_per_s"] == pytest.approx(output + 5)
    assert metrics["total_tokens_per_s"] == pytest.approx(total + 25)
    assert metrics["requests_per_s"] == metrics["goodput_requests_per_s"] == pytest.approx(ended + 1)


@pytest.mark.parametrize("tokens", [1, 2, 7])
@pytest.mark.parametrize("rounds", [1, 2, 8])
@pytest.mark.parametrize("in_step", [True, False], ids=["in step", "spread evenly"])
def test_throughput_is_what_was_possible(tokens: int, rounds: int, in_step: bool) -> None:  # noqa: FBT001
    """16 in flight, ttft 110 ms and itl 30 ms, each answer a tenth of a millisecond after its neighbour's."""
    period_s = 0.11 + 0.03 * (tokens - 1)
    window_s = rounds * period_s + (0.0015 if in_step else period_s * 15 / 16)
    apart_s = 0.0001 if in_step else period_s / 16
    records = []
    for stream in range(16):
        for number in range(-2, rounds + 1):
            sent_s = stream * apart_s + number * period_s
            chunks_s = tuple(sent_s + 0.11 + 0.03 * token for token in range(tokens))
            inside = tuple(chunk for chunk in chunks_s if chunk <= window_s + 1e-9)
            cut = len(inside) < tokens
            phase = "warmup" if number < 0 else "measure" if number < rounds else "fill"
            records.append(
                replace(
                    ONE,
                    phase=phase,
                    sent_s=sent_s,
                    chunks_s=inside,
                    output_tokens=0 if cut else tokens,
                    prompt_tokens=0 if cut else 10,
                    error=UNFINISHED if cut else None,
                )
            )
    metrics = summarize(records, window_s=window_s)
    assert metrics["requests_per_s"] == pytest.approx(16 / period_s, rel=0.01)
    assert metrics["output_tokens_per_s"] == pytest.approx(16 * tokens / period_s, rel=0.01)
    # a prompt is over before its answer: where requests run in step, the window holds whole ones only
    assert metrics["total_tokens_per_s"] == pytest.approx(16 * (tokens + 10) / period_s, rel=0.02)


def test_requests_cut_off_at_the_end_count_what_they_had_made() -> None:
    """ONE and TWO: 8 tokens in 5 chunks, prompts of 15 in the mean, ttft 0.2 s and itl 0.5 / 3 s in the mean.

    One cut request has 2 chunks and 0.1 s of the next, one 0.1 s of its first; one was sent too late.
    """
    cut = replace(ONE, phase="fill", error=UNFINISHED, sent_s=0.6, chunks_s=(0.7, 0.9), output_tokens=0)
    waiting = replace(cut, sent_s=0.9, chunks_s=())
    late = replace(waiting, sent_s=1.0001)
    alone = summarize([ONE, TWO], window_s=1.0)
    metrics = summarize([ONE, TWO, cut, waiting, late], window_s=1.0)
    chunks = 2 + 0.1 / (0.5 / 3) + 0.1 / 0.2
    assert metrics["output_tokens_per_s"] == pytest.approx(8 + chunks * 8 / 5)
    assert metrics["total_tokens_per_s"] == pytest.approx(38 + chunks * 8 / 5 + (1 + 0.1 / 0.2) * 15)
    assert metrics["requests_per_s"] == pytest.approx(2 + chunks / 2.5)
    rates = {"output_tokens_per_s", "total_tokens_per_s", "requests_per_s", "goodput_requests_per_s"}
    assert {k: v for k, v in metrics.items() if k not in rates} == {
        k: v for k, v in alone.items() if k not in rates
    }


def test_a_request_that_waits_long_counts_no_more_than_one_chunk() -> None:
    """Sent at B and silent until E, five times the mean ttft: one chunk of 8 / 5 tokens, one prompt of 15."""
    silent = replace(ONE, phase="fill", error=UNFINISHED, chunks_s=(), output_tokens=0)
    metrics = summarize([ONE, TWO, silent], window_s=1.0)
    assert metrics["output_tokens_per_s"] == pytest.approx(8 + 8 / 5)
    assert metrics["total_tokens_per_s"] == pytest.approx(38 + 8 / 5 + 15)


def test_only_measured_requests_have_latencies() -> None:
    """Warm-up and filler that took long leave every latency as it was."""
    slow = replace(ONE, sent_s=-50.0)
    others = [replace(slow, phase="warmup"), replace(slow, phase="fill")]
    alone = summarize([TWO], window_s=1.0)
    together = summarize([*others, TWO], window_s=1.0)
    latencies = [name for name in alone if "_ms_" in name]
    assert len(latencies) == 20
    assert {name: together[name] for name in latencies} == {name: alone[name] for name in latencies}
    assert together["requests_completed"] == 1


def test_failures_are_counted_and_measured_nowhere_else() -> None:
    """A failure changes the counts and shares of requests and nothing more, whatever it had brought."""
    truncated = replace(ONE, error="truncated", sent_s=-50.0)
    without = summarize([ONE, TWO], window_s=1.0)
    with_them = summarize([ONE, TWO, FAILED, truncated], window_s=1.0)
    assert with_them == {**without, "requests_failed": 2, "slo_attainment": 0.5}


@pytest.mark.parametrize(
    ("limits", "good"),
    [
        pytest.param(RequestLimits(), 2, id="no limit"),
        pytest.param(RequestLimits(ttft_ms=200), 1, id="to the first token: 100 and 300"),
        pytest.param(RequestLimits(tpot_ms=120), 1, id="each token after it: 150 and 50"),
        pytest.param(RequestLimits(e2e_ms=399), 0, id="to the last token: 400 and 500"),
        pytest.param(RequestLimits(ttft_ms=200, tpot_ms=120), 0, id="each misses another"),
        pytest.param(RequestLimits(ttft_ms=301, tpot_ms=151, e2e_ms=501), 2, id="all kept"),
    ],
)
def test_goodput_counts_requests_within_the_limits(limits: RequestLimits, good: int) -> None:
    """Of two that ended well and one that failed, which is never good; other metrics are as without limits."""
    metrics = summarize([ONE, TWO, FAILED], window_s=1.0, limits=limits)
    assert metrics["goodput_requests_per_s"] == pytest.approx(good)
    assert metrics["slo_attainment"] == pytest.approx(good / 3)
    alone = summarize([ONE, TWO, FAILED], window_s=1.0)
    of_limits = {"goodput_requests_per_s", "slo_attainment"}
    assert {k: v for k, v in metrics.items() if k not in of_limits} == {
        k: v for k, v in alone.items() if k not in of_limits
    }


def test_requests_cut_off_at_the_end_are_good_by_the_share_of_the_others() -> None:
    """One of two that ended was good: half of what the cut one had made counts, as far as it had come."""
    cut = replace(ONE, sent_s=0.5, chunks_s=(0.6, 0.7), ended_s=1.0, output_tokens=0, error=UNFINISHED)
    every = summarize([ONE, TWO, cut], window_s=1.0)
    half = summarize([ONE, TWO, cut], window_s=1.0, limits=RequestLimits(ttft_ms=200))
    rest = every["requests_per_s"] - 2
    assert rest > 0.5
    assert half["goodput_requests_per_s"] == pytest.approx(1 + rest / 2)


def test_errors_are_counted_by_kind_among_the_measured() -> None:
    """What failed while warming up or filling is not the result's."""
    timeout = replace(FAILED, error="timeout")
    filler = replace(FAILED, phase="fill")
    cut = replace(FAILED, error=UNFINISHED)
    records = [ONE, FAILED, FAILED, timeout, filler, cut]
    assert errors_by_kind(records) == {"http_500": 2, "timeout": 1}
    assert errors_by_kind(records, phase="fill") == {"http_500": 1}


def test_what_has_no_value_is_left_out() -> None:
    """One token has no tpot and no gap; without a success there are no latencies, and no window no rates."""
    single = replace(ONE, chunks_s=(0.1,), output_tokens=1)
    names = summarize([single], window_s=1.0)
    assert not [name for name in names if name.startswith(("tpot", "itl"))]
    only = {"requests_completed": 0, "requests_failed": 1, "slo_attainment": 0.0}
    assert summarize([FAILED], window_s=0.0) == only
