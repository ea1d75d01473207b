"""A trial outside a sweep: it has a folder as a sweep has, and neither journal nor MLflow run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from autotune import __version__
from autotune.deploy import create_deployer
from autotune.doctor.study import load_of
from autotune.errors import ConfigError, InfrastructureError
from autotune.places import OUTPUTS
from autotune.plan.expand import Entry
from autotune.prepare import unused_name
from autotune.records import Failure, InventoryKind, Lease, Outcome, Status
from autotune.survey import Survey
from autotune.sweep import Settings
from autotune.track.files import keep, to_yaml
from autotune.track.records import label_of, load_record
from autotune.trial import Job

Say = Callable[[str], None]


def settings_of(asked: Survey, command: Sequence[str], kind: str) -> Settings:
    """Return what is measured in which folder: named after its `kind` and the time, or by `sweep.name`.

    `launcher.exclusive` is for trials of a sweep: it keeps nobody out here.
    """
    config = replace(asked.config, launcher=replace(asked.config.launcher, exclusive=False))
    name = config.sweep.name or f"{kind}-{unused_name(datetime.now().astimezone(), OUTPUTS)}"
    return Settings(
        name=name,
        folder=OUTPUTS / name,
        config=config,
        inventory=asked.inventory,
        command=tuple(command),
        varied=(),
        env=dict(os.environ),
        candidates=(asked.entries[0].candidate,),
    )


def make_folder(settings: Settings) -> None:
    """Make the folder, which nobody had before. Raises: ConfigError, InfrastructureError."""
    try:
        settings.folder.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(
            [f"sweep.name={settings.name}: {settings.folder} exists: choose another name"]
        ) from None
    except OSError as error:
        raise InfrastructureError(f"cannot write {settings.folder}: {error.strerror}") from error
    keep(settings.folder / "config.yaml", to_yaml(dict(settings.candidates[0].config)))


def job_of(settings: Settings, entry: Entry) -> Job:
    """Return the trial."""
    return Job(
        number=0,
        candidate=entry.candidate,
        config=settings.config,
        plan=entry.plan,
        label=label_of(entry.candidate, ()),
        folder=settings.folder,
    )


def facts_of(settings: Settings, job: Job, leases: Sequence[Lease]) -> dict[str, Any]:
    """Return what is known before anything was measured."""
    config = settings.config
    stand_in = create_deployer(config.deploy.kind).stand_in and config.deploy.url is None
    return {
        "version": __version__,
        "command": list(settings.command),
        "label": job.label,
        "argv": list(job.plan.argv),
        "load": load_record(load_of(config)),
        "simulated": stand_in or settings.inventory.kind is InventoryKind.DECLARED,
        "gpus": [[{"index": g.index, "uuid": g.uuid, "model": g.model} for g in one.gpus] for one in leases],
    }


def end_early(outcome: Outcome, write: Callable[..., None], *, folder: Path, kept: str) -> int:
    """Keep that it could not be measured to its end, say why and what is `kept`; return the exit status."""
    failure = outcome.failure or Failure(kind="unknown", message="it ended without a reason")
    told: Mapping[str, Any] | None = None if outcome.status is Status.INTERRUPTED else asdict(failure)
    write(status=outcome.status.value, failure=told)
    if outcome.status is Status.INTERRUPTED:
        print(f"interrupted: everything started was stopped; {kept}", file=sys.stderr)  # noqa: T201
        return 130
    lines = [f"error: {failure.kind}: {failure.message}", failure.evidence, failure.advice]
    lines += [f"the engines' logs are in {folder}; {kept}"]
    print("\n       ".join(filter(None, lines)), file=sys.stderr)  # noqa: T201
    return 1
