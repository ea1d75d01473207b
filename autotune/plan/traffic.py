"""What a plan says of its requests: what makes them the same, which are too long, what may be refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.plan.account import mean_tokens
from autotune.plan.consistency import context_of
from autotune.plan.loads import fixed_loads, searches
from autotune.plan.runtimes.protocol import Setup
from autotune.records import Wording
from autotune.schema import Arrival, Config, LoadMode, WorkloadConfig, WorkloadKind
from autotune.workload.lengths import share_above

OWN_FIELDS = (
    "model",
    "prompt",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "n",
)
"""Fields of a request that a load client sets: others would be measured."""

SAMPLING_TWICE = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "seed")
LEAST_SHARE = 0.0005  # below this the sample says nothing


def identity(workload: WorkloadConfig, wording: Wording) -> dict[str, Any]:
    """Return what is equal for two workloads exactly if they send the same requests: no path of this host."""
    fields = {**vars(workload), "sampling": vars(workload.sampling)}
    if not searches(workload):
        fields["loads"] = fixed_loads(workload)
        del fields["least_load"], fields["most_load"]
    if workload.file_sha256 is not None:
        del fields["file"]
    return {**fields, "wording": wording.identity}


def problems(config: Config) -> list[str]:
    """Return what is wrong with the values of a workload, beside its bounds."""
    workload = config.workload
    found = [
        f"workload.extra_body.{name}: is set by autotune, what is measured depends on it: leave it out"
        for name in workload.extra_body
        if name in OWN_FIELDS
    ]
    found += [
        f"workload.extra_body.{name}: set workload.sampling.{name}"
        for name in workload.extra_body
        if name in SAMPLING_TWICE
    ]
    found += _arrival_problems(workload)
    if workload.kind is WorkloadKind.synthetic:
        return [*found, *_synthetic_problems(workload)]
    if workload.prefix_tokens:
        found.append(
            f"workload.prefix_tokens: is for synthetic workloads; {workload.kind.value} has its own texts"
        )
    return found


def _arrival_problems(workload: WorkloadConfig) -> list[str]:
    said = f"workload.arrival={workload.arrival.value}"
    if workload.arrival is Arrival.poisson:
        return []
    found = []
    if workload.mode is LoadMode.concurrency:
        found.append(f"{said}: is for arrivals at a rate: set workload.mode=rate and workload.loads to rates")
    if workload.arrival is Arrival.trace and workload.kind is not WorkloadKind.jsonl:
        found.append(f"{said}: needs a file whose lines have times: choose workload=jsonl")
    return found


def _synthetic_problems(workload: WorkloadConfig) -> list[str]:
    found = [
        f"workload.{name}: must be given: mean tokens, such as 1024"
        for name in ("input_tokens", "output_tokens")
        if getattr(workload, name) is None
    ]
    if isinstance(workload.input_tokens, int) and 0 < workload.input_tokens <= workload.prefix_tokens:
        found.append(
            f"workload.prefix_tokens={workload.prefix_tokens}: must be below "
            f"workload.input_tokens={workload.input_tokens}, of which they are a part"
        )
    if workload.file is not None:
        found.append(
            f"workload.file={workload.file}: is not read by a synthetic workload: choose "
            "workload=sharegpt or workload=jsonl"
        )
    return found


def notes(setup: Setup, args: Mapping[str, Any], wording: Wording) -> list[str]:
    """Return what a user should know of the requests before they are sent."""
    workload, found = setup.config.workload, []
    limit = context_of(setup, args)
    if limit is not None and setup.config.deploy.kind != "replay":
        share = _share_above(workload, wording, limit)
        if share > LEAST_SHARE:
            found.append(
                f"about {share:.1%} of the requests are longer than the context of {limit} tokens with their "
                "answer and will be refused: they count as failed"
            )
    if workload.extra_body and setup.config.runtime.kind == "tensorrt_llm":
        names = ", ".join(workload.extra_body)
        # Source: TensorRT-LLM serve/openai_protocol.py, OpenAIBaseModel: extra="forbid".
        found.append(
            f"workload.extra_body has {names}: trtllm-serve refuses requests with fields it does not know"
        )
    return found


def _share_above(workload: WorkloadConfig, wording: Wording, limit: int) -> float:
    if wording.totals:
        return sum(total > limit for total in wording.totals) / len(wording.totals)
    if workload.kind is not WorkloadKind.synthetic or not mean_tokens(workload):
        return 0.0
    if not (workload.input_spread or workload.output_spread or workload.turns_spread):
        return 0.0  # all alike: the mean is judged
    return share_above(workload, limit)
