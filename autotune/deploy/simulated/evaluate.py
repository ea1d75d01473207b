"""The cost model evaluated directly, in virtual time: no HTTP, no clock, the same to the last bit.

The clients behave as the native load client does (warm-up, measured requests, filler without a gap), and the
metrics are computed by the same functions; requests in flight at the end are `unfinished`, as the client has
them. A table of evaluations is a replay table.
"""

from __future__ import annotations

import csv
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotune import failures
from autotune.benchmark.arrivals import arrivals
from autotune.benchmark.metrics import UNFINISHED, RequestRecord, summarize
from autotune.benchmark.traffic import (
    Conversation,
    RequestPlan,
    conversations,
    first,
    measured_count,
    warmup_count,
)
from autotune.deploy.simulated.batching import Sequence as Request
from autotune.deploy.simulated.command_line import UsageError
from autotune.deploy.simulated.engine import EngineRefusal, create_engine
from autotune.records import Load, Mode, Traffic

LOAD_COLUMN = "workload.concurrency"


@dataclass(slots=True, kw_only=True)
class _Sent:
    phase: str
    plan: RequestPlan
    at_s: float
    rest: Conversation  # the later turns of its conversation
    chunks_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begin:
    """A conversation; `at_s` is its time in an open loop, from the first of its phase."""

    phase: str
    at_s: float
    conversation: Conversation


def evaluate(
    argv: Sequence[str], specification: Mapping[str, Any], traffic: Traffic, load: Load, *, repeat: int = 0
) -> dict[str, float]:
    """Return the metrics of one repeat at one load, without those of a client.

    Raises: UsageError or EngineRefusal where the engine would not start.
    """
    run = _VirtualRun(argv, specification, traffic, load, repeat)
    sent = run.measure()
    begin_s = min(item.at_s for item in sent if item.phase == "measure")
    end_s = max(item.chunks_s[-1] for item in sent if item.phase == "measure")
    records = [_record(item, begin_s) for item in sent]
    metrics = summarize(records, window_s=end_s - begin_s)
    return {"load": load.value, "duration_s": end_s - begin_s, **metrics}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row of a replay table: configuration keys, and metrics or the kind of failure."""

    keys: Mapping[str, str]
    load: Load
    metrics: Mapping[str, float]
    outcome: str = ""
    startup_s: float = 0.0


def evaluate_row(
    keys: Mapping[str, str],
    argv: Sequence[str],
    specification: Mapping[str, Any],
    traffic: Traffic,
    load: Load,
) -> TableRow:
    """Return an evaluation as a row; what the engine refuses is a row with the failure's kind."""
    metrics: Mapping[str, float] = {}
    outcome = ""
    try:
        metrics = evaluate(argv, specification, traffic, load)
    except UsageError as error:
        outcome = failures.classify(failures.Evidence(log=str(error), exit_code=2)).kind
    except EngineRefusal as error:
        outcome = failures.classify(failures.Evidence(log=error.log, exit_code=1)).kind
    startup_s = float(specification["startup_s"])
    return TableRow(keys=keys, load=load, metrics=metrics, outcome=outcome, startup_s=startup_s)


def write_table(path: Path, rows: Iterable[TableRow]) -> None:
    """Write rows as a replay table; numbers are written so that they are read as the same bits.

    Source of the format: contract section 5.
    """
    lines = []
    for row in rows:
        values = {name: repr(value) for name, value in row.metrics.items() if name != "load"}
        fixed = {LOAD_COLUMN: f"{row.load.value:g}", "outcome": row.outcome, "startup_s": repr(row.startup_s)}
        lines.append({**row.keys, **fixed, **values})
    columns = list(dict.fromkeys(name for line in lines for name in line))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(lines)


