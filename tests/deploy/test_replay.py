"""Replay: rows found by configuration, failures as recorded, per-GPU from the plan."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autotune.cli import main
from autotune.deploy.replay import read_table
from autotune.track.journal import read

TABLE = Path(__file__).parents[1] / "data" / "replay.csv"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, with_store: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sweep has a folder of its own."""
    monkeypatch.chdir(with_store(tmp_path))


def replay(name: str, *words: str, table: Path = TABLE) -> int:
    """The status of a replayed sweep."""
    base = ["deploy=replay", f"deploy.table={table}", "gpus=h100_8x", "workload=demo", f"sweep.name={name}"]
    return main(["-m", *base, *words])


def ends(name: str) -> list[dict[str, Any]]:
    """The ends of its trials, in their order."""
    events = read(Path("outputs") / name / "journal.jsonl")
    return sorted((e for e in events if e["event"] == "trial_finished"), key=lambda e: int(e["trial"]))


def test_the_ranking_is_per_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    """1321.99 tokens/s on 2 GPUs beat 1538.03 on 4."""
    assert replay("s", "parallel=tp4,tp2") == 0
    assert [end["score"] for end in ends("s")] == [1538.03 / 4, 1321.99 / 2]
    out = capsys.readouterr().out
    assert "winner  tp2: 661.0 ± ? total_tokens_per_s_per_gpu at concurrency 4, measured once" in out
    assert "SIMULATED" in out


def test_recorded_failures_and_missing_rows() -> None:
    """A recorded failure is that failure; a load without a row is left out; no row at all is `no_row`."""
    assert replay("s", "runtime=sglang", "parallel=tp1,tp2,tp4") == 0
    first, second, third = ends("s")
    assert (first["failure"]["kind"], second["failure"]["kind"]) == ("no_row", "cuda_oom")
    assert [row["load"]["value"] for row in third["by_load"]] == [4.0]
    assert third["notes"] == ["concurrency 1: not in the table, left out"]


def test_times_are_the_recorded_ones() -> None:
    """Start-up once and the duration of each load, times the plan's GPUs."""
    assert replay("s", "parallel=tp2") == 0
    [end] = ends("s")
    assert (end["startup_s"], end["trial_s"], end["gpu_seconds"]) == (100.0, 111.0, 222.0)


def test_a_metric_without_a_column_is_not_logged() -> None:
    """Nothing is filled in."""
    assert replay("s", "parallel=tp2") == 0
    assert "ttft_ms_p99" not in ends("s")[0]["metrics"]


def test_an_objective_without_its_column_fails_the_trial() -> None:
    """A ranking is never made of nothing."""
    assert replay("s", "parallel=tp2", "objective=min_latency") == 1
    assert "e2e_ms_p90 was not measured" in ends("s")[0]["failure"]["message"]


def test_a_replay_repeats_bit_for_bit() -> None:
    """Two replays with one trial at a time end alike, to the last digit."""
    words = ["runtime=vllm,sglang", "parallel=tp1,tp2,tp4", "launcher.max_parallel=1"]
    assert [replay(name, *words) for name in ("a", "b")] == [0, 0]
    runs = [[{k: v for k, v in end.items() if k not in {"time", "sweep"}} for end in ends(n)] for n in "ab"]
    assert json.dumps(runs[0]) == json.dumps(runs[1])


def test_a_replay_needs_no_model_and_no_parser_of_hardware() -> None:
    """Rules about the model's shape do not reject what was measured."""
    assert replay("s", "parallel=tp2", "model.path=nowhere", "model.heads=3") == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("runtime,ttft_ms_mean\nvllm,1\n", "has no column workload.concurrency", id="no load column"),
        pytest.param("workload.concurrency,ttft_ms_mean\n1,2,3\n", "line 2 has more or fewer cells", id="a cell too many"),
        pytest.param("workload.concurrency,ttft_ms_mean\n1\n", "line 2 has more or fewer cells", id="a cell too few"),
        pytest.param("workload.concurrency,ttft_ms_mean\n1,fast\n", "line 2, column ttft_ms_mean: 'fast' is not a number", id="no number"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names line and column, and nothing is started."""
    table = tmp_path / "bad.csv"
    table.write_text(text)
    assert replay("s", "parallel=tp2", table=table) == 2
    assert words in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_a_missing_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A path that does not exist is told."""
    assert replay("s", "parallel=tp2", table=Path("nowhere.csv")) == 2
    assert "deploy.table=nowhere.csv: No such file" in capsys.readouterr().err


def test_the_tables_gpus_must_agree_with_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table about other layouts is refused."""
    table = tmp_path / "other.csv"
    table.write_text(TABLE.read_text().replace("vllm,2,1,2,", "vllm,2,1,3,"))
    assert replay("s", "parallel=tp2", table=table) == 2
    assert "gpu.count is 3 where the plan of" in capsys.readouterr().err


def test_columns_are_split_into_keys_and_metrics() -> None:
    """Configuration keys identify, metrics are numbers, derived columns are left to us."""
    row = read_table(TABLE).rows[0]
    assert dict(row.keys) == {"runtime": "vllm", "parallel.tp": "2"}
    assert set(row.metrics) == {"ttft_ms_mean", "output_tokens_per_s", "total_tokens_per_s"}


def test_recorded_seconds_pass_at_the_time_scale(tmp_path: Path) -> None:
    """`deploy.time_scale` makes a replay take time: 111 recorded seconds at 0.01 take at least 1.1 s."""
    program = (
        "import sys, time; from autotune.cli import main; began = time.monotonic()\n"
        "status = main(sys.argv[1:]); print('took', time.monotonic() - began); sys.exit(status)"
    )
    words = ["deploy=replay", f"deploy.table={TABLE}", "gpus=h100_8x", "workload=demo", "parallel=tp2"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "deploy.time_scale=0.01"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout.rpartition("took ")[2]) >= 1.11


def test_a_sweep_is_resumed_under_its_own_objective(capsys: pytest.CaptureFixture[str]) -> None:
    """Scores of two objectives are never put into one ranking."""
    assert replay("s", "parallel=tp2") == 0
    assert replay("s", "parallel=tp2", "sweep.resume=true", "objective=min_ttft") == 2
    assert "objective was" in capsys.readouterr().err


def test_the_price_of_a_token_can_rank() -> None:
    """`usd_per_mtok` is a metric like the others once GPUs have a price."""
    words = [
        "parallel=tp2,tp4",
        "gpus.usd_per_hour=2",
        "objective.metric=usd_per_mtok",
        "objective.direction=minimize",
    ]
    assert replay("s", *words) == 0
    two, four = (end["score"] for end in ends("s"))
    assert two == pytest.approx(2 * 2 / (300.75 * 3600) * 1e6)
    assert two < four
