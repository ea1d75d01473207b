"""Hydra's launcher on our scheduler: `launch` is derived from `submit` and `wait_any`.

Trials are threads of this process that touch none of Hydra's globals, so Hydra's `run_job` is not
used: `on_job_*` callbacks and `${hydra:job.*}` in swept values are not supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.plugins.launcher import Launcher

from hydra_plugins.autotune_launchers._config import register

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from autotune.records import Candidate
    from autotune.sweep import Admission
    from hydra_plugins.autotune_launchers._jobs import HydraFiles
    from hydra_plugins.autotune_launchers._scheduler import Finished, Scheduler

register()


class GpuLauncher(Launcher):
    """Packs trials onto free GPUs and streams their ends."""

    def __init__(self) -> None:
        self._config: Any = None
        self._context: Any = None
        self._scheduler: Scheduler | None = None
        self._files: HydraFiles | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what composing a job needs; the task function is for launchers that run jobs alone."""
        del task_function
        self._context, self._config = hydra_context, config

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of the sweep that this process works on."""
        from autotune.active import active
        from hydra_plugins.autotune_launchers._scheduler import Scheduler

        if self._scheduler is None:
            self._scheduler = Scheduler(active())
        return self._scheduler

    def submit(self, candidate: Candidate) -> Admission:
        """Queue a candidate of a search that goes on; it starts as soon as enough GPUs are free."""
        admission = self.scheduler.submit(candidate)
        self._write_files(admission)
        return admission

    def submit_all(self, candidates: Sequence[Candidate]) -> list[Admission]:
        """Queue candidates beyond which none will come; they start in the order that ends soonest."""
        admissions = self.scheduler.submit_all(candidates)
        for admission in admissions:
            self._write_files(admission)
        return admissions

    def has_room(self) -> bool:
        """Whether a search should choose another candidate now."""
        return self.scheduler.has_room()

    def wait_any(self) -> Finished | None:
        """Wait for the next trial that ends; None when nothing is queued or running."""
        return self.scheduler.wait_any()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch for a stock sweeper; scores are return values, None for a failed trial."""
        from hydra_plugins.autotune_launchers._jobs import check_jobs, compose_job, job_return

        del initial_job_idx  # trials are numbered by the sweep, also across resumes
        composed = [compose_job(self._context, self._config, job) for job in job_overrides]
        check_jobs([candidate for _, candidate in composed])
        with self.scheduler.guarded():
            admissions = self.submit_all([candidate for _, candidate in composed])
            while self.wait_any() is not None:
                pass
        return [
            job_return(config, list(overrides), admission)
            for (config, _), overrides, admission in zip(composed, job_overrides, admissions, strict=True)
        ]

    def _write_files(self, admission: Admission) -> None:
        from hydra_plugins.autotune_launchers._jobs import HydraFiles

        job = admission.job
        if job is not None:
            self._files = self._files or HydraFiles(self._config)
            self._files.write(job.candidate, job.number, job.folder)
