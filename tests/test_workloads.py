"""A workload of a user's file, from the command line to what is recorded."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.cli import main
from autotune.track.journal import read

FILE = Path(__file__).parent / "data" / "jsonl.requests"


def test_a_files_requests_are_sent_and_recorded(
    tmp_path: Path, with_store: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trace in its order, by the engine's own count; its hash and how it was counted are parameters."""
    monkeypatch.chdir(with_store(tmp_path))
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    words = [
        "deploy=simulated",
        "gpus=h100_8x",
        "workload=jsonl",
        f"workload.file={FILE}",
        "workload.loads=[1]",
    ]
    counts = ["workload.requests_per_load=8", "workload.min_requests=8", "workload.warmup_requests=0"]
    sampling = ["workload.sampling.top_p=0.9", "workload.extra_body.tag=x"]
    assert main([*words, *counts, *sampling, "measure.repeats=1", "sweep.name=trace"]) == 0
    (end,) = [
        e for e in read(tmp_path / "outputs" / "trace" / "journal.jsonl") if e["event"] == "trial_finished"
    ]
    assert end["status"] == "measured"
    assert any("4 of 4 conversations are used" in note for note in end["notes"])
    assert any("is a trace" in note for note in end["notes"])
    (row,) = json.loads(next((tmp_path / "outputs" / "trace").glob("*/measurements.json")).read_text())
    counted = [r["prompt_tokens"] for r in row["requests"] if r["phase"] == "measure"]
    assert counted == [6, 64, 600, 4, 6, 64, 600, 4]  # the warm-up took the first of the four
    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as store:
        params = dict(store.execute("select key, value from params").fetchall())
    store.close()
    assert params["workload.file_sha256"] == hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert params["workload.lengths"] == "stand-in"
    assert (params["workload.sampling.top_p"], params["workload.extra_body.tag"]) == ("0.9", "x")
    assert "workload.sampling" not in params
