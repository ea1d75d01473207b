"""What an engine knows when it starts, and the form of a rule against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autotune.deploy.simulated.arguments import EngineArguments
from autotune.deploy.simulated.cost_model import GIB, Deployment, ModelFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What was asked, on which hardware, with which model."""

    engine: str
    asked: EngineArguments
    deployment: Deployment
    gpus_visible: int

    @property
    def model(self) -> ModelFacts:
        """The model's facts."""
        return self.deployment.model

    @property
    def counts(self) -> tuple[int, ...]:
        """Everything asked that has to be at least 1."""
        asked = self.asked
        sizes = (asked.tp, asked.pp, asked.context_parallel, asked.replicas, asked.attention_dp)
        return (*sizes, asked.decode_cp, asked.max_sequences, asked.max_step_tokens)

    @property
    def max_model_len(self) -> int:
        """The longest context that was asked for, else the model's."""
        return self.model.max_model_len if self.asked.max_model_len is None else self.asked.max_model_len

    @property
    def dtype(self) -> str:
        """What the model computes in. assumed: every model here is stored in bfloat16."""
        names = {"auto": "bfloat16", "half": "float16", "float": "float32"}
        return names.get(self.asked.dtype, self.asked.dtype)

    @property
    def ranks(self) -> int:
        """GPUs of one replica."""
        return self.asked.tp * self.asked.pp * self.asked.context_parallel

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.ranks * self.asked.replicas

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache of one replica would hold; 0 or less: none."""
        return self.deployment.kv_capacity_tokens(self.asked.memory_fraction)

    @property
    def weights_gib(self) -> float:
        """GiB of weights on each GPU."""
        return self.deployment.weights_per_gpu / GIB

    @property
    def request_gib(self) -> float:
        """GiB of KV cache that one request of the longest context needs on each GPU."""
        return self.max_model_len * self.deployment.kv_token_bytes / GIB

    @property
    def capability(self) -> int:
        """Compute capability as the engines write it: 9.0 is 90; 0 if the data sheet does not tell."""
        return round((self.deployment.gpu.compute_capability or 0) * 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One refusal: when it `holds`, the engine's `words` (a format of the situation `s`), and their source.

    `config` names the part of vLLM's configuration whose validation fails; without one the engine fails in
    the process that it has started already.
    """

    holds: Callable[[Situation], bool]
    words: str
    source: str
    config: str = ""
