"""Whether a load client is here and can offer a workload: asked before anything starts."""

from __future__ import annotations

from autotune.benchmark import TOOLS
from autotune.benchmark.environments import problems_of
from autotune.benchmark.external.refusals import refusals
from autotune.benchmark.workload import loads_of, traffic_of
from autotune.plan.loads import searches, span
from autotune.records import Load, Mode, Wording
from autotune.schema import Config


def client_problems(config: Config, wording: Wording) -> list[str]:
    """Return what keeps the load client from measuring this workload, and what to do about each."""
    benchmark = config.benchmark
    problems = problems_of(benchmark)
    if benchmark.kind not in TOOLS:
        if benchmark.args:
            problems.append(
                f"benchmark.args: benchmark={benchmark.kind} has no command of its own: leave it out"
            )
        return problems
    if benchmark.processes is not None:
        problems.append(
            f"benchmark.processes={benchmark.processes}: only benchmark=native is told how many: leave it out"
        )
    tool, traffic = TOOLS[benchmark.kind](), traffic_of(config.workload, wording)
    loads = loads_of(config.workload)
    if searches(config.workload):
        mode = Mode(config.workload.mode.value)
        loads = [Load(mode=mode, value=value) for value in span(config.workload)]
    for load in loads:
        problems += refusals(tool, traffic, load)
    return list(dict.fromkeys(problems))
