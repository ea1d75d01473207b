"""Trials that ran out of memory, and what is noted of candidates near them."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.records import Memory, Plan, Readiness
from autotune.track.lessons import Lessons, is_lesson
from autotune.track.state import SweepState


def plan(needs_gib: float | None, runtime: str = "vllm") -> Plan:
    """A plan that is estimated to need so much of each GPU."""
    memory = Memory(weights_gib=None, kv_cache_gib=None, per_gpu_gib=needs_gib, fits=None)
    return Plan(
        runtime=runtime,
        runtime_version="1",
        argv=(),
        env={},
        files={},
        gpus=1,
        world_size=1,
        image="i",
        readiness=Readiness(path="/health"),
        served_model="m",
        signature="s",
        memory=memory,
    )


def life(
    trial: int, kind: str, needs_gib: float | None, *overrides: str, **about: Any
) -> list[dict[str, Any]]:
    """All events of a trial that failed."""
    recorded = {"runtime": about.get("runtime", "vllm"), "signature": str(trial)}
    recorded |= {"memory": {"per_gpu_gib": needs_gib}}
    params = {"model.path": about.get("model", "m")}
    queued = {"plan": recorded, "params": params, "overrides": list(overrides), "label": f"tp{trial}"}
    ended = {"status": "failed", "failure": {"kind": kind}}
    return [
        {"event": "trial_queued", "trial": trial, **queued},
        *([{"event": "trial_started", "trial": trial}] if about.get("started", True) else []),
        {"event": "trial_finished", "trial": trial, **ended},
    ]


def after(*lives: list[dict[str, Any]]) -> Lessons:
    """What was learnt from these trials, the first of which an earlier process ran."""
    state = SweepState()
    for event in lives[0]:
        state.apply(event)
    lessons = Lessons(state)
    for event in (event for events in lives[1:] for event in events):
        state.apply(event)
        lessons.follow(event)
    return lessons


def noted(lessons: Lessons, needs_gib: float | None, *overrides: str, runtime: str = "vllm") -> str | None:
    """The note of a plan for the model `m`."""
    return lessons.note(plan(needs_gib, runtime), model="m", overrides=overrides)


def test_the_nearest_failure_is_named_with_both_estimates() -> None:
    """Nearest by the memory of a GPU; of those as near the one with the fewest other overrides."""
    lessons = after(
        life(3, "cuda_oom", 74.2, "a=1", "b=1"),
        life(4, "kv_cache_too_small", 74.2, "a=2", "b=1"),
        life(5, "cuda_oom", 90.0, "a=2", "b=2"),
    )
    told = "ran out of memory (cuda_oom) at an estimated"
    assert (
        noted(lessons, 75.0, "a=1", "b=2")
        == f"trial 3 (tp3) {told} 74.2 GiB per GPU; this one is estimated at 75.0"
    )
    near = noted(lessons, 75.0, "a=2", "b=2")
    assert near is not None
    assert near.startswith("trial 4 (tp4) ran out of memory (kv_cache_too_small)")
    assert (
        noted(lessons, 88.0, "a=1") == f"trial 5 (tp5) {told} 90.0 GiB per GPU; this one is estimated at 88.0"
    )
    assert is_lesson(near)
    assert not is_lesson("the engine does not tell its version")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(life(3, "bad_arguments", 74.2), id="another reason"),
        pytest.param(life(3, "cuda_oom", None), id="no estimate"),
        pytest.param(life(3, "cuda_oom", 74.2, model="n"), id="another model"),
        pytest.param(life(3, "cuda_oom", 74.2, runtime="sglang"), id="another engine"),
        pytest.param(life(3, "cuda_oom", 74.2, started=False), id="not even started"),
    ],
)
def test_what_teaches_nothing(events: list[dict[str, Any]]) -> None:
    """Nothing is compared that cannot be."""
    assert noted(after(events), 75.0) is None


def test_a_plan_without_an_estimate_is_compared_with_nothing() -> None:
    """Only numbers can be near."""
    assert noted(after(life(3, "cuda_oom", 74.2)), None) is None
