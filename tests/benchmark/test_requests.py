"""What is made before it is due: as much as is needed, and no more than fits."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from autotune.benchmark.client.requests import AHEAD_BYTES, Requests, Share
from autotune.records import Load, Mode
from tests.contracts.benchmark import TRAFFIC

SMALL, LARGE = 16, 20_000


def built(
    *, mode: Mode, value: float, share: Share | None = None, **traffic: float
) -> tuple[Requests, dict[str, int]]:
    """The requests of a process after all was made ahead, and the bytes of each phase."""
    load = Load(mode=mode, value=value)
    requests = Requests(
        "known",
        replace(TRAFFIC, **traffic),  # type: ignore[arg-type]
        load,
        repeat=1,
        share=share or Share(),
    )
    asyncio.run(requests.build_ahead())
    return requests, dict(requests.ahead_bytes)


def one_body_bytes(**traffic: float) -> int:
    """The size of one body."""
    due = Requests(
        "known",
        replace(TRAFFIC, **traffic),  # type: ignore[arg-type]
        Load(mode=Mode.CONCURRENCY, value=1),
        repeat=1,
        share=Share(),
    ).take("measure")
    assert due is not None
    return due.body_bytes


def test_long_prompts_are_made_ahead_as_far_as_they_fit() -> None:
    """Of a thousand, each of 100 KB and more, the phase holds what it may, and one that crosses the line."""
    _, held = built(
        mode=Mode.CONCURRENCY, value=64, seconds_per_load=60, input_tokens=LARGE, warmup_requests=20
    )
    assert sum(AHEAD_BYTES.values()) == 64 << 20
    for phase, most in AHEAD_BYTES.items():
        assert held[phase] < most + 1.2 * one_body_bytes(input_tokens=LARGE), phase
    assert held["measure"] >= AHEAD_BYTES["measure"]


def test_a_closed_loop_over_seconds_makes_what_a_fast_engine_would_ask_for() -> None:
    """Two workers, 1 s, 100 tokens of 2 ms each: five answers of each worker and one that is cut."""
    requests, held = built(mode=Mode.CONCURRENCY, value=2, seconds_per_load=1, output_tokens=100)
    assert held["measure"] / one_body_bytes(output_tokens=100) == pytest.approx(2 * 6, rel=0.1)
    for _ in range(20):  # and goes on after that
        assert requests.take("measure") is not None
    assert requests.ahead_bytes["measure"] == 0


@pytest.mark.parametrize("of", [1, 2])
def test_an_open_loop_over_seconds_makes_what_its_schedule_has(of: int) -> None:
    """Those within the seconds and the first one after them, of each process."""
    requests, _ = built(mode=Mode.RATE, value=50, seconds_per_load=2, share=Share(rank=of - 1, of=of))
    times_s = []
    while requests.ahead_bytes["measure"]:
        due = requests.take("measure")
        assert due is not None
        times_s.append(due.at_s)
    assert sum(at_s >= 2 for at_s in times_s) == 1
    assert len(times_s) == pytest.approx(100 / of, abs=4 * math.sqrt(100 / of))


def test_what_is_counted_is_made_to_its_end() -> None:
    """Nothing is left to be made of 30 requests."""
    requests, _ = built(mode=Mode.RATE, value=10, min_requests=30, input_tokens=SMALL)
    taken = 0
    while requests.take("measure") is not None:
        taken += 1
        assert (requests.ahead_bytes["measure"] == 0) is (taken == 30)
    assert taken == 30
