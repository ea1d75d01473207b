"""How the simulated engine starts and ends as a process."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path

from autotune.deploy import probe
from tests.deploy.simulated.standin import ROOT, running, start, until


def test_sigterm_ends_what_is_in_flight(tmp_path: Path) -> None:
    """The open answer is cut, the port is free, the process gone; its log has said what it was."""
    port = probe.free_port()
    with start(tmp_path, "vllm", port, "--block-size", "32") as process:
        url = f"http://127.0.0.1:{port}"
        until(lambda: probe.status(url, "/health", 1.0) == 200)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(
            "POST",
            "/v1/completions",
            json.dumps({"model": "m", "prompt": "a", "max_tokens": 100_000, "stream": True}),
        )
        answer = connection.getresponse()
        answer.read(100)
        process.terminate()
        rest = answer.read().decode()
        connection.close()
        _out, err = process.communicate(timeout=10)
    assert "[DONE]" not in rest
    assert process.returncode in {0, -15}
    assert probe.port_is_free(port)
    assert "no claim about hardware\nWARNING without effect on times: --block-size\n" in err
    assert err.splitlines()[-1] == "INFO Application startup complete."


def test_the_server_imports_nothing_heavy() -> None:
    """It starts many times in a sweep: no configuration, tracking or numerics packages in its process."""
    code = (
        "import sys, autotune.deploy.simulated.__main__, autotune.deploy.simulated.server; "
        "print(sorted({'mlflow', 'hydra', 'omegaconf', 'numpy', 'optuna', 'docker', 'pydantic', 'starlette', "
        "'fastapi', 'rich', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_refused_command_ends_as_the_engine_would(tmp_path: Path) -> None:
    """Status 2 from the parser, 1 from the engine, whose last words say nothing."""
    with start(tmp_path, "vllm", 1, "--nonsense") as process:
        _out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (2, "vllm: error: unrecognized arguments: --nonsense\n")
    with start(tmp_path, "vllm", 1, "-tp", "3") as process:
        _out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "must be divisible by tensor parallel size (3)" in err


def test_a_port_in_use(tmp_path: Path) -> None:
    """In the engine's words."""
    with running(tmp_path, "vllm") as url, start(tmp_path, "vllm", int(url.rpartition(":")[2])) as process:
        _out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "OSError: [Errno 98] Address already in use" in err
