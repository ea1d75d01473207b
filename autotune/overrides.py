"""Checks every command-line override before Hydra composes anything, and finds all problems at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
    Transformer,
)
from hydra.errors import HydraException

from autotune.foreign import unreadable
from autotune.keys import SPACE, hint_of, schema_keys, suggest, value_type_problems, written
from autotune.ranges import sweep_problem
from autotune.secrecy import SECRET

SWEEPABLE = ("runtime", "model", "quant", "parallel", "serving", "workload")
FREE = ("runtime.args.", "runtime.env.", "workload.extra_body.", SPACE)  # keys of the user's own choosing
HYDRAS = ("hydra.", "hydra/")

Preset = tuple[str, str]  # its group and its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Overrides in Hydra's form; those with several values vary."""

    parsed: tuple[Override, ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides as Hydra is given them."""
        return tuple(str(override.input_line) for override in self.parsed)

    @property
    def varied(self) -> tuple[str, ...]:
        """The keys that take more than one value."""
        return tuple(override.key_or_group for override in self.parsed if _is_swept(override))

    def without(self, presets: Collection[Preset]) -> Checked:
        """Return the overrides that name none of these presets."""
        bad = {group: {name for g, name in presets if g == group} for group, _ in presets}
        kept = [o for o in self.parsed if o.key_or_group not in bad or not bad[o.key_or_group] & {*_names(o)}]
        return Checked(parsed=tuple(kept))


class OverrideChecker:
    """Knows the groups with their presets, and the keys of the schema."""

    def __init__(self, presets: Mapping[str, Sequence[str]], config_loader: ConfigLoader) -> None:
        self.presets = presets
        self.parser = OverridesParser.create(config_loader=config_loader)
        self._config_loader = config_loader

    def check(self, words: Sequence[str], *, multirun: bool) -> tuple[Checked, list[str]]:
        """Return the overrides that can be used, and everything that is wrong with the others."""
        problems: list[str] = []
        good: list[Override] = []
        for word in words:
            override, wrong = self._check_one(word, multirun=multirun)
            problems += wrong
            if override is not None and not wrong:
                good.append(override)
        return Checked(parsed=tuple(good)), problems

    def presets_of(self, checked: Checked) -> list[Preset]:
        """Return the presets that a command names."""
        groups = [o for o in checked.parsed if o.key_or_group in self.presets]
        return [(o.key_or_group, name) for o in groups for name in _names(o)]

    def preset_problems(self, group: str, name: str) -> list[str]:
        """Return what is wrong with naming a preset: there is none of that name."""
        known = self.presets[group]
        if name in known:
            return []
        return [f"{group}={name}: no such preset{suggest(name, known)}; known: {', '.join(known)}"]

    def _check_one(self, word: str, *, multirun: bool) -> tuple[Override | None, list[str]]:
        try:
            override = self.parser.parse_override(_as_text(_without_plus(word)))
        except HydraException as error:
            return None, [f"{word}: {unreadable(error)}"]
        override.config_loader = self._config_loader
        if override.key_or_group.startswith(HYDRAS):
            return override, self._problems_of_hydras(override, word)
        refused = self._refused(override, word)
        return override, [refused] if refused else self._problems(override, word, multirun=multirun)

    def _refused(self, override: Override, word: str) -> str | None:
        """Why an override is none of ours, whatever its value."""
        key = override.key_or_group
        if override.is_delete():
            return f"{word}: keys cannot be deleted; set null instead"
        if not key:
            return f"{word}: which key? Give KEY=VALUE"
        if key not in self.presets and hint_of(key) is None:
            return self._unknown(key)
        if override.package is not None:
            return f"{word}: a preset has its own place: leave out @{override.package}"
        if _holds_sweep(override.value()):
            return f"{word}: several values stand for the whole value, not inside it"
        return None

    def _problems(self, override: Override, word: str, *, multirun: bool) -> list[str]:
        key = override.key_or_group
        problems = self._sweep_problems(override, word, multirun=multirun)
        if _is_swept(override) and (wrong := sweep_problem(override, self.presets.get(key))):
            return [*problems, f"{word}: {wrong}"]
        if key not in self.presets:
            return problems + _secret_problems(key) + _type_problems(override)
        if isinstance(override.value(), dict):
            return [f"{word}: expected the name of a preset; values are set by {key}.KEY=VALUE"]
        return problems + [p for name in _names(override) for p in self.preset_problems(key, name)]

    def _problems_of_hydras(self, override: Override, word: str) -> list[str]:
        key = override.key_or_group
        if _is_swept(override):
            return [f"{word}: Hydra's own settings cannot be swept"]
        known = self._config_loader.get_group_options(key, ObjectType.CONFIG) if "/" in key else None
        if known is None or override.is_delete() or set(_names(override)) <= set(known):
            return []
        return [f"{word}: no such preset of Hydra; known: {', '.join(known) or 'none'}"]

    def _sweep_problems(self, override: Override, word: str, *, multirun: bool) -> list[str]:
        if not _is_swept(override):
            return []
        if not multirun:
            return [f"{word}: several values need a sweep: python -m autotune -m ..."]
        node = override.key_or_group.split(".")[0]
        if node not in SWEEPABLE:
            return [
                f"{word}: {node} cannot be swept, because results under different {node} settings "
                f"are no candidates of one comparison; sweep {', '.join(SWEEPABLE)}"
            ]
        return []

    def _unknown(self, key: str) -> str:
        if key.startswith(SPACE):
            return f"{key}: a name with dots can only be given in a file of the group search/space"
        return f"{key}: no such key or group{suggest(key, [*schema_keys(), *self.presets])}"


def elements(override: Override) -> list[str]:
    """Return the override strings of a discrete sweep, or the one of a plain override."""
    key = override.get_key_element()
    if not _is_swept(override):
        text = written(value) if isinstance(value := override.value(), bool) else None
        return [f"{key}={text or override.get_value_element_as_str()}"]
    return [f"{key}={value}" for value in override.sweep_iterator(transformer=_word)]


def _word(value: Any) -> str:
    return written(value) if isinstance(value, bool) else Transformer.str(value)


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
        return [written(_unquoted(value)) for value in override.sweep_iterator()]
    value = override.value()
    return [written(item) for item in value] if isinstance(value, list) else [written(value)]


def _secret_problems(key: str) -> list[str]:
    name = key.rpartition(".")[2]
    if not (key.startswith("runtime.env.") and SECRET.search(name)):
        return []
    return [
        f"{key}: secrets do not belong in a configuration that is recorded: export {name}; "
        "engines inherit the environment"
    ]


def _type_problems(override: Override) -> list[str]:
    """Try every value on the schema."""
    key = override.key_or_group
    return [problem for value in _values(override) for problem in value_type_problems(key, value)]


def _values(override: Override) -> Iterator[Any]:
    """The values to try; of a range the first, whose type they all have."""
    value = override.value()
    if not _is_swept(override):
        yield value
    elif isinstance(value, ChoiceSweep):
        yield from map(_unquoted, value.list)
    elif isinstance(value, RangeSweep):
        yield next(override.sweep_iterator())


def _unquoted(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_unquoted(item) for item in value]
    return {name: _unquoted(item) for name, item in value.items()} if isinstance(value, dict) else value


def _holds_sweep(value: Any) -> bool:
    """Whether a range or a choice stands inside a list, a map or a choice."""
    inner = value.list if isinstance(value, ChoiceSweep) else value
    items = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
    return any(isinstance(item, (Sweep, Glob)) or _holds_sweep(item) for item in items)
