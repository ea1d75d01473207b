"""What may differ when a sweep is resumed, and what may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autotune.errors import ConfigError
from autotune.track.state import check_same, earlier_state, state_of


def beginning(
    *uuids: str, model: str = "H100", kind: str = "detected", metric: str = "score"
) -> dict[str, Any]:
    """What a sweep begins with."""
    gpus = [{"uuid": uuid, "model": model, "node": "n"} for uuid in uuids]
    return {"objective": {"metric": metric}, "inventory": {"kind": kind, "gpus": gpus}, "simulated": False}


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(beginning("a", "b", "c"), id="the same"),
        pytest.param(beginning("c", "a", "b"), id="in another order"),
        pytest.param(beginning("a", "c"), id="one has fallen off the bus"),
    ],
)
def test_a_sweep_goes_on_with_the_gpus_that_are_left(now: dict[str, Any]) -> None:
    """A sweep of many hours survives the loss of one."""
    check_same(beginning("a", "b", "c"), now, "s")
    check_same(None, now, "s")


@pytest.mark.parametrize(
    ("now", "told"),
    [
        pytest.param(beginning("a", "d"), r"H100 d on n is none of the GPUs it began on", id="a new one"),
        pytest.param(beginning("a", model="A100"), r"A100 a on n is none of the GPUs", id="another model"),
        pytest.param(
            beginning("a", kind="declared"), r"the GPUs were detected and are declared", id="declared"
        ),
        pytest.param(beginning("a", metric="ttft"), r"objective was .*score.* and is .*ttft", id="objective"),
    ],
)
def test_a_sweep_does_not_go_on_where_trials_would_not_compare(now: dict[str, Any], told: str) -> None:
    """What differs is named."""
    with pytest.raises(ConfigError, match=rf"sweep\.name=s: {told}.*: resume with the same"):
        check_same(beginning("a", "b"), now, "s")


def test_a_name_is_taken_unless_the_sweep_is_resumed(tmp_path: Path) -> None:
    """The message says both ways out."""
    assert earlier_state(tmp_path, resume=False).trials == {}
    (tmp_path / "journal.jsonl").touch()
    assert earlier_state(tmp_path, resume=True).trials == {}
    with pytest.raises(ConfigError, match=r"exists: sweep\.resume=true continues it; or choose another name"):
        earlier_state(tmp_path, resume=False)


def test_a_trial_whose_attempt_failed_waits_again() -> None:
    """Nothing of it runs; what was tried is kept, until it has an end."""
    events: list[dict[str, Any]] = [
        {"event": "trial_queued", "trial": 0},
        {"event": "trial_started", "trial": 0, "lease": {"gpus": ["a"]}},
        {"event": "server_started", "trial": 0},
        {"event": "attempt_failed", "trial": 0, "attempt": 1},
    ]
    waits = state_of(events).trials[0]
    assert (waits.status, waits.backs_off, waits.server) == ("queued", True, None)
    assert [each.started["lease"]["gpus"] for each in waits.attempts] == [["a"]]
    assert not waits.is_done(None)
    runs = state_of([*events, {"event": "trial_started", "trial": 0}]).trials[0]
    assert (runs.status, runs.backs_off) == ("running", False)
    ended = state_of([*events, {"event": "trial_finished", "trial": 0, "status": "interrupted"}]).trials[0]
    assert (ended.status, ended.backs_off) == ("interrupted", False)
