"""How long a step of the simulated engine takes, and how many tokens its KV cache holds.

This is a roofline of data-sheet figures. It is NO claim about real hardware or real engines: everything
that it yields is marked simulated. Its use is to have a landscape with a known truth and the right shape
(more GPUs are faster but not in proportion, batches raise throughput and latency), on which the rest of
autotune can be proven without a GPU. Every constant of the simulation stands here, with its source or the
word `assumed`.

A step computes n_i new tokens for each sequence i of the batch, on top of c_i tokens that are in its KV
cache. With N = sum of n_i, on each of tp GPUs of a stage:

    compute_s = (2·params·N + 4·layers·heads·head_dim·sum(n_i·(c_i + n_i/2))) / (tp·FLOPS·COMPUTE)
    memory_s  = (params·weight_bytes/tp + kv_token_bytes·sum(c_i + n_i)) / (BANDWIDTH·MEMORY)
    link_s    = 2·layers·(ALL_REDUCE + 2·(tp-1)/tp·N·hidden_size·2 / LINK)        for tp > 1
    step_s    = max(compute_s, memory_s) + link_s + (pp-1)·HOP + HOST[engine]

Pipeline stages work one after the other on a batch, so pp adds memory but no speed: the worst case of a
pipeline bubble. Source of the FLOP counts: Kaplan et al. 2020, section 2.1 (2·params a token; attention
2·n_ctx·d for scores and for values, a layer).

What it does not know, so that it has no effect on times: attention data parallelism, decode context
parallelism, expert parallelism, speculative decoding, block and page sizes, attention backends, CUDA graphs,
scheduling policies. The engine's log lists the flags given that have no effect. Number formats that it has
no figures for are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.records import GpuSpec

GIB = 2**30

COMPUTE = 0.6
"""Share of the data-sheet FLOP/s that a dense matrix product reaches. assumed"""

MEMORY = 0.8
"""Share of the data-sheet bandwidth that streaming weights reaches. assumed"""

ALL_REDUCE_S = 10e-6
"""Latency of one all-reduce within a node, whatever its size. assumed"""

HOP_S = 20e-6
"""Latency of handing a batch to the next pipeline stage. assumed"""

HOST_S = {"vllm": 1.0e-3, "sglang": 0.5e-3}
"""Host time of one step. Invented, and different only so that a ranking of two runtimes has something to
find: it says nothing about the engines. assumed"""

WEIGHT_BYTES = {
    "bitsandbytes": 0.5,
    "fp8": 1.0,
    "fp8_per_block": 1.0,
    "fp8_per_channel": 1.0,
    "fp8_per_tensor": 1.0,
    "mxfp4": 0.53125,
    "mxfp8": 1.03125,
    "nvfp4_online": 0.5625,
    "unquant": 2.0,
    "w8a8_fp8": 1.0,
}
"""Bytes of a weight by online quantization; the mx and nv formats have a one-byte scale for each 32 and 16
values. assumed: every weight is quantized, and 16 bits are computed in 16, 8 in 8, 4 in 16 bits."""

KV_BYTES = {
    "auto": 2.0,
    "bf16": 2.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "fp8": 1.0,
    "fp8_e4m3": 1.0,
    "fp8_e5m2": 1.0,
    "fp8_per_token_head": 1.0,
    "int4_per_token_head": 0.5,
    "int8_per_token_head": 1.0,
    "mxfp8": 1.03125,
    "nvfp4": 0.5625,
}
"""Bytes of a value in the KV cache by its format. Source: engine-facts section 6; scales as above."""

OVERHEAD_GIB = 3.0
"""Memory of a GPU for activations, graphs and communication buffers. assumed"""

SGLANG_STATIC_FRACTION = 0.88
"""SGLang's --mem-fraction-static when it chooses by itself: its own formula gives 0.87 to 0.89 on 80 GiB.
Source: SGLang 0.5.23 arg_groups/memory_hook.py; the single value is assumed."""

SGLANG_MAX_SEQUENCES = 4096
"""SGLang's --max-running-requests when it chooses by itself, from its memory. The single value is assumed."""

VLLM_MEMORY_UTILIZATION = 0.92
"""Source: vLLM 0.33.0 config/cache.py:215."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Architecture of a dense decoder; see `schema.ModelConfig`."""

    params: int
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_model_len: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One replica: a model on tp·pp GPUs; bytes are those of one value of the weights and the KV cache."""

    engine: str
    model: ModelFacts
    gpu: GpuSpec
    tp: int = 1
    pp: int = 1
    weight_bytes: float = 2
    kv_bytes: float = 2

    @property
    def weights_per_gpu(self) -> float:
        """Bytes of the weights on each GPU."""
        return self.model.params * self.weight_bytes / (self.tp * self.pp)

    @property
    def kv_token_bytes(self) -> float:
        """Bytes that one token takes in the KV cache of each GPU: heads are sharded, then replicated."""
        heads = max(1, self.model.kv_heads // self.tp)
        return 2 * self.model.layers / self.pp * heads * self.model.head_dim * self.kv_bytes

    def kv_capacity_tokens(self, fraction: float) -> int:
        """Return the tokens that fit, by each engine's own meaning of its memory fraction; 0 or less: none.

        vLLM: of all memory, covering weights, overhead and KV. SGLang: of the memory that is free before
        loading, covering weights and KV; the overhead lives in the rest.
        """
        total = self.gpu.memory_gib * GIB
        overhead = OVERHEAD_GIB * GIB if self.engine == "vllm" else 0.0
        return int((total * fraction - self.weights_per_gpu - overhead) // self.kv_token_bytes)

    def step_s(self, work: Sequence[tuple[int, int]]) -> float:
        """Return the seconds of one step over (new tokens, tokens in the cache) of each sequence."""
        new = sum(n for n, _ in work)
        compute_s, memory_s = self._compute_s(work, new), self._memory_s(work)
        bubbles = self.pp * max(compute_s, memory_s)
        return bubbles + self._link_s(new) + (self.pp - 1) * HOP_S + HOST_S[self.engine]

    def _compute_s(self, work: Sequence[tuple[int, int]], new: int) -> float:
        model = self.model
        pairs = sum(n * (cached + n / 2) for n, cached in work)
        flop = 2 * model.params * new + 4 * model.layers * model.heads * model.head_dim * pairs
        tflops = self.gpu.tflops_16bit
        if 1 <= self.weight_bytes < 2 and self.gpu.tflops_8bit is not None:
            tflops = self.gpu.tflops_8bit
        return flop / (self.tp * self.pp) / (tflops * 1e12 * COMPUTE)

    def _memory_s(self, work: Sequence[tuple[int, int]]) -> float:
        kv = self.kv_token_bytes * sum(n + cached for n, cached in work)
        return (self.weights_per_gpu + kv) / (self.gpu.memory_gb_per_s * 1e9 * MEMORY)

    def _link_s(self, new: int) -> float:
        if self.tp == 1:
            return 0.0
        sent = 2 * (self.tp - 1) / self.tp * new * self.model.hidden_size * 2
        return 2 * self.model.layers * (ALL_REDUCE_S + sent / (self.gpu.link_gb_per_s * 1e9))
