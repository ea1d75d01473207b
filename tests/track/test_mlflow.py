"""What MLflow holds after a sweep, read with MLflow's own client from the real store."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from autotune.cli import main

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

TABLE = Path(__file__).parents[1] / "data" / "replay.csv"
BASE = [
    "deploy=replay",
    f"deploy.table={TABLE}",
    "gpus=h100_8x",
    "workload=demo",
    "gpus.usd_per_hour=3.6",
    "measure.shuffle=false",  # the first one gets the first GPUs
]
COUNTS = "select count(*) from params union all select count(*) from metrics"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory in which one sweep was run: two measured, one failed."""
    folder = tmp_path_factory.mktemp("sweep")
    before = Path.cwd()
    os.chdir(folder)
    status = main(
        ["-m", *BASE, "sweep.name=s", "runtime=vllm,sglang", "parallel=tp2,tp4", "parallel.tp=2,16"]
    )
    assert status == 0
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def client(place: Path) -> MlflowClient:
    """MLflow's client on the store."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{place}/mlruns/mlflow.db")


@pytest.fixture(scope="module")
def runs(client: MlflowClient) -> dict[str, Run]:
    """The runs of the experiment by their names."""
    experiment = client.get_experiment_by_name("autotune")
    assert experiment is not None
    return {run.info.run_name or "": run for run in client.search_runs([experiment.experiment_id])}


def test_one_flat_run_for_each_trial_that_was_started(runs: dict[str, Run]) -> None:
    """Rejected and duplicate candidates are in the journal only; no run has a parent."""
    assert sorted(runs) == ["sglang · tp2 · tp=2", "vllm · tp2 · tp=2"]
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs.values())


def test_tags(runs: dict[str, Run]) -> None:
    """Everything that groups and explains a run."""
    tags = runs["vllm · tp2 · tp=2"].data.tags
    ours = {
        key.removeprefix("autotune."): value for key, value in tags.items() if key.startswith("autotune.")
    }
    signature, node, gpu_info = ours.pop("signature"), ours.pop("node"), json.loads(ours.pop("gpu_info"))
    assert ours.pop("begun").endswith("Z")
    assert ours == {
        "sweep": "s",
        "trial": "0",
        "status": "measured",
        "simulated": "true",
        "best": "true",
        "image": "vllm/vllm-openai:v0.33.0",
    }
    assert signature
    assert node
    assert gpu_info == {"model": "H100-SXM-80GB", "count": 2, "device_ids": [0, 1], "world_size": 2}


def test_a_failed_trial_says_why(runs: dict[str, Run]) -> None:
    """MLflow's own status is FAILED, the kind is a tag, and it is not the best."""
    run = runs["sglang · tp2 · tp=2"]
    assert run.info.status == "FAILED"
    tags = run.data.tags
    assert (tags["autotune.failure"], tags["autotune.best"]) == ("cuda_oom", "false")


def test_params_are_the_resolved_choices(runs: dict[str, Run]) -> None:
    """Preset names for groups, values for fields, the whole command."""
    params = runs["vllm · tp2 · tp=2"].data.params
    expected = {
        "runtime": "vllm",
        "parallel": "tp2",
        "parallel.tp": "2",
        "quant": "default",
        "quant.kvcache_dtype": "auto",
        "workload.input_tokens": "128",
        "deploy": "replay",
        "gpu.model": "H100-SXM-80GB",
        "gpu.count": "2",
        "gpu.device_ids": "0,1",
        "gpu.world_size": "2",
    }
    assert {key: params.get(key) for key in expected} == expected
    assert params["argv"].startswith("vllm serve meta-llama/Llama-3.1-8B-Instruct")


def test_metrics_at_the_chosen_load(runs: dict[str, Run]) -> None:
    """Per GPU by the plan's GPUs, the score in its own unit, the price of a million tokens."""
    metrics = runs["vllm · tp2 · tp=2"].data.metrics
    assert metrics["score"] == metrics["total_tokens_per_s_per_gpu"] == pytest.approx(1321.99 / 2)
    assert metrics["load"] == 4
    assert metrics["gpu_seconds"] == pytest.approx(222)
    assert metrics["usd_per_mtok"] == pytest.approx(2 * 3.6 / (300.75 * 3600) * 1e6)


def test_every_load_is_a_step(client: MlflowClient, runs: dict[str, Run]) -> None:
    """`by_load/<metric>` over the concurrency."""
    run_id = runs["vllm · tp2 · tp=2"].info.run_id
    history = client.get_metric_history(run_id, "by_load/total_tokens_per_s")
    assert [(point.step, point.value) for point in history] == [(1, 300.5), (4, 1321.99)]


def test_a_run_lasts_from_lease_to_release(runs: dict[str, Run]) -> None:
    """Start and end come from the journal."""
    info = runs["vllm · tp2 · tp=2"].info
    assert info.start_time is not None
    assert info.end_time is not None
    assert 0 <= info.end_time - info.start_time < 60_000


def test_artifacts(client: MlflowClient, runs: dict[str, Run]) -> None:
    """What is needed to repeat and to doubt it; they lie in `mlruns/`."""
    run = runs["vllm · tp2 · tp=2"]
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert names == {"config.yaml", "plan.json", "measurements.json"}
    assert str(run.info.artifact_uri).startswith("file://")
    assert "/mlruns/artifacts/" in str(run.info.artifact_uri)


def test_a_store_that_is_away_costs_a_warning_and_is_caught_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sweep succeeds, says where the results are, and resuming it writes them, once."""
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store" / "mlflow.db"
    store.parent.write_text("a file where the store's folder should be")
    words = ["-m", *BASE, "sweep.name=away", "parallel=tp2,tp4", f"tracking.uri=sqlite:///{store}"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "cannot be written" in out
    assert "sweep.name=away sweep.resume=true writes them" in out.replace("\n", " ")
    store.parent.unlink()
    for _ in range(2):
        assert main([*words, "sweep.resume=true"]) == 0
    found = MlflowClient(tracking_uri=f"sqlite:///{store}")
    experiment = found.get_experiment_by_name("autotune")
    assert experiment is not None
    runs = found.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name or "" for run in runs) == ["tp2", "tp4"]
    assert sorted(run.data.tags["autotune.best"] for run in runs) == ["false", "true"]


def test_a_run_of_a_killed_writer_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between a run and its parameters, or before the run's end: nothing is missing or there twice."""
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    assert main([*BASE, "sweep.name=k", "parallel=tp2"]) == 0
    path = tmp_path / "mlruns" / "mlflow.db"
    with sqlite3.connect(path) as store:
        counts = store.execute(COUNTS).fetchall()
        store.execute("delete from params")
        store.execute("update runs set status = 'RUNNING', end_time = null")
    store.close()
    assert main([*BASE, "sweep.name=k", "parallel=tp2", "sweep.resume=true"]) == 0
    with sqlite3.connect(path) as store:
        again = store.execute(COUNTS).fetchall()
    store.close()
    [run] = MlflowClient(tracking_uri=f"sqlite:///{path}").search_runs(["1"])
    assert run.info.status == "FINISHED"
    assert again == counts
