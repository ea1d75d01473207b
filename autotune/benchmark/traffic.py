"""The requests of a workload, deterministic from its seed: the same for every candidate of a sweep.

Where the model's own tokenizer is at hand, prompts are made of words that are one token each in it, and what
the engine puts around a prompt is counted in: `usage.prompt_tokens` is what was asked for. Else one short,
common English word is taken for one token, and nothing is counted in. What was really sent is what the engine
counts in `usage`, and only that is reported.

**Conversations.** Each turn is sent when the one before it has ended, with all that was said before. The
answers in this history are drawn from the seed too, as long as those that were asked for: they are not the
engine's own, so that every candidate gets the same requests. An engine's prefix cache finds the prompt of the
turn before, and not its answer, which a real chat would find as well: measured hits are a lower bound.

**Shared prefixes.** `prefix_tokens` of each first prompt (of a chat: its first user message, as no template
refuses that) are one of `prefixes` texts: the warm-up goes through all of them in turn (it begins at least
so many conversations), each measured conversation draws one. They are drawn anew for each load and repeat,
and are the same over warm-up, measured requests and filler. So every measurement begins with a cache that
knows none of them and measures one that has seen all of them, and no repeat profits from the one before it.
All else of every prompt is drawn anew.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autotune.records import Load, Traffic
from autotune.workload.lengths import Turn, shapes
from autotune.workload.words import WORDS, Writer

__all__ = [
    "WORDS",
    "Conversation",
    "RequestPlan",
    "conversations",
    "draws",
    "first",
    "measured_count",
    "warmup_count",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPlan:
    """One request to send; `index` counts the requests of its phase.

    `prompt` is what its user says now, `history` what was said before, each with its role. `input_tokens` is
    the length of both that was asked for.
    """

    index: int
    prompt: str
    output_tokens: int
    history: tuple[tuple[str, str], ...] = ()
    input_tokens: int = 0

    @property
    def text(self) -> str:
        """Everything that is said, as one text: the prompt of a completion."""
        return " ".join([*(text for _, text in self.history), self.prompt])


Conversation = tuple[RequestPlan, ...]
"""Requests of one user, each sent when the one before it has ended."""


def warmup_count(traffic: Traffic, load: Load, *, repeat: int) -> int:
    """Return how many requests go first and are not measured: so many that each shared prefix is among them.

    A conversation begins with its prefix, so as many conversations are begun as there are prefixes.
    """
    least = max(1, math.ceil(traffic.warmup_requests * load.value))
    if traffic.pool is not None or not traffic.prefix_tokens:
        return least
    lengths = draws(traffic, load, repeat=repeat, phase="warmup", of="lengths")
    before_the_last = itertools.islice(shapes(traffic, lengths), traffic.prefixes - 1)
    return max(least, sum(len(turns) for turns in before_the_last) + 1)


def measured_count(traffic: Traffic, load: Load) -> int:
    """Return how many requests are measured at this load."""
    return max(traffic.min_requests, math.ceil(traffic.requests_per_load * load.value))


def conversations(traffic: Traffic, load: Load, *, repeat: int, phase: str) -> Iterator[Conversation]:
    """Yield the conversations of one phase without end; the same seed yields the same ones.

    Every prompt is drawn anew, also for each load, repeat and phase: beside the prefixes they share, no two
    have their first 16 words in common, so a prefix cache that works on blocks (vLLM's, of 16 tokens and
    more) is not hit by what autotune sent before. One that works on single tokens (SGLang's with a page size
    of 1) finds the one to three first words that two of some thousand prompts have in common: about 1 % of
    128 words, and more of shorter prompts. Prompts of a few words can be alike. A file's conversations are
    what they are; see `recorded`.
    """
    if traffic.pool is not None:
        from autotune.benchmark.recorded import recorded

        yield from recorded(traffic, load, repeat=repeat, phase=phase)
        return
    writing = _Writing(traffic, load, repeat=repeat, phase=phase)
    lengths = draws(traffic, load, repeat=repeat, phase=phase, of="lengths")
    for number, turns in enumerate(shapes(traffic, lengths)):
        yield writing.conversation(number, turns)


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


class _Writing:
    """Puts words to the lengths of conversations."""

    def __init__(self, traffic: Traffic, load: Load, *, repeat: int, phase: str) -> None:
        self._traffic, self._load, self._repeat = traffic, load, repeat
        self._in_turn = phase == "warmup"
        self._writer = Writer(tuple(traffic.words), traffic.seed)
        self._chance = draws(traffic, load, repeat=repeat, phase=phase, of="words")
        self._choice = draws(traffic, load, repeat=repeat, phase=phase, of="prefixes")
        self._index = itertools.count()
        self._prefixes: dict[int, str] = {}

    def conversation(self, number: int, turns: tuple[Turn, ...]) -> Conversation:
        """Return the requests of the conversation of this number in its phase."""
        traffic, plans = self._traffic, []
        history: tuple[tuple[str, str], ...] = ()
        asked = traffic.prefix_tokens
        for turn in turns:
            around = traffic.turn_overhead_tokens if history else traffic.overhead_tokens
            words = max(1, turn.own_tokens - around)
            prompt = self._writer.text(self._chance, words)
            if not history and traffic.prefix_tokens:
                prompt = f"{self._prefix(number)} {prompt}"
            asked += words + around
            plans.append(
                RequestPlan(
                    index=next(self._index),
                    prompt=prompt,
                    history=history,
                    input_tokens=asked,
                    output_tokens=turn.output_tokens,
                )
            )
            if len(plans) < len(turns):
                answer = self._writer.text(self._chance, turn.output_tokens)
                history = (*history, ("user", prompt), ("assistant", answer))
                asked += turn.output_tokens
        return tuple(plans)

    def _prefix(self, number: int) -> str:
        """The shared text of a conversation: in turn while the cache warms up, drawn after that."""
        many = self._traffic.prefixes
        which = number % many if self._in_turn else self._choice.randrange(many)
        if which not in self._prefixes:
            of = f"prefix-{which}"
            chance = draws(self._traffic, self._load, repeat=self._repeat, phase="every", of=of)
            self._prefixes[which] = self._writer.text(chance, self._traffic.prefix_tokens)
        return self._prefixes[which]
