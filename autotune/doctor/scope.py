"""Of what `doctor` can measure interference, and compare load clients: one configuration, a real engine."""

from __future__ import annotations

from autotune.plan.loads import searches
from autotune.survey import Survey

LEAST_PAIRS = 3  # fewer give an interval that says nothing
LEAST_ROUNDS = 2  # fewer give no interval at all


def scope_problems(asked: Survey, pairs: int) -> list[str]:
    """Return what keeps the words from being one configuration whose engines can be started side by side."""
    config = asked.config
    problems = _one_of_each(asked, "--interference")
    if pairs < LEAST_PAIRS:
        problems.append(f"--pairs {pairs}: must be at least {LEAST_PAIRS}")
    if config.deploy.url is not None:
        problems.append("deploy.url: doctor --interference starts and ends engines of its own: leave it out")
    if config.deploy.port is not None:
        problems.append("deploy.port: engines side by side need ports of their own: leave it out")
    if config.sweep.resume:
        problems.append("sweep.resume: an experiment is measured as a whole: leave it out")
    if config.deploy.kind == "replay":
        problems.append("deploy=replay: recorded rows have no neighbours: choose process or simulated")
    return problems


def room_problems(asked: Survey) -> list[str]:
    """Return why only one engine fits, and how a second one would."""
    plan, gpus = asked.entries[0].plan, len(asked.inventory.gpus)
    width = plan.gpus
    if not plan.valid or asked.varied or asked.no_gpus or asked.config.deploy.url is not None:
        return []  # there are reasons enough, or nothing to count
    if gpus // width < 2:
        return [f"nothing can run beside it: it takes {width} of {gpus} GPUs; choose a narrower layout"]
    if asked.config.launcher.max_parallel == 1:
        return ["nothing can run beside it: launcher.max_parallel=1: leave it out"]
    return []


def comparison_problems(asked: Survey, rounds: int) -> list[str]:
    """Return what keeps the words from being one configuration on which load clients can be compared."""
    config = asked.config
    problems = _one_of_each(asked, "--compare-clients")
    if rounds < LEAST_ROUNDS:
        problems.append(f"--rounds {rounds}: must be at least {LEAST_ROUNDS}")
    if config.sweep.resume:
        problems.append("sweep.resume: clients are compared as a whole: leave it out")
    if config.deploy.kind == "replay" and config.deploy.url is None:
        problems.append(
            "deploy=replay: recorded rows have no load client: choose process, docker or simulated"
        )
    return problems


def _one_of_each(asked: Survey, what: str) -> list[str]:
    """What names more than one configuration, or leaves the load open."""
    problems = []
    if asked.varied:
        given = ", ".join(asked.varied)
        problems.append(f"doctor {what} measures one configuration: give one value for {given}")
    if searches(asked.config.workload):
        problems.append(f"workload.loads=search: doctor {what} measures at one load: give it, such as [64]")
    return problems
