"""The kinds of failure: whose they are, whether another attempt can help, what they say of the rest.

The table decides; configuration (`retry.*`, `sweep.max_failures`) only bounds attempts and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Whose(str, Enum):
    """Who can do something about a failure."""

    CHOICE = "choice"  # the candidate: another preset or argument works, this one never will
    USER = "user"  # whoever gave the command: a path, a token, an image
    OPERATOR = "operator"  # whoever runs the host: GPUs, network, daemon, disk
    ENGINE = "engine"  # the engine's developers
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What follows from a failure of one kind.

    `attempts` are those that may be made in all, None as many as `retry.attempts` allows, 1 none but the
    first. `blames_gpu`: another attempt belongs on other GPUs, and a GPU on which different trials fail so
    is set aside. `infeasible`: the point of the space needs more memory than there is. `ends_sweep`:
    nothing else in the sweep can go better.
    """

    whose: Whose
    attempts: int | None = 1
    blames_gpu: bool = False
    infeasible: bool = False
    ends_sweep: bool = False


KINDS: Mapping[str, Kind] = {
    "cuda_oom": Kind(whose=Whose.CHOICE, infeasible=True),
    "host_oom": Kind(whose=Whose.OPERATOR, infeasible=True),
    "kv_cache_too_small": Kind(whose=Whose.CHOICE, infeasible=True),
    "context_too_long": Kind(whose=Whose.CHOICE),
    "gpu_busy": Kind(whose=Whose.OPERATOR, attempts=None, blames_gpu=True),
    "bad_arguments": Kind(whose=Whose.CHOICE),
    "layout_invalid": Kind(whose=Whose.CHOICE),
    "quantization_unsupported": Kind(whose=Whose.CHOICE),
    "model_missing": Kind(whose=Whose.USER, ends_sweep=True),
    "model_gated": Kind(whose=Whose.USER, ends_sweep=True),
    "architecture_unsupported": Kind(whose=Whose.CHOICE),
    "image_missing": Kind(whose=Whose.USER, ends_sweep=True),
    "port_in_use": Kind(whose=Whose.OPERATOR, attempts=None),
    "nccl": Kind(whose=Whose.OPERATOR, attempts=2, blames_gpu=True),
    "engine_died": Kind(whose=Whose.ENGINE),
    "startup_timeout": Kind(whose=Whose.USER),
    "stalled": Kind(whose=Whose.ENGINE),
    "trial_timeout": Kind(whose=Whose.USER),
    "benchmark_failed": Kind(whose=Whose.USER),
    "all_requests_failed": Kind(whose=Whose.USER),
    "gpu_lost": Kind(whose=Whose.OPERATOR, attempts=2, blames_gpu=True),
    "infrastructure": Kind(whose=Whose.OPERATOR, attempts=None),
    "no_gpus": Kind(whose=Whose.OPERATOR),
    "no_row": Kind(whose=Whose.USER),
    "unknown": Kind(whose=Whose.UNKNOWN),
}
