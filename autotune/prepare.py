"""Everything that can be known before a GPU is touched: all problems at once, or the candidates."""

from __future__ import annotations

import os
import shutil
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hydra._internal.hydra import Hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autotune import compose
from autotune.benchmark import BENCHMARKS
from autotune.deploy import create_deployer
from autotune.deploy.protocol import Deployer
from autotune.errors import ConfigError
from autotune.gpus.inventory import take_inventory
from autotune.overrides import Checked, OverrideChecker
from autotune.plan.resolve import resolve
from autotune.plan.rules import value_problems
from autotune.records import Candidate, Gpu, Inventory, InventoryKind
from autotune.schema import Config, config_from

MIN_FREE_MIB = 64  # below this a sweep would lose its journal half way
OUR_SWEEPER = "hydra_plugins.autotune_launchers.sweeper.StreamingSweeper"
LAUNCHERS = {
    "hydra_plugins.autotune_launchers.gpu_launcher.GpuLauncher": "autotune",
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher": "basic",
}
"""Launchers that run trials in this process, where the GPUs are leased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A command that was checked: what Hydra is given, and what it will run.

    `candidates` is empty where a foreign sweeper chooses them.
    """

    overrides: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    config: Config
    inventory: Inventory
    varied: tuple[str, ...]


def prepare(
    hydra: Hydra, words: Sequence[str], *, multirun: bool, config_name: str = compose.CONFIG_NAME
) -> Prepared:
    """Return the checked command.

    Raises: ConfigError with everything that is wrong; nothing was started then.
    """
    checker = OverrideChecker(compose.presets(hydra), hydra.config_loader)
    checked, problems = checker.check(words, multirun=multirun)
    if problems:
        raise ConfigError(problems)
    try:
        master = compose.compose(hydra, _fixed(checked), config_name=config_name)
        if multirun:
            checked = _with_experiment(master, checker, checked)
        return _prepared(hydra, checked, master, config_name)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        raise ConfigError([_one_line(cause)]) from error


def _prepared(hydra: Hydra, checked: Checked, master: DictConfig, config_name: str) -> Prepared:
    launcher = OmegaConf.select(master, "hydra.launcher._target_")
    ours = OmegaConf.select(master, "hydra.sweeper._target_") == OUR_SWEEPER
    if ours:
        _refuse_ranges(checked)
        points = compose.grid(checked.parsed)
    else:
        points = [tuple(_fixed(checked))]
    candidates = [
        compose.candidate_from(compose.compose(hydra, point, config_name=config_name)) for point in points
    ]
    configs = [config_from(candidate.config) for candidate in candidates]
    problems = list(dict.fromkeys(p for config in configs for p in value_problems(config)))
    inventory, wrong = _inventory(configs[0])
    deployer, unknown = _deployer(configs[0])
    if launcher not in LAUNCHERS:
        problems.append(
            f"hydra/launcher: {launcher} is not supported; choose {', '.join(LAUNCHERS.values())}"
        )
    problems += [*wrong, *unknown, *_shared_problems(configs[0], candidates, checked.varied)]
    if inventory is not None and deployer is not None:
        problems += _candidate_problems(candidates, configs, inventory, deployer)
    problems += _place_problems(configs[0])
    if problems or inventory is None:
        raise ConfigError(problems)
    return Prepared(
        overrides=checked.overrides,
        candidates=tuple(candidates) if ours else (),
        config=configs[0],
        inventory=inventory,
        varied=checked.varied,
    )


def unused_name(now: datetime, outputs: Path) -> str:
    """Return a name for a sweep that was given none: date and time, numbered if taken."""
    stem = now.strftime("%Y%m%d-%H%M%S")
    names = [stem, *(f"{stem}-{n}" for n in range(2, 100))]
    return next(name for name in names if not (outputs / name).exists())


def _fixed(checked: Checked) -> list[str]:
    """The overrides that are the same for every candidate."""
    return [str(parsed.input_line) for parsed in checked.parsed if not parsed.is_sweep_override()]


