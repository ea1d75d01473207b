"""Metrics pages of the engines: real ones of vLLM, the others as their sources write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.observe.page import FOUND, LOOKED_UP, MISSED, PREEMPTIONS, gauge, read_iterations, read_page

PAGES = Path(__file__).parents[1] / "data" / "metrics"
RANKS = 'engine_type="unified",model_name="m",moe_ep_rank="0"'
SGLANG = f"""\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{{dp_rank="0",pp_rank="0",tp_rank="0",{RANKS}}} 3.0
sglang:num_running_reqs{{dp_rank="0",pp_rank="1",tp_rank="0",{RANKS}}} 3.0
sglang:num_running_reqs{{dp_rank="1",pp_rank="0",tp_rank="0",{RANKS}}} 4.0
sglang:num_queue_reqs{{dp_rank="0",pp_rank="0",priority="",tp_rank="0",{RANKS}}} 5.0
sglang:num_queue_reqs{{dp_rank="0",pp_rank="0",priority="1",tp_rank="0",{RANKS}}} 2.0
sglang:token_usage{{dp_rank="0",pp_rank="0",tp_rank="0",{RANKS}}} 0.5
sglang:token_usage{{dp_rank="1",pp_rank="0",tp_rank="0",{RANKS}}} 0.1
sglang:prompt_tokens_total{{is_streaming="true",model_name="m"}} 80.0
sglang:prompt_tokens_total{{is_streaming="false",model_name="m"}} 20.0
sglang:cached_tokens_total{{cache_source="device",model_name="m"}} 30.0
sglang:cached_tokens_total{{cache_source="host",model_name="m"}} 10.0
sglang:num_retracted_requests_total{{dp_rank="1",pp_rank="0",tp_rank="0",{RANKS}}} 2.0
"""
TENSORRT_LLM = """\
trtllm_num_requests_running{engine_type="undefined",model_name="undefined"} 7.0
trtllm_num_requests_waiting{engine_type="undefined",model_name="undefined"} 1.0
trtllm_kv_cache_utilization{engine_type="undefined",model_name="undefined"} 0.25
trtllm_kv_cache_reused_blocks_total{engine_type="undefined",model_name="undefined"} 12.0
trtllm_kv_cache_missed_blocks_total{engine_type="undefined",model_name="undefined"} 4.0
"""


def test_a_real_page_of_vllm_under_load() -> None:
    """Eight requests in the batch of the only engine, and a little of its cache."""
    page = read_page((PAGES / "vllm-0.32.0-under-load.txt").read_text())
    assert page == {
        "running": {"0,": 8.0},
        "waiting": {"0,": 0.0},
        "kv_cache_usage": {"0,": pytest.approx(0.44067796610169496)},
        PREEMPTIONS: {"0,": 0.0},
        LOOKED_UP: {"0,": 992.0},
        FOUND: {"0,": 0.0},
    }


def test_a_real_page_of_vllm_after_preemptions() -> None:
    """The four that the engine's own histogram of requests counts too."""
    page = read_page((PAGES / "vllm-0.32.0-after-preemptions.txt").read_text())
    assert page[PREEMPTIONS] == {"0,": 4.0}


def test_replicas_of_vllm_are_told_apart() -> None:
    """Requests of all engines together; the share of the cache is their mean."""
    lines = [
        f'vllm:{name}{{engine="{engine}",model_name="m"}} {value}'
        for name, values in {"num_requests_running": (3, 5), "kv_cache_usage_perc": (0.2, 0.6)}.items()
        for engine, value in enumerate(values)
    ]
    page = read_page("\n".join(lines))
    assert gauge(page, "running") == 8.0
    assert gauge(page, "kv_cache_usage") == pytest.approx(0.4)
    assert gauge(page, "waiting") is None


def test_sglang_ranks_priorities_and_parts() -> None:
    """Pipeline ranks say the same, priorities are parts of a line that is there, sources add up."""
    page = read_page(SGLANG)
    assert page["running"] == {",0": 3.0, ",1": 4.0}
    assert page["waiting"] == {",0": 5.0}
    assert gauge(page, "kv_cache_usage") == pytest.approx(0.3)
    assert (page[LOOKED_UP], page[FOUND]) == ({",": 100.0}, {",": 40.0})
    assert page[PREEMPTIONS] == {",1": 2.0}


def test_tensorrt_llm() -> None:
    """Blocks that were reused and missed; no preemptions."""
    page = read_page(TENSORRT_LLM)
    assert page == {
        "running": {",": 7.0},
        "waiting": {",": 1.0},
        "kv_cache_usage": {",": 0.25},
        FOUND: {",": 12.0},
        MISSED: {",": 4.0},
    }


def test_iteration_statistics_of_tensorrt_llm() -> None:
    """The last one counts; nothing is made up for what is not there."""
    last = {
        "numActiveRequests": 3,
        "numQueuedRequests": 1,
        "kvCacheStats": {"usedNumBlocks": 5, "maxNumBlocks": 20, "reusedBlocks": 2, "missedBlocks": 6},
    }
    page = read_iterations([{"numActiveRequests": 9}, last])
    assert {name: values[""] for name, values in page.items()} == {
        "running": 3,
        "waiting": 1,
        "kv_cache_usage": 0.25,
        FOUND: 2,
        MISSED: 6,
    }
    assert read_iterations([{"numActiveRequests": 9}]) == {"running": {"": 9.0}}
    assert read_iterations([]) == {}
    assert read_iterations({"detail": "no"}) == {}


def test_values_that_are_no_numbers_are_left_out() -> None:
    """An engine that has not computed a rate yet says NaN."""
    assert read_page('vllm:kv_cache_usage_perc{engine="0"} NaN\nvllm:num_requests_running 2\n') == {
        "running": {",": 2.0}
    }


def test_a_line_that_is_no_metric() -> None:
    """It is an error to be told, not a number."""
    with pytest.raises(ValueError, match="could not convert"):
        read_page('vllm:num_requests_running{engine="0"} many')


def test_other_pages_have_nothing() -> None:
    """Neither an HTML page nor a process without an engine."""
    assert read_page("<html><body>vllm:num_requests_running</body></html>") == {}
    assert read_page("process_cpu_seconds_total 3\n") == {}
