"""What the texts of requests are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Lengths(str, Enum):
    """What a token of a prompt is: the model's own, one common word for one, or the stand-in's word."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    STAND_IN = "stand-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What the texts of requests are made of, and how their tokens are counted.

    `words` are one token each, alone and after a space; empty: the usual ones. `overhead_tokens` is what
    the engine puts around a first prompt (BOS, chat template), `turn_overhead_tokens` around what each later
    turn adds. `pool` is the file of conversations that were drawn from `workload.file`, `totals` the tokens
    of their requests, answers included. `identity` is equal for two wordings exactly if they make the same
    texts.
    """

    lengths: Lengths = Lengths.APPROXIMATE
    words: tuple[str, ...] = field(default=(), repr=False)
    overhead_tokens: int = 0
    turn_overhead_tokens: int = 0
    pool: str | None = None
    totals: tuple[int, ...] = field(default=(), repr=False)
    identity: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
