"""Candidates, plans, failures and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from autotune.records.measurements import LoadResult
from autotune.records.wording import Wording


class Status(str, Enum):
    """What a trial ended as; the value of the MLflow tag `autotune.status`."""

    MEASURED = "measured"
    SLO_VIOLATED = "slo_violated"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


WORKED = frozenset({Status.MEASURED.value, Status.SLO_VIOLATED.value, Status.PRUNED.value})
"""What a trial ended as whose engine served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The HTTP path that answers 200 once the engine can serve."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """An estimate of what a plan needs of each GPU, GiB; None is unknown.

    `per_gpu_gib` is weights, KV cache and overhead together. `fits` is false only where it certainly does
    not fit. `kv_tokens` is what all KV caches of the engine hold, `concurrency` the requests of the
    workload's mean length that find room there.
    """

    weights_gib: float | None
    kv_cache_gib: float | None
    per_gpu_gib: float | None
    fits: bool | None
    kv_tokens: int | None = None
    concurrency: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A candidate resolved for a runtime and an inventory; without a GPU touched.

    `argv` is the whole command, program first, with `{port}` in place of the port. `gpus` is what
    the engine occupies; `world_size` the ranks of one replica by the engine's own definition. A
    plan with `reasons` is rejected: it is a value, not an error. `prefix` are words that the user wants
    before `argv`.
    """

    runtime: str
    runtime_version: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, str]
    gpus: int
    world_size: int
    image: str
    readiness: Readiness
    served_model: str
    signature: str
    memory: Memory | None = None
    prefix: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    wording: Wording = field(default_factory=Wording)

    @property
    def valid(self) -> bool:
        """Whether the candidate can run."""
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a trial failed: a kind, the cause in one sentence, the evidence, and what to do."""

    kind: str
    message: str
    evidence: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a trial ended as.

    `best` is the result at the load that the objective chose; where the client limited every load that could
    be, the one that would have been chosen, and it does not rank.
    """

    status: Status
    failure: Failure | None = None
    results: tuple[LoadResult, ...] = ()
    best: LoadResult | None = None
    startup_s: float | None = None
    trial_s: float = 0.0
    gpu_seconds: float = 0.0
    engine_version: str | None = None
    image_digest: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One point of the space: its overrides, the presets chosen, and the composed configuration.

    `config` is the plain container of the composed configuration (what `config.yaml` holds).
    """

    overrides: tuple[str, ...]
    choices: Mapping[str, str]
    config: Mapping[str, Any] = field(repr=False)
