"""MLflow as a mirror of the journal: flat runs, one batch a trial.

Every event can be written again: what is in the store already is found, and stays as it is. Importing
MLflow takes seconds and happens in the thread that writes (`mirror.py`).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.benchmark.external.tool import REPORTS
from autotune.observe.series import read_points
from autotune.places import local_store
from autotune.records import WORKED
from autotune.track.database import ensure_database
from autotune.track.journal import Tail
from autotune.track.judged import missed
from autotune.track.noise import client_bound, noise_columns

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Event = Mapping[str, Any]

TERMINAL = {**dict.fromkeys(WORKED, "FINISHED"), "failed": "FAILED", "interrupted": "KILLED"}
"""MLflow's own run status for each of ours."""

HTTP_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""MLflow's own settings, unless the user's are there: its defaults wait many minutes for a dead server."""

PAGE = 5000  # runs in one answer
BATCH = 1000  # metrics in one log_batch. Source: MLflow 3.17 validation limits
TAG_LIMIT = 5000  # characters. Source: the same


class Store:
    """Where runs go: the tracking URI, the experiment, and the sweep's folder of artifacts."""

    def __init__(self, *, uri: str | None, experiment: str, folder: Path) -> None:
        self.local = uri is None
        self.root = local_store()
        self.uri = uri or f"sqlite:///{self.root}/mlflow.db"
        self.experiment = experiment
        self.folder = folder


class Writer:
    """Writes events to one MLflow experiment; only ever used by one thread.

    `tail` is where the events come from: what a trial's run will need is read again when it starts.
    """

    def __init__(self, store: Store, tail: Tail) -> None:
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)  # what fails is told once, by us
        from mlflow.tracking import MlflowClient

        for name, value in HTTP_PATIENCE.items():
            os.environ.setdefault(name, value)
        if store.local:
            ensure_database(store.root)
        self.store = store
        self.tail = tail
        self.client: MlflowClient = MlflowClient(tracking_uri=store.uri)
        self.experiment_id = self._experiment()
        self.queued: dict[int, int] = {}  # trial -> where the journal tells of it
        self.folders: dict[int, str] = {}
        self.phases: dict[int, Mapping[str, float]] = {}  # trial -> those of its engine's start
        self.simulated = False
        self.begun = ""  # when the sweep began: another sweep of the same name is another sweep
        self.runs: dict[int, str] = {}  # trial -> run id
        self.devices: dict[int, str] = {}  # trial -> the indices of its GPUs
        self.finished: set[int] = set()

    def sweep_started(self, event: Event) -> None:
        """Find the runs of this sweep that are in the store already."""
        self.simulated = bool(event["simulated"])
        if self.begun:  # a resumed sweep; its runs were all found or made here
            return
        self.begun = str(event["time"])
        mine = f"tags.`autotune.sweep` = '{event['sweep']}' and tags.`autotune.begun` = '{self.begun}'"
        token = None
        while True:
            found = self.client.search_runs([self.experiment_id], mine, max_results=PAGE, page_token=token)
            for run in found:
                trial = int(run.data.tags["autotune.trial"])
                self.runs[trial] = run.info.run_id
                if run.info.status in TERMINAL.values():
                    self.finished.add(trial)
            token = found.token
            if not token:
                return

    def trial_queued(self, event: Event) -> None:
        """Remember where to read what the run will need."""
        self.queued[event["trial"]] = self.tail.place
        self.folders[event["trial"]] = event["folder"]

    def trial_started(self, event: Event) -> None:
        """Create the run: it begins when GPUs are first leased. One that lacks its parameters gets them."""
        from mlflow.entities import Param, RunTag

        trial = event["trial"]
        queued = self.tail.at(self.queued[trial])
        self.phases[trial] = {}  # those of an earlier attempt are not this one's
        if trial in self.finished:
            return
        if trial not in self.runs:
            run = self.client.create_run(
                self.experiment_id,
                start_time=_ms(event),
                tags=self._first_tags(event, queued),
                run_name=queued["label"],
            )
            self.runs[trial] = run.info.run_id
        params = [Param(key, value) for key, value in queued["params"].items()]
        tags = [RunTag(key, value) for key, value in _lease_tags(event, queued).items()]
        self.client.log_batch(self.runs[trial], params=params, tags=tags)
        self.devices[trial] = ",".join(map(str, event["lease"]["indices"]))

    def _first_tags(self, event: Event, queued: Event) -> dict[str, str]:
        plan = queued["plan"]
        return {
            "autotune.sweep": event["sweep"],
            "autotune.begun": self.begun,
            "autotune.trial": str(event["trial"]),
            "autotune.status": "running",
            "autotune.signature": plan["signature"],
            "autotune.simulated": str(self.simulated).lower(),
            "autotune.image": plan["image"],
        }

    def server_ready(self, event: Event) -> None:
        """An engine that says it is a stand-in marks its run, wherever it runs."""
        self.phases[event["trial"]] = event.get("phases", {})
        if event["simulated"] and event["trial"] not in self.finished:
            self.client.set_tag(self.runs[event["trial"]], "autotune.simulated", "true")

    def trial_finished(self, event: Event) -> None:
        """Write metrics, tags and artifacts, and end the run."""
        from mlflow.entities import Param, RunTag

        trial = event["trial"]
        if trial in self.finished or trial not in self.runs:
            return
        run_id = self.runs[trial]
        tags = {"autotune.status": event["status"]}
        if event["failure"]:
            tags["autotune.failure"] = event["failure"]["kind"]
            tags["autotune.failure_message"] = event["failure"]["message"][:TAG_LIMIT]
        if event["engine_version"]:
            tags["autotune.engine_version"] = event["engine_version"]
        if event.get("image_digest"):
            tags["autotune.image_digest"] = event["image_digest"]
        told = {"autotune.slo_missed": missed(event.get("slo")), "autotune.client_bound": client_bound(event)}
        tags |= {name: text[:TAG_LIMIT] for name, text in told.items() if text}
        metrics = _metrics(event, self.phases.get(trial, {}))
        metrics += _series(self.store.folder / self.folders[trial])
        for begin in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[begin : begin + BATCH])
        devices = Param("gpu.device_ids", self.devices[trial])  # of the last attempt: it can be written once
        self.client.log_batch(
            run_id, params=[devices], tags=[RunTag(key, value) for key, value in tags.items()]
        )
        for path in self._artifacts(trial):
            self.client.log_artifact(run_id, str(path))
        if (reports := self.store.folder / self.folders[trial] / REPORTS).is_dir():
            self.client.log_artifacts(run_id, str(reports), REPORTS)
        self.client.set_terminated(run_id, TERMINAL[event["status"]], end_time=_ms(event))
        self.finished.add(trial)

    def sweep_finished(self, event: Event) -> None:
        """Mark the winners, and nobody else."""
        for trial, run_id in self.runs.items():
            self.client.set_tag(run_id, "autotune.best", str(trial in event["winners"]).lower())

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.store.experiment)
        if found is not None:
            return str(found.experiment_id)
        place = f"file://{self.store.root}/artifacts" if self.store.local else None
        return str(self.client.create_experiment(self.store.experiment, artifact_location=place))

    def _artifacts(self, trial: int) -> Iterator[Path]:
        folder = self.store.folder / self.folders[trial]
        for name in ("config.yaml", "plan.json", "engine.log", "measurements.json", "series.jsonl"):
            if (folder / name).exists():
                yield folder / name
        yield from sorted(folder.glob("engine.attempt-*.log"))


