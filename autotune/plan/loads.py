"""The loads of a workload: a list, or a search between two ends."""

from __future__ import annotations

import math

from autotune.schema import Config, LoadMode, WorkloadConfig

SEARCH = "search"
LEAST = {LoadMode.concurrency: 1.0, LoadMode.rate: 0.1}
MOST = {LoadMode.concurrency: 1024.0, LoadMode.rate: 1000.0}


def searches(workload: WorkloadConfig) -> bool:
    """Return whether the highest load within the SLO is to be found."""
    return bool(workload.loads == SEARCH)


def fixed_loads(workload: WorkloadConfig) -> list[float]:
    """Return the loads that are given, each once; none for a search."""
    given = workload.loads if isinstance(workload.loads, list) else []
    return [float(load) for load in dict.fromkeys(given) if is_number(load)]


def span(workload: WorkloadConfig) -> tuple[float, float]:
    """Return the lowest and the highest load that a search may measure."""
    least, most = workload.least_load, workload.most_load
    return (
        LEAST[workload.mode] if least is None else float(least),
        MOST[workload.mode] if most is None else float(most),
    )


def is_number(load: object) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(load, int | float) and not isinstance(load, bool) and math.isfinite(load)


def problems(config: Config) -> list[str]:
    """Return what is wrong with the loads of a configuration."""
    workload = config.workload
    if searches(workload):
        return _search_problems(config)
    found = [
        f"workload.{name}={value:g}: is for workload.loads=search"
        for name in ("least_load", "most_load")
        if (value := getattr(workload, name)) is not None
    ]
    if not workload.loads:
        found.append("workload.loads=[]: give at least one load, such as [1,8]")
    loads = fixed_loads(workload)
    found += [f"workload.loads: {load:g} is not a load; must be above 0" for load in loads if load <= 0]
    if workload.mode is LoadMode.concurrency:
        found += [f"workload.loads: {_not_whole(load)}" for load in loads if load != int(load)]
    named = config.objective.load
    if named not in {"best", "lowest", "highest", *(f"{load:g}" for load in loads)}:
        known = ", ".join(f"{load:g}" for load in loads)
        found.append(f"objective.load={named}: must be best, lowest, highest or one of {known}")
    return found


def _search_problems(config: Config) -> list[str]:
    workload, found = config.workload, []
    least, most = span(workload)
    for name, value in (("least_load", least), ("most_load", most)):
        if value <= 0:
            found.append(f"workload.{name}={value:g}: is not a load; must be above 0")
        elif workload.mode is LoadMode.concurrency and value != int(value):
            found.append(f"workload.{name}={value:g}: {_not_whole(value)}")
    if least > most:
        found.append(
            f"workload.least_load={least:g}: is above workload.most_load={most:g}: are they exchanged?"
        )
    if config.objective.load not in {"best", "lowest", "highest"}:
        found.append(
            f"objective.load={config.objective.load}: workload.loads=search measures loads of its own: "
            "must be best, lowest or highest"
        )
    if config.deploy.kind == "replay" and config.deploy.url is None:
        found.append("workload.loads=search: a table has the loads that it has: give them as workload.loads")
    return found


def _not_whole(load: float) -> str:
    return f"{load:g} requests cannot be in flight; give a whole number"
