"""Tables that carry normalized fields to an engine's arguments.

A field is either mapped, left at its neutral value, or refused with a reason: never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from autotune.schema import Config, ParallelConfig, QuantConfig, ServingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A value that the engine cannot express, and what would work instead."""

    reason: str


Cell = Mapping[str, Any] | Refusal
Rule = Callable[[Any, Config], Cell]


def to_argument(name: str) -> Rule:
    """Return the rule `field=value` becomes `name=value`."""
    return lambda value, _config: {name: value}


def refuse(reason: str) -> Rule:
    """Return the rule that rejects every value but the neutral one."""
    return lambda _value, _config: Refusal(reason=reason)


def choose(table: Mapping[str, Cell]) -> Rule:
    """Return the rule that looks an enum's value up; a value that is missing is refused."""

    def rule(value: Any, _config: Config) -> Cell:
        known = ", ".join(["auto", *table])
        return table.get(value.value, Refusal(reason=f"not expressible; possible are {known}"))

    return rule


def map_fields(config: Config, table: Mapping[str, Rule]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Return arguments, their origins and the reasons against, for every normalized field.

    `table` is keyed `group.field`. A field at its neutral value (`auto`, null, 1) emits nothing.
    """
    args: dict[str, Any] = {}
    origin: dict[str, str] = {}
    reasons: list[str] = []
    for key, value in _set_fields(config):
        cell = table.get(key, refuse("this runtime has no such setting"))(value, config)
        if isinstance(cell, Refusal):
            reasons.append(f"{key}={_shown(value)}: {cell.reason}")
            continue
        args.update(cell)
        origin.update(dict.fromkeys(cell, f"{key}={_shown(value)}"))
    return args, origin, reasons


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
        if not _neutral(name, getattr(group, item.name))
    ]


def _neutral(group: str, value: Any) -> bool:
    if isinstance(value, Enum):
        return bool(value.value == "auto")
    return value is None or (group == "parallel" and value == 1)


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return str(value).lower() if isinstance(value, bool) else str(value)
