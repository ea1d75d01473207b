"""How long the requests of a synthetic workload are, deterministic from its seed.

A length with mean m and spread s (standard deviation over mean) is drawn from a lognormal distribution with
σ² = ln(1 + s²) and μ = ln(m) - σ²/2, rounded, at least 1. Lengths in traces of language models are above
zero and have a long tail to the right. Source of the traces: Azure's LLM inference dataset of 2023 (Patel et
al., Splitwise, ISCA 2024) and BurstGPT (Wang et al., arXiv 2401.17644); the family is assumed, neither of
them claims it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Protocol

SAMPLE = 4000  # requests that a share is estimated from


class Shaped(Protocol):
    """The fields that lengths are drawn from: of `records.Traffic`, or of a synthetic `WorkloadConfig`."""

    @property
    def input_tokens(self) -> int | None:
        """Mean of a first prompt."""

    @property
    def output_tokens(self) -> int | None:
        """Mean of an answer."""

    @property
    def input_spread(self) -> float:
        """Of what a prompt does not share."""

    @property
    def output_spread(self) -> float:
        """Of answers."""

    @property
    def prefix_tokens(self) -> int:
        """Shared part of a prompt."""

    @property
    def turns(self) -> int:
        """Mean requests of a conversation."""

    @property
    def turns_spread(self) -> float:
        """Of turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One request: `own_tokens` is what its user adds, without prefix and history."""

    own_tokens: int
    output_tokens: int


def own_tokens(shaped: Shaped) -> int:
    """Return the mean of what a turn's user adds."""
    return max(1, (shaped.input_tokens or 0) - shaped.prefix_tokens)


def shapes(shaped: Shaped, chance: random.Random) -> Iterator[tuple[Turn, ...]]:
    """Yield the turns of one conversation after another without end."""
    own, output = own_tokens(shaped), shaped.output_tokens or 1
    while True:
        yield tuple(
            Turn(
                own_tokens=drawn(chance, own, shaped.input_spread),
                output_tokens=drawn(chance, output, shaped.output_spread),
            )
            for _ in range(drawn(chance, shaped.turns, shaped.turns_spread))
        )


def totals(shaped: Shaped, turns: tuple[Turn, ...]) -> Iterator[int]:
    """Yield the tokens of each request of a conversation: prompt with its history, and answer."""
    tokens = shaped.prefix_tokens
    for turn in turns:
        tokens += turn.own_tokens + turn.output_tokens
        yield tokens


def mean_total(shaped: Shaped, *, last: bool = False) -> int:
    """Return the mean tokens of a request with its answer, over all turns or of the last one.

    Turn k of n has prefix + k·own + k·output: the mean over a conversation is that of turn (n + 1) / 2.
    """
    turn = shaped.turns if last else (shaped.turns + 1) / 2
    return round(shaped.prefix_tokens + turn * (own_tokens(shaped) + (shaped.output_tokens or 0)))


def share_above(shaped: Shaped, limit: int) -> float:
    """Return about which share of the requests has more tokens than `limit`, answers included."""
    sample = _sample(
        shaped.input_tokens or 0,
        shaped.output_tokens or 0,
        (shaped.input_spread, shaped.output_spread, shaped.turns_spread),
        (shaped.prefix_tokens, shaped.turns),
    )
    return sum(total > limit for total in sample) / len(sample)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    input_tokens: int
    output_tokens: int
    input_spread: float
    output_spread: float
    prefix_tokens: int
    turns: int
    turns_spread: float


@lru_cache(maxsize=64)
def _sample(
    input_tokens: int, output_tokens: int, spreads: tuple[float, float, float], sharing: tuple[int, int]
) -> list[int]:
    """Totals of so many requests; many candidates have the same workload."""
    shape = _Shape(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        input_spread=spreads[0],
        output_spread=spreads[1],
        turns_spread=spreads[2],
        prefix_tokens=sharing[0],
        turns=sharing[1],
    )
    chance = random.Random("lengths")  # noqa: S311  (repeatable, no secrets)
    requests = (total for turns in shapes(shape, chance) for total in totals(shape, turns))
    return list(islice(requests, SAMPLE))


def drawn(chance: random.Random, mean: int, spread: float) -> int:
    """Return one length."""
    if spread == 0:
        return mean
    sigma2 = math.log(1 + spread**2)
    return max(1, round(chance.lognormvariate(math.log(mean) - sigma2 / 2, math.sqrt(sigma2))))