def _with_experiment(master: DictConfig, checker: OverrideChecker, checked: Checked) -> Checked:
    """An experiment preset sweeps by `hydra.sweeper.params`; the command line wins."""
    params = OmegaConf.select(master, "hydra.sweeper.params") or {}
    given = {p.key_or_group for p in checked.parsed}
    extra = [f"{key}={value}" for key, value in params.items() if key not in given]
    if not extra or OmegaConf.select(master, "hydra.sweeper._target_") != OUR_SWEEPER:
        return checked
    words = [word.removeprefix("++") for word in checked.overrides]
    again, problems = checker.check([*words, *extra], multirun=True)
    if problems:
        raise ConfigError(problems)
    return again


def _refuse_ranges(checked: Checked) -> None:
    if checked.ranges:
        raise ConfigError(
            [f"{key}: a range has no grid: give a list such as {key}=16,64,256" for key in checked.ranges]
        )


def _inventory(config: Config) -> tuple[Inventory | None, list[str]]:
    if config.deploy.url is not None:
        count = config.gpus.count or 0
        gpus = tuple(
            Gpu(
                uuid=f"foreign-{n}",
                index=n,
                model=config.gpus.model or "unknown",
                node=socket.gethostname(),
            )
            for n in range(count)
        )
        return Inventory(kind=InventoryKind.FOREIGN, gpus=gpus), []
    try:
        return take_inventory(config.gpus), []
    except ConfigError as error:
        return None, list(error.problems)


def _shared_problems(config: Config, candidates: Sequence[Candidate], varied: Sequence[str]) -> list[str]:
    problems = []
    if config.benchmark.kind not in BENCHMARKS:
        problems.append(f"benchmark.kind={config.benchmark.kind}: must be one of {', '.join(BENCHMARKS)}")
    if config.tracking.kind == "server" and config.tracking.uri is None:
        problems.append("tracking.uri: must be given with tracking=server")
    budget = config.search.budget.trials
    if config.search.kind not in {"auto", "grid"}:
        problems.append(f"search.kind={config.search.kind}: must be auto or grid")
    if budget is not None and len(candidates) > budget:
        problems.append(
            f"search.budget.trials={budget}: the grid has {len(candidates)} candidates: raise the budget "
            "or sweep less"
        )
    foreign = [key for key in varied if key.split(".")[0] != "workload"]
    if config.deploy.url is not None and foreign:
        problems.append(
            f"deploy.url with {', '.join(foreign)} swept: the engine is run by someone else and "
            "stays as it is; only workload can be swept"
        )
    return problems


def _deployer(config: Config) -> tuple[Deployer | None, list[str]]:
    try:
        return create_deployer(config.deploy.kind), []
    except ConfigError as error:
        return None, list(error.problems)


def _candidate_problems(
    candidates: Sequence[Candidate],
    configs: Sequence[Config],
    inventory: Inventory,
    deployer: Deployer,
) -> list[str]:
    """Problems of single candidates; rejections are problems only if no candidate is left."""
    problems: list[str] = []
    rejections: Counter[str] = Counter()
    valid = 0
    for candidate, config in zip(candidates, configs, strict=True):
        try:
            plan = resolve(config, inventory)
        except ConfigError as error:
            problems += error.problems
            continue
        if plan.valid:
            valid += 1
            problems += deployer.problems(candidate, config, plan)
        else:
            rejections.update(plan.reasons)
    if not valid and not problems:
        counted = [f"{reason} ({count} of {len(candidates)})" for reason, count in rejections.items()]
        problems = ["no candidate can run:", *counted]
    return list(dict.fromkeys(problems))


def _place_problems(config: Config) -> list[str]:
    """Journal and store are written where the command is called."""
    places = [Path("outputs")] + ([Path("mlruns")] if config.tracking.uri is None else [])
    problems = []
    for place in places:
        there = next(p for p in (place, Path()) if p.exists())
        free_mib = shutil.disk_usage(there).free / 2**20
        if not os.access(there, os.W_OK):
            problems.append(f"{place.resolve()}: cannot be written: call autotune in a folder that can")
        elif free_mib < MIN_FREE_MIB:
            problems.append(
                f"{place.resolve()}: the disk has {free_mib:.0f} MiB left, at least {MIN_FREE_MIB} are "
                "needed: free some, or call autotune in another folder"
            )
    return problems


def _one_line(error: BaseException) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
