"""What the engine refuses although its parser accepts it, in the engine's own words.

Source of the words and rules: vLLM 0.33.0 config/model.py, config/parallel.py, v1/core, and SGLang 0.5.23
models/llama.py, managers, mem_cache; collected in engine-facts sections 1, 5 and 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autotune.deploy.simulated.arguments import EngineArguments
from autotune.deploy.simulated.cost_model import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that an engine knows when it starts; `kv_tokens` is what its cache would hold."""

    engine: str
    arguments: EngineArguments
    deployment: Deployment
    gpus_visible: int
    kv_tokens: int

    @property
    def max_model_len(self) -> int:
        """The longest context that was asked for, else the model's."""
        return self.arguments.max_model_len or self.deployment.model.max_model_len

    @property
    def ranks(self) -> int:
        """GPUs of one replica."""
        return self.arguments.tp * self.arguments.pp * self.arguments.context_parallel


Rule = tuple[Callable[[Situation], bool], Callable[[Situation], str]]

VLLM: tuple[Rule, ...] = (
    (
        lambda s: s.deployment.model.heads % s.arguments.tp != 0,
        lambda s: (
            f"Value error, Total number of attention heads ({s.deployment.model.heads}) must be divisible by "
            f"tensor parallel size ({s.arguments.tp})."
        ),
    ),
    (
        lambda s: s.deployment.model.intermediate_size % s.arguments.tp != 0,
        lambda s: (
            f"AssertionError: {s.deployment.model.intermediate_size} is not divisible by {s.arguments.tp}"
        ),
    ),
    (
        lambda s: s.ranks > s.gpus_visible,
        lambda s: (
            f"Value error, World size ({s.ranks}) is larger than the number of available GPUs "
            f"({s.gpus_visible}) in this node."
        ),
    ),
    (
        lambda s: s.ranks * s.arguments.replicas > s.gpus_visible,
        lambda _s: "torch.AcceleratorError: CUDA error: invalid device ordinal",
    ),
    (
        lambda s: s.arguments.tp % s.arguments.decode_cp != 0,
        lambda s: (
            f"Value error, tp_size={s.arguments.tp} must be divisible by dcp_size={s.arguments.decode_cp}."
        ),
    ),
    (
        lambda s: s.arguments.decode_cp > max(1, s.arguments.tp // s.deployment.model.kv_heads),
        lambda _s: "Value error, Decode context parallelism for GQA/MQA requires tp_size > num_kv_heads.",
    ),
    (
        lambda s: s.arguments.expert_parallel,
        lambda _s: "Value error, Number of experts in the model must be greater than 0",
    ),
    (
        lambda s: s.arguments.max_step_tokens < s.arguments.max_sequences,
        lambda s: (
            f"Value error, max_num_batched_tokens ({s.arguments.max_step_tokens}) must be greater than or equal "
            f"to max_num_seqs ({s.arguments.max_sequences})."
        ),
    ),
    (
        lambda s: not s.arguments.chunked_prefill and s.arguments.max_step_tokens < s.max_model_len,
        lambda s: (
            f"Value error, max_num_batched_tokens ({s.arguments.max_step_tokens}) is smaller than max_model_len "
            f"({s.max_model_len})."
        ),
    ),
    (
        lambda s: s.max_model_len > s.deployment.model.max_model_len,
        lambda s: (
            f"Value error, User-specified max_model_len ({s.max_model_len}) is greater than the derived "
            f"max_model_len (max_position_embeddings={s.deployment.model.max_model_len})."
        ),
    ),
    (
        lambda s: s.arguments.quantization == "fp8",
        lambda _s: (
            "ValueError: The `fp8` quantization method no longer supports online quantization. Please use "
            "`--quantization fp8_per_tensor`"
        ),
    ),
    (
        lambda s: s.arguments.kv_dtype == "float16" and s.arguments.dtype != "float16",
        lambda s: (
            f'Value error, kv_cache_dtype="{s.arguments.kv_dtype}" is incompatible with dtype="bfloat16"'
        ),
    ),
    (
        lambda s: s.deployment.weights_per_gpu > s.deployment.gpu.memory_gib * 2**30,
        lambda s: (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate "
            f"{s.deployment.weights_per_gpu / 2**30:.2f} GiB."
        ),
    ),
    (
        lambda s: s.kv_tokens <= 0,
        lambda _s: (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
            "initializing the engine."
        ),
    ),
    (
        lambda s: s.kv_tokens < s.max_model_len,
        lambda s: (
            f"ValueError: To serve at least one request with the model's max seq len ({s.max_model_len}), "
            f"({s.max_model_len * s.deployment.kv_token_bytes / 2**30:.2f} GiB KV cache is needed. Based on the "
            f"available memory, the estimated maximum model length is {s.kv_tokens}."
        ),
    ),
)

SGLANG: tuple[Rule, ...] = (
    (
        lambda s: s.arguments.attention_dp > 1 and s.arguments.replicas > 1,
        lambda _s: "ValueError: dp_size and attn_dp_size cannot both be larger than 1",
    ),
    (
        lambda s: s.arguments.tp % s.arguments.attention_dp != 0,
        lambda _s: "AssertionError: tp_size must be divisible by attn_dp_size",
    ),
    (
        lambda s: s.deployment.model.heads % (s.arguments.tp // s.arguments.attention_dp) != 0,
        lambda _s: "AssertionError",
    ),
    (
        lambda s: s.arguments.tp % s.arguments.decode_cp != 0,
        lambda s: (
            f"RuntimeError: tensor_model_parallel_size ({s.arguments.tp}) must be divisible by "
            f"decode_context_parallel_size ({s.arguments.decode_cp})"
        ),
    ),
    (
        lambda s: s.ranks * s.arguments.replicas > s.gpus_visible,
        lambda _s: "torch.AcceleratorError: CUDA error: invalid device ordinal",
    ),
    (
        lambda s: s.max_model_len > s.deployment.model.max_model_len,
        lambda s: (
            f"ValueError: context_length ({s.max_model_len}) is greater than the derived context_length "
            f"({s.deployment.model.max_model_len})."
        ),
    ),
    (
        lambda s: s.deployment.weights_per_gpu > s.deployment.gpu.memory_gib * 2**30,
        lambda _s: "torch.OutOfMemoryError: CUDA out of memory.",
    ),
    (
        lambda s: s.kv_tokens <= 0,
        lambda _s: (
            "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static"
        ),
    ),
)

LAST_WORDS = {
    "vllm": "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    "sglang": "Received sigquit from a child process. It usually means the child failed.",
}
"""What the log always ends with, and what never says why."""


def refusal(situation: Situation) -> str | None:
    """Return the engine's words against what it was asked, the first that it would say; None if it starts."""
    rules = VLLM if situation.engine == "vllm" else SGLANG
    return next((words(situation) for holds, words in rules if holds(situation)), None)
