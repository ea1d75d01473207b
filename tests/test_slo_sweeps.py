"""Sweeps under a service-level objective, on simulated engines over HTTP."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autotune.cli import main
from autotune.track.journal import read

DEMO = ["deploy=simulated", "gpus=h100_8x", "workload=demo", "workload.warmup_max_s=0", "measure.repeats=1"]

Output = pytest.CaptureFixture[str]


def swept(capsys: Output, name: str, *words: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit status, what was printed, and the events of a sweep."""
    status = main(["-m", *DEMO, f"sweep.name={name}", *words])
    return status, capsys.readouterr().out, list(read(Path("outputs") / name / "journal.jsonl"))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, with_store: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(with_store(tmp_path))


def test_a_search_starts_the_engine_once_and_reports_a_load_it_measured(capsys: Output) -> None:
    """Its curve is in MLflow by load; what was found and why it ended is told."""
    words = ["workload.loads=search", "workload.most_load=32", "slo.tpot_ms_mean=6.5"]
    status, out, events = swept(capsys, "s", "parallel=tp2", *words)
    assert status == 0
    assert [event["event"] for event in events].count("server_ready") == 1
    [ended] = [event for event in events if event["event"] == "trial_finished"]
    loads = {event["load"]["value"] for event in events if event["event"] == "measured"}
    assert ended["status"] == "measured"
    assert ended["load"]["value"] in loads
    assert {result["load"]["value"] for result in ended["by_load"]} == loads
    assert ended["slo"]["meets"]
    assert ended["metrics"]["tpot_ms_mean"] <= 6.5
    beyond = [r["slo"]["meets"] for r in ended["by_load"] if r["load"]["value"] > ended["load"]["value"]]
    assert not any(beyond)
    assert "within the SLO (tpot_ms_mean <= 6.5, error_rate <= 0.01)" in out
    assert "note: " in out
    with sqlite3.connect("mlruns/mlflow.db") as store:
        steps = store.execute("select step from metrics where key = 'by_load/slo_attainment'").fetchall()
    assert {step for (step,) in steps} == {round(load) for load in loads}


def test_what_meets_the_slo_at_no_load_is_a_violation(capsys: Output) -> None:
    """Exit status 1, nobody wins, and the margin is told; goodput counts none of its requests."""
    words = ["slo.tpot_ms_p95=0.5", "objective=max_goodput"]
    status, out, events = swept(capsys, "v", "parallel=tp2", *words)
    [ended] = [event for event in events if event["event"] == "trial_finished"]
    assert (status, ended["status"], ended["score"]) == (1, "slo_violated", None)
    assert ended["metrics"]["goodput_requests_per_s"] == 0
    assert ended["metrics"]["slo_attainment"] == 0
    assert "no winner: nothing met the SLO at any load; nearest was vllm · tp2 at concurrency" in out
    assert "tpot_ms_p95" in out
    assert [event["winners"] for event in events if event["event"] == "sweep_finished"] == [[]]
    with sqlite3.connect("mlruns/mlflow.db") as store:
        tags = dict(store.execute("select key, value from tags where key like 'autotune.%'").fetchall())
    assert (tags["autotune.status"], tags["autotune.best"]) == ("slo_violated", "false")
    assert tags["autotune.slo_missed"].startswith("tpot_ms_p95")


def test_a_sweep_is_resumed_under_its_own_slo_only(capsys: Output) -> None:
    """Trials that were judged by other bounds would not compare."""
    assert swept(capsys, "r", "slo.tpot_ms_p95=50")[0] == 0
    assert main(["-m", *DEMO, "sweep.name=r", "sweep.resume=true", "slo.tpot_ms_p95=60"]) == 2
    err = capsys.readouterr().err
    assert "slo was" in err
    assert json.dumps({"tpot_ms_p95": 60.0})[1:-1] in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["workload.loads=serch"], "workload.loads=serch: expected a list", id="no search"),
        pytest.param(
            ["workload.loads=[a]"], "workload.loads=[a]: expected a list of numbers", id="no number"
        ),
        pytest.param(
            ["workload.loads=search", "workload.least_load=64", "workload.most_load=8"],
            "workload.least_load=64: is above workload.most_load=8: are they exchanged?",
            id="exchanged",
        ),
        pytest.param(
            ["workload.most_load=8"], "workload.most_load=8: is for workload.loads=search", id="unused"
        ),
        pytest.param(
            ["workload.loads=search", "objective.load=8"], "must be best, lowest or highest", id="named load"
        ),
        pytest.param(
            ["workload.loads=search", "workload.least_load=1.5"],
            "1.5 requests cannot be in flight",
            id="half",
        ),
        pytest.param(["slo=chat,strict"], "slo cannot be swept", id="swept"),
        pytest.param(["slo.ttft_ms_p95=-1"], "slo.ttft_ms_p95=-1: must be above 0 ms", id="negative"),
        pytest.param(["slo=chatt"], "did you mean chat?", id="unknown preset"),
        pytest.param(["slo.ttft_p95=1"], "did you mean slo.ttft_ms_p95?", id="unknown bound"),
        pytest.param(["measure.max_points=0"], "measure.max_points=0: must be at least 1", id="no points"),
    ],
)
def test_bad_bounds_and_loads_are_told_before_anything_starts(
    words: list[str], told: str, capsys: Output
) -> None:
    """Exit status 2, and no sweep is begun."""
    assert main(["-m", *DEMO, *words]) == 2
    assert told in capsys.readouterr().err
    assert not Path("outputs").exists()
