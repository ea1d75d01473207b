"""What is wrong with the preset files that a command names: all of it at once, with the file's name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autotune.overrides import FREE, type_problem


def preset_file_problems(app: Hydra, chosen: Iterable[tuple[str, str]], keys: Sequence[str]) -> list[str]:
    """Return unknown keys and values of the wrong type in the files of `chosen` (group, preset).

    `keys` are those of the schema. A preset of another package is left to Hydra.
    """
    return [problem for group, name in chosen for problem in _problems(app, group, name, keys)]


def _problems(app: Hydra, group: str, name: str, keys: Sequence[str]) -> Iterator[str]:
    repository = getattr(app.config_loader, "repository")  # noqa: B009 (of the one loader there is)
    try:
        loaded = repository.load_config(f"{group}/{name}")
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        lines = " ".join(line.strip() for line in str(error).splitlines())
        yield f"{group}/{name}.yaml: not YAML that can be read: {lines}"
        return
    if loaded is None or loaded.header.get("package") not in {None, group}:
        return
    content = OmegaConf.to_container(loaded.config, resolve=False)
    for key, value in _leaves(content if isinstance(content, Mapping) else {}, f"{group.replace('/', '.')}."):
        if key.startswith(FREE):
            continue
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"{group}/{name}.yaml: {key}: no such key{hint}"
        elif (wrong := type_problem(key, value)) is not None:
            yield f"{group}/{name}.yaml: {key}={value}: {wrong}"


def _leaves(content: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if name == "defaults":
            continue
        if isinstance(value, Mapping) and value and not f"{prefix}{name}.".startswith(FREE):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