class _VirtualRun:
    """Clients and replicas on one virtual clock."""

    def __init__(
        self, argv: Sequence[str], specification: Mapping[str, Any], traffic: Traffic, load: Load, repeat: int
    ) -> None:
        self._replicas = create_engine(argv, specification).replicas
        self._load = load
        self._begins = _phases(traffic, load, repeat)
        self._left = measured_count(traffic, load)
        self._sent: dict[int, _Sent] = {}
        self._events: list[tuple[float, int, str, Any]] = []  # time, order, what, of whom
        self._order = itertools.count()
        self._busy = [False] * len(self._replicas)
        self._next: _Begin

    def measure(self) -> list[_Sent]:
        """Run until every measured request has ended."""
        if self._load.mode is Mode.CONCURRENCY:
            for _ in range(int(self._load.value)):
                self._begin(next(self._begins), 0.0)
        else:
            self._next = next(self._begins)
            self._push(0.0, "arrival", None)
        while self._left and self._events:
            now_s, _, what, whom = heapq.heappop(self._events)
            if what == "arrival":
                self._begin(self._next, now_s)
                self._arrive(now_s)
            else:
                self._tokens(now_s, *whom)
        return list(self._sent.values())

    def _arrive(self, now_s: float) -> None:
        """Schedule the next arrival of the open loop: phases follow each other at the same rate."""
        upcoming = next(self._begins)
        same_phase = upcoming.phase == self._next.phase
        gap_s = upcoming.at_s - self._next.at_s if same_phase else 1 / self._load.value
        self._next = upcoming
        self._push(now_s + gap_s, "arrival", None)

    def _begin(self, begin: _Begin, now_s: float) -> None:
        self._send(begin.phase, begin.conversation, now_s)

    def _send(self, phase: str, conversation: Conversation, now_s: float) -> None:
        """Send the first request of what is left of a conversation."""
        plan, number = conversation[0], len(self._sent)
        self._sent[number] = _Sent(phase=phase, plan=plan, at_s=now_s, rest=conversation[1:])
        home = min(range(len(self._replicas)), key=lambda i: self._replicas[i].load)
        prompt = tuple(plan.text.split())
        self._replicas[home].add(Request(number=number, prompt=prompt, output_tokens=plan.output_tokens))
        if not self._busy[home]:
            self._step(home, now_s)

    def _step(self, home: int, now_s: float) -> None:
        step = self._replicas[home].step()
        self._busy[home] = step is not None
        if step is not None:
            self._push(now_s + step.duration_s, "tokens", (home, [item.number for item in step.tokens]))

    def _tokens(self, now_s: float, home: int, numbers: Sequence[int]) -> None:
        """Tokens come out; who has all of them sends the next turn or request, and the replica steps on."""
        for number in numbers:
            sent = self._sent[number]
            sent.chunks_s.append(now_s)
            if len(sent.chunks_s) == sent.plan.output_tokens:
                self._left -= sent.phase == "measure"
                self._busy[home] = True
                if sent.rest:
                    self._send(sent.phase, sent.rest, now_s)
                elif self._load.mode is Mode.CONCURRENCY:
                    self._begin(next(self._begins), now_s)
        self._step(home, now_s)

    def _push(self, at_s: float, what: str, whom: Any) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), what, whom))


def _phases(traffic: Traffic, load: Load, repeat: int) -> Iterator[_Begin]:
    """The conversations of all phases."""
    least = warmup_count(traffic, load, repeat=repeat)
    counts = {"warmup": least, "measure": measured_count(traffic, load), "fill": None}
    for phase, count in counts.items():
        drawn = conversations(traffic, load, repeat=repeat, phase=phase)
        wanted = drawn if count is None else first(count, drawn)
        times_s = arrivals(traffic, load, repeat=repeat, phase=phase)
        for at_s, conversation in zip(times_s, wanted, strict=False):
            yield _Begin(phase=phase, at_s=at_s, conversation=conversation)


def _record(sent: _Sent, begin_s: float) -> RequestRecord:
    finished = len(sent.chunks_s) == sent.plan.output_tokens
    return RequestRecord(
        phase=sent.phase,
        index=sent.plan.index,
        sent_s=sent.at_s - begin_s,
        scheduled_s=None,
        ended_s=sent.chunks_s[-1] - begin_s if sent.chunks_s else 0.0,
        chunks_s=tuple(chunk - begin_s for chunk in sent.chunks_s),
        prompt_tokens=len(sent.plan.text.split()),
        output_tokens=sent.plan.output_tokens,
        status=200,
        error=None if finished else UNFINISHED,
        detail="",
    )
