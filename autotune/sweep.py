"""One sweep: its journal, its GPUs, its trials. Ties the stages together for every launcher."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from autotune import __version__
from autotune.deploy import create_deployer
from autotune.errors import ConfigError, InfrastructureError
from autotune.gpus.busy import why_busy
from autotune.gpus.forecast import Expected
from autotune.gpus.locks import GpuLocks
from autotune.gpus.nvml import read_statuses
from autotune.gpus.pool import GpuPool, Surroundings, Terms
from autotune.plan.expand import Checkpoints, Identity, identity
from autotune.plan.resolve import resolve
from autotune.records import Candidate, Inventory, InventoryKind, Lease, Outcome, Plan, Status
from autotune.schema import Config, config_from
from autotune.track.durations import Durations
from autotune.track.journal import NAME, Journal, read
from autotune.track.records import finished_record, plan_record, trial_params
from autotune.track.state import SweepState, TrialState, state_of
from autotune.trial import Job, Trial

LOCK_DIR = Path("/tmp/autotune-gpus")  # noqa: S108  (one place that every user of the host can write)


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
        """Open the journal, and on resume rebuild the state from it.

        Raises: ConfigError if the name is taken or another process works on it;
        InfrastructureError if its files cannot be written.
        """
        self.settings = settings
        config = settings.config
        self.stop = threading.Event()
        self.tell: Callable[[str], None] = lambda _text: None  # a line for who watches
        self.broken: InfrastructureError | None = None  # why the sweep cannot go on
        self.deployer = create_deployer(config.deploy.kind)
        self.state = _earlier(settings)
        _check_same(self.state.started, self._beginning(), settings.name)
        self.journal = Journal(settings.folder, sweep=settings.name)
        self._lock = _own(settings.folder)
        self.journal.follow(self.state.apply)
        self._by_identity = {trial.identity: trial.number for trial in self.state.latest()}
        self._seen: set[Identity] = set()
        self._checkpoint = Checkpoints(settings.env)
        self._next = max(self.state.trials, default=-1) + 1
        self._guard = threading.Lock()
        self.pool = create_pool(settings, tell=lambda text: self.tell(text))  # noqa: PLW0108  (who watches comes later)
        self.durations = Durations()
        for journal in settings.earlier:
            self.durations.learn(journal)
        self.journal.follow(self.durations.follow)

    @property
    def simulated(self) -> bool:
        """Whether the engine or the GPUs are stand-ins."""
        return self.deployer.stand_in or self.settings.inventory.kind is InventoryKind.DECLARED

    def begin(self) -> None:
        """Write `sweep_started`, and end in the record what a dead controller left running."""
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
        for trial in list(self.state.trials.values()):
            if trial.status == "running":
                self.finish(trial.number, Outcome(status=Status.INTERRUPTED))

    def admit(self, candidate: Candidate) -> Admission:
        """Number a candidate that can run; record one that cannot, or that another one stands for."""
        config = config_from(candidate.config)
        plan = resolve(config, self.settings.inventory, self._checkpoint(config))
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
            return Admission(job=self._queue(candidate, config, plan))

    def run(self, job: Job, lease: Lease) -> Outcome:
        """Run an admitted job on its lease, and record it.

        Raises: InfrastructureError if the journal cannot be written.
        """
        self.journal.write(
            "trial_started",
            trial=job.number,
            lease={
                "node": lease.node,
                "gpus": [gpu.uuid for gpu in lease.gpus],
                "indices": [gpu.index for gpu in lease.gpus],
            },
        )
        trial = Trial(
            job=job,
            lease=lease,
            deployer=self.deployer,
            env=self.settings.env,
            cancelled=self.stop,
            emit=lambda event, **fields: self.journal.write(event, trial=job.number, **fields),
        )
        outcome = trial.run()
        self.finish(job.number, outcome)
        return outcome

    def close(self) -> None:
        """Release the sweep's files."""
        self.journal.close()
        self._lock.close()

    def trial(self, number: int) -> TrialState:
        """Return what is known of a trial."""
        return self.state.trials[number]

    def expected(self, number: int) -> Expected | None:
        """Return how long a queued trial will take, as far as others like it tell."""
        return self.durations.expected(self.state.trials[number].queued)

    def _beginning(self) -> dict[str, Any]:
        """What must stay the same over the whole sweep, or its trials could not be compared."""
        config, inventory = self.settings.config, self.settings.inventory
        return {
            "objective": {
                "metric": config.objective.metric,
                "direction": config.objective.direction.value,
                "load": config.objective.load,
            },
            "inventory": {
                "kind": inventory.kind.value,
                "gpus": [{"uuid": g.uuid, "model": g.model, "node": g.node} for g in inventory.gpus],
            },
            "simulated": self.simulated,
        }

    def _queue(self, candidate: Candidate, config: Config, plan: Plan) -> Job:
        number, self._next = self._next, self._next + 1
        self._by_identity[identity(plan, config)] = number
        folder = self.settings.folder / f"trial-{number}"
        job = Job(
            number=number,
            candidate=candidate,
            config=config,
            plan=plan,
            label=label_of(candidate, self.settings.varied),
            folder=folder,
        )
        record = plan_record(plan)
        keep(folder / "plan.json", json.dumps(record, indent=1))
        keep(folder / "config.yaml", to_yaml(dict(candidate.config)))
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

    def finish(self, number: int, outcome: Outcome) -> None:
        """Write the end of a trial."""
        self.journal.write("trial_finished", trial=number, **finished_record(outcome))


