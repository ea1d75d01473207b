"""Everything that can be known before a GPU is touched: all problems at once, or the candidates."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf

from autotune import compose
from autotune.benchmark import BENCHMARKS
from autotune.benchmark.startable import client_problems
from autotune.deploy import create_deployer
from autotune.errors import ConfigError
from autotune.plan.expand import Entry, Verdict
from autotune.records import Candidate, Inventory
from autotune.schema import Config
from autotune.survey import Survey, survey

MIN_FREE_MIB = 64  # below this a sweep would lose its journal half way
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
    asked = survey(hydra, words, multirun=multirun, config_name=config_name)
    problems = [*asked.problems, *start_problems(asked)]
    if problems:
        raise ConfigError(problems)
    return Prepared(
        overrides=asked.checked.overrides,
        candidates=tuple(entry.candidate for entry in asked.entries) if asked.ours else (),
        config=asked.config,
        inventory=asked.inventory,
        varied=asked.varied,
    )


def start_problems(asked: Survey) -> list[str]:
    """Return what keeps the command from being started here, beside what is wrong with its values."""
    problems = list(asked.no_gpus)
    launcher = OmegaConf.select(asked.master, "hydra.launcher._target_")
    if launcher not in LAUNCHERS:
        known = ", ".join(LAUNCHERS.values())
        problems.append(f"hydra/launcher: {launcher} is not supported; choose {known}")
    if asked.ours:
        problems += [
            f"{key}: a range has no grid: give a list such as {key}=16,64,256" for key in asked.space.ranges
        ]
    problems += _shared_problems(asked)
    if not asked.no_gpus:
        problems += _candidate_problems(asked.config, asked.entries)
    return [*problems, *_place_problems(asked.config)]


def unused_name(now: datetime, outputs: Path) -> str:
    """Return a name for a sweep that was given none: date and time, numbered if taken."""
    stem = now.strftime("%Y%m%d-%H%M%S")
    names = [stem, *(f"{stem}-{n}" for n in range(2, 100))]
    return next(name for name in names if not (outputs / name).exists())


def _shared_problems(asked: Survey) -> list[str]:
    config, problems = asked.config, []
    if config.benchmark.kind not in BENCHMARKS:
        problems.append(f"benchmark.kind={config.benchmark.kind}: must be one of {', '.join(BENCHMARKS)}")
    if config.tracking.kind == "server" and config.tracking.uri is None:
        problems.append("tracking.uri: must be given with tracking=server")
    budget = config.search.budget.trials
    if config.search.kind not in {"auto", "grid"}:
        problems.append(f"search.kind={config.search.kind}: must be auto or grid")
    trials = sum(entry.verdict is Verdict.VALID for entry in asked.entries)
    if budget is not None and trials > budget:
        problems.append(
            f"search.budget.trials={budget}: the grid has {trials} candidates that can run: raise the "
            "budget or sweep less"
        )
    foreign = [key for key in asked.varied if key.split(".")[0] != "workload"]
    if config.deploy.url is not None and foreign:
        problems.append(
            f"deploy.url with {', '.join(foreign)} swept: the engine is run by someone else and "
            "stays as it is; only workload can be swept"
        )
    return problems


def _candidate_problems(config: Config, entries: Sequence[Entry]) -> list[str]:
    """What the deployer lacks; rejections are problems only if no candidate is left."""
    try:
        deployer = create_deployer(config.deploy.kind)
    except ConfigError as error:
        return list(error.problems)
    valid = [entry for entry in entries if entry.verdict is Verdict.VALID]
    if not valid:
        counted = Counter(reason for entry in entries for reason in entry.plan.reasons)
        reasons = [f"{reason} ({count} of {len(entries)})" for reason, count in counted.items()]
        return ["no candidate can run:", *reasons]
    problems = [p for entry in valid for p in deployer.problems(entry.candidate, entry.config, entry.plan)]
    if not deployer.recorded:
        problems += [p for entry in valid for p in client_problems(entry.config, entry.plan.wording)]
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
