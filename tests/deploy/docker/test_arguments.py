"""What containers are created with is as it was read and approved; needs no daemon."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.deploy.docker.deployer import DockerDeployer
from tests.deploy.docker.arguments import CASES, FOLDER, golden, order_of


@pytest.mark.parametrize("name", CASES)
def test_golden_arguments(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing golden file is a failure."""
    monkeypatch.setenv("AUTOTUNE_CACHE", "/cache-of-tests")
    expected = (FOLDER / f"{name}.json").read_text()
    found = golden(name, tmp_path)
    assert "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines(), lineterm="", n=1)) == ""


def test_no_golden_file_is_left_over() -> None:
    """Each belongs to a case."""
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES)


def test_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before anything is started, with what works without one."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    order = order_of(["runtime=vllm"], tmp_path / "trial-0")
    [problem] = DockerDeployer().problems(order.candidate, order.config, order.plan)
    assert problem == (
        f"deploy=docker: no Docker daemon answers at unix://{tmp_path}/no.sock: start it, or set DOCKER_HOST; "
        "or choose deploy=process (a local program) or deploy=simulated"
    )


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("./here", "model.path=./here: give an absolute path, which the container has too, or a hub name"),
        ("/no/such", "model.path=/no/such: no such folder: give a folder or a hub name"),
    ],
)
def test_a_model_that_is_not_there(
    path: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both problems at once: no daemon, no model."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    order = order_of(["runtime=vllm", f"model.path={path}"], tmp_path / "trial-0")
    problems = DockerDeployer().problems(order.candidate, order.config, order.plan)
    assert problems[1:] == [problem]


def test_what_only_a_local_program_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix and an environment are refused, not passed over."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    order = order_of(["runtime=vllm"], tmp_path / "trial-0")
    deploy = replace(order.config.deploy, prefix=["numactl"], venv="/opt/engine")
    config = replace(order.config, deploy=deploy)
    assert DockerDeployer().problems(order.candidate, config, order.plan)[1:] == [
        "deploy.prefix=['numactl']: only deploy=process starts a program of this host: leave it out",
        "deploy.venv=/opt/engine: only deploy=process starts a program of this host: leave it out",
    ]


def test_a_limit_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its form is said."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    order = order_of(["runtime=vllm"], tmp_path / "trial-0")
    config = replace(order.config, deploy=replace(order.config.deploy, ulimits=["memlock"]))
    problems = DockerDeployer().problems(order.candidate, config, order.plan)
    assert problems[1:] == ["deploy.ulimits: memlock: must be NAME:LIMIT, such as memlock:-1 (unlimited)"]
