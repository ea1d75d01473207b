"""Why an engine ended: which of several texts wins, what the exit status adds, which line is quoted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autotune.failures import Evidence, classify, last_line, oom_kills

OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
NCCL = "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:3384, unhandled cuda error"
DEAD = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
ECC = "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered"
FAULT = "torch.AcceleratorError: CUDA error: unspecified launch failure"
BUSY = "ValueError: Free memory on device cuda:0 (9.1/79.2 GiB) on startup is less than desired GPU memory utilization (0.9, 71.3 GiB)."
FULL_SHM = "NCCL WARN Error while creating shared memory segment /dev/shm/nccl-UbzKZ9 (size 9637888)"
NO_KV = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"
HEADS = "Value error, Total number of attention heads (4) must be divisible by tensor parallel size (3)."
REFUSED = "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig"


def log_of(*lines: str) -> str:
    """A log with a line before and the words that always come last after it."""
    return "\n".join(["INFO starting", *lines, DEAD, ""])


@pytest.mark.parametrize(
    ("lines", "kind", "evidence"),
    [
        pytest.param([NCCL, OOM], "cuda_oom", OOM, id="the other ranks lose a rank that found no memory"),
        pytest.param([OOM, BUSY], "gpu_busy", BUSY, id="memory that someone else holds"),
        pytest.param([OOM, NO_KV], "kv_cache_too_small", NO_KV, id="which allocation did not fit"),
        pytest.param([OOM, ECC], "gpu_lost", ECC, id="what fails on broken memory says nothing"),
        pytest.param([NCCL, FAULT], "gpu_lost", FAULT, id="a GPU that fails takes the links with it"),
        pytest.param([FAULT, OOM], "cuda_oom", OOM, id="a fault that has a reason"),
        pytest.param([NCCL, FULL_SHM], "infrastructure", FULL_SHM, id="NCCL without shared memory"),
        pytest.param([REFUSED, HEADS], "layout_invalid", HEADS, id="the inner text, not pydantic's frame"),
        pytest.param([REFUSED], "bad_arguments", REFUSED, id="pydantic's frame where the inner text is new"),
        pytest.param([NCCL], "nccl", NCCL, id="NCCL where there is nothing else"),
        pytest.param([HEADS, HEADS.replace("4", "6")], "layout_invalid", HEADS, id="the first of two lines"),
    ],
)
def test_a_cause_wins_over_what_follows_from_it(lines: list[str], kind: str, evidence: str) -> None:
    """Whatever stands first in the log: processes report each other's end in any order."""
    for order in (lines, lines[::-1]) if lines != [HEADS, HEADS.replace("4", "6")] else (lines,):
        error = classify(Evidence(log=log_of(*order), exit_code=1, runtime="vllm"))
        assert error.kind == kind
        assert error.evidence == f"engine.log:{order.index(evidence) + 2}: {evidence}"


def test_a_text_counts_for_the_engine_whose_it_is() -> None:
    """SGLang has no such text: there it is a user's prompt, or nothing."""
    log = log_of("ValueError: No available memory for the cache blocks.")
    assert classify(Evidence(log=log, exit_code=1, runtime="vllm")).kind == "kv_cache_too_small"
    assert classify(Evidence(log=log, exit_code=1)).kind == "kv_cache_too_small"
    assert classify(Evidence(log=log, exit_code=1, runtime="sglang")).kind == "engine_died"


@pytest.mark.parametrize(
    "line",
    [
        "(APIServer pid=1) WARNING 11-24 10:59:23 [x.py:1] CUDA out of memory, trying a smaller batch",
        '(APIServer pid=1) INFO 11-24 10:59:23 [logger.py:1] Received request: prompt: "CUDA out of memory"',
        '    raise ValueError("Total number of attention heads (4) must be divisible by tensor parallel size")',
        '(Worker pid=8) ERROR 11-24 11:01:27 [w.py:1]     raise RuntimeError(f"NCCL error: {error_str}")',
        '        f"World size ({self.world_size}) is larger than the number of available GPUs"',
        "[TensorRT-LLM][WARNING] CUDA out of memory while tuning",
        "INFO 11-24 10:00:00 [network_utils.py:248] Port 8000 is already in use, trying port 8001",
        "[2026-11-24 10:00:00] Port 30000 is already in use, trying port 30001",
    ],
)
def test_chatter_and_source_code_are_no_cause(line: str) -> None:
    """A warning, a logged prompt, and a traceback's lines of source hold the words of an error too."""
    assert classify(Evidence(log=log_of(line), exit_code=1)).kind == "engine_died"


@pytest.mark.parametrize(
    ("code", "serving", "message"),
    [
        (-9, True, "the engine was killed by signal 9 while serving"),
        (137, True, "the engine was killed by signal 9 while serving"),
        (-11, False, "the engine was killed by signal 11 while starting"),
        (135, False, "the engine was killed by signal 7 while starting"),
        (3, False, "the engine ended by itself with exit status 3 while starting"),
        (0, True, "the engine ended by itself with exit status 0 while serving"),
        (255, False, "the engine ended by itself with exit status 255 while starting"),
        (None, True, "the engine ended without an exit status while serving"),
    ],
)
def test_an_end_without_a_word_is_told_by_its_status(code: int | None, serving: bool, message: str) -> None:  # noqa: FBT001
    """Nothing is made up; a container's status is 128 and the signal."""
    error = classify(Evidence(log="one\nthe last words\n\n", exit_code=code, serving=serving))
    assert (error.kind, error.message) == ("engine_died", message)
    assert error.evidence == "engine.log:2: the last words"


