"""One configuration measured alone and beside copies of itself, in turn: what neighbours cost.

The subject is one trial, on the same GPUs from first to last, whose repeats are measured alone and beside in
turn; the company changes between two repeats. Its engine stays up: that halves the start-ups, and another
start (memory laid out anew, kernels chosen anew) can change more than neighbours do. Neighbours are started
for each measurement beside them and ended after it, because an engine that merely idles already takes CPU
and power: beside it nobody is alone.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autotune.benchmark.traffic import measured_count
from autotune.benchmark.workload import loads_of, traffic_of
from autotune.deploy.protocol import Deployer
from autotune.doctor.neighbour import Neighbour, Presence, now
from autotune.records import Lease, Load, Outcome
from autotune.schema import Config
from autotune.trial import Job, Trial
from autotune.workload.lengths import mean_total

LONGER = (20, 1000)  # times the subject's requests make a neighbour's load, which must outlast the subject's
PROMPTS_BYTES = 2**28  # about as much as the prompts of a neighbour may take
BYTES_PER_TOKEN = 5  # of a prompt in common words
REPEATS = 1000  # of a neighbour's load, should that be over all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measurement of the subject, alone if `neighbours` is empty.

    `began` is before its load client was started and `ended` after that had ended, seconds since the epoch.
    """

    began: float
    ended: float
    metrics: Mapping[str, float]
    requests_completed: int
    requests_failed: int
    duration_s: float
    neighbours: tuple[Presence, ...] = ()


def load_of(config: Config) -> Load:
    """Return the load at which interference is measured: the objective's; for `best` the highest."""
    loads = sorted(loads_of(config.workload), key=lambda load: load.value)
    named = (load for load in loads if f"{load.value:g}" == config.objective.load)
    return loads[0] if config.objective.load == "lowest" else next(named, loads[-1])


@dataclass(slots=True, kw_only=True)
class Study:
    """The experiment: pairs of measurements, alone and then beside, of `job` on the first of `leases`.

    `hear` is told of every measurement as soon as it is known, `say` gets a line for who watches.
    """

    job: Job
    leases: Sequence[Lease]
    deployer: Deployer
    env: Mapping[str, str]
    pairs: int
    stop: threading.Event
    say: Callable[[str], None]
    hear: Callable[[Run], None]
    simulated: bool = field(init=False, default=False)  # by the engine's own word
    _runs: int = field(init=False, default=0)
    _began: float = field(init=False, default=math.inf)
    _company: list[Neighbour] = field(init=False, default_factory=list)

    def run(self) -> Outcome:
        """Return what the subject ended as; nothing that was started is left then.

        Raises: InfrastructureError if the experiment cannot go on.
        """
        config = at_one_load(self.job.config, repeats=2 * self.pairs)
        subject = Trial(
            job=replace(self.job, config=config, folder=self.job.folder / "subject"),
            lease=self.leases[0],
            deployer=self.deployer,
            env=self.env,
            cancelled=self.stop,
            emit=self._hear_subject,
        )
        try:
            return subject.run()
        finally:
            self._send_away()

    def _hear_subject(self, event: str, **fields: Any) -> None:
        """Called by the subject's trial between its steps: it goes on when this returns."""
        if event == "server_ready":
            self.simulated = bool(fields["simulated"])
            self.say(f"subject ready after {fields['startup_s']:.1f} s, version {fields['engine_version']}")
            self._began = now()
        elif event == "benchmark_progress":
            self._check()
        elif event == "measured":
            self._check()
            self._measured(fields)
            if self._runs % 2 and not self.stop.is_set():
                self._bring_in()
            self._began = now()

    def _check(self) -> None:
        for neighbour in self._company:
            neighbour.check(since=self._began)

    def _measured(self, fields: Mapping[str, Any]) -> None:
        ended = now()
        run = Run(
            began=self._began,
            ended=ended,
            metrics=dict(fields["metrics"]),
            requests_completed=int(fields["requests_completed"]),
            requests_failed=int(fields["requests_failed"]),
            duration_s=float(fields["duration_s"]),
            neighbours=self._send_away(),
        )
        self._runs += 1
        self.hear(run)

    def _bring_in(self) -> None:
        """Start the neighbours, all at once, and wait until all are under load."""
        pair = self._runs // 2 + 1
        for number, lease in enumerate(self.leases[1:], 1):
            job = replace(
                self.job,
                number=number,
                config=_without_end(self.job.config),
                folder=self.job.folder / f"pair-{pair}-neighbour-{number}",
            )
            self._company.append(Neighbour(job, lease, deployer=self.deployer, env=self.env))
        while not all(neighbour.is_loaded for neighbour in self._company):  # one may lose it meanwhile
            for neighbour in self._company:
                neighbour.wait(self.stop)

    def _send_away(self) -> tuple[Presence, ...]:
        """End all neighbours; return what they did."""
        company, self._company = self._company, []
        until = now()
        for neighbour in company:
            neighbour.leave()
        return tuple(neighbour.gone(until) for neighbour in company)


def at_one_load(config: Config, *, repeats: int) -> Config:
    """Return what is measured; a time-out of one trial is not meant for so many measurements."""
    return replace(
        config,
        workload=replace(config.workload, loads=[load_of(config).value]),
        measure=replace(config.measure, repeats=repeats, until=None, trial_timeout_s=None),
    )


def _without_end(config: Config) -> Config:
    """The same load for a neighbour, for longer, as its prompts allow: clients make them beforehand."""
    alike = at_one_load(config, repeats=REPEATS)
    requests = measured_count(traffic_of(alike.workload), load_of(config))
    least, most = LONGER
    fitting = PROMPTS_BYTES // (requests * mean_total(alike.workload, last=True) * BYTES_PER_TOKEN)
    times = max(least, min(most, fitting))
    workload = replace(
        alike.workload,
        min_requests=times * alike.workload.min_requests,
        requests_per_load=times * alike.workload.requests_per_load,
    )
    return replace(alike, workload=workload)
