"""What a runtime adapter gives: layout, arguments, command. Pure; no side effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from autotune.records import Inventory, Readiness
from autotune.schema import Config, ParallelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """GPUs that the engine occupies, and the ranks of one replica by its own definition."""

    gpus: int
    world_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What presets become on one engine.

    `args` maps an argument's long name with underscores to its value; `origin` says which
    configuration key each came from. `reasons` reject the candidate.
    """

    args: Mapping[str, Any]
    origin: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Runtime(Protocol):
    """One inference engine. Adding one is a module here, a YAML file and its golden plans."""

    readiness: Readiness

    def layout(self, parallel: ParallelConfig) -> Layout:
        """Return the GPUs and ranks of a parallel layout, by the engine's own formula."""
        ...

    def mapped(self, config: Config, inventory: Inventory) -> Mapped:
        """Return the arguments for the presets, or the reasons why the engine cannot express them."""
        ...

    def command(self, model: str) -> tuple[str, ...]:
        """Return the start of the command line: the program and how it is told the model."""
        ...