@pytest.mark.parametrize("code", [-15, 143, -2, -1])
def test_an_engine_that_another_ended_may_be_tried_again(code: int) -> None:
    """A stop of ours is not asked about: this one came from a batch system, or a person."""
    error = classify(Evidence(log="one\n", exit_code=code, serving=True))
    assert error.kind == "infrastructure"
    assert "someone else ended the engine" in error.message


@pytest.mark.parametrize("code", [-9, 137, 1, 0])
def test_the_kernels_word_makes_it_memory(code: int) -> None:
    """The leader may live on when one of its processes is killed, and end with any status."""
    error = classify(Evidence(log=log_of(NCCL), exit_code=code, oom_killed=True, serving=True))
    assert error.kind == "host_oom"
    assert (
        error.message
        == "the host's memory ran out while serving, and the kernel killed a process of the engine"
    )
    assert error.evidence == f"engine.log:2: {NCCL}"


def test_a_cause_in_the_log_is_more_than_the_kernels_word() -> None:
    """The kernel's count is the host's, and it may have been someone else's process."""
    assert classify(Evidence(log=log_of(HEADS), exit_code=-9, oom_killed=True)).kind == "layout_invalid"
    assert classify(Evidence(log=log_of(OOM), exit_code=137, oom_killed=True)).kind == "cuda_oom"


def test_without_the_kernels_word_a_kill_is_a_kill() -> None:
    """Memory is not blamed for what a person may have done."""
    assert classify(Evidence(log=log_of(), exit_code=-9)).kind == "engine_died"


def test_an_exception_that_is_not_in_the_table_is_named() -> None:
    """The first after the part that broke: what was logged before and survived is not it."""
    lines = (
        "ERROR 11-24 11:00:00 [a.py:1] KeyError: 'survived'",
        "ERROR 11-24 11:00:01 [core.py:1510] EngineCore failed to start.",
        "ERROR 11-24 11:00:01 [core.py:1510] ZeroDivisionError: integer division or modulo by zero",
    )
    log = log_of(*lines)
    error = classify(Evidence(log=log, exit_code=1, runtime="vllm"))
    assert (error.kind, error.message) == (
        "engine_died",
        "the engine broke off with ZeroDivisionError while starting",
    )
    assert error.evidence == f"engine.log:4: {lines[2]}"


def test_sglang_kills_itself_when_a_part_of_it_broke() -> None:
    """Its own handler sends SIGKILL to the whole tree: the signal is not the cause."""
    log = "Scheduler hit an exception: Traceback (most recent call last):\nAssertionError\nReceived sigquit from a child process.\n"
    error = classify(Evidence(log=log, exit_code=-9, runtime="sglang"))
    assert (error.kind, error.message) == (
        "engine_died",
        "the engine broke off with AssertionError while starting",
    )


def test_a_progress_bar_does_not_shift_the_count_of_lines() -> None:
    """An editor counts line feeds; of a line that was drawn over, the last drawing is quoted."""
    bar = "".join(f"Loading shards: {part}%\r" for part in range(0, 100, 5))
    error = classify(Evidence(log=f"first\r\n{bar}{OOM}\r\nlast\n", exit_code=1))
    assert error.evidence == f"engine.log:2: {OOM}"


def test_a_long_line_is_cut_to_where_the_cause_stands() -> None:
    """What is quoted holds the words that were found."""
    error = classify(Evidence(log=f"{'x' * 5000} {OOM} {'y' * 5000}\n", exit_code=1))
    assert OOM in error.evidence
    assert len(error.evidence) < 330


def test_an_empty_log() -> None:
    """An engine that said nothing."""
    assert classify(Evidence(log="", exit_code=3)).evidence == "engine.log is empty"
    assert last_line("\n \n") == "engine.log is empty"


def test_the_last_line_is_none_that_our_own_looks_cause() -> None:
    """An engine whose API answers while nothing else moves says nothing by that."""
    look = 'INFO:     127.0.0.1:48440 - "GET /metrics/?name%5B%5D=vllm%3Anum HTTP/1.1" 200 OK'
    said = 'INFO:     127.0.0.1:48440 - "POST /v1/completions HTTP/1.1" 200 OK'
    assert last_line(f"{said}\n{look}\n{look}\n") == f"engine.log:1: {said}"
    assert last_line(f"{look}\n") == "engine.log is empty"


def test_a_huge_log_is_read_in_seconds() -> None:
    """200,000 lines, 25 MB, and the cause before the last line of it: far below the limit even when busy."""
    line = "(EngineCore pid=7544) INFO 11-24 10:59:38 [loggers.py:127] Engine 000: Avg prompt throughput: 0.0 tokens/s, Running: 8 reqs\n"
    begin = time.process_time()
    error = classify(Evidence(log=f"{line * 200_000}{OOM}\n{DEAD}\n", exit_code=1, runtime="vllm"))
    assert error.evidence == f"engine.log:200001: {OOM}"
    assert time.process_time() - begin < 20


def test_the_kernels_count_of_kills(tmp_path: Path) -> None:
    """Read where the kernel gives it; 0 where it gives none."""
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 1\noom_kill 3\ndrop_pagecache 0\n")
    assert oom_kills(vmstat) == 3
    vmstat.write_text("nr_free_pages 1\n")
    assert oom_kills(vmstat) == 0
    assert oom_kills(tmp_path / "missing") == 0
