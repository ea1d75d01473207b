"""What Hydra expects of a job: its composed configuration, its files, its return value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
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
from autotune.sweep import Admission
from autotune.track.files import ConfigText, keep, to_yaml

OF_A_JOB = ("job", "overrides", "runtime")
"""The parts of Hydra's own node that differ from job to job."""


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


class HydraFiles:
    """Writes `.hydra/` of each job as Hydra's own launchers do; what jobs share is written out once."""

    def __init__(self, master: Any) -> None:
        own: Any = OmegaConf.to_container(OmegaConf.masked_copy(master, ["hydra"]), enum_to_str=True)
        self._hydra = own["hydra"]
        shared = {key: value for key, value in self._hydra.items() if key not in OF_A_JOB}
        self._shared = indent(to_yaml(shared), "  ")
        self._text = ConfigText()

    def write(self, candidate: Candidate, number: int, folder: Path) -> None:
        """Write the files of one job."""
        hydra, overrides = self._hydra, list(candidate.overrides)
        own = {
            "job": {**hydra["job"], "num": number, "id": str(number)},
            "overrides": {**hydra["overrides"], "task": overrides},
            "runtime": {
                **hydra["runtime"],
                "choices": {**hydra["runtime"]["choices"], **candidate.choices},
                "output_dir": str(folder.resolve()),
            },
        }
        keep(folder / ".hydra" / "config.yaml", self._text(candidate.config))
        keep(folder / ".hydra" / "hydra.yaml", f"hydra:\n{self._shared}{indent(to_yaml(own), '  ')}")
        keep(folder / ".hydra" / "overrides.yaml", to_yaml(overrides))


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
