"""The simulated engine without its HTTP: from a command line and a specification to replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.deploy.simulated.arguments import EngineArguments, parse
from autotune.deploy.simulated.batching import Limits, Replica
from autotune.deploy.simulated.cost_model import KV_BYTES, WEIGHT_BYTES, Deployment, ModelFacts
from autotune.deploy.simulated.refusals import Refusal, refusal
from autotune.deploy.simulated.situation import Situation
from autotune.plan.runtimes.flags import load_flags
from autotune.records import GpuSpec


class EngineRefusal(Exception):
    """The engine ends with status 1; the message is its cause by one `rule`, `log` what it leaves behind."""

    def __init__(self, refused: Refusal) -> None:
        self.rule = refused.rule
        self.log = refused.log
        super().__init__(refused.cause)


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
    arguments = parse(
        argv, load_flags(name, version), gpu_model=specification["gpu_model"], memory_gib=gpu.memory_gib
    )
    situation = Situation(
        engine=name,
        asked=arguments,
        deployment=_deployment(name, arguments, model, gpu),
        gpus_visible=specification["gpus_visible"],
    )
    refused = refusal(situation)
    if refused is not None:
        raise EngineRefusal(refused)
    limits = Limits(
        max_sequences=arguments.max_sequences,
        max_step_tokens=arguments.max_step_tokens,
        kv_tokens=situation.kv_tokens,
        chunked_prefill=arguments.chunked_prefill,
        prefix_caching=arguments.prefix_caching,
    )
    replicas = tuple(Replica(situation.deployment, limits) for _ in range(arguments.replicas))
    return Engine(
        engine=name,
        version=version,
        arguments=arguments,
        replicas=replicas,
        max_model_len=min(situation.max_model_len, situation.kv_tokens),
    )


def _deployment(engine: str, arguments: EngineArguments, model: ModelFacts, gpu: GpuSpec) -> Deployment:
    """One replica; number formats without figures count as 16 bits until they are refused."""
    return Deployment(
        engine=engine,
        model=model,
        gpu=gpu,
        tp=arguments.tp,
        pp=arguments.pp,
        weight_bytes=WEIGHT_BYTES.get(arguments.quantization or "unquant", 2.0),
        kv_bytes=KV_BYTES.get(arguments.kv_dtype, 2.0),
    )
