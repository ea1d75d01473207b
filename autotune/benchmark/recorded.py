"""The conversations of a user's file, as `workload.pool` drew them.

Each measurement has its own part of what was drawn, one after the other over loads and repeats, so that what
is measured was not sent before while there are enough; then they are used again from the first on. What comes
beyond what is set aside for a warm-up or as filler are those of the same part again, and never another's.

A trace begins anew with each measurement: its order and times are what it is for. A warm-up that goes on
beyond the least sends the least one's requests again, at the times that follow, so that the measured ones are
sent by it only if the trace is so short. A request that is recorded by its length alone gets words that are
drawn anew for each load and repeat.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.records import Load, Mode, Traffic
from autotune.workload import kept
from autotune.workload.files import BLOCK
from autotune.workload.pool import period_of
from autotune.workload.slots import slot_of
from autotune.workload.words import Writer

if TYPE_CHECKING:
    from autotune.benchmark.traffic import Conversation, RequestPlan


def recorded(traffic: Traffic, load: Load, *, repeat: int, phase: str) -> Iterator[Conversation]:
    """Yield the conversations of one phase without end."""
    pool = _pool(str(traffic.pool))
    timed = pool[0]["at_s"] is not None
    places = _trace(traffic, load, phase) if timed else _own(traffic, load, repeat=repeat, phase=phase)
    writing = _Writing(traffic, load, repeat=repeat, phase=phase)
    index = itertools.count()
    for place in places:
        content = pool[place % len(pool)]
        yield tuple(writing.request(content, ask, next(index)) for ask in content["asks"])


def times(traffic: Traffic, load: Load, *, phase: str) -> Iterator[float]:
    """Yield when the conversations of a phase of a trace begin, in seconds from its first, without end.

    The trace's own times are stretched so that their mean rate is the load.
    """
    pool = _pool(str(traffic.pool))
    begin = _begin(traffic, load, phase)
    period_s = period_of([each["at_s"] for each in pool])
    stretched = len(pool) / (period_s * load.value)
    first_s = _at(pool, begin, period_s)
    for place in itertools.count(begin):
        yield (_at(pool, place, period_s) - first_s) * stretched


def _at(pool: list[dict[str, Any]], place: int, period_s: float) -> float:
    """When the conversation at this place begins; after its last one a trace begins anew."""
    rounds, which = divmod(place, len(pool))
    return float(pool[which]["at_s"]) + rounds * period_s


@lru_cache(maxsize=2)
def _pool(file: str) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(Path(file).read_bytes())
    kept.used(Path(file))  # a sweep may last longer than what was planned first stays by itself
    return content


def _own(traffic: Traffic, load: Load, *, repeat: int, phase: str) -> Iterator[int]:
    """Yield the places of a phase in the part of its measurement."""
    rate = load.mode is Mode.RATE
    loads = traffic.loads or (load.value,)
    sizes = {value: slot_of(value, traffic, rate=rate).size for value in loads}
    before = itertools.takewhile(lambda value: value != load.value, loads)
    begin = repeat * sum(sizes[value] for value in loads) + sum(sizes[value] for value in before)
    if traffic.taken is not None:
        begin = traffic.taken
    slot = slot_of(load.value, traffic, rate=rate)
    for number in itertools.count():
        yield begin + slot.place(phase, number)


def _trace(traffic: Traffic, load: Load, phase: str) -> Iterator[int]:
    """Yield the places of a phase of a trace."""
    if phase == "warmup":
        return itertools.cycle(range(slot_of(load.value, traffic, rate=load.mode is Mode.RATE).least))
    return itertools.count(_begin(traffic, load, phase))


def _begin(traffic: Traffic, load: Load, phase: str) -> int:
    """The place of the first conversation of a trace's phase."""
    slot = slot_of(load.value, traffic, rate=load.mode is Mode.RATE)
    return {"warmup": 0, "measure": slot.least}.get(phase, slot.least + slot.measured)


class _Writing:
    """Puts recorded texts, or words for recorded lengths, into requests."""

    def __init__(self, traffic: Traffic, load: Load, *, repeat: int, phase: str) -> None:
        from autotune.benchmark.traffic import draws

        self._chance = draws(traffic, load, repeat=repeat, phase=phase, of="words")
        self._shared = partial(draws, traffic, load, repeat=repeat, phase="every")
        self._writer = Writer(tuple(traffic.words), traffic.seed)
        self._overhead = traffic.overhead_tokens

    def request(self, content: dict[str, Any], ask: dict[str, Any], index: int) -> RequestPlan:
        """Return one request of a conversation."""
        from autotune.benchmark.traffic import RequestPlan

        texts = [(str(role), str(text)) for role, text in content["texts"]]
        said = texts[: ask["position"]]
        prompt = texts[ask["position"]][1] if texts else self._text(ask["input_tokens"], content["blocks"])
        return RequestPlan(
            index=index,
            prompt=prompt,
            history=tuple(said),
            input_tokens=ask["input_tokens"],
            output_tokens=ask["output_tokens"],
        )

    def _text(self, tokens: int, blocks: list[int]) -> str:
        """Words for a length: those of its named blocks, which others may share, then its own."""
        left = max(1, tokens - self._overhead)
        parts = []
        for block in blocks:
            words = min(BLOCK, left)
            if words:
                parts.append(self._block(block, words))
            left -= words
        if left:
            parts.append(self._writer.text(self._chance, left))
        return " ".join(parts)

    def _block(self, block: int, words: int) -> str:
        """The first words of a block: a shorter one is the beginning of a longer one."""
        text = self._writer.text(self._shared(of=f"block-{block}"), BLOCK)
        return text if words == BLOCK else " ".join(text.split()[:words])
