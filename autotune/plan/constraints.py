"""What the shape of a model allows: heads, widths and layers against the ranks they are split over.

Engines check it late, or by a bare assertion. What is unknown of a model is not checked.
Source: vLLM 0.33.0 config/model.py:1559 and distributed/utils.py:51; SGLang 0.5.23 models/llama.py:183,
models/qwen3.py:166 and layers/moe/fused_moe_triton/layer.py:427.
"""

from __future__ import annotations

from collections.abc import Iterable

from autotune.plan.facts import ModelFacts
from autotune.plan.runtimes.protocol import Layout, Setup

NODE = 8  # GPUs of the nodes that tensor parallelism is used in


def shape_reasons(setup: Setup, layout: Layout) -> list[str]:
    """Return why the model cannot be split as the layout says."""
    facts, parallel = setup.facts, setup.config.parallel
    reasons = [*_heads_and_width(setup, layout), *_experts(setup, layout)]
    if facts.layers is not None and parallel.pp > facts.layers:
        reasons.append(
            f"parallel.pp={parallel.pp}: the model has {facts.layers} layers: at most one stage for each"
        )
    return reasons


def _heads_and_width(setup: Setup, layout: Layout) -> list[str]:
    """Heads must divide; KV heads divide, or be repeated on a whole number of ranks."""
    facts, sharding = setup.facts, layout.sharding
    wrong: dict[int, list[str]] = {}
    if facts.heads is not None and facts.heads % sharding.attention:
        wrong.setdefault(sharding.attention, []).append(f"the {facts.heads} attention heads")
    if not _kv_heads_fit(facts, sharding.attention):
        wrong.setdefault(sharding.attention, []).append(f"the {facts.kv_heads} KV heads")
    if not _width_fits(facts, sharding.dense):
        blocks = f" in FP8 blocks of {_block(facts)}" if _block(facts) > 1 else ""
        wrong.setdefault(sharding.dense, []).append(f"the MLP width {_width(facts)}{blocks}")
    possible = ", ".join(map(str, _possible(setup)))
    return [
        f"{_said(setup, ranks)} does not divide {_and(what)} of the model; possible here: {possible}"
        for ranks, what in wrong.items()
    ]


def _experts(setup: Setup, layout: Layout) -> list[str]:
    """What is not spread by expert parallelism is split inside each expert."""
    facts, ep, ranks = setup.facts, setup.config.parallel.ep, layout.sharding.experts
    width = facts.moe_intermediate_size
    if not facts.experts or width is None or ranks % ep:
        return []
    split = ranks // ep
    block = _block(facts)
    if width % (split * block) == 0:
        return []
    blocks = f" in FP8 blocks of {block}" if width % split == 0 else ""
    return [
        f"each expert is split over {split} GPUs, which does not divide its width {width}{blocks}: "
        f"keep experts whole with parallel.ep={ranks}"
    ]


def _possible(setup: Setup) -> Iterable[int]:
    facts = setup.facts
    most = len(setup.inventory.gpus) or NODE
    return (
        n
        for n in range(1, most + 1)
        if not (facts.heads or 0) % n and _kv_heads_fit(facts, n) and _width_fits(facts, n)
    )


def _kv_heads_fit(facts: ModelFacts, ranks: int) -> bool:
    if facts.kv_heads is None or facts.mla:
        return True
    return facts.kv_heads % ranks == 0 or ranks % facts.kv_heads == 0


def _width_fits(facts: ModelFacts, ranks: int) -> bool:
    width = _width(facts)
    if width is None:
        return True
    return width % (ranks * _block(facts)) == 0


def _width(facts: ModelFacts) -> int | None:
    """The width of a dense layer, if the model is known to have one."""
    has_dense_layers = not facts.experts or facts.dense_layers > 0
    return facts.intermediate_size if has_dense_layers else None


def _block(facts: ModelFacts) -> int:
    """Weights that share a scale stay on one GPU: no part of a layer is narrower than a block of FP8.

    Other FP8 checkpoints have a scale for each tensor or row.
    """
    return (facts.stored.block_size if facts.stored else None) or 1


def _said(setup: Setup, ranks: int) -> str:
    parallel = setup.config.parallel
    if ranks == parallel.tp:
        return f"parallel.tp={parallel.tp}"
    also = [f"parallel.{name}={getattr(parallel, name)}" for name in ("attn_dp", "cp")]
    also = [word for word in also if not word.endswith("=1")]
    return f"parallel.tp={parallel.tp} with {_and(also)} ({ranks} ranks)" if also else f"{ranks} ranks"


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
