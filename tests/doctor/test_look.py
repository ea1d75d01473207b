"""`doctor`: what it says of a host, and that it changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotune import __version__
from autotune.benchmark.environments import CLIENTS, STAMP, environment_of, stamp_of
from autotune.cli import main
from autotune.doctor.look import run_doctor
from autotune.gpus.locks import GpuLocks
from tests.standins.nvml.driver import StandInDriver, StandInGpu

STANDINS = Path(__file__).parents[1] / "standins"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a cache of its own, and a Docker that is not there."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    return folder


def looked(capsys: pytest.CaptureFixture[str], *words: str, locks: Path | None = None) -> str:
    """What `doctor` prints."""
    held = None if locks is None else GpuLocks(locks)
    assert run_doctor(words, config_dir=None, config_name="config", locks=held) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    return streams.out


def line_of(text: str, about: str) -> str:
    """The line about one thing, without its mark."""
    [line] = [line[2:] for line in text.splitlines() if line[2:].startswith(f"{about} ")]
    return line.removeprefix(about).strip()


def test_a_host_without_a_driver(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says why, and what works without; nothing is written."""
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "no NVIDIA driver answers" in out
    assert "works without: plan with any gpus=PRESET, deploy=simulated gpus=h100_8x" in out
    assert line_of(out, "a run") == "would be refused with this configuration:"
    assert "no GPUs, see above" in out
    assert line_of(out, "MLflow store") == f"{elsewhere}/mlruns/mlflow.db is made by the first run"
    assert list(elsewhere.iterdir()) == []


def test_a_host_with_a_driver(
    nvml: StandInDriver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each GPU; overrides restrict them as they do a run."""
    nvml.tell([StandInGpu(), StandInGpu(processes=(4711,)), StandInGpu()])
    out = looked(capsys, "gpus.ids=[1,0]", locks=tmp_path / "locks")
    assert line_of(out, "driver") == "NVIDIA 555.42.00-standin"
    assert line_of(out, "GPU 0").endswith(": free")
    assert line_of(out, "GPU 1").endswith(": process 4711 computes on it")
    assert "GPU 2 " not in out
    assert "a run" in out


def test_a_gpu_that_is_not_there(nvml: StandInDriver, capsys: pytest.CaptureFixture[str]) -> None:
    """It is missing, as anything else may be."""
    nvml.tell([StandInGpu()])
    assert "gpus.ids: no GPU 7; found 0" in looked(capsys, "gpus.ids=[7]")


def test_declared_gpus_and_cpu_slots(capsys: pytest.CaptureFixture[str]) -> None:
    """They are what the configuration says, and a run that could be started is called that."""
    declared = looked(capsys, "gpus=l40s_4x", "deploy=simulated", "workload=demo")
    assert line_of(declared, "GPU 3") == "L40S-48GB, 48 GiB, compute capability 8.9: declared, not looked for"
    assert line_of(declared, "a run") == "can be started with this configuration"
    assert "CPU slot 1" in looked(capsys, "gpus=cpu", "gpus.count=2")


def test_engines_are_found_and_not_started(capsys: pytest.CaptureFixture[str]) -> None:
    """For each runtime at its version; the command's version counts for the runtime it is about."""
    out = looked(capsys, f"deploy.bin={STANDINS}", "deploy=process", "runtime.version=0.32.0", "gpus=cpu")
    found = f"0.32.0 would run {STANDINS}/vllm (not asked for its version: doctor starts nothing)"
    assert line_of(out, "runtime=vllm") == found
    missing = line_of(out, "runtime=sglang")
    assert missing.startswith(f"no program 'sglang' (version 0.5.23) in {STANDINS}: install the engine")
    assert "real-engine" not in missing


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["paralel=tp2"], "paralel: no such key or group; did you mean parallel?", id="unknown group"),
        pytest.param(["parallel.tp=0"], "parallel.tp=0: must be at least 1", id="below its bound"),
        pytest.param(["parallel=tp1,tp2"], "several values need a sweep", id="several values"),
        pytest.param(["-m"], "doctor looks at one configuration: leave out -m", id="sweep"),
        pytest.param(["--pairs", "5"], "--pairs goes with doctor --interference", id="pairs of nothing"),
        pytest.param(["--config-dir", "nowhere"], "--config-dir nowhere: no such folder", id="config dir"),
    ],
)  # fmt: skip
def test_wrong_words(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 and nothing but the message."""
    assert main(["doctor", *words]) == 2
    streams = capsys.readouterr()
    assert expected in streams.err
    assert streams.out == ""


def test_load_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours is always there; of each other whether, where and in which version, or how it is had."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    venv = environment_of("aiperf")
    (venv / "lib" / "python3.11" / "site-packages" / "aiperf-0.13.0.dist-info").mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin" / "aiperf").touch(mode=0o755)
    (venv / STAMP).write_text(json.dumps(stamp_of(CLIENTS["aiperf"])))
    out = looked(capsys, "gpus=l40s_4x")
    assert line_of(out, "benchmark=native") == f"part of autotune, version {__version__}"
    assert line_of(out, "benchmark=aiperf") == f"version 0.13.0, {venv}/bin/aiperf"
    assert (
        line_of(out, "benchmark=guidellm")
        == f"guidellm==0.8.1 is not installed in {tmp_path}/cache/clients/guidellm-0.8.1"
    )
    assert (
        "python -m autotune doctor --install guidellm makes it (5.9 GiB), or give benchmark.venv=FOLDER"
        in out
    )
    assert line_of(out, "benchmark=vllm_bench").startswith("no program 'vllm' in")
    assert "set benchmark.venv to the environment that vLLM is in" in out


def test_a_client_of_another_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In an environment of the user's own it may be any: that is a note."""
    venv = tmp_path / "own"
    (venv / "lib" / "python3.11" / "site-packages" / "aiperf-0.9.0.dist-info").mkdir(parents=True)
    (venv / "bin").mkdir()
    for name in ("aiperf", "python"):
        (venv / "bin" / name).touch(mode=0o755)
    out = looked(capsys, "gpus=l40s_4x", "benchmark=aiperf", f"benchmark.venv={venv}")
    assert line_of(out, "benchmark=aiperf") == f"version 0.9.0, {venv}/bin/aiperf"
    assert "autotune reads what 0.13.0 writes" in out
