"""An engine that is there for its load only: the company of what is measured."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotune.deploy.protocol import Deployer
from autotune.errors import Interrupted, TrialError
from autotune.records import Lease, Outcome
from autotune.trial import Job, Trial

POLL_S = 0.1

_EPOCH = time.time() - time.monotonic()


def now() -> float:
    """Return seconds since the epoch, on a clock that nobody sets while it runs."""
    return _EPOCH + time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a neighbour did: when its load was on (seconds since the epoch), how its requests ended."""

    gpus: tuple[int, ...]
    loaded_from: float
    loaded_until: float
    requests_completed: int
    requests_failed: int


class Neighbour:
    """An engine under load in a thread of its own, from its start until it is left."""

    def __init__(self, job: Job, lease: Lease, *, deployer: Deployer, env: Mapping[str, str]) -> None:
        self._where = f"the neighbour on GPU {', '.join(str(gpu.index) for gpu in lease.gpus)}"
        self._lease = lease
        self._cancelled = threading.Event()
        self._loaded = threading.Event()
        self._loaded_from = math.inf
        self._requests = {"requests_completed": 0, "requests_failed": 0}
        self._ended: Outcome | BaseException | None = None
        trial = Trial(
            job=job, lease=lease, deployer=deployer, env=env, cancelled=self._cancelled, emit=self._hear
        )
        self._thread = threading.Thread(target=self._run, args=(trial,), name=job.folder.name)
        self._thread.start()

    @property
    def is_loaded(self) -> bool:
        """Whether its load is on."""
        return self._loaded.is_set()

    def wait(self, stop: threading.Event) -> None:
        """Wait until it is under load.

        Raises: Interrupted if `stop` was set; what `check` raises.
        """
        while not self._loaded.wait(POLL_S):
            if stop.is_set():
                raise Interrupted
            self.check(since=math.inf)

    def check(self, *, since: float) -> None:
        """Ensure that its load is on, and has been since then.

        Raises: TrialError with its failure, or that its load had a gap; whatever ended its thread.
        """
        if isinstance(self._ended, BaseException):
            raise self._ended
        failure = None if self._ended is None else self._ended.failure
        if failure is not None:
            raise TrialError(
                failure.kind,
                f"{self._where}: {failure.message}",
                evidence=failure.evidence,
                advice=failure.advice,
            )
        if self._ended is not None or self._loaded_from > since:
            raise TrialError("benchmark_failed", f"{self._where} was not under load all the time")

    def leave(self) -> None:
        """Ask it to end."""
        self._cancelled.set()

    def gone(self, loaded_until: float) -> Presence:
        """Wait until nothing of it is left; return what it did."""
        self._thread.join()
        return Presence(
            gpus=tuple(gpu.index for gpu in self._lease.gpus),
            loaded_from=self._loaded_from,
            loaded_until=loaded_until,
            **self._requests,
        )

    def _run(self, trial: Trial) -> None:
        try:
            self._ended = trial.run()
        except BaseException as error:  # noqa: BLE001  (handed to the thread that waits)
            self._ended = error

    def _hear(self, event: str, **fields: Any) -> None:
        """The load is on once the client measures, after its warm-up."""
        if event == "measured":  # it was not long enough; the next repeat begins
            self._loaded.clear()
            self._loaded_from = math.inf
        if event == "benchmark_progress" and fields["phase"] == "measure":
            self._requests = {name: int(fields[name]) for name in self._requests}
            if not self._loaded.is_set():
                self._loaded_from = now()
                self._loaded.set()
