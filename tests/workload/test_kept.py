"""What is kept: until there is too much that nobody used lately."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from autotune.workload import kept, pool
from autotune.workload.pool import Summary

SUMMARY = Summary(
    drawn=1,
    of=1,
    looked_at=1,
    unusable=0,
    short=0,
    long=0,
    rate=None,
    input_tokens=1,
    output_tokens=1,
    totals=(2,),
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path))


def age(name: str, days: float) -> None:
    """Make a kept file so many days old."""
    then_s = time.time() - days * 86400
    os.utime(kept.place_for(name), (then_s, then_s))


def fill(count: int, days: float) -> None:
    """Keep so many other things of that age."""
    for number in range(count):
        kept.keep(f"other-{number}", number)
        age(f"other-{number}", days)


def test_what_was_not_used_for_longest_goes_first() -> None:
    """A draw that is found is used with its conversations: both stay."""
    pool.keep("draw", SUMMARY, [{"a": 1}])
    kept.keep("unused", 1)
    for name in ("draw", "draw-pool", "unused"):
        age(name, 9)
    fill(kept.MOST - 3, days=5)
    assert pool.find("draw") == SUMMARY
    fill(kept.MOST + 5, days=5)
    assert kept.find("unused") is None
    assert pool.find("draw") == SUMMARY
    assert kept.find("draw-pool") == [{"a": 1}]
    kept.keep("last", 1)
    assert len(list(kept.place_for("draw").parent.glob("*.json"))) == kept.MOST


def test_what_was_used_within_a_day_stays() -> None:
    """However many there are."""
    fill(kept.MOST + 9, days=0.9)
    assert all(kept.find(f"other-{number}") == number for number in range(kept.MOST + 9))


def test_a_draw_without_its_conversations_is_not_found() -> None:
    """It is drawn again."""
    pool.keep("draw", SUMMARY, [])
    kept.place_for("draw-pool").unlink()
    assert pool.find("draw") is None
