"""What a user reads while a sweep runs: the panel, and plain lines."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from autotune.report.live import LiveView, PlainView
from autotune.report.progress import Progress
from autotune.report.render import PLAIN_WIDTH
from tests.report.test_render import finished, queued, started

FAILED_ATTEMPT: dict[str, Any] = {
    "event": "attempt_failed",
    "trial": 0,
    "attempt": 1,
    "failure": {"kind": "infrastructure", "message": "the daemon [hangs]", "evidence": "", "advice": ""},
    "again_in_s": 30.0,
}
TOLD = "attempt 1 failed, infrastructure: the daemon [hangs]"


def begun(trial: int) -> dict[str, Any]:
    """A trial starts on the first GPU."""
    return {"event": "trial_started", "trial": trial, "lease": {"gpus": ["g0"], "indices": [0]}}


def panel(progress: Progress) -> str:
    """The panel as text."""
    out = io.StringIO()
    Console(file=out, width=PLAIN_WIDTH).print(progress.render())
    return out.getvalue()


def test_progress_knows_holders_best_and_time_left() -> None:
    """One of three trials of 2 GPUs done in 10 s on 4 GPUs: 4 of 10 s into the second, the third waits."""
    now = [0.0]
    progress = Progress(clock=lambda: now[0])
    for event in (started(), *(queued(n, "vllm", f"tp{n}", 2) for n in range(3))):
        progress.follow(event)
    progress.follow(finished(0, [7.0]))
    progress.follow(
        {"event": "trial_started", "trial": 1, "lease": {"gpus": ["g0", "g1"], "indices": [0, 1]}}
    )
    now[0] = 4.0
    assert progress.best() == (0, 7.0)
    assert progress.seconds_left() == pytest.approx((6 * 2 + 10 * 2) / 4)
    out = io.StringIO()
    Console(file=out, width=100).print(progress.render())
    assert "0:1  1:1  2:·  3:·" in out.getvalue()
    assert "1 of 3 done · best so far vllm · tp0 7.0 · about 8 s left" in out.getvalue()


def test_plain_lines_tell_each_step() -> None:
    """Where there is no terminal, one line a step; labels are no markup."""
    out = io.StringIO()
    view = PlainView(Console(file=out, width=PLAIN_WIDTH, highlight=False))
    load = {"mode": "concurrency", "value": 8.0}
    events = [
        started(),
        {**queued(0, "vllm", "tp2", 2), "label": "[loads]=1"},
        {"event": "trial_started", "trial": 0, "lease": {"gpus": ["g0"], "indices": [0]}},
        {"event": "server_ready", "trial": 0, "startup_s": 1.25, "engine_version": None},
        {
            "event": "measured",
            "trial": 0,
            "load": load,
            "repeat": 0,
            "metrics": {"output_tokens_per_s": 5.0},
            "requests_failed": 2,
        },
        finished(0, [7.0]),
    ]
    for event in events:
        view.follow(event)
    lines = [line.split(" ", 1)[1] for line in out.getvalue().splitlines()]
    assert lines == [
        "sweep s: 3 candidates on 4 x H100",
        "trial 0 [loads]=1: starting on GPU 0",
        "trial 0 [loads]=1: ready after 1.2 s, version unknown",
        "trial 0 [loads]=1: concurrency 8 repeat 1, 5.0 output tokens/s, 2 requests FAILED",
        "trial 0 [loads]=1: measured, total_tokens_per_s_per_gpu 7.0 (1 of 1 done)",
    ]


def test_the_panel_has_a_line_for_an_attempt_that_failed() -> None:
    """Until the next one begins: why, and when that will be; it holds no GPU meanwhile."""
    now = [0.0]
    progress = Progress(clock=lambda: now[0])
    for event in (started(), queued(0, "vllm", "tp1", 1), begun(0), FAILED_ATTEMPT):
        progress.follow(event)
    now[0] = 12.0
    assert f"again in 18 s; {TOLD}" in panel(progress)
    assert "0:·" in panel(progress)
    progress.follow(begun(0))
    assert TOLD not in panel(progress)
    assert "0:0" in panel(progress)
    progress.follow(FAILED_ATTEMPT)
    progress.follow(finished(0, []))
    assert TOLD not in panel(progress)


def test_an_attempt_that_failed_stays_readable_above_the_panel() -> None:
    """The next attempt may begin before anyone has read the panel's line."""
    out = io.StringIO()
    view = LiveView(Console(file=out, width=PLAIN_WIDTH, force_terminal=True, color_system=None))
    for event in (started(), queued(0, "vllm", "tp1", 1), begun(0), FAILED_ATTEMPT, begun(0)):
        view.follow(event)
    assert out.getvalue().splitlines() == [f"trial 0 vllm · tp1: {TOLD}; again in 30 s"]
