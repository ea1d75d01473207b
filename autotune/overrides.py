"""Checks every command-line override before Hydra composes anything, and finds all problems at once."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autotune.schema import Config

SWEEPABLE = ("runtime", "model", "quant", "parallel", "serving", "workload")
FREE = ("runtime.args.", "runtime.env.", "search.space.")  # keys of the user's own choosing
SPACE = "search.space."  # its values are Hydra's grammar, kept as text until the space is made
SECRET = re.compile(r"(^|_)(TOKEN|KEY|SECRET|PASSWORD)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Overrides in Hydra's form, and the keys that take more than one value."""

    overrides: tuple[str, ...]
    parsed: tuple[Override, ...]
    varied: tuple[str, ...]


class OverrideChecker:
    """Knows the groups with their presets, and the keys of the schema."""

    def __init__(self, presets: Mapping[str, Sequence[str]], config_loader: ConfigLoader) -> None:
        self._presets = presets
        self._keys = dict(_schema_keys(Config))
        self._parser = OverridesParser.create(config_loader=config_loader)

    def check(self, words: Sequence[str], *, multirun: bool) -> tuple[Checked, list[str]]:
        """Return the overrides that can be used, and everything that is wrong with the others."""
        problems: list[str] = []
        good: list[Override] = []
        for word in words:
            override, wrong = self._check_one(_as_text(_without_plus(word)), multirun=multirun)
            problems += wrong
            if override is not None and not wrong:
                good.append(override)
        varied = [o.key_or_group for o in good if _is_swept(o)]
        checked = Checked(
            overrides=tuple(str(o.input_line) for o in good),
            parsed=tuple(good),
            varied=tuple(varied),
        )
        return checked, problems

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key of the schema, dotted."""
        return tuple(self._keys)

    def presets_of(self, checked: Checked) -> list[tuple[str, str]]:
        """Return the presets that a command names, as group and name."""
        groups = [o for o in checked.parsed if o.key_or_group in self._presets]
        return [(o.key_or_group, name) for o in groups for name in _names(o)]

    def _check_one(self, word: str, *, multirun: bool) -> tuple[Override | None, list[str]]:
        try:
            override = self._parser.parse_override(word)
        except HydraException as error:
            return None, [f"{word}: cannot be read: {str(error).splitlines()[0]}"]
        key = override.key_or_group
        if key.startswith(("hydra.", "hydra/")):
            return override, []
        if override.is_delete():
            return override, [f"{word}: keys cannot be deleted; set null instead"]
        problems = self._sweep_problems(override, multirun=multirun)
        if key in self._presets:
            return override, problems + self._preset_problems(override)
        if key.startswith(FREE):
            return override, problems + _secret_problems(key)
        if key not in self._keys:
            return override, [self._unknown(key)]
        return override, problems + _type_problems(override)

    def _sweep_problems(self, override: Override, *, multirun: bool) -> list[str]:
        if not _is_swept(override):
            return []
        key, word = override.key_or_group, override.input_line
        if not multirun:
            return [f"{word}: several values need a sweep: python -m autotune -m ..."]
        node = key.split(".")[0]
        if node not in SWEEPABLE:
            return [
                f"{word}: {node} cannot be swept, because results under different {node} settings "
                f"are no candidates of one comparison; sweep {', '.join(SWEEPABLE)}"
            ]
        return []

    def _preset_problems(self, override: Override) -> list[str]:
        group, known = override.key_or_group, self._presets[override.key_or_group]
        if _is_swept(override) and not override.is_discrete_sweep():
            example = f"{group}={','.join(known[:2])}"
            return [f"{override.input_line}: presets have no range: give a list such as {example}"]
        return [
            f"{group}={name}: no such preset{_suggest(name, known)}; known: {', '.join(known)}"
            for name in _names(override)
            if name not in known
        ]

    def _unknown(self, key: str) -> str:
        known = [*self._keys, *self._presets]
        return f"{key}: no such key or group{_suggest(key, known)}"


def elements(override: Override) -> list[str]:
    """Return the override strings of a discrete sweep, or the one of a plain override."""
    key = override.get_key_element()
    if not _is_swept(override):
        return [f"{key}={override.get_value_element_as_str()}"]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _without_plus(word: str) -> str:
    """`runtime.args.X` may be new: Hydra is told to add or replace it."""
    return f"++{word}" if word.startswith(FREE) else word


def _as_text(word: str) -> str:
    """`search.space.vllm.block_size=16,32` is no sweep of `search`: its value is quoted."""
    key, equals, value = word.partition("=")
    if not key.startswith(f"++{SPACE}") or not equals or value[:1] in {"'", '"'}:
        return word
    return f"{key}={QuotedString(text=value, quote=Quote.single).with_quotes()}"


def _is_swept(override: Override) -> bool:
    return bool(override.is_sweep_override())


def _names(override: Override) -> list[str]:
    if _is_swept(override):
        return [str(value) for value in override.sweep_string_iterator()]
    value = override.value()
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _suggest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _secret_problems(key: str) -> list[str]:
    name = key.rpartition(".")[2]
    if not (key.startswith("runtime.env.") and SECRET.search(name)):
        return []
    return [
        f"{key}: secrets do not belong in a configuration that is recorded: export {name}; "
        "engines inherit the environment"
    ]


def _type_problems(override: Override) -> list[str]:
    """Try every value on a copy of the schema."""
    value = override.value()
    values: list[Any]
    if isinstance(value, Sweep):
        values = list(override.sweep_iterator()) if override.is_discrete_sweep() else []
    else:
        values = [value]
    told = (type_problem(override.key_or_group, item) for item in values)
    return [
        f"{override.key_or_group}={item}: {wrong}" for item, wrong in zip(values, told, strict=True) if wrong
    ]


def type_problem(key: str, value: Any) -> str | None:
    """Return why the schema does not take `value` for a dotted key, None if it does.

    A reference to another key is only known once it is resolved.
    """
    if isinstance(value, str) and "${" in value:
        return None
    *folders, last = key.split(".")
    content: dict[str, Any] = {last: value}
    for folder in reversed(folders):
        content = {folder: content}
    try:
        OmegaConf.merge(_blank(folders[0]) if folders else OmegaConf.structured(Config), content)
    except OmegaConfBaseException as error:
        return str(error).splitlines()[0]
    return None


@cache
def _blank(node: str) -> Any:
    """The schema of one node: merging into the whole one would take 20 ms."""
    whole = OmegaConf.structured(Config)
    return OmegaConf.masked_copy(whole, [node])


def _schema_keys(node: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(node)
    for item in dataclasses.fields(node):
        key = f"{prefix}{item.name}"
        yield key, hints[item.name]
        inner = _dataclass_of(hints[item.name])
        if inner is not None:
            yield from _schema_keys(inner, f"{key}.")


def _dataclass_of(hint: Any) -> type | None:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return next((o for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)), None)
