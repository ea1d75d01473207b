"""Hydra's composition on our `conf/`, and the one way from it to candidates.

With `cli.py` and Hydra's plugin shells the only user of DictConfig.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import hydra
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from autotune.errors import ConfigError
from autotune.places import conf_dir
from autotune.records import Candidate
from autotune.schema import Config

CONFIG_NAME = "config"
IS_HYDRA_1_3 = hydra.__version__.startswith("1.3.")
"""1.3 has to be told which defaults to use; 1.4 has one set, and warns of being told."""

ConfigStore.instance().store(name="schema", node=Config, provider="autotune")


@contextmanager
def hydra_on(config_dir: str | None) -> Iterator[Hydra]:
    """Open Hydra on our presets, and on the user's own of `--config-dir` beside them.

    Raises: ConfigError if that folder does not exist, or holds presets with the names of ours, which win.
    """
    if IS_HYDRA_1_3:
        version.setbase(None)
    search_path = create_config_search_path(str(conf_dir()))
    if config_dir is not None:
        extra = Path(config_dir).resolve()
        if not extra.is_dir():
            raise ConfigError([f"--config-dir {config_dir}: no such folder"])
        files = sorted(file.relative_to(extra) for file in extra.rglob("*.yaml"))
        hidden = [file for file in files if (conf_dir() / file).is_file() and extra != conf_dir()]
        if hidden:
            taken = "one of ours has this name and would be taken instead: rename it"
            raise ConfigError([f"--config-dir {config_dir}: {file}: {taken}" for file in hidden])
        before = SearchPathQuery(provider="schema")
        search_path.prepend(provider="command-line", path=f"file://{extra}", anchor=before)
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2(task_name="autotune", config_search_path=search_path)
    finally:
        GlobalHydra.instance().clear()


@lru_cache(maxsize=1)
def presets(app: Hydra) -> dict[str, list[str]]:
    """Return the presets of every configuration group, the user's included; listing them takes 0.4 s."""
    loader = app.config_loader
    tops = [g for g in loader.get_group_options("", results_filter=ObjectType.GROUP) if g != "hydra"]
    inner = [f"{g}/{i}" for g in tops for i in loader.get_group_options(g, results_filter=ObjectType.GROUP)]
    return {
        group: loader.get_group_options(group, results_filter=ObjectType.CONFIG) for group in (*tops, *inner)
    }


def compose(app: Hydra, overrides: Sequence[str], *, config_name: str = CONFIG_NAME) -> DictConfig:
    """Return the composed configuration, Hydra's own node included."""
    return app.config_loader.load_configuration(
        config_name=config_name, overrides=list(overrides), run_mode=RunMode.RUN
    )


def candidate_from(composed: DictConfig) -> Candidate:
    """Return the candidate of a composed configuration.

    Raises: ConfigError naming every mandatory value that is missing.
    """
    return candidate_of(OmegaConf.masked_copy(composed, task_keys(composed)), composed["hydra"])


def candidate_of(task: DictConfig, own: Any) -> Candidate:
    """Return the candidate of a configuration and Hydra's own node beside it; see `candidate_from`."""
    missing = sorted(OmegaConf.missing_keys(task))
    if missing:
        raise ConfigError([f"{key}: must be given" for key in missing])
    given: Any = OmegaConf.to_container(own["overrides"]["task"], resolve=False)
    return Candidate(
        overrides=tuple(map(typed, given)),
        choices=choices_of(own),
        config=plain(task),
    )


def plain(config: DictConfig) -> dict[str, Any]:
    """Return plain values with every reference resolved; enums by name."""
    container = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    if not isinstance(container, dict):
        raise TypeError(f"a configuration is a mapping, got {type(container).__name__}")
    return {str(key): value for key, value in container.items()}


def task_keys(composed: DictConfig) -> list[str]:
    """Return the nodes of a composed configuration that are ours."""
    return [str(key) for key in composed if key != "hydra"]


def choices_of(own: Any) -> Mapping[str, str]:
    """Return the preset chosen in each group, from Hydra's own node."""
    choices = OmegaConf.to_container(own["runtime"]["choices"])
    named = dict(choices) if isinstance(choices, dict) else {}
    return {str(k): str(v) for k, v in named.items() if not str(k).startswith("hydra/")}


def typed(override: str) -> str:
    """Return an override as the user types it: `runtime.args.X` needs no plus."""
    return override.removeprefix("++")
