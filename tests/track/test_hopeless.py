"""What failures say of trials that have not started."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.track.hopeless import Hopeless
from autotune.track.state import SweepState


class Told:
    """A sweep as it goes; `max_failures` as configured."""

    def __init__(self, max_failures: int | None = 3, *earlier: dict[str, Any]) -> None:
        self.state = SweepState()
        for event in earlier:
            self.state.apply(event)
        self.hopeless = Hopeless(self.state, max_failures)

    def ends(self, trial: int, kind: str | None, *, started: bool = True, **about: Any) -> None:
        """A trial that ended as a kind of failure; None: measured."""
        for event in life(trial, kind, **about):
            if started or event["event"] != "trial_started":
                self.state.apply(event)
                self.hopeless.follow(event)

    def against(self, **about: Any) -> str | None:
        """What speaks against a trial."""
        failure = self.hopeless.against(queued(99, **about))
        return None if failure is None else f"{failure.kind}: {failure.message} ({failure.advice})"


def queued(
    trial: int,
    *,
    image: str = "i",
    model: str = "m",
    runtime: str = "vllm",
    gpus: int = 1,
    needs: float | None = None,
) -> dict[str, Any]:
    """A trial that waits; `needs` are estimated GiB of each GPU."""
    memory = {"per_gpu_gib": needs}
    plan = {"runtime": runtime, "image": image, "signature": str(trial), "gpus": gpus, "memory": memory}
    return {"event": "trial_queued", "trial": trial, "plan": plan, "params": {"model.path": model}}


def life(trial: int, kind: str | None, **about: Any) -> list[dict[str, Any]]:
    """All events of a trial."""
    failure = None if kind is None else {"kind": kind, "message": "m", "evidence": "e", "advice": "mend it"}
    status = "measured" if kind is None else "failed"
    return [
        queued(trial, **about),
        {"event": "trial_started", "trial": trial},
        {"event": "trial_finished", "trial": trial, "status": status, "failure": failure},
    ]


@pytest.mark.parametrize(
    ("kind", "same", "other", "told"),
    [
        pytest.param("image_missing", {}, {"image": "j"}, "the same image, i", id="image"),
        pytest.param("model_missing", {"image": "j"}, {"model": "n"}, "the same model.path, m", id="model"),
        pytest.param(
            "model_gated", {"runtime": "sglang"}, {"model": "n"}, "the same model.path, m", id="gated"
        ),
    ],
)
def test_what_is_missing_is_missing_for_all_that_need_it(
    kind: str, same: dict[str, Any], other: dict[str, Any], told: str
) -> None:
    """At once, and only for those."""
    sweep = Told()
    assert not sweep.hopeless.suspected
    sweep.ends(0, kind)
    assert sweep.hopeless.suspected
    assert not sweep.hopeless.stopped
    whole = f"{kind}: not started: trial 0 ended as {kind}, and this one has {told} (mend it)"
    assert sweep.against(**same) == whole
    assert sweep.against(**other) is None


def test_what_was_there_for_another_trial_is_not_missing() -> None:
    """Before or after; also if a process before this one measured it."""
    sweep = Told()
    sweep.ends(0, "model_missing")
    sweep.ends(1, None)
    assert sweep.against() is None
    again = Told(3, *life(0, None))
    again.ends(1, "model_missing")
    assert again.against() is None


def test_everything_that_fails_for_one_reason() -> None:
    """So many of one kind, and nothing else: then the rest is not started."""
    sweep = Told(3)
    for trial in range(2):
        sweep.ends(trial, "bad_arguments")
    assert (sweep.hopeless.stopped, sweep.against()) == (False, None)
    sweep.ends(2, "bad_arguments")
    told = "all trials so far failed as bad_arguments (sweep.max_failures=3)"
    assert sweep.hopeless.stopped
    assert sweep.against() == f"bad_arguments: not started: {told} (mend it)"
    assert sweep.against(gpus=8) is not None


def test_what_shares_nothing_with_those_that_failed_gets_its_turn() -> None:
    """Another engine or another model may do; one of it that fails speaks against the rest of it."""
    sweep = Told(2)
    sweep.ends(0, "bad_arguments")
    sweep.ends(1, "bad_arguments")
    assert sweep.against(runtime="sglang") is None
    assert sweep.against(model="n") is None
    sweep.ends(2, "bad_arguments", runtime="sglang")
    assert sweep.against(runtime="sglang") is not None


@pytest.mark.parametrize(
    ("kinds", "limit"),
    [
        pytest.param(["bad_arguments", "bad_arguments", "nccl"], 3, id="another reason"),
        pytest.param(["bad_arguments", "bad_arguments", None, "bad_arguments"], 3, id="one was measured"),
        pytest.param(["bad_arguments"] * 9, None, id="no limit"),
        pytest.param(["no_row"] * 9, 3, id="gaps of a table"),
    ],
)
def test_a_sweep_that_goes_on(kinds: list[str | None], limit: int | None) -> None:
    """As long as something may go better."""
    sweep = Told(limit)
    for trial, kind in enumerate(kinds):
        sweep.ends(trial, kind)
    assert not sweep.hopeless.stopped
    assert sweep.against() is None


@pytest.mark.parametrize(
    ("about", "dropped"),
    [
        pytest.param({"needs": 70.0}, True, id="needs as much"),
        pytest.param({"needs": 80.0}, True, id="needs more"),
        pytest.param({"needs": 60.0}, False, id="needs less"),
        pytest.param({"needs": None}, True, id="nobody knows"),
        pytest.param({"needs": 70.0, "gpus": 4}, False, id="more GPUs"),
    ],
)
def test_where_memory_was_too_small_what_needs_less_gets_its_turn(
    about: dict[str, Any], *, dropped: bool
) -> None:
    """A grid may begin with its largest candidates."""
    sweep = Told(2)
    sweep.ends(0, "cuda_oom", gpus=2, needs=70.0)
    sweep.ends(1, "cuda_oom", gpus=2, needs=75.0)
    assert (sweep.against(**{"gpus": 2, **about}) is not None) == dropped


def test_what_was_not_started_is_no_evidence() -> None:
    """Nor is what an earlier process saw fail: whoever resumes has mended something."""
    sweep = Told(1, *life(0, "image_missing"))
    sweep.ends(1, "no_gpus", started=False)
    assert not sweep.hopeless.suspected
