"""Texts in an engine's log and what they mean: the form of the table, and which text wins.

The table has three parts: `signatures_setup` (what was asked of the engine), `signatures_memory` (what it ran
out of) and `signatures_breakdown` (what broke beneath it or in it). Kinds that no log shows are found where they happen: `startup_timeout` (`deploy/`),
`stalled` and `trial_timeout` (`watch.py`), `all_requests_failed` and `benchmark_failed` (`benchmark/`),
`no_row` (replays), `no_gpus` (the launcher).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Tier(IntEnum):
    """Which text wins where a log has several: the lowest tier; within a tier the first line.

    A cause stands before what follows from it, whatever the order of the lines: other processes report first
    that their neighbour is gone.
    """

    GPU_GONE = 0  # the hardware's own word: whatever else fails then, fails because of it
    SETUP = 1  # what was asked for cannot be, which is said before memory or the network is touched
    GPU_BUSY = 2  # someone else's memory: an allocation that fails then says nothing about the candidate
    KV_CACHE = 3  # which allocation did not fit: TensorRT-LLM says "insufficient GPU memory" just before
    GPU_MEMORY = 4  # NCCL and the other ranks fail with what one rank could not allocate
    HOST_MEMORY = 5
    SETUP_UNNAMED = 6  # the configuration is refused, for a reason that is not in the table
    KILLED_FOR_MEMORY = 7  # no text: the kernel's or Docker's word, `Evidence.oom_killed`
    GPU_FAULT = 8  # work on a GPU broke off: the GPU's fault or the engine's
    HOST = 9  # disk, shared memory, driver, hub: NCCL fails with a full /dev/shm
    NCCL = 10
    LOOSE = 11  # says what could not be done, and that the reason stands elsewhere
    VANISHED = 12  # a process of the engine was killed, and the others' exceptions only tell of that
    DEATH = 13  # always comes last and never says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Texts in an engine's log, what they mean in one sentence, and what can be done.

    A line matches if it has one of `texts`, and `pattern` too if there is one (searched in the whole line);
    `{0}`, `{1}` in `cause` are the pattern's groups and `{when}` is "while starting" or "while serving".
    `runtimes` are those whose text it is, empty for a library's that all use. `chatter`: the text also counts
    where it is logged below the level of an error.
    """

    kind: str
    tier: Tier
    texts: tuple[str, ...]
    cause: str
    advice: str
    source: str
    pattern: str = ""
    runtimes: tuple[str, ...] = ()
    chatter: bool = False
