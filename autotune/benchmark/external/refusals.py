"""What of a workload a load client of others cannot offer: said before anything starts."""

from __future__ import annotations

from itertools import islice

from autotune.benchmark.external.tool import Tool
from autotune.benchmark.traffic import conversations, measured_count
from autotune.records import Load, Mode, Traffic

LOOKED_AT = 256  # conversations of a file in which messages before the last are looked for
OTHERS = "measure it with benchmark=native"


def refusals(tool: Tool, traffic: Traffic, load: Load) -> list[str]:
    """Return why a client cannot offer this traffic at this load; what it can do instead."""
    kind, able = tool.kind, tool.abilities
    problems = []
    if load.mode not in able.modes:
        return [f"workload.mode={load.mode.value}: {kind} has only {_among(able.modes)}: {OTHERS}"]
    if traffic.endpoint not in able.endpoints:
        known = ", ".join(sorted(able.endpoints))
        problems.append(
            f"workload.endpoint={traffic.endpoint}: {kind} has only {known}: choose it, or {OTHERS}"
        )
    if not able.verbatim and (traffic.pool is not None or traffic.prefix_tokens):
        what = (
            "workload.file" if traffic.pool is not None else f"workload.prefix_tokens={traffic.prefix_tokens}"
        )
        problems.append(f"{what}: {kind} draws prompts itself, by their lengths alone: {OTHERS}")
    if load.mode is Mode.RATE and traffic.arrival not in able.arrivals:
        known = ", ".join(sorted(able.arrivals))
        problems.append(
            f"workload.arrival={traffic.arrival}: {kind} has {known}: choose one of them, or {OTHERS}"
        )
    if load.mode is Mode.CONCURRENCY and not load.value.is_integer():
        problems.append(f"workload.loads={load.value:g}: {kind} keeps a whole number of requests in flight")
    if traffic.seconds_per_load is not None:
        problems.append(
            f"workload.seconds_per_load={traffic.seconds_per_load:g}: {kind} measures a number of requests "
            f"here: set workload.seconds_per_load=null, or {OTHERS}"
        )
    if traffic.ramp_s > 0:
        problems.append(
            f"workload.ramp_s={traffic.ramp_s:g}: {kind} has no such ramp: set workload.ramp_s=0, or {OTHERS}"
        )
    return [*problems, *_of_conversations(tool, traffic, load)]


def _among(modes: frozenset[Mode]) -> str:
    return ", ".join(sorted(mode.value for mode in modes))


def _of_conversations(tool: Tool, traffic: Traffic, load: Load) -> list[str]:
    drawn = conversations(traffic, load, repeat=0, phase="measure")
    looked_at = list(islice(drawn, min(LOOKED_AT, measured_count(traffic, load))))
    several = any(len(conversation) > 1 for conversation in looked_at)
    if several and not tool.abilities.turns:
        return [
            f"workload.turns: {tool.kind} sends single requests here, and the workload has conversations of "
            f"several: set workload.turns=1, or {OTHERS}"
        ]
    if not tool.abilities.histories and any(each.history for one in looked_at for each in one):
        return [
            f"workload.file: {tool.kind} sends single prompts, and requests of the file have messages before "
            f"their last: {OTHERS} or benchmark=aiperf"
        ]
    return []
