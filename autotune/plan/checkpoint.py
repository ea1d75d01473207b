"""What a checkpoint on this machine says of itself: config.json, hf_quant_config.json, GGUF."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.plan.facts import Found


def read_checkpoint(path: str, env: Mapping[str, str]) -> Found | None:
    """Return what the checkpoint says; None where none can be read."""
    return None
