"""`python -m autotune ui` opens MLflow on the store that sweeps write to."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.cli import main
from autotune.deploy import probe
from autotune.processes import ProcessGroup

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests" / "data" / "replay.csv"


def test_the_ui_shows_the_runs_of_the_last_sweep(tmp_path: Path, with_store: Callable[[Path], Path]) -> None:
    """A real MLflow server answers, and its API finds the run by its name."""
    with_store(tmp_path)
    words = ["deploy=replay", f"deploy.table={TABLE}", "gpus=h100_8x", "workload=demo", "parallel=tp2"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "autotune", *words], cwd=tmp_path, env=env, check=True, capture_output=True
    )
    port = probe.free_port()
    argv = [sys.executable, "-m", "autotune", "ui", "--port", str(port)]
    server = ProcessGroup(argv, env=env, log=tmp_path / "ui.log", cwd=tmp_path)
    try:
        deadline = time.monotonic() + 120
        while probe.status(f"http://127.0.0.1:{port}", "/health", 2.0) != 200:
            assert time.monotonic() < deadline, (tmp_path / "ui.log").read_text()
            time.sleep(0.2)
        assert _run_names(port) == ["vllm · tp2"]
    finally:
        server.terminate(10)


def test_a_server_is_opened_in_a_browser(capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to serve for a store that is a server already."""
    assert main(["ui", "tracking.uri=http://127.0.0.1:5000"]) == 2
    assert "is a server: open it in a browser" in capsys.readouterr().err


def _run_names(port: int) -> list[str]:
    asked = {"experiment_ids": ["1"]}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    head = {"Content-Type": "application/json"}
    connection.request("POST", "/api/2.0/mlflow/runs/search", json.dumps(asked), head)
    found = json.loads(connection.getresponse().read())
    connection.close()
    return [run["info"]["run_name"] for run in found.get("runs", [])]
