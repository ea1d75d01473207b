"""What a runtime adapter gives: layout, arguments, command, KV budget. Pure; no side effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from autotune.plan.facts import ModelFacts
from autotune.plan.runtimes.flags import FlagList
from autotune.records import Inventory, Readiness
from autotune.schema import Config, ParallelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a runtime is asked to serve: the candidate, its model, the GPUs, and the version's flags."""

    config: Config
    facts: ModelFacts
    inventory: Inventory
    flags: FlagList


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """Over how many GPUs each part of a model is split; 1: every GPU holds it whole.

    `layers` is pipeline stages. `attention` counts for the embeddings too. Each GPU caches
    max(1, KV heads // `kv_heads`) heads of 1 / `kv_tokens` of a sequence's tokens; `caches` is the number
    of KV caches, each of which holds sequences of its own (replicas, attention data parallel).
    """

    layers: int = 1
    attention: int = 1
    dense: int = 1
    experts: int = 1
    kv_heads: int = 1
    kv_tokens: int = 1
    caches: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """GPUs that the engine occupies, and the ranks of one replica by its own definition."""

    gpus: int
    world_size: int
    sharding: Sharding = Sharding()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What presets become on one engine.

    `args` maps the canonical name of an argument (`arguments.canonical`) to its value; `origin` says
    which configuration key each came from. `reasons` reject the candidate.
    """

    args: Mapping[str, Any]
    origin: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KvBudget:
    """The most memory, GiB on each GPU, that the engine gives to its KV cache, and how that is reckoned.

    Negative where the weights alone are more than it may take. `kept_gib` is what it likely keeps free beside
    that; `instead` a setting that would leave more.
    """

    gib: float
    arithmetic: str
    kept_gib: float = 0
    instead: str | None = None


class Runtime(Protocol):
    """One inference engine. Adding one is a module here, a YAML file and its golden plans.

    `layout_args` names its own arguments that change which GPUs it takes, and what to set instead: they
    are refused in `runtime.args`, because the scheduler would not know of them.
    """

    readiness: Readiness
    layout_args: Mapping[str, str]

    def layout(self, parallel: ParallelConfig) -> Layout:
        """Return the GPUs and ranks of a parallel layout, by the engine's own formula."""
        ...

    def mapped(self, setup: Setup) -> Mapped:
        """Return the arguments for the presets, or the reasons why the engine cannot express them."""
        ...

    def command(self, model: str) -> tuple[str, ...]:
        """Return the start of the command line: the program and how it is told the model."""
        ...

    def kv_budget(self, args: Mapping[str, Any], *, gpu_gib: float, weights_gib: float) -> KvBudget:
        """Return what is left for the KV cache by the engine's own meaning of its memory fraction.

        An upper bound: activations, graphs and libraries are taken off by `memory.estimate`.
        """
        ...
