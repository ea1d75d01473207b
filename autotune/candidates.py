"""Candidates of a space, composed as Hydra composes them, but in microseconds.

The command is composed by Hydra once; a preset is then merged into its schema, and a candidate puts the nodes
of its presets together and sets its values in them. That is the same as composing it whole as long as each
preset writes into its own node only, which is checked for every one; where one does not (a package of
`_global_`, a defaults list of its own), every candidate is composed whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from autotune import compose
from autotune.errors import ConfigError
from autotune.records import Candidate
from autotune.schema import Config

MANY_NODES = 1000  # nodes remembered as complete
SIMPLE = re.compile(r"\$\{(\.*)([A-Za-z_]\w*)(?:\.[\w.]+)?\}")  # a reference; absolute where no dot leads
RESOLVER = re.compile(r"\$\{oc\.env:[^${}]*\}")


@dataclass(frozen=True, slots=True)
class _Preset:
    """A group's node where another preset is chosen."""

    group: str
    choice: str
    node: Any


@dataclass(frozen=True, slots=True)
class _Value:
    """A value set in a node; `path` begins with the node's name."""

    path: tuple[str, ...]
    value: Any


class Composer:
    """Composes the candidates of one command, whose `fixed` overrides they all share."""

    def __init__(self, app: Hydra, fixed: Sequence[str], *, config_name: str = compose.CONFIG_NAME) -> None:
        self._app, self._fixed, self._config_name = app, tuple(fixed), config_name
        self._parser = OverridesParser.create(config_loader=app.config_loader)
        given = map(self._parser.parse_override, self._fixed)
        self._given = {(each.key_or_group, repr(each.value())) for each in given}
        self._fixed_words = dict.fromkeys(self._fixed, True)
        self.master = compose.compose(app, self._fixed, config_name=config_name)
        self._scratch = OmegaConf.masked_copy(self.master, compose.task_keys(self.master))
        self._nodes = _containers(self._scratch)
        self._choices = dict(compose.choices_of(self.master["hydra"]))
        self._groups = set(compose.presets(app))
        self._effects: dict[str, _Preset | _Value | None] = {}
        self._resolved: dict[tuple[str, str], Any] = {}
        self._at_home: bool | None = None
        self._whole_nodes: dict[int, Any] = {}  # by identity; kept, so that none is reused
        self.whole = 0  # candidates that Hydra had to compose whole, 70 ms each

    def also(self, fixed: Sequence[str]) -> Composer:
        """Return a composer for these overrides; itself where they are the same."""
        if tuple(fixed) == self._fixed:
            return self
        return Composer(self._app, fixed, config_name=self._config_name)

    def choice(self, group: str) -> str:
        """Return the preset of a group that the fixed overrides choose."""
        return self._choices[group]

    def candidate(self, point: Sequence[str]) -> Candidate:
        """Return the candidate of a point: all its overrides, the fixed ones among them.

        Raises: ConfigError naming every mandatory value that is missing.
        """
        effects = [self._effect(word) for word in point if not self._is_fixed(word)]
        if None in effects:
            self.whole += 1
            return compose.candidate_from(
                compose.compose(self._app, list(point), config_name=self._config_name)
            )
        nodes, choices = dict(self._nodes), self._choices
        presets = [effect for effect in effects if isinstance(effect, _Preset)]
        if presets:
            choices = {**choices, **{preset.group: preset.choice for preset in presets}}
            nodes |= {preset.group: preset.node for preset in presets}
        for effect in effects:
            if isinstance(effect, _Value):
                _set(nodes, effect)
        config = {name: self._plain(name, nodes) for name in nodes}
        missing = [
            key for name in config if self._lacks(config[name]) for key in _missing(name, config[name])
        ]
        if missing:
            raise ConfigError([f"{key}: must be given" for key in sorted(missing)])
        overrides = tuple(
            compose.typed(word) for word in point if not word.lstrip("+").startswith(("hydra.", "hydra/"))
        )
        return Candidate(overrides=overrides, choices=choices, config=config)

    def _is_fixed(self, word: str) -> bool:
        """Whether every candidate has this override, however it is quoted."""
        if word not in self._fixed_words:
            override = self._parser.parse_override(word)
            self._fixed_words[word] = (override.key_or_group, repr(override.value())) in self._given
        return self._fixed_words[word]

    def _effect(self, word: str) -> _Preset | _Value | None:
        if word not in self._effects:
            self._effects[word] = self._find_effect(word)
        return self._effects[word]

    def _find_effect(self, word: str) -> _Preset | _Value | None:
        """What an override changes; None where only Hydra can tell."""
        override = self._parser.parse_override(word)
        key, value = override.key_or_group, override.value()
        if key in self._groups:
            return self._preset(word, key, str(value))
        keys = {other.lstrip("+").partition("=")[0] for other in self._fixed} - self._groups
        nested = any(f"{key}.".startswith(f"{o}.") or f"{o}.".startswith(f"{key}.") for o in keys)
        if nested or isinstance(value, dict) or override.is_delete() or "." not in key:
            return None
        OmegaConf.update(self._scratch, key, value, merge=True, force_add=override.is_force_add())
        path = tuple(key.split("."))
        holder = OmegaConf.select(self._scratch, ".".join(path[:-1]))
        content: Any = OmegaConf.to_container(holder, resolve=False, enum_to_str=True)
        return _Value(path, content[path[-1]])

    def _preset(self, word: str, group: str, name: str) -> _Preset | None:
        if not self._stays_at_home(group, name):
            return None
        if group in self._nodes and self._all_at_home() and not self._has_inner(group):
            return _Preset(group, name, self._merged(group, name))
        other = compose.compose(self._app, [*self._fixed, word], config_name=self._config_name)
        nodes = _containers(OmegaConf.masked_copy(other, compose.task_keys(other)))
        chosen = dict(compose.choices_of(other["hydra"]))
        elsewhere = [name for name in {*nodes, *self._nodes} if nodes.get(name) != self._nodes.get(name)]
        if set(elsewhere) - {group} or {**self._choices, group: chosen.get(group)} != chosen:
            return None
        return _Preset(group, chosen[group], nodes[group])

    def _merged(self, group: str, name: str) -> Any:
        """A preset in its schema, and what the command sets there, as Hydra merges them in this order."""
        whole: Any = OmegaConf.masked_copy(OmegaConf.structured(Config), [group])
        loaded = self._load(f"{group}/{name}")
        whole = OmegaConf.merge(whole, {group: loaded.config} if loaded is not None else {})
        for word in self._fixed:
            override = self._parser.parse_override(word)
            if override.key_or_group.startswith(f"{group}."):
                added = override.is_force_add()
                OmegaConf.update(whole, override.key_or_group, override.value(), merge=True, force_add=added)
        return _containers(whole)[group]

    def _all_at_home(self) -> bool:
        """Whether nothing that is chosen writes into a node that is not its own, nor another root."""
        if self._at_home is None:
            root = self._load(self._config_name) if self._config_name == compose.CONFIG_NAME else None
            own = root is not None and not set(root.config) - {"hydra"}
            known = self._choices.keys() <= self._groups and not any("searchpath" in w for w in self._fixed)
            self._at_home = own and known and all(self._stays_at_home(*c) for c in self._choices.items())
        return self._at_home

    def _has_inner(self, group: str) -> bool:
        """Whether a preset is chosen inside a group's node: `runtime/args=fast`."""
        inner = (other for other in self._choices if other.startswith(f"{group}/"))
        return any(other != "search/space" for other in inner)

    def _load(self, path: str) -> Any:
        """What a file holds, as Hydra reads it."""
        repository = getattr(self._app.config_loader, "repository")  # noqa: B009 (of the one loader there is)
        return repository.load_config(path)

    def _lacks(self, node: Any) -> bool:
        """Whether a value may be missing; nodes that candidates share are looked at once."""
        shared = self._whole_nodes.get(id(node))
        if shared is node:
            return False
        lacking = "???" in repr(node)
        if not lacking and len(self._whole_nodes) < MANY_NODES:
            self._whole_nodes[id(node)] = node
        return lacking

    def _stays_at_home(self, group: str, name: str) -> bool:
        """Whether a preset's file neither names another package nor brings other presets."""
        loaded = self._load(f"{group}/{name}")
        if loaded is None:
            return False
        others = [item for item in loaded.defaults_list or () if not item.is_self()]
        return loaded.header.get("package") in {None, group} and not others

    def _plain(self, name: str, nodes: Mapping[str, Any]) -> Any:
        """Return a node with its references resolved."""
        node = nodes[name]
        text = repr(node)
        if "${" not in text:
            return node
        seen = {other: nodes[other] for other in sorted(_references(name, nodes))}
        key = (name, repr(seen))
        if key not in self._resolved:
            resolved: Any = OmegaConf.to_container(OmegaConf.create(seen), resolve=True)
            self._resolved[key] = resolved[name]
        return self._resolved[key]


def _references(name: str, nodes: Mapping[str, Any]) -> set[str]:
    """Return the nodes that a node refers to, itself included; all of them where that cannot be told."""
    found, open_ends = {name}, [name]
    while open_ends:
        text = repr(nodes[open_ends.pop()])
        if "${" in RESOLVER.sub("", SIMPLE.sub("", text)):
            return set(nodes)
        named = {match[2] for match in SIMPLE.finditer(text) if not match[1]} & nodes.keys()
        open_ends += named - found
        found |= named
    return found


def _containers(config: Any) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    return {str(name): node for name, node in content.items()}


def _set(nodes: dict[str, Any], effect: _Value) -> None:
    """Set a value in copies of what is on its path: nodes are shared by all candidates."""
    holder = nodes
    for part in effect.path[:-1]:
        holder[part] = dict(holder.get(part) or {})
        holder = holder[part]
    holder[effect.path[-1]] = effect.value


def _missing(key: str, node: Any) -> list[str]:
    if isinstance(node, str):
        return [key] if node == "???" else []
    if isinstance(node, dict):
        return [found for name, inner in node.items() for found in _missing(f"{key}.{name}", inner)]
    return []
