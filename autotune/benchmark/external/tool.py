"""What is to be known of a load client of others: how it is called, and what its report says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from autotune.benchmark.metrics import RequestRecord
from autotune.benchmark.protocol import MeasureRequest, Progress
from autotune.benchmark.traffic import RequestPlan, conversations, measured_count, warmup_count
from autotune.errors import AutotuneError
from autotune.records import Mode

REPORTS = "clients"
"""The folder in a trial's folder with what the clients themselves reported, one folder a measurement."""

LOG = "client.log"
"""Where a client's own words go, in the folder of its measurement."""


class UnreadableReport(AutotuneError):
    """A client's report is missing, is not whole, or says something else than expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One measurement for a client; `args` are more options of its command.

    `folder` is its own and empty, and stays with its report; `scratch` is too, has a short path (sockets are
    put there) and goes with the client.
    """

    request: MeasureRequest
    folder: Path
    scratch: Path
    program: Path
    args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def warmup(self) -> int:
        """Requests that go first and are not measured."""
        if self.request.traffic.warmup_requests == 0:
            return 0
        return warmup_count(self.request.traffic, self.request.load, repeat=self.request.repeat)

    @property
    def measured(self) -> int:
        """Requests that are measured."""
        return measured_count(self.request.traffic, self.request.load)

    @property
    def closed(self) -> bool:
        """Whether the load is so many requests in flight, not so many a second."""
        return self.request.load.mode is Mode.CONCURRENCY

    @property
    def log(self) -> Path:
        """What the client writes on its standard output and error."""
        return self.folder / LOG

    def plans(self, phase: str) -> Iterator[RequestPlan]:
        """Yield the requests of a phase, the very ones that the native client sends, without end."""
        request = self.request
        drawn = conversations(request.traffic, request.load, repeat=request.repeat, phase=phase)
        return itertools.chain.from_iterable(drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How a client is called: argv without secrets, variables to add to the environment and to leave out."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a client said: the requests it measured, with times in seconds from any common moment.

    `lacks` are the latencies that these requests do not tell (`itl_ms` of a client that keeps no chunks).
    `stated` is what the client itself makes of them, by our names and in our units: it must agree. `kept` are
    the names of the files that are its report; `notes` what else there is to know of it. A client that does
    not tell when its requests were sent gives the length of its window and the throughputs in it.
    """

    records: tuple[RequestRecord, ...]
    lacks: frozenset[str] = frozenset()
    stated: Mapping[str, float] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    window_s: float | None = None
    throughputs: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a client can offer; anything else is refused before it starts.

    `arrivals` are the kinds of an open loop that it has, `turns` says whether it can hold conversations of
    several requests, each sent when the one before it has ended; `histories` whether a request may have
    messages before its last, `verbatim` whether it sends our very prompts and not its own of such lengths.
    """

    arrivals: frozenset[str]
    turns: bool = False
    histories: bool = False
    verbatim: bool = True
    endpoints: frozenset[str] = frozenset({"chat", "completions"})
    modes: frozenset[Mode] = frozenset(Mode)


class Tool(Protocol):
    """One load client; `kind` as in `benchmark.kind`, `version` the one whose report is known."""

    kind: str
    version: str
    abilities: Abilities

    def command(self, task: Task) -> Command:
        """Write what the client reads into the task's folder, and return how it is called."""
        ...

    def progress(self, task: Task) -> Progress:
        """Return how far it is, as far as its files tell; called about once a second."""
        ...

    def read(self, task: Task) -> Report:
        """Return what it reported.

        Raises: UnreadableReport, or what reading such a report raises (LookupError, TypeError, ValueError,
        OSError).
        """
        ...


def words_of(args: Mapping[str, Any]) -> list[str]:
    """Return more words for a command: `{a_b: 1, c: true, d: [x, y]}` is `--a-b 1 --c --d x --d y`."""
    words: list[str] = []
    for name, value in args.items():
        option = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list) else [value]:
            if each is True:
                words.append(option)
            elif each is not False and each is not None:
                words += [option, str(each)]
    return words
