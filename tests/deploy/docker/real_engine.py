"""A real engine, vLLM on the CPU, in a container. Not collected by itself: `scripts/check-real-engine` names it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from tests.shop import ROOT, Shop
from tests.standins.dockerd import Dockerd, why_not

IMAGE = "autotune/vllm-cpu:0.32.0"
START_S = 400  # more than 100 s on a busy machine of two cores
WORDS = (
    "model=tiny",
    "runtime=vllm",
    "runtime.version=0.32.0",
    f"runtime.image={IMAGE}",
    "deploy=docker",
    "gpus=cpu",
    "workload=tiny",
    "measure.repeats=1",
    "sweep.name=s",
)


@pytest.fixture
def client(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DockerClient]:
    """A client of a daemon that has the image and nothing else; DOCKER_HOST names it.

    Its data is in memory: 2.4 GB in 50,000 files take minutes on a disk.
    """
    assert why_not() is None
    folder = tmp_path_factory.mktemp("d")  # a short path: sockets are below it
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "tmpfs", folder], check=True)
    dockerd = Dockerd(folder)
    dockerd.start()
    try:
        monkeypatch.setenv("DOCKER_HOST", dockerd.host)
        subprocess.run(["sh", str(ROOT / "scripts/real-engine-image"), IMAGE], check=True)
        opened = DockerClient(base_url=dockerd.host)
        yield opened
        opened.close()
    finally:
        dockerd.close()


def test_a_real_engine_in_a_container(
    client: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured, and no stand-in; the image and the engine's version are recorded; nothing is left."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "autotune"
    model = Path(os.environ.get("AUTOTUNE_CACHE", usual)) / "models/tiny"
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))  # what it compiles is not kept
    shop = Shop(tmp_path)
    with shop.start([*WORDS, f"model.path={model}"]) as process:
        out, err = process.communicate(timeout=START_S)
    assert (process.returncode, err) == (0, ""), out
    assert "SIMULATED" not in out
    [end] = shop.finished("s")
    assert end["status"] == "measured"
    assert end["engine_version"].startswith("0.32.0")
    assert end["image_digest"] == client.images.get(IMAGE).id
    assert end["metrics"]["requests_completed"] == 32
    assert shop.tags("autotune.simulated") == ["false"]
    log = (shop.folder / "outputs/s/trial-0/engine.log").read_text()
    assert "Application startup complete" in log
    assert client.containers.list(all=True) == []
    assert shop.labelled() == []
