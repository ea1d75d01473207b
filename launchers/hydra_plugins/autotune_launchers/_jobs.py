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
from autotune.records import Candidate
from autotune.sweep import Admission


def compose_job(
    context: HydraContext, master: DictConfig, overrides: Sequence[str]
) -> tuple[DictConfig, Candidate]:
    """Return the configuration of one job, and the candidate that it is."""
    config = context.config_loader.load_sweep_config(master, list(overrides))
    return config, candidate_from(config)


def write_hydra_files(master: Any, candidate: Candidate, number: int, folder: Path) -> None:
    """Write `.hydra/` as Hydra's own launchers do."""
    own = OmegaConf.create(OmegaConf.to_container(OmegaConf.masked_copy(master, ["hydra"])))
    own.hydra.job.num = number
    own.hydra.job.id = str(number)
    own.hydra.overrides.task = list(candidate.overrides)
    own.hydra.runtime.choices.update(candidate.choices)
    own.hydra.runtime.output_dir = str(folder.resolve())
    place = folder / ".hydra"
    place.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(dict(candidate.config)), place / "config.yaml")
    OmegaConf.save(own, place / "hydra.yaml")
    OmegaConf.save(OmegaConf.create(list(candidate.overrides)), place / "overrides.yaml")


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
