"""Decode context parallelism: ranks that hold the same KV head share its tokens."""

from __future__ import annotations

from autotune.plan.runtimes.protocol import Setup


def smaller_dcp(ranks: int, kv_heads: int, setup: Setup) -> str:
    """Return what would work: as many as the ranks that hold one KV head, more ranks, or no sharing."""
    heads, gpus = setup.facts.heads or 0, len(setup.inventory.gpus)
    if ranks >= 2 * kv_heads:
        return f"parallel.dcp={ranks // kv_heads} would do"
    inside = range(2 * kv_heads, min(heads, gpus) + 1, kv_heads)
    enough = next((n for n in inside if heads % n == 0), None)
    return f"parallel.tp={enough} parallel.dcp=2 would do" if enough else "set parallel.dcp=1"
