"""What is wrong with the preset files that a command uses: all of it at once, with the file's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.default_element import ConfigDefault, GroupDefault, InputDefault
from omegaconf import OmegaConf

from autotune.errors import ConfigError
from autotune.foreign import UNREADABLE_FILE, unreadable_file
from autotune.keys import OPEN, hint_of, suggest, value_type_problems, written
from autotune.overrides import HYDRAS, Checked, OverrideChecker, Preset
from autotune.space import own_dimensions

OWN_DIR = "command-line"  # Hydra's name for the folder of --config-dir


class PresetFiles:
    """Reads each file that a command uses, once, and those that the files' defaults lists bring.

    `problems` is what is wrong with them; `bad` names the presets whose file is wrong, where the root
    configuration counts as the preset `("", NAME)`.
    """

    def __init__(self, app: Hydra, checker: OverrideChecker, checked: Checked) -> None:
        self._repository = getattr(app.config_loader, "repository")  # noqa: B009 (of the one loader there is)
        self._checker = checker
        self._given = {override.key_or_group for override in checked.parsed}
        self._chosen = set(self._given)  # groups whose preset a defaults list no longer chooses
        self._filled = self._given - checker.presets.keys()  # keys that no file needs to give
        self._open: dict[str, Preset] = {}
        self._seen: set[Preset] = set()
        self._found: list[tuple[Preset, str]] = []

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, a problem that several files share once."""
        return list(dict.fromkeys(text for _, text in self._all()))

    @property
    def bad(self) -> set[Preset]:
        """The presets whose own file is wrong."""
        return {preset for preset, _ in self._all()}

    def read(self, presets: Iterable[Preset]) -> None:
        """Read the files of presets that the command names."""
        for preset in presets:
            self._read(preset)

    def read_root(self, name: str) -> None:
        """Read the root configuration and what it chooses, where the user's own folder may hold either."""
        if any(source.provider == OWN_DIR for source in self._repository.get_sources()):
            self._read(("", name))

    def _all(self) -> Iterator[tuple[Preset, str]]:
        yield from self._found
        for key, preset in self._open.items():
            if not any(f"{key}.".startswith(f"{other}.") for other in self._filled):
                yield preset, f"{key}: must be given: {_file(preset)} leaves it open"

    def _read(self, preset: Preset) -> None:
        if preset in self._seen:
            return
        self._seen.add(preset)
        try:
            loaded = self._repository.load_config("/".join(filter(None, preset)))
        except UNREADABLE_FILE as error:
            self._add(preset, [unreadable_file(error)])
            return
        if loaded is None or not loaded.path.startswith("file:"):
            return
        for item in loaded.defaults_list or ():
            self._follow(preset, item)
        content = OmegaConf.to_container(loaded.config, resolve=False)
        self._add(preset, self._content_problems(preset, loaded.header.get("package"), content))

    def _add(self, preset: Preset, problems: Iterable[str]) -> None:
        self._found += [(preset, f"{_file(preset)}: {problem}") for problem in problems]

    def _follow(self, preset: Preset, item: InputDefault) -> None:
        """Read what one line of a defaults list chooses, unless the command chooses otherwise."""
        if item.is_self():
            return
        if isinstance(item, ConfigDefault):
            path = _absolute(preset, str(item.path))
            group, _, name = path.rpartition("/")
            if self._repository.config_exists(path):
                self._read((group, name))
            elif not item.optional:
                self._add(preset, [f"defaults: {item.path}: no such file"])
        elif isinstance(item, GroupDefault) and not item.optional:
            names = [item.value] if isinstance(item.value, str) else item.value or []
            self._follow_group(preset, _absolute(preset, str(item.group)), names)

    def _follow_group(self, preset: Preset, group: str, names: Iterable[str]) -> None:
        if f"{group}/".startswith(HYDRAS) or group in self._chosen:
            return
        if group not in self._checker.presets:
            known = tuple(self._checker.presets)
            self._add(preset, [f"defaults: {group}: no such group{suggest(group, known)}"])
            return
        if preset[0]:  # the root configuration is read last, and chooses what nothing else does
            self._chosen.add(group)
        for name in names:
            wrong = [] if "${" in name or name == OPEN else self._checker.preset_problems(group, name)
            self._add(preset, [f"defaults: {problem}" for problem in wrong])
            if not wrong:
                self._read((group, name))

    def _content_problems(self, preset: Preset, package: str | None, content: Any) -> list[str]:
        if not isinstance(content, Mapping):
            return ["expected keys with their values, such as tp: 2; got a list"]
        place = _place(preset, package)
        if place and hint_of(place) is None:
            return [f"{place} is no key: begin the file with the line '# @package _global_'"]
        whole: Any = content
        for part in reversed(place.split(".") if place else []):
            whole = {part: whole}
        self._note_values(preset, whole)
        own = {str(name): value for name, value in whole.items() if name != "hydra"}
        problems = [p for name, value in own.items() for p in value_type_problems(name, value)]
        return problems + self._space_problems(own) + self._params_problems(whole)

    def _note_values(self, preset: Preset, whole: Mapping[Any, Any]) -> None:
        for key, value in _leaves(whole):
            if value == OPEN:
                self._open.setdefault(key, preset)
            elif preset[0] in {"", "experiment"}:
                self._filled.add(key)

    def _space_problems(self, whole: Mapping[str, Any]) -> list[str]:
        """The values of `search.space`, parsed as those of the command line are."""
        space = _inside(whole, "search", "space")
        texts = {
            str(runtime): {str(name): written(text) for name, text in own.items() if not _is_nested(text)}
            for runtime, own in space.items()
            if isinstance(own, Mapping)
        }
        try:
            own_dimensions(texts, self._checker.parser, runtimes=self._checker.presets["runtime"])
        except ConfigError as error:
            return list(error.problems)
        return []

    def _params_problems(self, whole: Mapping[str, Any]) -> list[str]:
        """What an experiment sweeps is checked as words of the command line are; those win over it."""
        sweeper = _inside(whole, "hydra", "sweeper")
        params = sweeper.get("params") or {}
        if not isinstance(params, Mapping):
            return ["hydra.sweeper.params: expected keys with their values, such as parallel: tp2,tp4"]
        words = [f"{key}={written(value)}" for key, value in params.items() if key not in self._given]
        checked, problems = self._checker.check(words, multirun=True)
        self._chosen |= {override.key_or_group for override in checked.parsed}
        self._filled |= {o.key_or_group for o in checked.parsed} - self._checker.presets.keys()
        self.read(self._checker.presets_of(checked))
        return [f"hydra.sweeper.params: {problem}" for problem in problems]


def _file(preset: Preset) -> str:
    return f"{'/'.join(filter(None, preset))}.yaml"


def _place(preset: Preset, package: str | None) -> str:
    """Return the dotted key that a file writes into; empty for the whole configuration."""
    own = preset[0].replace("/", ".")
    if package in {None, "_group_"}:
        return own
    return str(package).removeprefix("_global_").removeprefix(".")


def _absolute(preset: Preset, path: str) -> str:
    """A defaults list names groups from its own folder, or from the root with a slash before them."""
    return path[1:] if path.startswith("/") else "/".join(filter(None, (preset[0], path)))


def _leaves(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _inside(content: Mapping[Any, Any], *path: str) -> Mapping[Any, Any]:
    """Return the map at a path; an empty one where there is none."""
    node: Any = content
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def _is_nested(value: Any) -> bool:
    return isinstance(value, (Mapping, list))
