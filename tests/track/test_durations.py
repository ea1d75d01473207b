"""What journals tell about how long trials take."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from autotune.track.durations import EARLIER, Alike, Durations, alike, newest_journals


def queued(trial: int, *, signature: str = "s", tp: int = 1, loads: str = "[1]") -> dict[str, Any]:
    """A `trial_queued` with what durations look at."""
    params = {
        "runtime": "vllm",
        "model.path": "m",
        "parallel.tp": str(tp),
        "gpu.count": str(tp),
        "workload": "chat",
        "workload.loads": loads,
        "deploy": "process",
    }
    return {"event": "trial_queued", "trial": trial, "plan": {"signature": signature}, "params": params}


def like(trial: int, **kinds: Any) -> Alike:
    """What a trial is like."""
    return alike(queued(trial, **kinds))


def lived(trial: int, seconds: int, status: str = "measured", **kinds: Any) -> list[dict[str, Any]]:
    """The steps of a trial that took so long."""
    begin, end = f"2026-01-01T10:{trial:02}:00.000Z", f"2026-01-01T10:{trial:02}:{seconds:02}.000Z"
    return [
        queued(trial, **kinds),
        {"event": "trial_started", "trial": trial, "time": begin},
        {"event": "trial_finished", "trial": trial, "time": end, "status": status},
    ]


def told(*events: dict[str, Any]) -> Durations:
    """Durations that followed these events."""
    durations = Durations()
    for event in events:
        durations.follow(event)
    return durations


def test_nothing_is_known_at_first() -> None:
    """Neither a mean nor an expectation."""
    durations = told(queued(0))
    assert (durations.mean_s, durations.expected(like(0))) == (None, None)


def test_the_same_engine_under_the_same_traffic() -> None:
    """One trial is enough, and no other layout counts."""
    durations = told(*lived(0, 10, signature="a"), *lived(1, 50, signature="b"))
    known = durations.expected(like(9, signature="a"))
    assert known is not None
    assert (known.mean_s, known.spread) == (10.0, 0.2)


def test_the_layout_and_model() -> None:
    """Three trials are enough, and their spread says how much the mean is worth."""
    three = [*lived(0, 10, signature="a"), *lived(1, 20, signature="b"), *lived(2, 40, signature="c")]
    assert told(*three[:6]).expected(like(9, signature="x")) is None
    known = told(*three).expected(like(9, signature="x"))
    assert known is not None
    assert known.mean_s == pytest.approx(70 / 3)
    assert known.spread == pytest.approx(math.log(2) * math.sqrt(2 / 3))


def test_a_change_is_told_where_it_can_concern_others() -> None:
    """Not by a single trial, whose engine no other has; then with every tenth part more."""
    durations = told(*lived(0, 10, signature="a"), *lived(1, 20, signature="b"))
    assert durations.changes == 0
    for event in lived(2, 40, signature="c"):
        durations.follow(event)
    assert durations.changes == 2  # the layout, and the number of GPUs
    known = durations.expected(like(9, signature="x"))
    for number in range(3, 13):
        for event in lived(number, 5, signature=str(number)):
            durations.follow(event)
    later = durations.expected(like(9, signature="x"))
    assert known is not None
    assert later is not None
    assert durations.changes > 2
    assert later.mean_s < known.mean_s


@pytest.mark.parametrize("other", [{"tp": 2}, {"loads": "[1,8]"}])
def test_another_layout_or_another_traffic_says_nothing(other: dict[str, Any]) -> None:
    """Durations depend on both."""
    durations = told(*lived(0, 10), *lived(1, 10), *lived(2, 10))
    assert durations.expected(like(9, signature="x", **other)) is None


def test_the_mean_is_of_this_sweep_and_counts_failures(tmp_path: Path) -> None:
    """What was interrupted took no time of its own; earlier sweeps only help to expect."""
    journal = tmp_path / "journal.jsonl"
    lines = [json.dumps(event) for event in lived(0, 50, signature="old")]
    journal.write_text("\n".join(lines) + '\n{"event": "trial_finished", "tri')
    durations = Durations()
    durations.learn(journal)
    for event in [*lived(0, 10), *lived(1, 20, "failed"), *lived(2, 59, "interrupted")]:
        durations.follow(event)
    assert durations.mean_s == 15.0
    known = durations.expected(like(9, signature="old"))
    assert known is not None
    assert known.mean_s == 50.0


def test_only_the_last_attempt_says_how_long_a_trial_takes(tmp_path: Path) -> None:
    """Not the one that failed at once, and not the wait for the next; the same for earlier sweeps."""
    queued_, begun, end = lived(0, 50)
    failed = {"event": "attempt_failed", "trial": 0, "time": "2026-01-01T10:00:03.000Z"}
    again = {**begun, "time": "2026-01-01T10:00:40.000Z"}
    events = [queued_, begun, failed, again, end]
    assert told(*events).mean_s == 10.0
    assert told(queued_, begun, failed, end).mean_s is None
    journal = tmp_path / "journal.jsonl"
    journal.write_text("\n".join(json.dumps(event) for event in events))
    durations = Durations()
    durations.learn(journal)
    known = durations.expected(like(0))
    assert known is not None
    assert known.mean_s == 10.0


@pytest.mark.parametrize(
    "content", [{"params": {}}, {"params": {}, "plan": {}}, {"params": None, "plan": 3}, []]
)
def test_a_journal_of_another_kind_teaches_nothing(content: Any, tmp_path: Path) -> None:
    """It stops no sweep."""
    events = lived(0, 10)
    events[0] = {"event": "trial_queued", "trial": 0, **content} if content else ["trial_queued"]  # type: ignore[assignment]
    journal = tmp_path / "journal.jsonl"
    journal.write_text(
        "\n".join(map(json.dumps, events)).replace('["trial_queued"]', '["event": "trial_queued"]')
    )
    durations = Durations()
    durations.learn(journal)
    durations.learn(tmp_path / "gone")
    assert durations.expected(like(1)) is None


def test_the_newest_sweeps(tmp_path: Path) -> None:
    """So many that reading them takes no time."""
    for number in range(EARLIER + 5):
        path = tmp_path / f"sweep-{number}" / "journal.jsonl"
        path.parent.mkdir()
        path.touch()
        os.utime(path, (number, number))
    assert [path.parent.name for path in newest_journals(tmp_path)] == [
        f"sweep-{n}" for n in range(24, 4, -1)
    ]
