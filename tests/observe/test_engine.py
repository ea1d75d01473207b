"""What pages say of a window, and as series."""

from __future__ import annotations

import pytest

from autotune.observe.engine import engine_series, summarize_engine, untold
from autotune.observe.page import Page, read_page
from autotune.observe.sampler import Reading
from autotune.observe.windows import Window
from tests.observe.pages import vllm_page

WINDOW = Window(begin_s=1.0, end_s=3.0, slack_s=1.0)


def reading(at_s: float, **values: float) -> Reading[Page]:
    """A page of vLLM at a time."""
    return Reading(at_s=at_s, value=read_page(vllm_page(**values)))


PAGES = [
    reading(0.0, num_requests_running=99, kv_cache_usage_perc=0.9, num_requests_waiting=50),
    reading(1.0, num_requests_running=4, kv_cache_usage_perc=0.2, num_requests_waiting=0),
    reading(2.0, num_requests_running=8, kv_cache_usage_perc=0.6, num_requests_waiting=3),
    reading(4.0, num_requests_running=77, kv_cache_usage_perc=0.8, num_requests_waiting=50),
]


def counted(*rows: tuple[float, float, float]) -> list[Reading[Page]]:
    """Pages at 0, 1, 2 … s with preemptions, looked up and found tokens."""
    return [
        reading(
            float(second),
            num_preemptions_total=row[0],
            prefix_cache_queries_total=row[1],
            prefix_cache_hits_total=row[2],
        )
        for second, row in enumerate(rows)
    ]


def test_gauges_are_means_and_maxima_of_the_window() -> None:
    """What was before and after it does not count."""
    assert summarize_engine(PAGES, WINDOW) == {
        "server/running_mean": 6.0,
        "server/running_max": 8.0,
        "server/waiting_mean": 1.5,
        "server/waiting_max": 3.0,
        "server/kv_cache_usage_mean": pytest.approx(0.4),
        "server/kv_cache_usage_max": 0.6,
    }


def test_counters_are_differences_over_the_window() -> None:
    """What the warm-up preempted and looked up is not in it."""
    pages = counted((5, 1000, 900), (5, 1000, 900), (6, 1100, 925), (8, 1200, 950), (99, 9999, 9999))
    found = summarize_engine(pages, WINDOW)
    assert found == {"server/preemptions": 3.0, "server/prefix_cache_hit_rate": 0.25}


def test_counters_that_began_anew() -> None:
    """An engine core that was started again counts from nothing."""
    pages = counted((5, 1000, 900), (5, 1000, 900), (1, 100, 50), (2, 200, 100))
    found = summarize_engine(pages, WINDOW)
    assert found == {"server/preemptions": 2.0, "server/prefix_cache_hit_rate": 0.5}


def test_nothing_looked_up_has_no_rate() -> None:
    """Neither is a rate known from a counter that is far from the window."""
    assert "server/prefix_cache_hit_rate" not in summarize_engine(counted(*[(0, 10, 5)] * 5), WINDOW)
    far = Window(begin_s=1.0, end_s=30.0, slack_s=1.0)
    assert summarize_engine(counted((0, 0, 0), (0, 9, 9), (0, 99, 99)), far) == {}


def test_a_counter_of_hits_that_appears_with_the_first() -> None:
    """SGLang has none before; without any, the rate is 0."""
    before = "sglang:prompt_tokens_total 100\n"
    pages = [
        Reading(at_s=1.0, value=read_page(before)),
        Reading(at_s=3.0, value=read_page("sglang:prompt_tokens_total 200\nsglang:cached_tokens_total 30\n")),
    ]
    assert summarize_engine(pages, WINDOW) == {"server/prefix_cache_hit_rate": 0.3}
    pages[1] = Reading(at_s=3.0, value=read_page("sglang:prompt_tokens_total 200\n"))
    assert summarize_engine(pages, WINDOW) == {"server/prefix_cache_hit_rate": 0.0}


def test_the_rate_of_tensorrt_llm_is_of_blocks() -> None:
    """Reused of reused and missed."""
    pages = [
        Reading(
            at_s=at_s,
            value=read_page(
                f"trtllm_kv_cache_reused_blocks_total {reused}\ntrtllm_kv_cache_missed_blocks_total {missed}\n"
            ),
        )
        for at_s, reused, missed in ((1.0, 10, 10), (3.0, 16, 12))
    ]
    assert summarize_engine(pages, WINDOW) == {"server/prefix_cache_hit_rate": 0.75}


def test_series() -> None:
    """Preemptions since the first page, the rate since the one before, and no value where none is."""
    series = list(engine_series(counted((5, 100, 0), (6, 200, 25), (6, 200, 25), (0, 10, 5))))
    assert [at_s for at_s, _ in series] == [0.0, 1.0, 2.0, 3.0]
    assert [values["server/preemptions_total"] for _, values in series] == [0.0, 1.0, 1.0, 1.0]
    rates = [values.get("server/prefix_cache_hit_rate_recent") for _, values in series]
    assert rates == [None, 0.25, None, 0.5]
    assert list(engine_series(PAGES))[2] == (
        2.0,
        {"server/running": 8.0, "server/waiting": 3.0, "server/kv_cache_usage": 0.6},
    )


def test_what_an_engine_does_not_tell() -> None:
    """TensorRT-LLM counts no preemptions; vLLM tells everything."""
    told = read_page(
        "trtllm_num_requests_running 1\ntrtllm_num_requests_waiting 1\n"
        "trtllm_kv_cache_utilization 0\ntrtllm_kv_cache_missed_blocks_total 0\n"
    )
    assert untold([Reading(at_s=0.0, value=told)]) == ["preemptions"]
    whole = {**counted((0, 0, 0))[0].value, **PAGES[0].value}
    assert untold([Reading(at_s=0.0, value=whole)]) == []
