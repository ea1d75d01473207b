"""What is found here, with the fix for each thing missing; nothing is started or written."""

from __future__ import annotations

from collections.abc import Sequence

from autotune import compose
from autotune.cli import complain
from autotune.doctor.clients import client_findings
from autotune.doctor.finding import Finding, State
from autotune.doctor.gpus import gpu_findings, without_gpus
from autotune.doctor.host import docker_finding, engine_findings, place_findings
from autotune.errors import ConfigError
from autotune.gpus.leasing import LOCK_DIR
from autotune.gpus.locks import GpuLocks
from autotune.prepare import start_problems
from autotune.records import InventoryKind
from autotune.report.doctor import render_findings
from autotune.report.render import console
from autotune.survey import Survey, survey


def run_doctor(
    words: Sequence[str], *, config_dir: str | None, config_name: str, locks: GpuLocks | None = None
) -> int:
    """Print what is found here and return the exit status: 0 also where things are missing."""
    try:
        with compose.hydra_on(config_dir) as hydra:
            asked = survey(hydra, words, multirun=False, config_name=config_name)
            if asked.problems:
                return complain(asked.problems)
            gpus = _gpus(asked, locks or GpuLocks(LOCK_DIR))
            free = sum(each.about.startswith("GPU ") and each.state is State.GOOD for each in gpus)
            findings = [
                *gpus,
                *engine_findings(hydra, asked.config, config_name),
                docker_finding(),
                *client_findings(asked.config),
                *place_findings(asked.config),
                *_a_run(asked, free),
            ]
    except ConfigError as error:
        return complain(error.problems)
    render_findings(console(), findings)
    return 0


def _gpus(asked: Survey, locks: GpuLocks) -> list[Finding]:
    if asked.no_gpus:
        return without_gpus(asked.no_gpus)
    return gpu_findings(asked.inventory, locks, min_free_fraction=asked.config.gpus.min_free_fraction)


def _a_run(asked: Survey, free: int) -> list[Finding]:
    """Whether this very configuration could be started here."""
    problems = [text for text in start_problems(asked) if text not in asked.no_gpus]
    if asked.no_gpus:
        problems.insert(0, "no GPUs, see above")
    if not problems:
        return [_startable(asked, free)]
    first = Finding(about="a run", text="would be refused with this configuration:", state=State.MISSING)
    rest = [Finding(about="", text=text, state=State.MISSING) for text in problems]
    return [first, *rest]


def _startable(asked: Survey, free: int) -> Finding:
    """A run is started on GPUs that are in use too, and then waits for them."""
    width = asked.entries[0].plan.gpus
    if asked.inventory.kind is InventoryKind.DETECTED and free < width and asked.config.deploy.url is None:
        text = f"would wait: it needs {width} GPUs, {free} of {len(asked.inventory.gpus)} are free"
        return Finding(about="a run", text=text, state=State.NOTE)
    return Finding(about="a run", text="can be started with this configuration")
