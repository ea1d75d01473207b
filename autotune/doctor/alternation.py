"""Several load clients as one: each measurement is a round in which all of them measure, one after the other.

The order is turned round with every round (A B, B A, A B …), so that a drift of the engine or of the machine
does not fall on the same client each time. A client that fails has a turn with its reason; the round goes on.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.benchmark.metrics import RequestRecord
from autotune.benchmark.protocol import Benchmark, MeasureRequest
from autotune.doctor.neighbour import now
from autotune.errors import Interrupted, TrialError
from autotune.records import Failure, Measurement
from autotune.score.batches import read_records
from autotune.watch import failure_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one client did in one round: a measurement, or why there is none.

    `began` is before it was started and `ended` after it had ended, seconds since the epoch. `cpu_s` is the
    CPU time of all its processes, as far as each was waited for by the one that started it.
    `whole_run_tokens_per_s` is `whole_run` of its requests, where it tells of each.
    """

    client: str
    round: int
    began: float
    ended: float
    cpu_s: float
    measurement: Measurement | None = None
    failure: Failure | None = None
    whole_run_tokens_per_s: float | None = None

    @property
    def around_s(self) -> float | None:
        """The seconds beside the measured window: start, prompts, warm-up, report; None if it failed."""
        if self.measurement is None:
            return None
        return self.ended - self.began - self.measurement.duration_s


class Alternation:
    """The clients of one trial, by their names; see `protocol.Benchmark`. `hear` is told of every turn."""

    def __init__(self, clients: Mapping[str, Benchmark], *, hear: Callable[[Turn], None]) -> None:
        self._clients, self._hear = dict(clients), hear
        self._stopped = threading.Event()

    def prepare(self, request: MeasureRequest) -> None:
        """Do nothing: a client that is prepared while the engine starts would seem faster than the others."""

    def measure(self, request: MeasureRequest) -> Measurement:
        """Return the measurement of the first client, in the order given, that has one.

        Its failed requests are those of the whole round, with one for each client that failed, so that it is
        looked whether the engine has died. That a client limits itself is told, and not against the round.

        Raises: TrialError, of the first client, if all failed; Interrupted.
        """
        names = list(self._clients)
        turns: dict[str, Turn] = {}
        errors: dict[str, TrialError] = {}
        for name in names if request.repeat % 2 == 0 else reversed(names):
            turns[name] = self._turn(name, request, errors)
            self._hear(turns[name])
        good = [turns[name].measurement for name in names]
        first = next((measurement for measurement in good if measurement is not None), None)
        if first is None:
            raise errors[names[0]]
        failed = sum(measurement.requests_failed for measurement in good if measurement is not None)
        return replace(first, requests_failed=failed + len(errors), client_bound=(), notes=())

    def stop(self) -> None:
        """End the client that measures, and refuse all others."""
        self._stopped.set()
        for client in self._clients.values():
            client.stop()

    def _turn(self, name: str, request: MeasureRequest, errors: dict[str, TrialError]) -> Turn:
        """Measure with one client, in a folder of its own. Raises: Interrupted."""
        if self._stopped.is_set():
            raise Interrupted
        folder = request.out_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        measurement, failure = None, None
        began, cpu_s = now(), children_cpu_s()
        try:
            measurement = self._clients[name].measure(replace(request, out_dir=folder))
        except TrialError as error:
            errors[name], failure = error, failure_of(error)
        if self._stopped.is_set():
            raise Interrupted  # it may have been ended before it knew
        raw = None if measurement is None else measurement.raw
        return Turn(
            client=name,
            round=request.repeat,
            began=began,
            ended=now(),
            cpu_s=children_cpu_s() - cpu_s,
            measurement=measurement,
            failure=failure,
            whole_run_tokens_per_s=None if raw is None else whole_run(read_records(raw) or ()),
        )


def whole_run(records: Sequence[RequestRecord]) -> float | None:
    """Return the throughput of a run that begins and ends without load; None: no request succeeded.

    All output tokens of the measured requests that succeeded / (the last ended - the first sent).
    """
    good = [r for r in records if r.phase == "measure" and r.error is None and r.chunks_s]
    if not good:
        return None
    length_s = max(record.ended_s for record in good) - min(record.sent_s for record in good)
    return sum(record.output_tokens for record in good) / length_s if length_s > 0 else None


def children_cpu_s() -> float:
    """Return the CPU seconds of all processes that this one started and waited for, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
