"""`python -m autotune doctor --interference`: what neighbours cost, measured here with one configuration."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from autotune import compose
from autotune.cli import complain
from autotune.deploy import create_deployer
from autotune.doctor.notebook import Notebook, condition
from autotune.doctor.outside import Say, end_early, facts_of, job_of, make_folder, settings_of
from autotune.doctor.scope import room_problems, scope_problems
from autotune.doctor.study import Run, Study, load_of
from autotune.errors import ConfigError, InfrastructureError
from autotune.gpus.leasing import pool_for
from autotune.gpus.packing import Policy, Waiting
from autotune.gpus.pool import GpuPool
from autotune.plan.expand import Entry
from autotune.prepare import start_problems
from autotune.records import Lease, Status
from autotune.report.interference import Setting, advice, effects, render_interference
from autotune.report.live import PlainView
from autotune.report.render import console
from autotune.score.objective import ranked_metric
from autotune.signals import ending_in_order
from autotune.survey import survey
from autotune.sweep import Settings
from autotune.trial import Job


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
        return _run(settings_of(asked, command, "interference"), asked.entries[0], pairs)
    except ConfigError as error:
        return complain(error.problems)
    except InfrastructureError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _run(settings: Settings, entry: Entry, pairs: int) -> int:
    out = console()
    say = PlainView(out).say
    make_folder(settings)
    job = job_of(settings, entry)
    pool = pool_for(settings.config, settings.inventory, settings.folder, say)
    leases = _leased(pool, entry.plan.gpus, settings, tell=say)
    try:
        notebook = Notebook(
            path=settings.folder / "interference.json",
            settings=settings,
            gpus=entry.plan.gpus,
            facts={
                **facts_of(settings, job, leases),
                "metric": ranked_metric(settings.config.objective, entry.plan.gpus),
            },
        )
        study = _study(job, leases, pairs=pairs, say=say, notebook=notebook)
        with ending_in_order(study.stop, say):
            say(_plan_of(leases, notebook.facts, pairs))
            outcome = study.run()
    finally:
        for lease in leases:
            pool.release(lease)
    notebook.facts["simulated"] = bool(notebook.facts["simulated"] or study.simulated)
    if outcome.status is not Status.MEASURED:
        kept = f"{len(notebook.runs) // 2} whole pairs are kept in {notebook.path}"
        return end_early(outcome, notebook.write, folder=settings.folder, kept=kept)
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


def _study(job: Job, leases: Sequence[Lease], *, pairs: int, say: Say, notebook: Notebook) -> Study:
    def hear(run: Run) -> None:
        number = len(notebook.runs)
        notebook.add(run)
        metric = notebook.facts["metric"]
        value = notebook.metrics(run).get(metric)
        failed = f", {run.requests_failed} requests failed" if run.requests_failed else ""
        shown = "not measured" if value is None else f"{value:.1f}"
        say(f"pair {number // 2 + 1} of {pairs} {condition(number)}: {shown} {metric}{failed}")

    return Study(
        job=job,
        leases=leases,
        deployer=create_deployer(job.config.deploy.kind),
        env=notebook.settings.env,
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
