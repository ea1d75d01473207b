"""What was sampled over a trial as MLflow shows it: a simulated sweep in a real store."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autotune.cli import main
from autotune.observe.gpu import SERIES
from autotune.observe.series import NAME
from tests.shop import Shop
from tests.standins.nvml.driver import StandInDriver, StandInGpu

WORDS = [
    *("deploy=simulated", "gpus=h100_8x", "workload=tiny", "workload.loads=[4]", "deploy.startup_s=0"),
    *("measure.repeats=2", "measure.sample_s=0.1", "sweep.name=s"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory in which one trial was run."""
    folder = tmp_path_factory.mktemp("sweep")
    before = Path.cwd()
    os.chdir(folder)
    assert main(WORDS) == 0
    yield folder
    os.chdir(before)


def metrics(store: Path) -> list[tuple[Any, ...]]:
    """Every point in a store."""
    with closing(sqlite3.connect(store)) as database:
        return sorted(database.execute("select key, value, timestamp, step from metrics"))


def test_series_have_times_and_summaries_one_value(place: Path) -> None:
    """Every sample of the file is a point with its own time; the window's metrics are logged once."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{place}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("autotune")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    [folder] = {path.parent for path in (place / "outputs" / "s").rglob(NAME)}
    rows = [json.loads(line) for line in (folder / NAME).read_text().splitlines()]
    running = client.get_metric_history(run.info.run_id, "server/running")
    assert len(rows) > 3
    assert sorted((point.timestamp, point.value) for point in running) == sorted(
        (row["time_ms"], row["values"]["server/running"]) for row in rows
    )
    assert max(point.value for point in running) <= 4
    for name in ("server/running_mean", "server/kv_cache_usage_max", "server/preemptions"):
        [once] = client.get_metric_history(run.info.run_id, name)
        [by_load] = client.get_metric_history(run.info.run_id, f"by_load/{name}")
        assert (once.value, by_load.step) == (by_load.value, 4)
    assert NAME in {artifact.path for artifact in client.list_artifacts(run.info.run_id)}


def test_gpus_are_system_metrics_and_written_again_they_change_nothing(
    shop: Shop, nvml: StandInDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that failed in the middle of a run gets it once more, and has every point once."""
    nvml.tell([StandInGpu(power_w=500, utilization_percent=90)])
    words = [word for word in shop.words() if not word.startswith("gpus")]
    more = ["gpus=nvml", "measure.sample_s=0.1", "runtime.env.STANDIN_PAUSE=0.1", "sweep.name=s"]
    for name, text in nvml.env.items():
        monkeypatch.setenv(name, text)
    status, out, err = shop.run([*words, *more])
    assert status == 0, out + err
    store = shop.folder / "mlruns" / "mlflow.db"
    before = metrics(store)
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("update runs set status = 'RUNNING'")
    assert shop.run([*words, *more, "sweep.resume=true"])[0] == 0
    assert metrics(store) == before
    names = {name for name, *_ in before}
    assert {f"system/gpu_0_{end}" for end in SERIES} <= names
    watts = [row for row in before if row[0] == "system/gpu_0_power_usage_watts"]
    assert {value for _, value, *_ in watts} == {500.0}
    assert len({stamp for _, _, stamp, _ in watts}) == len(watts) > 3
    assert {"gpu/power_w_mean", "energy_j_per_output_token", "by_load/energy_j"} <= names
