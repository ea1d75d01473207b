"""Conversations of a file: each measurement its own part, traces by their times, words for lengths."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from autotune.benchmark.arrivals import arrivals
from autotune.benchmark.traffic import RequestPlan, conversations, measured_count, warmup_count
from autotune.records import Load, Mode, Traffic
from autotune.workload.pool import slot_size

ONE, TWO = Load(mode=Mode.CONCURRENCY, value=1), Load(mode=Mode.CONCURRENCY, value=2)
SIZES = {"requests_per_load": 4, "min_requests": 2, "warmup_requests": 1}


def traffic(tmp_path: Path, pool: list[dict[str, Any]]) -> Traffic:
    """What is sent of a pool at two loads."""
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
    file.write_text(json.dumps(pool))
    return Traffic(
        endpoint="chat",
        input_tokens=0,
        output_tokens=0,
        input_spread=0,
        output_spread=0,
        ignore_eos=True,
        seed=1,
        pool=str(file),
        loads=(1.0, 2.0),
        requests_per_load=SIZES["requests_per_load"],
        min_requests=SIZES["min_requests"],
        warmup_requests=SIZES["warmup_requests"],
    )


def said(number: int, at_s: float | None = None) -> dict[str, Any]:
    """A conversation of two turns."""
    texts = [["user", f"q{number}"], ["assistant", "a"], ["user", f"again{number}"], ["assistant", "b"]]
    asks = [{"position": p, "input_tokens": p + 1, "output_tokens": 1} for p in (0, 2)]
    return {"texts": texts, "asks": asks, "at_s": at_s, "blocks": []}


def sent(
    of: Traffic, load: Load, count: int, *, repeat: int = 0, phase: str = "measure"
) -> list[RequestPlan]:
    """The first requests of so many conversations."""
    drawn = islice(conversations(of, load, repeat=repeat, phase=phase), count)
    return [plan for conversation in drawn for plan in conversation]


def test_no_conversation_is_sent_twice_while_there_are_enough(tmp_path: Path) -> None:
    """Over loads, repeats and phases; from then on the first ones come again."""
    needed = 3 * (slot_size(1, **SIZES) + slot_size(2, **SIZES))
    of = traffic(tmp_path, [said(n) for n in range(needed)])
    seen: list[str] = []
    for repeat in range(3):
        for load in (ONE, TWO):
            for phase, count in (
                ("warmup", warmup_count(of, load, repeat=0)),
                ("measure", measured_count(of, load)),
                ("fill", 5),
            ):
                seen += [p.prompt for p in sent(of, load, count, repeat=repeat, phase=phase) if not p.history]
    assert len(set(seen)) == len(seen) > 60
    assert sent(of, ONE, 1, repeat=3, phase="warmup") == sent(of, ONE, 1, phase="warmup")


def test_a_turn_has_its_recorded_history(tmp_path: Path) -> None:
    """With the answers of the file."""
    first, second = sent(traffic(tmp_path, [said(7)]), ONE, 1)
    assert (first.prompt, first.history, first.index) == ("q7", (), 0)
    assert (second.prompt, second.history) == ("again7", (("user", "q7"), ("assistant", "a")))
    assert (second.input_tokens, second.index) == (3, 1)


def test_a_trace_is_replayed_from_its_begin(tmp_path: Path) -> None:
    """At each load and repeat; after its last request it goes on from the first."""
    of = traffic(tmp_path, [said(n, at_s=2.0 * n) for n in range(4)])
    for load, repeat in ((ONE, 0), (TWO, 2)):
        warm = sent(of, load, warmup_count(of, load, repeat=0), repeat=repeat, phase="warmup")
        rest = sent(of, load, 5, repeat=repeat)
        begun = [plan for plan in (*warm, *rest) if not plan.history]
        assert [plan.prompt for plan in begun[:6]] == ["q0", "q1", "q2", "q3", "q0", "q1"]


@pytest.mark.parametrize("rate", [0.5, 4.0])
def test_a_traces_times_are_stretched_to_the_rate(tmp_path: Path, rate: float) -> None:
    """Its gaps keep their proportions; its end is a mean gap long; each phase begins at 0."""
    recorded_s = [10.0, 11.0, 11.0, 14.0, 18.0]  # a mean gap of 2, so that a round is 10
    of = replace(traffic(tmp_path, [said(n, at_s=t) for n, t in enumerate(recorded_s)]), arrival="trace")
    load = Load(mode=Mode.RATE, value=rate)
    begin = warmup_count(of, load, repeat=0)
    for phase, place in (("warmup", 0), ("measure", begin)):
        drawn = list(islice(arrivals(of, load, repeat=1, phase=phase), 11))
        rounds = [n // 5 * 10.0 + recorded_s[n % 5] for n in range(place, place + 11)]
        assert drawn == pytest.approx([(at_s - rounds[0]) / (2 * rate) for at_s in rounds])
        assert drawn[10] == pytest.approx(10 / rate)


def test_lengths_become_words_and_blocks_are_shared(tmp_path: Path) -> None:
    """A Mooncake line: blocks of 512 tokens by their ids, anew for each repeat."""
    asks = [{"position": 0, "input_tokens": 1300, "output_tokens": 1}]
    pool = [
        {"texts": [], "asks": asks, "at_s": None, "blocks": blocks} for blocks in ([4, 5, 6], [4, 5, 7], [])
    ]
    of = replace(traffic(tmp_path, pool), overhead_tokens=10)
    texts = [plan.prompt.split() for plan in sent(of, ONE, 3)]
    assert [len(words) for words in texts] == [1290] * 3
    alike = [len([1 for a, b in zip(texts[0], other, strict=True) if a == b]) for other in texts]
    shared = next(
        n
        for n, (a, b) in enumerate(
            zip(*sorted(texts, key=lambda t: t[:1024] != texts[0][:1024])[:2], strict=True)
        )
        if a != b
    )
    assert alike[0] == 1290
    assert 1024 <= shared < 1060
    again = [plan.prompt.split() for plan in sent(of, ONE, 3, repeat=1)]
    assert {tuple(words[:16]) for words in texts}.isdisjoint(tuple(words[:16]) for words in again)
