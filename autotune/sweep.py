"""One sweep: its journal, its GPUs, its trials. Ties the stages together for every launcher."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autotune import __version__, leftovers, ownership
from autotune.attempts import Again, again, clear_for, whole
from autotune.deploy import create_deployer
from autotune.errors import InfrastructureError
from autotune.gpus.leasing import pool_for
from autotune.plan.expand import Checkpoints, Identity, identity, planned
from autotune.plan.wordings import Wordings
from autotune.records import Candidate, Inventory, InventoryKind, Lease, Outcome, Plan, Status
from autotune.schema import Config, config_from
from autotune.track.durations import Durations
from autotune.track.files import ConfigText, keep
from autotune.track.hopeless import Hopeless
from autotune.track.journal import Journal
from autotune.track.lessons import Lessons
from autotune.track.records import (
    attempt_record,
    beginning_record,
    finished_record,
    label_of,
    plan_record,
    started_record,
    trial_params,
)
from autotune.track.state import TrialState, check_same, earlier_state
from autotune.trial import Job, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one sweep is: everything that its candidates share."""

    name: str
    folder: Path
    config: Config
    inventory: Inventory
    command: tuple[str, ...]
    varied: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    candidates: tuple[Candidate, ...] = ()
    earlier: tuple[Path, ...] = ()  # journals that tell how long trials take


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What became of a candidate: a job to run, a trial that stands for it, or reasons against."""

    job: Job | None = None
    trial: int | None = None
    reasons: tuple[str, ...] = ()


class Sweep:
    """A sweep while this process works on it.

    Whoever launches calls `admit`, leases GPUs from `pool`, and calls `run`; from any thread.
    """

    def __init__(self, settings: Settings) -> None:
        """Take the sweep's folder, rebuild the state from its journal, and open that.

        In this order: whoever had the folder before has written the last event then.
        Raises: ConfigError if the name is taken or another process works on it;
        InfrastructureError if its files cannot be written.
        """
        self.settings = settings
        config = settings.config
        self.stop = threading.Event()
        self.tell: Callable[[str], None] = lambda _text: None  # a line for who watches
        self.broken: InfrastructureError | None = None  # why the sweep cannot go on
        self.deployer = create_deployer(config.deploy.kind)
        self._lock = ownership.own(settings.folder)
        try:
            self.state = earlier_state(settings.folder, resume=config.sweep.resume)
            check_same(self.state.started, self._beginning(), settings.name)
            self.journal = Journal(settings.folder, sweep=settings.name)
        except BaseException:
            os.close(self._lock)
            raise
        self.hopeless = Hopeless(self.state, config.sweep.max_failures)
        self._lessons = Lessons(self.state)
        for listener in (self.state.apply, self.hopeless.follow, self._lessons.follow):  # the state first
            self.journal.follow(listener)
        self._by_identity = {trial.identity: trial.number for trial in self.state.latest()}
        self._seen: set[Identity] = set()
        self._text = ConfigText()
        self._checkpoint, self._wordings = Checkpoints(settings.env), Wordings(settings.env)
        self._next = max(self.state.trials, default=-1) + 1
        self._guard = threading.Lock()
        self.pool = pool_for(config, settings.inventory, settings.folder, self._say)
        self.durations = Durations()
        for journal in settings.earlier:
            self.durations.learn(journal)
        self.journal.follow(self.durations.follow)

    @property
    def simulated(self) -> bool:
        """Whether the engine or the GPUs are stand-ins."""
        return self.deployer.stand_in or self.settings.inventory.kind is InventoryKind.DECLARED

    def begin(self) -> None:
        """Write `sweep_started`, and end what a dead controller left running: on the host, then on record.

        A controller that is killed in here leaves everything to the next one.
        """
        config = self.settings.config
        self.journal.write(
            "sweep_started",
            version=__version__,
            command=list(self.settings.command),
            varied=list(self.settings.varied),
            candidates=len(self.settings.candidates),
            tracking={"uri": config.tracking.uri, "experiment": config.tracking.experiment},
            **self._beginning(),
        )
        folder, grace_s = self.settings.folder, config.deploy.stop_timeout_s
        ended = leftovers.clear(lambda: leftovers.of_sweep(folder), grace_s)
        if ended.found:
            self.tell(f"ended what an earlier process left: {ended}")
            self.pool.settle()
        for trial in list(self.state.trials.values()):
            if trial.status == "running":
                self.finish(trial.number, Outcome(status=Status.INTERRUPTED))
        self.pool.put_aside(self.state.blame.suspects)

    def end_what_backs_off(self) -> None:
        """Write the end of trials whose next attempt will not be made now."""
        for trial in list(self.state.trials.values()):
            if trial.backs_off:
                self.finish(trial.number, Outcome(status=Status.INTERRUPTED))

    def admit(self, candidate: Candidate) -> Admission:
        """Number a candidate that can run; record one that cannot, or that another one stands for."""
        asked, inventory = config_from(candidate.config), self.settings.inventory
        config, plan = planned(asked, inventory, find=self._checkpoint, word=self._wordings)
        overrides = list(candidate.overrides)
        with self._guard:
            if not plan.valid:
                self.journal.write("candidate_rejected", overrides=overrides, reasons=list(plan.reasons))
                return Admission(reasons=plan.reasons)
            same = identity(plan, config)
            earlier = self._by_identity.get(same)
            if earlier is not None and same in self._seen:
                self.journal.write("candidate_duplicate", overrides=overrides, duplicate_of=earlier)
                return Admission(trial=earlier)
            self._seen.add(same)
            if earlier is not None and self.state.trials[earlier].is_done(config.sweep.retry):
                return Admission(trial=earlier)
            if earlier is not None and self.state.trials[earlier].backs_off:
                return Admission(job=self._job(earlier, candidate, config, plan))
            return Admission(job=self._queue(candidate, config, self._noted(candidate, config, plan)))

    def run(self, job: Job, lease: Lease) -> Outcome | Again:
        """Make one attempt at an admitted job on its lease, and record it; the trial ends if it is the last.

        Raises: InfrastructureError if the journal cannot be written.
        """
        attempt = len(self.state.trials[job.number].attempts) + 1
        clear_for(attempt, job.folder)
        self.journal.write("trial_started", trial=job.number, **started_record(attempt, lease))
        trial = Trial(
            job=replace(job, plan=self._noted(job.candidate, job.config, job.plan)),
            lease=lease,
            deployer=self.deployer,
            env=self.settings.env,
            cancelled=self.stop,
            tell=self._say,
            left=lambda remains: self.pool.left(lease, remains),
            rival=lambda: self.state.rival(job.number, job.config.objective.direction),
            emit=lambda event, **fields: self.journal.write(event, trial=job.number, **fields),
        )
        outcome = trial.run()
        after = None if self.deployer.recorded else again(self.trial(job.number), outcome, job.config.retry)
        if after is None:
            outcome = self.finish(job.number, outcome)
        else:
            self.journal.write(
                "attempt_failed", trial=job.number, **attempt_record(attempt, outcome, after.in_s)
            )
        self.pool.put_aside(self.state.blame.suspects)
        return after or outcome

    def close(self) -> None:
        """Release the sweep's files."""
        self.journal.close()
        os.close(self._lock)

    def _say(self, text: str) -> None:
        self.tell(text)

    def trial(self, number: int) -> TrialState:
        """Return what is known of a trial."""
        return self.state.trials[number]

    def _beginning(self) -> dict[str, Any]:
        """What must stay the same over the whole sweep, or its trials could not be compared."""
        return beginning_record(self.settings.config, self.settings.inventory, simulated=self.simulated)

    def _queue(self, candidate: Candidate, config: Config, plan: Plan) -> Job:
        number, self._next = self._next, self._next + 1
        self._by_identity[identity(plan, config)] = number
        job = self._job(number, candidate, config, plan)
        folder = job.folder
        record = plan_record(plan)
        keep(folder / "plan.json", json.dumps(record, indent=1))
        keep(folder / "config.yaml", self._text(candidate.config))
        params = trial_params(candidate, config, plan, self.settings.inventory)
        self.journal.write(
            "trial_queued",
            trial=number,
            overrides=list(candidate.overrides),
            choices=dict(candidate.choices),
            label=job.label,
            plan=record,
            params=params,
            folder=folder.name,
        )
        return job

    def _job(self, number: int, candidate: Candidate, config: Config, plan: Plan) -> Job:
        return Job(
            number=number,
            candidate=candidate,
            config=config,
            plan=plan,
            label=label_of(candidate, self.settings.varied),
            folder=self.settings.folder / f"trial-{number}",
        )

    def _noted(self, candidate: Candidate, config: Config, plan: Plan) -> Plan:
        """The plan with a note of the nearest failure for want of memory that is known by now."""
        note = self._lessons.note(plan, model=config.model.path, overrides=candidate.overrides)
        return plan if note is None or note in plan.notes else replace(plan, notes=(*plan.notes, note))

    def finish(self, number: int, outcome: Outcome) -> Outcome:
        """Write the end of a trial, with all its attempts, and return it."""
        ended = whole(self.state.trials[number], outcome)
        self.journal.write("trial_finished", trial=number, **finished_record(ended))
        return ended
