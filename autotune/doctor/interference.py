"""`python -m autotune doctor --interference`: what neighbours cost, measured here with one configuration."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from rich.console import Console

from autotune import __version__, compose
from autotune.cli import complain
from autotune.deploy import create_deployer
from autotune.doctor.notebook import Notebook, condition
from autotune.doctor.scope import room_problems, scope_problems
from autotune.doctor.study import Run, Study, load_of
from autotune.errors import ConfigError, InfrastructureError
from autotune.gpus.leasing import pool_for
from autotune.gpus.packing import Policy, Waiting
from autotune.gpus.pool import GpuPool
from autotune.places import OUTPUTS
from autotune.plan.expand import Entry
from autotune.prepare import start_problems, unused_name
from autotune.records import Failure, InventoryKind, Lease, Outcome, Status
from autotune.report.interference import Setting, advice, effects, render_interference
from autotune.report.live import PlainView
from autotune.report.render import console
from autotune.score.objective import ranked_metric
from autotune.signals import ending_in_order
from autotune.survey import Survey, survey
from autotune.sweep import Settings
from autotune.track.files import keep, to_yaml
from autotune.track.records import label_of, load_record
from autotune.trial import Job

Say = Callable[[str], None]


def run_interference(
    words: Sequence[str], *, pairs: int, config_dir: str | None, config_name: str, command: Sequence[str]
) -> int:
    """Measure one configuration alone and beside copies of itself, and return the exit status."""
    try:
        with compose.hydra_on(config_dir) as hydra:
            asked = survey(hydra, words, multirun=True, config_name=config_name)
        problems = [*scope_problems(asked, pairs), *asked.problems]
        if not asked.varied:  # else there are many candidates, and none to judge
            problems += start_problems(asked)
        problems += room_problems(asked)
        if problems:
            raise ConfigError(problems)
        return _run(_settings(asked, command), asked.entries[0], pairs)
    except ConfigError as error:
        return complain(error.problems)
    except InfrastructureError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _settings(asked: Survey, command: Sequence[str]) -> Settings:
    """`launcher.exclusive` is what is in question: it does not keep the neighbours out here."""
    config = replace(asked.config, launcher=replace(asked.config.launcher, exclusive=False))
    name = config.sweep.name or f"interference-{unused_name(datetime.now().astimezone(), OUTPUTS)}"
    return Settings(
        name=name,
        folder=OUTPUTS / name,
        config=config,
        inventory=asked.inventory,
        command=tuple(command),
        varied=(),
        env=dict(os.environ),
        candidates=(asked.entries[0].candidate,),
    )


def _run(settings: Settings, entry: Entry, pairs: int) -> int:
    out = console()
    say = PlainView(out).say
    _make(settings)
    pool = pool_for(settings.config, settings.inventory, settings.folder, say)
    leases = _leased(pool, entry.plan.gpus, settings, tell=say)
    try:
        notebook = Notebook(
            path=settings.folder / "interference.json",
            settings=settings,
            gpus=entry.plan.gpus,
            facts=_facts(settings, entry, leases),
        )
        study = _study(settings, entry, leases, pairs=pairs, say=say, notebook=notebook)
        with ending_in_order(study.stop, say):
            say(_plan_of(leases, notebook.facts, pairs))
            outcome = study.run()
    finally:
        for lease in leases:
            pool.release(lease)
    notebook.facts["simulated"] = bool(notebook.facts["simulated"] or study.simulated)
    if outcome.status is not Status.MEASURED:
        return _ended_early(outcome, notebook)
    _report(out, notebook, neighbours=len(leases) - 1)
    return 0


def _report(out: Console, notebook: Notebook, *, neighbours: int) -> None:
    """Print what came out, and keep it."""
    config, metric = notebook.settings.config, notebook.facts["metric"]
    found = effects(notebook.pairs(), metric, config.objective.direction)
    said = [*advice(found, metric), *notebook.lost_requests()]
    notebook.write(status="measured", effects=[asdict(effect) for effect in found], advice=said)
    setting = Setting(
        label=notebook.facts["label"],
        load=load_of(config),
        neighbours=neighbours,
        simulated=notebook.facts["simulated"],
        file=notebook.path,
    )
    render_interference(out, found, said, setting)


def _make(settings: Settings) -> None:
    """Make the folder, which nobody had before. Raises: ConfigError, InfrastructureError."""
    try:
        settings.folder.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(
            [f"sweep.name={settings.name}: {settings.folder} exists: choose another name"]
        ) from None
    except OSError as error:
        raise InfrastructureError(f"cannot write {settings.folder}: {error.strerror}") from error
    keep(settings.folder / "config.yaml", to_yaml(dict(settings.candidates[0].config)))


def _leased(pool: GpuPool, width: int, settings: Settings, *, tell: Say) -> list[Lease]:
    """The GPUs of the subject, then of each neighbour, held to the end: no other sweep gets them meanwhile.

    Raises: InfrastructureError if fewer than two engines find room.
    """
    engines = len(settings.inventory.gpus) // width
    queue = [Waiting(trial=number, gpus=width, since_s=0.0) for number in range(engines)]
    leases = pool.grant(queue, Policy())
    if len(leases) < 2:
        for lease in leases:
            pool.release(lease)
        shutil.rmtree(settings.folder)  # of this process, and nothing is in it yet
        why = "; ".join(pool.waits_for()) or "other processes hold the GPUs"
        raise InfrastructureError(
            f"{len(leases)} of 2 engines find room: {why}: free the GPUs; python -m autotune doctor shows "
            "who has them"
        )
    if len(leases) < min(engines, settings.config.launcher.max_parallel or engines):
        tell(f"{len(leases)} engines find room now, of {engines}")
    return leases


def _facts(settings: Settings, entry: Entry, leases: Sequence[Lease]) -> dict[str, Any]:
    config = settings.config
    stand_in = create_deployer(config.deploy.kind).stand_in
    return {
        "version": __version__,
        "command": list(settings.command),
        "label": label_of(entry.candidate, ()),
        "argv": list(entry.plan.argv),
        "load": load_record(load_of(config)),
        "metric": ranked_metric(config.objective, entry.plan.gpus),
        "simulated": stand_in or settings.inventory.kind is InventoryKind.DECLARED,
        "gpus": [[{"index": g.index, "uuid": g.uuid, "model": g.model} for g in one.gpus] for one in leases],
    }


def _study(
    settings: Settings, entry: Entry, leases: Sequence[Lease], *, pairs: int, say: Say, notebook: Notebook
) -> Study:
    def hear(run: Run) -> None:
        number = len(notebook.runs)
        notebook.add(run)
        metric = notebook.facts["metric"]
        value = notebook.metrics(run).get(metric)
        failed = f", {run.requests_failed} requests failed" if run.requests_failed else ""
        shown = "not measured" if value is None else f"{value:.1f}"
        say(f"pair {number // 2 + 1} of {pairs} {condition(number)}: {shown} {metric}{failed}")

    return Study(
        job=Job(
            number=0,
            candidate=entry.candidate,
            config=settings.config,
            plan=entry.plan,
            label=notebook.facts["label"],
            folder=settings.folder,
        ),
        leases=leases,
        deployer=create_deployer(settings.config.deploy.kind),
        env=settings.env,
        pairs=pairs,
        stop=threading.Event(),
        say=say,
        hear=hear,
    )


def _plan_of(leases: Sequence[Lease], facts: Mapping[str, Any], pairs: int) -> str:
    where = ["/".join(str(gpu.index) for gpu in lease.gpus) for lease in leases]
    return (
        f"{facts['label']} on GPU {where[0]}, {pairs} pairs: alone, then beside {len(where) - 1} of its kind "
        f"on GPU {', '.join(where[1:])}, at {facts['load']['mode']} {facts['load']['value']:g}"
    )


def _ended_early(outcome: Outcome, notebook: Notebook) -> int:
    failure = outcome.failure or Failure(kind="unknown", message="it ended without a reason")
    told = None if outcome.status is Status.INTERRUPTED else asdict(failure)
    notebook.write(status=outcome.status.value, failure=told)
    kept = f"{len(notebook.runs) // 2} whole pairs are kept in {notebook.path}"
    if outcome.status is Status.INTERRUPTED:
        print(f"interrupted: everything started was stopped; {kept}", file=sys.stderr)  # noqa: T201
        return 130
    lines = [f"error: {failure.kind}: {failure.message}", failure.evidence, failure.advice]
    lines += [f"the engines' logs are in {notebook.path.parent}; {kept}"]
    print("\n       ".join(filter(None, lines)), file=sys.stderr)  # noqa: T201
    return 1
