"""Conversations drawn from a user's file, once, for all measurements of a sweep.

A file of 100 MB is read and counted once: what is drawn is kept in the cache folder, by the file's content
and everything that the draw depends on, and load clients read that.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autotune.workload import kept
from autotune.workload.files import Ask, Reading, Recorded

VERSION = 3  # of what is kept
MOST = 20_000  # conversations drawn
SHORTEST = 4  # tokens of a prompt and of an answer of ShareGPT: below are greetings and broken entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a draw depends on beside the file; `limit` is the longest request with its answer."""

    seed: int
    needed: int
    limit: int | None = None
    output_tokens: int | None = None
    shortest: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was drawn: `looked_at` conversations of the file's `of`, with the totals of their requests.

    `rate` is a trace's mean of conversations/s; None: it is no trace. Of `lengths_only` the words are not
    recorded.
    """

    drawn: int
    of: int
    looked_at: int
    unusable: int
    short: int
    long: int
    rate: float | None
    input_tokens: int
    output_tokens: int
    totals: tuple[int, ...]
    lengths_only: int = 0


def period_of(times_s: Sequence[float]) -> float:
    """Return how long a trace with these times is, with a mean gap after its last request."""
    length_s = times_s[-1] - times_s[0]
    return length_s + length_s / (len(times_s) - 1) if length_s > 0 else float(len(times_s))


def pool_of(
    reading: Reading, draw: Draw, count: Callable[[str], int]
) -> tuple[Summary, list[dict[str, Any]]]:
    """Return what is drawn from a file in the seed's order (a trace: in its own), as plain data."""
    order: Sequence[Recorded] = reading.conversations
    timed = order[0].at_s is not None
    if not timed:
        chance = random.Random(f"{draw.seed}/pool")  # noqa: S311  (repeatable traffic, no secrets)
        order = chance.sample(order, len(order))
    drawn: list[Recorded] = []
    left: Counter[str] = Counter()
    looked_at = 0
    for recorded in order:
        if len(drawn) >= min(MOST, draw.needed):
            break
        looked_at += 1
        counted, why = _fitting(_counted(recorded, draw, count), draw)
        left[why] += not counted.asks
        if counted.asks:
            drawn.append(counted)
    asks = [ask for recorded in drawn for ask in recorded.asks]
    lengths = [(ask.input_tokens or 0, ask.output_tokens or 0) for ask in asks]
    summary = Summary(
        drawn=len(drawn),
        of=len(order) + reading.unusable,
        looked_at=looked_at,
        unusable=reading.unusable,
        short=left["short"],
        long=left["long"],
        rate=len(drawn) / period_of([each.at_s or 0.0 for each in drawn]) if timed and drawn else None,
        input_tokens=round(sum(prompt for prompt, _ in lengths) / max(1, len(asks))),
        output_tokens=round(sum(answer for _, answer in lengths) / max(1, len(asks))),
        totals=tuple(sorted(map(sum, lengths))),
        lengths_only=sum(not recorded.texts for recorded in drawn),
    )
    return summary, [asdict(recorded) for recorded in drawn]


def find(name: str) -> Summary | None:
    """Return the summary of a draw that is kept; its conversations are beside it."""
    content = kept.find(name)
    if content is None or not kept.used(kept.place_for(f"{name}-pool")):
        return None
    return Summary(**{**content, "totals": tuple(content["totals"])})


def keep(name: str, summary: Summary, conversations: list[dict[str, Any]]) -> None:
    """Keep a draw. Raises: OSError if the cache folder cannot be written."""
    kept.keep(f"{name}-pool", conversations)
    kept.keep(name, asdict(summary))


def _counted(recorded: Recorded, draw: Draw, count: Callable[[str], int]) -> Recorded:
    """With the lengths of its requests: a prompt's are its whole history's."""
    tokens = [count(text) for _, text in recorded.texts]
    asks = [
        replace(
            ask,
            input_tokens=ask.input_tokens or sum(tokens[: ask.position + 1]),
            output_tokens=draw.output_tokens or ask.output_tokens or tokens[ask.position + 1],
        )
        for ask in recorded.asks
    ]
    return replace(recorded, asks=tuple(asks))


def _fitting(recorded: Recorded, draw: Draw) -> tuple[Recorded, str]:
    """Its first turns that are long and short enough; without any, and why, if the first one is not."""

    def fitting() -> Iterator[Ask]:
        for ask in recorded.asks:
            if why(ask):
                return
            yield ask

    def why(ask: Ask) -> str:
        prompt, answer = ask.input_tokens or 0, ask.output_tokens or 0
        if min(prompt, answer) < draw.shortest:
            return "short"
        return "long" if draw.limit is not None and prompt + answer > draw.limit else ""

    asks = tuple(fitting())
    return replace(recorded, asks=asks), "" if asks else why(recorded.asks[0])
