"""A Docker daemon of its own for the tests here, with stand-in images under the real names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from tests.standins import container_image
from tests.standins.docker_proxy import DockerProxy, between
from tests.standins.dockerd import Dockerd, why_not

IMAGES = ("vllm/vllm-openai:v0.33.0", "vllm/vllm-openai:v0.32.0", "lmsysorg/sglang:v0.5.23")


@pytest.fixture(scope="session")
def started_dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    """The daemon, with images; skipped visibly where there can be none."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    dockerd = Dockerd(tmp_path_factory.mktemp("d"))
    dockerd.start()
    try:
        container_image.make(dockerd.host, IMAGES)
        yield dockerd
    finally:
        dockerd.close()


@pytest.fixture
def dockerd(started_dockerd: Dockerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dockerd]:
    """The daemon, named by DOCKER_HOST; nothing of a test is left in it."""
    monkeypatch.setenv("DOCKER_HOST", started_dockerd.host)
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    yield started_dockerd
    client = DockerClient(base_url=started_dockerd.host)
    left = client.containers.list(all=True)
    names = [container.name for container in left]
    for container in left:
        container.remove(force=True)
    client.close()
    assert names == [], "containers are left"
    assert "DOCKER_HOST" in os.environ


@pytest.fixture
def proxy(dockerd: Dockerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerProxy]:
    """What stands between what is tested and the daemon; DOCKER_HOST names it."""
    with between(tmp_path, dockerd.host) as opened:
        monkeypatch.setenv("DOCKER_HOST", opened.host)
        yield opened
