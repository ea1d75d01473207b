"""The README's demo: four simulated trials, ranked as the cost model ranks them directly."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.benchmark.workload import loads_of, traffic_of
from autotune.cli import main
from autotune.compose import hydra_on
from autotune.deploy.simulated.deployer import specification
from autotune.deploy.simulated.evaluate import evaluate
from autotune.plan.resolve import resolve
from autotune.prepare import prepare
from autotune.schema import config_from
from autotune.track.journal import read

WORDS = [
    "runtime=vllm,sglang",
    "parallel=tp2,tp4",
    "deploy=simulated",
    "gpus=h100_8x",
    "model=llama3_1_8b",
    "workload=demo",
]


def by_the_model() -> dict[str, float]:
    """Total tokens/s per GPU of each candidate at its best load, from the cost model without HTTP."""
    scores = {}
    with hydra_on(None) as hydra:
        prepared = prepare(hydra, WORDS, multirun=True)
    for candidate in prepared.candidates:
        config = config_from(candidate.config)
        plan = resolve(config, prepared.inventory)
        argv = [word.replace("{port}", "8000") for word in plan.argv]
        facts = specification(config, plan, prepared.inventory.gpus[: plan.gpus])
        at_loads = [
            evaluate(argv, facts, traffic_of(config.workload), load)["total_tokens_per_s"] / plan.gpus
            for load in loads_of(config.workload)
        ]
        scores[f"{candidate.choices['runtime']} · {candidate.choices['parallel']}"] = max(at_loads)
    return scores


def test_the_demo(
    tmp_path: Path,
    with_store: Callable[[Path], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The ranking is the cost model's own, within a fifth of its values, and all of it is marked simulated."""
    monkeypatch.chdir(with_store(tmp_path))
    assert main(["-m", *WORDS, "sweep.name=demo", "measure.repeats=1"]) == 0
    out = capsys.readouterr().out
    events = list(read(tmp_path / "outputs" / "demo" / "journal.jsonl"))
    labels = {event["trial"]: event["label"] for event in events if event["event"] == "trial_queued"}
    measured = {labels[e["trial"]]: e["score"] for e in events if e["event"] == "trial_finished"}
    expected = by_the_model()
    assert sorted(measured, key=measured.__getitem__) == sorted(expected, key=expected.__getitem__)
    assert all(measured[label] == pytest.approx(expected[label], rel=0.2) for label in expected)
    assert f"winner  {max(expected, key=expected.__getitem__)}: " in out
    assert "SIMULATED" in out
    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as store:
        rows = store.execute("select value from tags where key = 'autotune.simulated'").fetchall()
    store.close()
    assert rows == [("true",)] * 4


def test_the_argv_reaches_the_engine_unchanged(
    tmp_path: Path, with_store: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the plan says is what the stand-in reads; what it refuses is a failure of the trial."""
    monkeypatch.chdir(with_store(tmp_path))
    words = [
        "deploy=simulated",
        "gpus=h100_8x",
        "workload=demo",
        "sweep.name=s",
        "runtime.args.max_num_seqs=9000",
    ]
    assert main(words) == 1
    trial = tmp_path / "outputs" / "s" / "trial-0"
    assert "--max-num-seqs" in json.loads((trial / "plan.json").read_text())["argv"]
    log = (trial / "engine.log").read_text()
    assert "max_num_batched_tokens (8192) must be greater than or equal to max_num_seqs (9000)" in log
