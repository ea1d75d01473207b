"""What a deployer gives: running engines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from autotune.benchmark.protocol import Benchmark
from autotune.errors import TrialError
from autotune.gpus.remains import Remains
from autotune.records import Candidate, Endpoint, Lease, Plan
from autotune.schema import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One engine to start: the plan, the GPUs it gets, and where its files go.

    `env` is the environment it inherits, `cancelled` asks a start in progress to give up, `tell` gets what
    a user should read meanwhile. `left` gets what may run on although it was to end: its GPUs are given to
    nobody until it is gone.
    """

    candidate: Candidate
    config: Config
    plan: Plan
    lease: Lease
    folder: Path
    env: Mapping[str, str]
    cancelled: threading.Event
    tell: Callable[[str], None] = lambda _text: None
    left: Callable[[Remains], None] = lambda _remains: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What is known of an engine once it can serve; times are seconds.

    `simulated` is the engine's own word, or its image's, that it is a stand-in. `phases` are parts of
    `startup_s`, as far as the engine's log tells them; they may overlap (see `phases.py`).
    """

    endpoint: Endpoint
    startup_s: float
    engine_version: str | None
    simulated: bool = False
    notes: tuple[str, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What tells an engine's process and temporary files from everyone else's after a crash.

    `start_ticks` are clock ticks from the boot `boot_id` to the start of process `pid`, which leads the
    session; `scratch` is the folder of temporary files.
    """

    pid: int
    start_ticks: int
    boot_id: str
    scratch: Path


class Server(Protocol):
    """An engine that was started. Its owner stops it, in every path."""

    @property
    def started(self) -> Started | None:
        """What was started here; None where nothing was."""
        ...

    @property
    def image_digest(self) -> str | None:
        """What names the content of the image that runs; None where there is no image."""
        ...

    @property
    def doubtful(self) -> bool:
        """Whether it is just being found out if the engine has ended: `death` may soon tell of it."""
        ...

    def ready(self) -> Ready:
        """Wait until the engine can serve.

        Raises: TrialError if it ends or is not ready in time, Interrupted if it was cancelled.
        """
        ...

    def death(self) -> TrialError | None:
        """Return why the engine ended, or None while it runs."""
        ...

    def stop(self) -> None:
        """Ensure that nothing of it is left, or that the order's `left` has what is.

        What someone else started stays.
        """
        ...

    def client(self, chosen: Benchmark) -> Benchmark:
        """Return what measures this engine: `chosen`, unless there is nothing to send requests to."""
        ...


class Deployer(Protocol):
    """A place where engines run.

    `stand_in` marks everything it yields as simulated. `recorded` says that measurements and times come
    from a table: they need no repeats, and trials last as long as was recorded.
    """

    stand_in: bool
    recorded: bool

    def problems(self, candidate: Candidate, config: Config, plan: Plan) -> list[str]:
        """Return what keeps this plan from being started here; starts nothing."""
        ...

    def start(self, order: Order) -> Server:
        """Start an engine and return at once.

        Raises: TrialError if it cannot be started; nothing of it is left then, or the order's `left` has it.
        """
        ...
