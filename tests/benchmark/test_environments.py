"""Where load clients are looked for, and what is said of one that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotune.benchmark.environments import (
    CLIENTS,
    STAMP,
    environment_of,
    is_installed,
    problems_of,
    program_of,
    stamp_of,
    version_in,
)
from autotune.schema import BenchmarkConfig


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no vLLM on PATH."""
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / "cache"


def make(venv: Path, program: str) -> Path:
    """An environment with such a program, and a Python."""
    for name in (program, "python"):
        path = venv / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return venv / "bin" / program


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_that_is_not_there(kind: str, cache: Path) -> None:
    """The message has the version, the place, and both ways to get it."""
    package = CLIENTS[kind]
    assert environment_of(kind) == cache / "clients" / package.requirement.replace("==", "-")
    assert program_of(BenchmarkConfig(kind=kind)) is None
    assert problems_of(BenchmarkConfig(kind=kind)) == [
        f"benchmark.kind={kind}: {package.requirement} is not installed in {environment_of(kind)}: "
        f"python -m autotune doctor --install {kind} makes it ({package.size_gib:g} GiB), or give "
        "benchmark.venv=FOLDER of a Python environment that has it"
    ]


@pytest.mark.parametrize("kind", CLIENTS)
def test_only_a_stamped_environment_counts(kind: str) -> None:
    """Half of one is as good as none, and so is one that was made for other requirements."""
    venv, package = environment_of(kind), CLIENTS[kind]
    program = make(venv, package.program)
    assert not is_installed(venv, kind)
    assert program_of(BenchmarkConfig(kind=kind)) is None
    assert "is not whole in" in problems_of(BenchmarkConfig(kind=kind))[0]
    (venv / STAMP).write_text('{"v": 1, "requirements": ["another==1"]}')
    assert not is_installed(venv, kind)
    (venv / STAMP).write_text('{"v": 1, "requi')
    assert not is_installed(venv, kind)
    (venv / STAMP).write_text(json.dumps(stamp_of(package)))
    assert is_installed(venv, kind)
    assert program_of(BenchmarkConfig(kind=kind)) == program
    assert problems_of(BenchmarkConfig(kind=kind)) == []
    program.unlink()
    assert not is_installed(venv, kind)


def test_an_environment_of_the_users_own(tmp_path: Path) -> None:
    """It needs no stamp; what it lacks is said, and nothing else is taken in its place."""
    config = BenchmarkConfig(kind="aiperf", venv=str(tmp_path / "own"))
    assert problems_of(config) == [
        f"benchmark.venv={tmp_path}/own: no Python environment, bin/python is missing: give the folder that "
        "python -m venv made"
    ]
    make(tmp_path / "own", "pip")
    assert problems_of(config) == [
        f"benchmark.venv={tmp_path}/own: no program bin/aiperf: install aiperf==0.13.0 there, or leave it out: "
        "python -m autotune doctor --install aiperf"
    ]
    program = make(tmp_path / "own", "aiperf")
    assert problems_of(config) == []
    assert program_of(config) == program


def test_vllms_client_is_where_the_engine_is(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In `benchmark.venv`, else in the newest prepared engine, else on PATH."""
    config = BenchmarkConfig(kind="vllm_bench")
    assert problems_of(config) == [
        f"benchmark.kind=vllm_bench: no program 'vllm' in {cache}/engines or on PATH: it comes with vLLM: set "
        "benchmark.venv to the environment that vLLM is in"
    ]
    on_path = make(tmp_path / "other", "vllm")
    monkeypatch.setenv("PATH", f"{on_path.parent}:/usr/bin:/bin")
    assert program_of(config) == on_path
    make(cache / "engines" / "vllm-0.9.2", "vllm")
    newest = make(cache / "engines" / "vllm-0.32.0", "vllm")
    assert program_of(config) == newest
    given = make(tmp_path / "given", "vllm")
    assert program_of(BenchmarkConfig(kind="vllm_bench", venv=str(tmp_path / "given"))) == given
    assert problems_of(BenchmarkConfig(kind="vllm_bench", venv=str(tmp_path / "none"))) != []


def test_native_has_no_environment() -> None:
    """One that is given would not be used, and that is said."""
    assert problems_of(BenchmarkConfig(kind="native")) == []
    assert problems_of(BenchmarkConfig(kind="native", venv="/x")) == [
        "benchmark.venv=/x: benchmark=native is part of autotune: leave it out"
    ]


def test_a_version_is_read_off_the_metadata(tmp_path: Path) -> None:
    """Nothing is imported or run; a package that only begins with the name is another one."""
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in ("genai_bench-0.0.5", "genai_bench_extra-9.0"):
        (site / f"{name}.dist-info").mkdir(parents=True)
    assert version_in(tmp_path, "genai-bench") == "0.0.5"
    assert version_in(tmp_path, "aiperf") is None
