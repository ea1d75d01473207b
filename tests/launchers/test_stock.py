"""Hydra's own sweeper and launcher beside ours, on whatever Hydra is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.cli import main
from autotune.track.journal import read

TABLE = Path(__file__).parents[1] / "data" / "replay.csv"
# Values that only the stock sweeper knows: they are not on the command line.
STOCK = """\
# @package _global_
hydra:
  sweeper:
    params:
      workload.input_tokens: 128,0
"""


@pytest.mark.parametrize(
    "plugins",
    [
        [],
        ["hydra/sweeper=basic"],
        ["hydra/launcher=basic"],
        ["hydra/sweeper=basic", "hydra/launcher=basic"],
    ],
    ids=["ours", "stock sweeper", "stock launcher", "both stock"],
)
def test_the_same_ranking_under_every_pair(
    plugins: list[str],
    tmp_path: Path,
    with_store: Callable[[Path], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A failed trial is a result for each of them, and the sweep goes on to its end."""
    monkeypatch.chdir(with_store(tmp_path))
    words = ["deploy=replay", f"deploy.table={TABLE}", "gpus=h100_8x", "workload=demo", "sweep.name=s"]
    assert main(["-m", *words, *plugins, "runtime=sglang,vllm", "parallel=tp2,tp4"]) == 0
    events = list(read(tmp_path / "outputs" / "s" / "journal.jsonl"))
    labels = {event["trial"]: event["label"] for event in events if event["event"] == "trial_queued"}
    ends = {labels[e["trial"]]: e["status"] for e in events if e["event"] == "trial_finished"}
    assert ends == {
        "sglang · tp2": "failed",
        "sglang · tp4": "measured",
        "vllm · tp2": "measured",
        "vllm · tp4": "measured",
    }
    assert "winner  vllm · tp2: 661.0" in capsys.readouterr().out


def test_a_launcher_that_leaves_this_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPUs are leased in this process only, and the message says what to choose."""
    monkeypatch.chdir(tmp_path)
    words = ["-m", "deploy=replay", f"deploy.table={TABLE}", "gpus=h100_8x", "workload=demo"]
    assert main([*words, "hydra.launcher._target_=somewhere.Else"]) == 2
    assert (
        "hydra/launcher: somewhere.Else is not supported; choose autotune, basic" in capsys.readouterr().err
    )


def test_a_wrong_value_of_a_stock_sweeper_is_found_before_its_batch_starts(
    tmp_path: Path,
    with_store: Callable[[Path], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing runs on behind the message, and the store is whole."""
    monkeypatch.chdir(with_store(tmp_path))
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "stock.yaml").write_text(STOCK)
    words = [
        "--config-dir",
        "mine",
        "deploy=replay",
        f"deploy.table={TABLE}",
        "gpus=h100_8x",
        "workload=demo",
    ]
    words += ["hydra/sweeper=basic", "parallel=tp2", "+experiment=stock", "deploy.time_scale=30"]
    assert main(["-m", *words, "sweep.name=s"]) == 2
    assert "workload.input_tokens=0: must be at least 1" in capsys.readouterr().err
    kinds = [event["event"] for event in read(tmp_path / "outputs" / "s" / "journal.jsonl")]
    assert kinds == ["sweep_started"]
    assert (tmp_path / "mlruns" / "mlflow.db").read_bytes().startswith(b"SQLite format 3")