def label_of(candidate: Candidate, varied: Sequence[str]) -> str:
    """Return the values that vary, `vllm · tp2 · default`; a swept argument with its name."""
    values = {
        key.lstrip("+"): value
        for key, _, value in (override.partition("=") for override in candidate.overrides)
    }
    names = [key for key in varied if key in values] or [
        key for key in ("runtime", "parallel") if key in candidate.choices
    ]
    return " · ".join(_label(key, values.get(key) or candidate.choices.get(key, "")) for key in names)


def _label(key: str, value: str) -> str:
    return f"{key.rpartition('.')[2]}={value}" if "." in key else value


def to_yaml(content: Any) -> str:
    """Return plain data as YAML, by libyaml where it is there: ten times as fast."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(content, Dumper=dumper, sort_keys=False))


def keep(path: Path, text: str) -> None:
    """Write a file of the sweep. Raises: InfrastructureError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}") from error


def _earlier(settings: Settings) -> SweepState:
    """The state that an earlier process left; a name is taken unless it is resumed."""
    path = settings.folder / NAME
    if not path.exists():
        return SweepState()
    if not settings.config.sweep.resume:
        raise ConfigError(
            [
                f"sweep.name={settings.name}: {settings.folder} exists: sweep.resume=true continues it; "
                "or choose another name"
            ]
        )
    return state_of(read(path))


def _check_same(started: Mapping[str, Any] | None, now: Mapping[str, Any], name: str) -> None:
    """A sweep is resumed under its own objective, on its own GPUs, as real or as simulated as before.

    Raises: ConfigError naming what differs.
    """
    if started is None:
        return
    problems = [
        f"sweep.name={name}: {key} was {json.dumps(started[key])[:200]} and is {json.dumps(now[key])[:200]}: "
        "resume with the same, or choose another name"
        for key in now
        if started[key] != now[key]
    ]
    if problems:
        raise ConfigError(problems)


def _own(folder: Path) -> Any:
    """Hold the sweep's folder while this process works on it; the lock goes with the process."""
    try:
        file = (folder / "lock").open("w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError([f"{folder}: another process works on this sweep"]) from None
    except OSError as error:
        raise InfrastructureError(f"cannot write {folder}: {error.strerror}") from error
    return file


def create_pool(settings: Settings, tell: Callable[[str], None]) -> GpuPool:
    """Return the GPUs of a sweep: detected ones are locked for the whole host, declared ones within it."""
    config, inventory = settings.config, settings.inventory
    alone = config.launcher.exclusive or config.deploy.url is not None or config.deploy.port is not None
    terms = Terms(
        max_parallel=1 if alone else config.launcher.max_parallel,
        wait=config.gpus.wait_for_free,
        settle_s=config.gpus.settle_timeout_s,
    )
    if inventory.kind is not InventoryKind.DETECTED:
        around = Surroundings(tell=tell)
        return GpuPool(inventory, locks=GpuLocks(settings.folder / "locks"), terms=terms, around=around)
    around = Surroundings(
        status=read_statuses,
        busy=partial(why_busy, min_free_fraction=config.gpus.min_free_fraction, ours=()),
        tell=tell,
    )
    return GpuPool(inventory, locks=GpuLocks(LOCK_DIR), terms=terms, around=around)
