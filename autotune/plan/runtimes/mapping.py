"""Tables that carry normalized fields to an engine's arguments.

A field is mapped, told in a note, left at its neutral value, or refused with a reason: never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any

from autotune.plan import arguments
from autotune.plan.runtimes.protocol import Mapped, Setup
from autotune.schema import Config, ParallelConfig, QuantConfig, ServingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A value that the engine cannot express, and what would work instead."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A value that needs a word: why nothing is emitted, or what the arguments do not say."""

    note: str
    args: Mapping[str, Any] = field(default_factory=dict)


ONE_IS_OFF = frozenset(f"parallel.{name}" for name in ("tp", "pp", "dp", "attn_dp", "ep", "dcp", "cp"))
"""Not `moe_tp` and `moe_dense_tp`: the engine's own choice, null, may be another than 1."""

Cell = Mapping[str, Any] | Refusal | Told
Rule = Callable[[Any, Setup], Cell]


def to_argument(name: str) -> Rule:
    """Return the rule `field=value` becomes `name=value`."""
    return lambda value, _setup: {name: value}


def refuse(reason: str) -> Rule:
    """Return the rule that rejects every value but the neutral one."""
    return lambda _value, _setup: Refusal(reason=reason)


def choose(table: Mapping[str, Cell]) -> Rule:
    """Return the rule that looks an enum's value up; a value that is missing is refused."""

    def rule(value: Any, _setup: Setup) -> Cell:
        known = ", ".join(["auto", *table])
        return table.get(value.value, Refusal(reason=f"not expressible; possible are {known}"))

    return rule


def with_experts(rule: Rule, neutral: str) -> Rule:
    """Return the rule that refuses models without experts first; `neutral` is what to set for them."""

    def checked(value: Any, setup: Setup) -> Cell:
        if setup.facts.dense:
            return Refusal(reason=f"{setup.config.model.path} has no experts: set {neutral}")
        return rule(value, setup)

    return checked


def map_all(setup: Setup, table: Mapping[str, Rule]) -> Mapped:
    """Return what the normalized fields become.

    `table` is keyed `group.field`. A field at its neutral value (`auto`, null, 1) emits nothing. Several
    fields may say the same argument: its origin then names them all.
    """
    args: dict[str, Any] = {}
    origin: dict[str, str] = {}
    reasons: list[str] = []
    notes: list[str] = []
    if setup.config.deploy.kind == "replay":
        setup = _shapeless(setup)
    for key, value in _set_fields(setup.config):
        said = f"{key}={_shown(value)}"
        cell = table.get(key, refuse("this runtime has no such setting"))(value, setup)
        if isinstance(cell, Refusal):
            reasons.append(f"{said}: {cell.reason}")
            continue
        if isinstance(cell, Told):
            notes.append(f"{said}: {cell.note}")
        emitted = cell.args if isinstance(cell, Told) else cell
        args.update(emitted)
        for name in emitted:
            origin[name] = f"{origin[name]}, {said}" if name in origin else said
    return Mapped(args=args, origin=origin, reasons=tuple(reasons), notes=tuple(notes))


def explicit(setup: Setup, name: str) -> Any:
    """Return what `runtime.args` say of an argument, by its canonical name; None if nothing."""
    found, _ = arguments.canonical(setup.config.runtime.args, setup.flags)
    return found.get(name)


def _shapeless(setup: Setup) -> Setup:
    """What was measured could run, so no rule may judge it by the shape of its model."""
    facts = replace(
        setup.facts, heads=None, kv_heads=None, head_dim=None, layers=None, experts=None, sliding_layers=0
    )
    return replace(setup, facts=facts)


def _set_fields(config: Config) -> list[tuple[str, Any]]:
    groups: tuple[tuple[str, QuantConfig | ParallelConfig | ServingConfig], ...] = (
        ("quant", config.quant),
        ("parallel", config.parallel),
        ("serving", config.serving),
    )
    return [
        (f"{name}.{item.name}", getattr(group, item.name))
        for name, group in groups
        for item in fields(group)
        if not _neutral(f"{name}.{item.name}", getattr(group, item.name))
    ]


def _neutral(key: str, value: Any) -> bool:
    if isinstance(value, Enum):
        return bool(value.value == "auto")
    return value is None or (key in ONE_IS_OFF and value == 1)


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return str(value).lower() if isinstance(value, bool) else str(value)
