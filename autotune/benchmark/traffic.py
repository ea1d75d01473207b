"""The requests of a workload, deterministic from its seed.

Without a tokenizer a prompt's length is approximated: one short, common English word is taken for one
token. What was really sent is what the engine counts in `usage`, and only that is reported.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autotune.records import Load, Traffic

WORDS = tuple(
    """
    the of and to in is it you that he was for on are with as his they be at one have this from or had
    by hot but some what there we can out other were all your when up use word how said an each she
    which do their time if will way about many then them would write like so these her long make thing
    see him two has look more day could go come did my sound no most number who over know water than
    call first people may down side been now find any new work part take get place made live where after
    back little only round man year came show every good me give our under name very through
    """.split()  # noqa: SIM905  (a list of quoted words would be four times as long)
)
"""Words that nearly every tokenizer has as one token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPlan:
    """One request to send; `index` counts the requests of its phase."""

    index: int
    prompt: str
    output_tokens: int


Conversation = tuple[RequestPlan, ...]
"""Requests of one user, each sent when the one before it has ended."""


def warmup_count(traffic: Traffic, load: Load) -> int:
    """Return how many requests go first and are not measured: at least 1, one more for each unit of load."""
    return max(1, math.ceil(traffic.warmup_requests * load.value))


def measured_count(traffic: Traffic, load: Load) -> int:
    """Return how many requests are measured at this load."""
    return max(traffic.min_requests, math.ceil(traffic.requests_per_load * load.value))


def conversations(traffic: Traffic, load: Load, *, repeat: int, phase: str) -> Iterator[Conversation]:
    """Yield the conversations of one phase without end; the same seed yields the same ones.

    Every prompt is drawn anew, also for each load, repeat and phase: no two share their first 16 words, so a
    prefix cache that works on blocks (vLLM's, of 16 tokens and more) is not hit by what autotune sent before.
    One that works on single tokens (SGLang's with a page size of 1) finds the one to three first words that
    two of some thousand prompts have in common: about 1 % of 128 words, and more of shorter prompts. Prompts
    of a few words can be alike.
    Lengths have their mean and spread (standard deviation over mean) from a lognormal distribution, at
    least 1.
    """
    chance = draws(traffic, load, repeat=repeat, phase=phase, of="requests")
    for index in itertools.count():
        length = _length(chance, traffic.input_tokens, traffic.input_spread)
        plan = RequestPlan(
            index=index,
            prompt=" ".join(chance.choices(WORDS, k=length)),
            output_tokens=_length(chance, traffic.output_tokens, traffic.output_spread),
        )
        yield (plan,)


def first(wanted: int, drawn: Iterable[Conversation]) -> Iterator[Conversation]:
    """Yield conversations of so many requests in all; the last one is cut if need be."""
    for conversation in drawn:
        if wanted <= 0:
            return
        yield conversation[:wanted]
        wanted -= len(conversation)
        if wanted <= 0:
            return


def draws(traffic: Traffic, load: Load, *, repeat: int, phase: str, of: str) -> random.Random:
    """Return the chance that one part of the traffic is drawn from: `of` says which part."""
    key = f"{traffic.seed}/{load.mode.value}/{load.value:g}/{repeat}/{phase}/{of}"
    return random.Random(key)  # noqa: S311  (repeatable traffic, no secrets)


def _length(chance: random.Random, mean: int, spread: float) -> int:
    if spread == 0:
        return mean
    sigma2 = math.log(1 + spread**2)
    drawn = chance.lognormvariate(math.log(mean) - sigma2 / 2, math.sqrt(sigma2))
    return max(1, round(drawn))
