"""What Hydra expects of a job: its composed configuration, its files, its return value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from autotune.active import active
from autotune.compose import candidate_from
from autotune.errors import ConfigError
from autotune.plan.rules import value_problems
from autotune.records import Candidate
from autotune.schema import config_from
from autotune.sweep import Admission, keep, to_yaml


def compose_job(
    context: HydraContext, master: DictConfig, overrides: Sequence[str]
) -> tuple[DictConfig, Candidate]:
    """Return the configuration of one job, and the candidate that it is."""
    config = context.config_loader.load_sweep_config(master, list(overrides))
    return config, candidate_from(config)


def check_jobs(candidates: Sequence[Candidate]) -> None:
    """Check a whole batch before its first job starts; a stock sweeper's values were not seen before.

    Raises: ConfigError with everything that is wrong.
    """
    problems = [p for candidate in candidates for p in value_problems(config_from(candidate.config))]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def write_hydra_files(master: Any, candidate: Candidate, number: int, folder: Path) -> None:
    """Write `.hydra/` as Hydra's own launchers do."""
    own: Any = OmegaConf.to_container(OmegaConf.masked_copy(master, ["hydra"]), enum_to_str=True)
    hydra = own["hydra"]
    hydra["job"] |= {"num": number, "id": str(number)}
    hydra["overrides"]["task"] = list(candidate.overrides)
    hydra["runtime"]["choices"] |= dict(candidate.choices)
    hydra["runtime"]["output_dir"] = str(folder.resolve())
    files = {"config": dict(candidate.config), "hydra": own, "overrides": list(candidate.overrides)}
    for name, content in files.items():
        keep(folder / ".hydra" / f"{name}.yaml", to_yaml(content))


def job_return(config: DictConfig, overrides: list[str], admission: Admission) -> JobReturn:
    """Return a job's end: the score, or None where there is none; a failed trial is no error."""
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    number = admission.job.number if admission.job is not None else admission.trial
    trial = None if number is None else active().trial(number)
    ended = JobReturn(
        overrides=overrides,
        cfg=task,
        hydra_cfg=OmegaConf.masked_copy(config, ["hydra"]),
        working_dir=str(admission.job.folder) if admission.job is not None else None,
        task_name="autotune",
        status=JobStatus.COMPLETED,
    )
    ended.return_value = None if trial is None else trial.score
    return ended
