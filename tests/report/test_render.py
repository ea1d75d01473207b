"""What a user reads at the end of a sweep, against golden files."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autotune.report.render import PLAIN_WIDTH, engine_command, render
from autotune.schema import Direction
from autotune.score.intervals import between
from autotune.score.ranking import rank
from autotune.track.state import SweepState, state_of

GOLDEN = Path(__file__).parent / "golden"


def started(
    metric: str = "total_tokens_per_s_per_gpu", direction: str = "maximize", **more: Any
) -> dict[str, Any]:
    """The first event of a sweep over runtime and parallel on 4 GPUs."""
    gpus = [{"uuid": f"g{i}", "model": "H100", "node": "n"} for i in range(4)]
    return {
        "event": "sweep_started",
        "sweep": "s",
        "command": [
            "python",
            "-m",
            "autotune",
            "-m",
            "parallel=tp2,tp4",
            "sweep.name=s",
            "sweep.retry=failed",
        ],
        "candidates": 3,
        "varied": ["runtime", "parallel"],
        "objective": {"metric": metric, "direction": direction, "load": "best"},
        "inventory": {"kind": "declared", "gpus": gpus},
        "simulated": False,
        **more,
    }


def queued(trial: int, runtime: str, parallel: str, gpus: int, **choices: str) -> dict[str, Any]:
    """A trial that waits."""
    plan = {
        "runtime": runtime,
        "argv": [runtime, "serve", "a model", "--port", "{port}"],
        "env": {"A": "b c"},
        "gpus": gpus,
        "signature": f"{trial}",
    }
    return {
        "event": "trial_queued",
        "trial": trial,
        "overrides": [f"runtime={runtime}", f"parallel={parallel}"],
        "choices": {"runtime": runtime, "parallel": parallel, **choices},
        "label": f"{runtime} · {parallel}",
        "params": {"model.path": "m"},
        "plan": plan,
        "folder": f"trial-{trial}",
    }


def noise(repeats: list[float]) -> dict[str, Any]:
    """What is known of the noise by the repeats alone."""
    interval = between(sum(repeats) / len(repeats), repeats) if repeats else None
    return {"score_interval": None if interval is None else asdict(interval), "outliers": [], "by_load": []}


def finished(trial: int, repeats: list[float], **more: Any) -> dict[str, Any]:
    """A trial that was measured; without repeats, one that failed."""
    score = sum(repeats) / len(repeats) if repeats else None
    latencies = {"ttft_ms_p50": 10.25, "ttft_ms_p99": 20.5, "tpot_ms_p50": 4.0, "tpot_ms_p99": 5.0}
    metrics = (
        {"total_tokens_per_s_per_gpu": score, "output_tokens_per_s": 100.0, **latencies} if repeats else {}
    )
    return {
        "event": "trial_finished",
        "trial": trial,
        "status": "measured" if repeats else "failed",
        "failure": None,
        "score": score,
        "score_repeats": repeats,
        **noise(repeats),
        "load": {"mode": "concurrency", "value": 8} if repeats else None,
        "metrics": metrics,
        "notes": [],
        "trial_s": 10.0,
        **more,
    }


FAILURE = {
    "kind": "cuda_oom",
    "message": "the engine ended: cuda oom",
    "evidence": "engine.log:7: CUDA out of memory [here]",
    "advice": "use more GPUs",
}


def failed(
    trial: int, kind: str, evidence: str, message: str = "the engine ended", advice: str = "mend it"
) -> list[dict[str, Any]]:
    """A trial that failed."""
    failure = {"kind": kind, "message": message, "evidence": evidence, "advice": advice}
    return [queued(trial, "vllm", f"tp{trial}", 1), finished(trial, [], failure=failure)]


ABSOLUTE = {"total_tokens_per_s": 5.0, "output_tokens_per_s": 3.0, "requests_failed": 2}

OUTLIERS = [
    {"kind": "repeats", "metric": "m", "count": 1, "total": 3, "limit": 644.43, "worst": 120.0},
    {"kind": "requests", "metric": "ttft_ms", "count": 12, "total": 1536, "limit": 250.0, "worst": 901.25},
]


def early(event: dict[str, Any]) -> dict[str, Any]:
    """The same as a version wrote it that knew nothing of noise."""
    return {
        key: value for key, value in event.items() if key not in {"score_interval", "outliers", "by_load"}
    }


def limited(event: dict[str, Any]) -> dict[str, Any]:
    """The same, had the load client been the limit."""
    why = ["CPU 98 % of one core"]
    by_load = [{"load": event["load"], "score": event["score"], "client_bound": why}]
    return {**event, "score": None, "client_bound": why, "by_load": by_load}


SWEEPS: dict[str, list[dict[str, Any]]] = {
    "clear": [
        started(),
        queued(0, "vllm", "tp2", 2),
        queued(1, "vllm", "tp4", 4),
        queued(2, "sglang", "tp2", 2),
        finished(0, [660.0, 661.0, 662.0], notes=["trial 2 ran out; this one is estimated at 70.0"]),
        finished(1, [384.5, 380.0, 390.0]),
        finished(2, [], failure=FAILURE),
        {
            "event": "candidate_rejected",
            "overrides": ["parallel=tp16"],
            "reasons": ["needs 16 GPUs; the inventory has 4"],
        },
        {"event": "candidate_duplicate", "overrides": ["parallel=single"], "duplicate_of": 0},
    ],
    "tie": [
        started(simulated=True),
        queued(0, "vllm", "tp2", 2),
        queued(1, "sglang", "tp2", 2),
        finished(0, [650.0, 661.0, 672.0], notes=["the engine says version 1; the plan was made for 2"]),
        finished(1, [649.0, 655.0, 670.0]),
    ],
    "ties": [
        started(),
        queued(0, "vllm", "tp4", 4),
        queued(1, "sglang", "tp4", 4),
        queued(2, "vllm", "tp1", 1),
        queued(3, "sglang", "tp1", 1),
        queued(4, "vllm", "tp2", 2),
        finished(0, [650.0, 661.0, 672.0]),
        finished(1, [649.0, 655.0, 670.0]),
        finished(2, [640.0, 650.0, 660.0]),
        finished(3, [300.0, 301.0, 302.0]),
        finished(4, [655.0]),
    ],
    "early-journal": [
        started(),
        queued(0, "vllm", "tp2", 2),
        queued(1, "vllm", "tp4", 4),
        early(finished(0, [660.0, 661.0, 662.0])),
        early(finished(1, [659.0, 663.0, 660.0])),
    ],
    "doubts": [
        started(),
        queued(0, "vllm", "tp2", 2),
        queued(1, "vllm", "tp4", 4),
        finished(0, [661.0, 660.0, 120.0], outliers=OUTLIERS),
        limited(finished(1, [384.5, 380.0, 390.0])),
    ],
    "limited": [started(), queued(0, "vllm", "tp4", 4), limited(finished(0, [384.5, 380.0, 390.0]))],
    "latency": [
        started("ttft_ms_p90", "minimize"),
        queued(0, "vllm", "tp2", 2),
        queued(1, "vllm", "tp4", 4),
        finished(0, [12.0]),
        finished(1, [9.0]),
    ],
    "two-workloads": [
        started(),
        queued(0, "vllm", "tp2", 2, workload="chat"),
        queued(1, "vllm", "tp2", 2, workload="rag"),
        finished(0, [1.0, 1.0, 1.0]),
        finished(1, [2.0, 2.0, 2.0]),
    ],
    "failures": [
        started(),
        *(
            event
            for n in range(7)
            for event in failed(n, "cuda_oom", f"engine.log:{n}: tried to allocate {n}.50 GiB")
        ),
        *failed(7, "cuda_oom", "engine.log:9: out of memory in the KV cache"),
        *failed(8, "image_missing", "", "no image [x] here", "docker pull x"),
        *failed(9, "image_missing", "", "not started: trial 8 ended as image_missing", "docker pull x"),
        *failed(10, "heard of nowhere", "", "recorded as that", ""),
    ],
    "causes": [
        started(),
        *(event for n in range(7) for event in failed(n, "engine_died", f"engine.log:3: {'x' * n} is wrong")),
    ],
    "unknown-gpus": [started(), queued(0, "vllm", "tp1", 0), finished(0, [5.0], metrics=ABSOLUTE)],
}


def printed(state: SweepState) -> str:
    """The end of a sweep as a pipe gets it."""
    out = io.StringIO()
    trials = [(t.number, t.queued, t.finished) for t in state.latest() if t.finished]
    direction = Direction((state.started or {})["objective"]["direction"])
    console = Console(file=out, width=PLAIN_WIDTH, highlight=False)
    render(console, state, rank(trials, direction), folder=Path("outputs/s"), store="python -m autotune ui")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


@pytest.mark.parametrize("name", SWEEPS)
def test_the_end_of_a_sweep(name: str) -> None:
    """Every line is as it was read and approved; a missing golden file is a failure."""
    assert printed(state_of(SWEEPS[name])) == (GOLDEN / f"{name}.txt").read_text()


def test_what_no_table_knows_is_run_again_as_failed() -> None:
    """`sweep.retry` takes no kind that a replayed table made up."""
    out = printed(state_of([started(), *failed(0, "heard of nowhere", "")]))
    assert "sweep.retry=failed\n" in out


def test_the_engines_command_can_be_typed() -> None:
    """Quoted, with its environment and a port."""
    assert engine_command(queued(0, "vllm", "tp1", 1)["plan"]) == "A='b c' vllm serve 'a model' --port 8000"


def test_the_engines_command_begins_with_its_prefix() -> None:
    """What the user put before it was run as well."""
    plan = {**queued(0, "vllm", "tp1", 1)["plan"], "prefix": ["numactl", "--membind=0 1"]}
    told = engine_command(plan)
    assert told == "A='b c' numactl '--membind=0 1' vllm serve 'a model' --port 8000"
