"""`python -m autotune doctor --compare-clients`: every load client that is here, against one engine."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autotune import compose
from autotune.benchmark import create_benchmark
from autotune.cli import complain
from autotune.deploy import create_deployer
from autotune.doctor.alternation import Alternation, Turn
from autotune.doctor.clients import able_clients, chosen
from autotune.doctor.outside import Say, end_early, facts_of, job_of, make_folder, settings_of
from autotune.doctor.scope import comparison_problems
from autotune.doctor.study import at_one_load, load_of
from autotune.errors import ConfigError, InfrastructureError
from autotune.gpus.leasing import pool_for
from autotune.gpus.packing import Policy, Waiting
from autotune.gpus.pool import GpuPool
from autotune.plan.expand import Entry
from autotune.prepare import start_problems
from autotune.records import Lease, Outcome, Status
from autotune.report.clients import Comparison, render_comparison
from autotune.report.live import PlainView
from autotune.report.render import console
from autotune.schema import Config, Direction, ObjectiveConfig
from autotune.signals import ending_in_order
from autotune.survey import survey
from autotune.sweep import Settings
from autotune.track.files import keep
from autotune.trial import Job, Trial


def run_comparison(
    words: Sequence[str], *, rounds: int, config_dir: str | None, config_name: str, command: Sequence[str]
) -> int:
    """Measure one engine with every load client that is here, and return the exit status."""
    try:
        with compose.hydra_on(config_dir) as hydra:
            asked = survey(hydra, words, multirun=True, config_name=config_name)
        problems = [*comparison_problems(asked, rounds), *asked.problems]
        if not asked.varied:
            problems += start_problems(asked)
        if problems:
            raise ConfigError(problems)
        return _run(settings_of(asked, command, "clients"), asked.entries[0], rounds)
    except ConfigError as error:
        return complain(error.problems)
    except InfrastructureError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1


@dataclass(slots=True, kw_only=True)
class _Book:
    """What is known so far, in `clients.json`: written anew with every turn."""

    settings: Settings
    label: str
    clients: tuple[str, ...]
    rounds: int
    say: Say
    facts: dict[str, Any]
    turns: list[Turn] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.settings.folder / "clients.json"

    @property
    def kept(self) -> str:
        return f"{len(self.turns)} turns are kept in {self.path}"

    def hear_turn(self, turn: Turn) -> None:
        """Take one turn, and say what came of it."""
        self.turns.append(turn)
        self.write()
        self.say(f"round {turn.round + 1} of {self.rounds}, {turn.client}: {_in_short(turn)}")

    def hear(self, event: str, **fields: Any) -> None:
        """Take an event of the trial."""
        if event == "server_ready":
            self.facts["simulated"] = bool(self.facts["simulated"] or fields["simulated"])
            version = fields["engine_version"] or "unknown"
            self.say(f"engine ready after {fields['startup_s']:.1f} s, version {version}")

    def write(self, **more: Any) -> None:
        """Write everything. Raises: InfrastructureError."""
        content = {"v": 1, **self.facts, "clients": self.clients, "rounds": self.rounds, **more}
        content["turns"] = [asdict(turn) for turn in self.turns]
        keep(self.path, json.dumps(content, indent=1, default=str))

    def comparison(self) -> Comparison:
        """Return it as it is reported."""
        return Comparison(
            label=self.label,
            load=load_of(self.settings.config),
            clients=self.clients,
            turns=tuple(self.turns),
            rounds=self.rounds,
            simulated=self.facts["simulated"],
            cores=os.cpu_count() or 1,
            file=self.path,
        )


def _run(settings: Settings, entry: Entry, rounds: int) -> int:
    out = console()
    say = PlainView(out).say
    clients, missing = able_clients(at_one_load(settings.config, repeats=rounds), entry.plan.wording)
    make_folder(settings)
    job = job_of(settings, entry)
    pool = pool_for(settings.config, settings.inventory, settings.folder, say)
    lease = _leased(pool, job.width)
    try:
        facts = facts_of(settings, job, [lease])
        book = _Book(
            settings=settings, label=job.label, clients=tuple(clients), rounds=rounds, say=say, facts=facts
        )
        stop = threading.Event()
        with ending_in_order(stop, say):
            say(f"{job.label} at {load_of(settings.config)}: {', '.join(clients)} in turn, {rounds} rounds")
            outcome = _trial(job, lease, book, stop).run()
    finally:
        pool.release(lease)
    if outcome.status is Status.INTERRUPTED or not any(turn.measurement for turn in book.turns):
        return end_early(outcome, book.write, folder=settings.folder, kept=book.kept)
    return _report(book, outcome, missing)


def _report(book: _Book, outcome: Outcome, missing: Sequence[str]) -> int:
    """Print and keep what came out; an engine that failed on the way is told after it."""
    comparison = book.comparison()
    book.write(status=outcome.status.value, differences=[asdict(each) for each in comparison.differences()])
    render_comparison(console(), comparison, missing)
    if outcome.status is Status.MEASURED:
        return 0
    return end_early(outcome, book.write, folder=book.settings.folder, kept=book.kept)


def _leased(pool: GpuPool, width: int) -> Lease:
    """The engine's GPUs; none for an engine that someone else runs. Raises: InfrastructureError."""
    leases = pool.grant([Waiting(trial=0, gpus=width, since_s=0.0)], Policy())
    if leases:
        return leases[0]
    why = "; ".join(pool.waits_for()) or "other processes hold the GPUs"
    raise InfrastructureError(
        f"the engine needs {width} GPUs and finds no room: {why}: free the GPUs; python -m autotune doctor "
        "shows who has them"
    )


def _trial(job: Job, lease: Lease, book: _Book, stop: threading.Event) -> Trial:
    """A trial whose load client is all of them, so that the engine is started, watched and ended as ever."""
    config = job.config
    clients = {kind: create_benchmark(chosen(kind, config)) for kind in book.clients}
    return Trial(
        job=replace(job, config=_undisturbed(config, rounds=book.rounds)),
        lease=lease,
        deployer=create_deployer(config.deploy.kind),
        env=book.settings.env,
        cancelled=stop,
        emit=book.hear,
        tell=book.say,
        create_client=lambda _config: Alternation(clients, hear=book.hear_turn),
    )


def _undisturbed(config: Config, *, rounds: int) -> Config:
    """Nothing looks at the engine beside the clients, and a round counts whoever was first in it."""
    alike = at_one_load(config, repeats=rounds)
    objective = ObjectiveConfig(metric="output_tokens_per_s", direction=Direction.maximize, load="highest")
    return replace(alike, measure=replace(alike.measure, sample_s=None), objective=objective)


def _in_short(turn: Turn) -> str:
    if turn.measurement is None:
        return f"failed: {turn.failure.message}" if turn.failure is not None else "failed"
    metrics = turn.measurement.metrics
    shown = [
        f"{metrics[name]:.1f} {unit}"
        for name, unit in (("output_tokens_per_s", "output tok/s"), ("ttft_ms_mean", "ms TTFT"))
        if name in metrics
    ]
    failed = turn.measurement.requests_failed
    lost = [f"{failed} requests failed"] if failed else []
    return ", ".join([*shown, *lost, f"{turn.ended - turn.began:.1f} s in all"])
