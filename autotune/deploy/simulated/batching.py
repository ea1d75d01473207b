"""Continuous batching as a state machine over virtual time: no clock, no HTTP, no chance.

Each step takes decoding sequences first, then prefill chunks, then admits waiting requests in their
order, up to the engine's limits of sequences and tokens and to the KV cache. When the cache is full the
newest sequence is preempted and computed again later. Both engines are given this scheduler, which is vLLM's;
SGLang's own keeps prefills and decodes apart unless told `--enable-mixed-chunk`.

Prefix caching saves the computation of a prompt's leading blocks that an earlier prompt has finished. It
saves no memory here: a block that two sequences share counts for both, and the remembered blocks (at most as
many as the cache holds, the least used go first) count for none.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

from autotune.deploy.simulated.cost_model import Deployment

BLOCK = 16
"""Tokens of a KV block, the unit of prefix caching. Source: vLLM 0.33.0 default block size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds a batch; all in tokens but `max_sequences`."""

    max_sequences: int
    max_step_tokens: int
    kv_tokens: int
    chunked_prefill: bool = True
    prefix_caching: bool = True


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """One request in an engine: `cached` of its tokens are in the KV cache, `made` were generated."""

    number: int
    prompt: tuple[str, ...]
    output_tokens: int
    cached: int = 0
    made: int = 0
    blocks: list[int] = field(default_factory=list)

    @property
    def known(self) -> int:
        """Tokens that have to be in the cache before the next one can be made."""
        return len(self.prompt) + self.made

    @property
    def finished(self) -> bool:
        """Whether every asked token was made."""
        return self.made >= self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: how long it takes, and the sequences that get a token at its end."""

    duration_s: float
    tokens: tuple[Sequence, ...]
    new_tokens: int
    sequences: int


class Replica:
    """The scheduler of one replica."""

    def __init__(self, deployment: Deployment, limits: Limits) -> None:
        self.deployment = deployment
        self.limits = limits
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.preemptions = 0
        self.looked_up_tokens = self.found_tokens = 0  # in the prefix cache, of requests admitted first
        self._prefixes: OrderedDict[int, None] = OrderedDict()

    @property
    def used_tokens(self) -> int:
        """Tokens in the KV cache."""
        return sum(sequence.cached for sequence in self.running)

    @property
    def load(self) -> int:
        """Requests that are here, for routing to the least loaded replica."""
        return len(self.waiting) + len(self.running)

    def add(self, sequence: Sequence) -> None:
        """Take a request in."""
        sequence.blocks = _blocks(sequence.prompt)
        self.waiting.append(sequence)

    def drop(self, sequence: Sequence) -> None:
        """Forget a request whose client has gone."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def step(self) -> Step | None:
        """Do one step; None if there is nothing to do. Its tokens are out when `duration_s` has passed."""
        work = self._decodes()
        self._continue_prefills(work)
        self._admit(work)
        if not work:
            return None
        duration_s = self.deployment.step_s([(new, sequence.cached) for sequence, new in work])
        made = []
        for sequence, new in work:
            sequence.cached += new
            if sequence.cached == sequence.known:
                sequence.made += 1
                made.append(sequence)
                if sequence.made == 1:
                    self._remember(sequence)
        self.running = [sequence for sequence in self.running if not sequence.finished]
        return Step(
            duration_s=duration_s,
            tokens=tuple(made),
            new_tokens=sum(new for _, new in work),
            sequences=len(work),
        )

    def _decodes(self) -> list[tuple[Sequence, int]]:
        """One token for each sequence whose prompt is computed; the newest gives way to a full cache."""
        while self.used_tokens + self._decoding() > self.limits.kv_tokens and len(self.running) > 1:
            self._preempt(self.running[-1])
        ready = [sequence for sequence in self.running if sequence.known - sequence.cached == 1]
        return [(sequence, 1) for sequence in ready[: self.limits.max_step_tokens]]

    def _decoding(self) -> int:
        return sum(1 for sequence in self.running if sequence.known - sequence.cached == 1)

    def _continue_prefills(self, work: list[tuple[Sequence, int]]) -> None:
        taken = {id(sequence) for sequence, _ in work}
        for sequence in self.running:
            if id(sequence) not in taken:
                self._take(sequence, work)

    def _admit(self, work: list[tuple[Sequence, int]]) -> None:
        while self.waiting and len(self.running) < self.limits.max_sequences:
            sequence = self.waiting[0]
            sequence.cached = self._hit(sequence)
            reserved = sum(max(s.known, s.cached) for s in self.running)
            if self.running and reserved + sequence.known + 1 > self.limits.kv_tokens:
                return
            self.running.append(sequence)
            if not self._take(sequence, work):
                self.running.pop()
                sequence.cached = 0
                return
            self.waiting.popleft()
            if self.limits.prefix_caching and not sequence.made:
                self.looked_up_tokens += sequence.known
                self.found_tokens += sequence.cached

    def _take(self, sequence: Sequence, work: list[tuple[Sequence, int]]) -> bool:
        """Add as much of a prefill as the step has room for.

        Without chunking all or nothing; a prompt too long for any step then has a step for itself, as with
        SGLang, whose budget never turns the first request away. Source: SGLang 0.5.23
        managers/schedule_policy.py, PrefillAdder.
        """
        taken = sum(new for _, new in work)
        missing = sequence.known - sequence.cached
        alone = not work and not self.limits.chunked_prefill
        room = missing if alone else self.limits.max_step_tokens - taken
        new = min(missing, room, self.limits.kv_tokens - self.used_tokens - taken)
        if new <= 0 or (new < missing and not self.limits.chunked_prefill):
            return False
        work.append((sequence, new))
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        sequence.cached = 0
        self.preemptions += 1
        self.waiting.appendleft(sequence)

    def _hit(self, sequence: Sequence) -> int:
        """Tokens of the prompt's leading blocks that are cached; at least one token is always computed."""
        if not self.limits.prefix_caching:
            return 0
        hits = 0
        for block in sequence.blocks:
            if block not in self._prefixes:
                break
            self._prefixes.move_to_end(block)
            hits += BLOCK
        return min(hits, sequence.known - 1)

    def _remember(self, sequence: Sequence) -> None:
        if not self.limits.prefix_caching:
            return
        self._prefixes.update(dict.fromkeys(sequence.blocks))
        while len(self._prefixes) > self.limits.kv_tokens // BLOCK:
            self._prefixes.popitem(last=False)


def _blocks(prompt: SequenceOf[str]) -> list[int]:
    """A hash for each whole block of a prompt, of everything up to its end."""
    blocks, before = [], 0
    for end in range(BLOCK, len(prompt) + 1, BLOCK):
        before = hash((before, tuple(prompt[end - BLOCK : end])))
        blocks.append(before)
    return blocks