def _lease_tags(event: Event, queued: Event) -> dict[str, str]:
    """What a trial runs on; another attempt may be made elsewhere."""
    gpu_info = {
        "model": queued["params"]["gpu.model"],
        "count": queued["plan"]["gpus"],
        "device_ids": event["lease"]["indices"],
        "world_size": queued["plan"]["world_size"],
    }
    return {"autotune.gpu_info": json.dumps(gpu_info), "autotune.node": event["lease"]["node"]}


def _metrics(event: Event, phases: Mapping[str, float]) -> list[Any]:
    """The metrics at the chosen load once, and those of every load as a series over it."""
    from mlflow.entities import Metric

    stamp = _ms(event)
    single = {
        **event["metrics"],
        **noise_columns(event),
        "score": event["score"],
        "startup_s": event["startup_s"],
        "trial_s": event["trial_s"],
        "gpu_seconds": event["gpu_seconds"],
        **{f"startup/{name}": seconds for name, seconds in phases.items()},
    }
    rows = [(name, value, 0) for name, value in single.items()]
    for result in event["by_load"]:
        step = round(result["load"]["value"])
        rows += [(f"by_load/{name}", value, step) for name, value in result["metrics"].items()]
    return [Metric(name, value, stamp, step) for name, value, step in rows if value is not None]


def _series(folder: Path) -> list[Any]:
    """What was sampled over the trial: MLflow's System metrics, and the engine's own in theirs."""
    from mlflow.entities import Metric

    return [Metric(name, value, stamp, step) for name, value, stamp, step in read_points(folder)]


def _ms(event: Event) -> int:
    """Time of an event in milliseconds since the epoch."""
    moment = datetime.fromisoformat(str(event["time"]).replace("Z", "+00:00"))
    return round(moment.timestamp() * 1000)


HANDLERS: Mapping[str, Callable[[Writer, Event], None]] = {
    "sweep_started": Writer.sweep_started,
    "trial_queued": Writer.trial_queued,
    "trial_started": Writer.trial_started,
    "server_ready": Writer.server_ready,
    "trial_finished": Writer.trial_finished,
    "sweep_finished": Writer.sweep_finished,
}
