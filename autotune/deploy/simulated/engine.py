"""The simulated engine without its HTTP: from a command line and a specification to replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.deploy.simulated.arguments import EngineArguments, parse
from autotune.deploy.simulated.batching import Limits, Replica
from autotune.deploy.simulated.cost_model import Deployment, ModelFacts
from autotune.deploy.simulated.refusals import Situation, refusal
from autotune.plan.runtimes.flags import load_flags
from autotune.records import GpuSpec


class EngineRefusal(Exception):
    """The engine ends with status 1; the message is its cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What was started: the arguments as the engine reads them, and one scheduler for each replica."""

    engine: str
    version: str
    arguments: EngineArguments
    replicas: tuple[Replica, ...]
    max_model_len: int

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache of one replica holds."""
        return self.replicas[0].limits.kv_tokens


def create_engine(argv: Sequence[str], specification: Mapping[str, Any]) -> Engine:
    """Return the engine that `argv` starts on the hardware and model of `specification`.

    Raises: UsageError if its parser refuses, EngineRefusal if it refuses later.
    """
    name, version = specification["engine"], specification["version"]
    gpu, model = GpuSpec(**specification["gpu"]), ModelFacts(**specification["model"])
    flags = load_flags(name, version)
    arguments = parse(argv, flags, gpu_model=specification["gpu_model"], memory_gib=gpu.memory_gib)
    quantized = arguments.quantization is not None and arguments.quantization.startswith(("fp8", "w8a8"))
    deployment = Deployment(
        engine=name,
        model=model,
        gpu=gpu,
        tp=arguments.tp,
        pp=arguments.pp,
        weight_bytes=1 if quantized else 2,
        kv_bytes=1 if arguments.kv_dtype.startswith("fp8") else 2,
    )
    kv_tokens = deployment.kv_capacity_tokens(arguments.memory_fraction)
    situation = Situation(
        engine=name,
        arguments=arguments,
        deployment=deployment,
        gpus_visible=specification["gpus_visible"],
        kv_tokens=kv_tokens,
    )
    refused = refusal(situation)
    if refused is not None:
        raise EngineRefusal(refused)
    limits = Limits(
        max_sequences=arguments.max_sequences,
        max_step_tokens=arguments.max_step_tokens,
        kv_tokens=kv_tokens,
        chunked_prefill=arguments.chunked_prefill,
        prefix_caching=arguments.prefix_caching,
    )
    replicas = tuple(Replica(deployment, limits) for _ in range(arguments.replicas))
    return Engine(
        engine=name,
        version=version,
        arguments=arguments,
        replicas=replicas,
        max_model_len=min(situation.max_model_len, kv_tokens),
    )
