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
from autotune.workload.slots import slot_of

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


def pool_for(of: Traffic, *, rate: bool = False) -> list[dict[str, Any]]:
    """As many conversations as three repeats need."""
    return [said(n) for n in range(3 * sum(slot_of(load, of, rate=rate).size for load in of.loads))]


def test_no_conversation_is_sent_twice_while_there_are_enough(tmp_path: Path) -> None:
    """Over loads, repeats and phases; from then on the first ones come again."""
    of = traffic(tmp_path, pool_for(traffic(tmp_path, [])))
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


@pytest.mark.parametrize("seconds", [None, 9.0])
@pytest.mark.parametrize("mode", list(Mode))
def test_nothing_that_goes_on_for_long_is_measured_elsewhere(
    tmp_path: Path, mode: Mode, seconds: float | None
) -> None:
    """Warm-up and filler of any length, and what is measured by time, keep out of all that is measured."""
    rate = mode is Mode.RATE
    sized = replace(traffic(tmp_path, []), seconds_per_load=seconds)
    of = replace(traffic(tmp_path, pool_for(sized, rate=rate)), seconds_per_load=seconds)
    sent_by: dict[tuple[int, float, str], set[str]] = {}
    for repeat in range(3):
        for value in (1.0, 2.0):
            load = Load(mode=mode, value=value)
            planned = slot_of(value, of, rate=rate).measured
            for phase, count in (
                ("warmup", 500),
                ("measure", planned if seconds is None else 500),
                ("fill", 500),
            ):
                prompts = [
                    p.prompt for p in sent(of, load, count, repeat=repeat, phase=phase) if not p.history
                ]
                sent_by[repeat, value, phase] = set(prompts)
            assert len(sent_by[repeat, value, "measure"]) == planned >= value * (seconds or 0)
    assert sum(map(len, sent_by.values())) == len(set().union(*sent_by.values()))


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


def test_a_long_warm_up_of_a_trace_does_not_run_ahead(tmp_path: Path) -> None:
    """It sends the requests of the least one again; measured are those that follow."""
    of = traffic(tmp_path, [said(n, at_s=2.0 * n) for n in range(40)])
    prompts = {
        phase: [plan.prompt for plan in sent(of, TWO, 5, phase=phase) if not plan.history]
        for phase in ("warmup", "measure", "fill")
    }
    assert prompts == {
        "warmup": ["q0", "q1", "q0", "q1", "q0"],
        "measure": ["q2", "q3", "q4", "q5", "q6"],
        "fill": ["q10", "q11", "q12", "q13", "q14"],
    }


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
