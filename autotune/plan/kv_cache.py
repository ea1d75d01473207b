"""KV cache on one GPU: bytes of a request of so many tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autotune.plan.facts import ModelFacts
from autotune.plan.runtimes.protocol import Sharding
from autotune.plan.weights import GIB
from autotune.schema import QuantConfig

# Bytes of one cached number, scales included. Source: NVFP4 has an 8-bit scale for 16 numbers.
BYTES: Mapping[str, float] = {
    "fp32": 2,  # loaded as 16 bits
    "bf16": 2,
    "bfloat16": 2,
    "fp16": 2,
    "float16": 2,
    "half": 2,
    "fp8": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
    "int8": 1,
    "nvfp4": 0.5625,
}
ARGUMENTS = ("kv_cache_dtype", "kv_cache_config.dtype")  # vLLM and SGLang; TensorRT-LLM's options file


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCache:
    """Bytes of one token in a full-attention and in a sliding layer's window, on one GPU, all layers.

    `floor` is the part of it that it certainly is: MLA models of the kind of DeepSeek-V3.2 cache FP8
    where nothing is asked for.
    """

    full: float
    sliding: float
    window: int
    floor: float

    def gib(self, tokens: int) -> float:
        """Return the GiB of one request: full layers × tokens + sliding layers × min(tokens, window)."""
        return (self.full * tokens + self.sliding * min(tokens, self.window)) / GIB

    def tokens(self, gib: float) -> int:
        """Return the longest request that finds room in `gib`."""
        room = gib * GIB
        within = room / (self.full + self.sliding)
        if within <= self.window or not self.full:
            return max(0, int(within))
        return int((room - self.sliding * self.window) / self.full)


def kv_cache_of(
    facts: ModelFacts, quant: QuantConfig, sharding: Sharding, args: Mapping[str, Any]
) -> KvCache | None:
    """Return what a token costs; None where the shape or the number format is unknown."""
    given = next((str(args[name]) for name in ARGUMENTS if args.get(name) is not None), None)
    return _kv_cache(facts, sharding, quant.kvcache_dtype.value if given is None else given)


@lru_cache(maxsize=4096)
def _kv_cache(facts: ModelFacts, sharding: Sharding, asked: str) -> KvCache | None:
    """Bytes = layers / pp × 2 · max(1, KV heads // ranks) · head_dim × bytes; MLA: latent + rotary."""
    stored = facts.stored.kvcache_dtype if facts.stored else None
    number = BYTES.get((stored or "bf16") if asked == "auto" else asked)
    numbers = _numbers(facts, sharding)
    if number is None or numbers is None or not facts.layers:
        return None
    of_layer = numbers * number / sharding.layers / sharding.kv_tokens
    sliding = facts.sliding_layers if facts.sliding_window else 0
    return KvCache(
        full=of_layer * max(0, facts.layers - sliding - facts.cacheless_layers),
        sliding=of_layer * sliding,
        window=facts.sliding_window or 0,
        floor=1 / number if facts.index_topk and asked == "auto" else 1,
    )


def _numbers(facts: ModelFacts, sharding: Sharding) -> int | None:
    """Numbers that one layer caches for a token on one GPU."""
    if facts.kv_lora_rank is not None:
        return facts.kv_lora_rank + (facts.qk_rope_head_dim or 0)
    if not facts.heads or not facts.hidden_size:
        return None
    heads = max(1, (facts.kv_heads or facts.heads) // sharding.kv_heads)
    return 2 * heads * (facts.head_dim or facts.hidden_size // facts.heads)
