"""Images: pulled only when that is allowed, once, with words; checked for this host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from docker import DockerClient

from autotune.deploy.docker import image as images
from autotune.deploy.docker.deployer import DockerDeployer
from autotune.errors import TrialError
from autotune.schema import Pull
from tests.deploy.docker.arguments import order_of
from tests.standins.dockerd import Dockerd
from tests.standins.registry import Registry, serving

pytestmark = pytest.mark.usefixtures("dockerd")


@pytest.fixture
def client(dockerd: Dockerd) -> Iterator[DockerClient]:
    """A client of the daemon."""
    opened = DockerClient(base_url=dockerd.host)
    yield opened
    opened.close()


@pytest.fixture
def registry(client: DockerClient) -> Iterator[Registry]:
    """A registry with an image for this host; what was pulled is removed."""
    with serving() as opened:
        yield opened
        if images.find(client, opened.image):
            client.images.remove(opened.image)


def fetched(client: DockerClient, name: str, pull: Pull) -> tuple[images.Image, list[str]]:
    """The image and what was told meanwhile."""
    told: list[str] = []
    found = images.fetch(client, name, pull, tell=told.append, cancelled=threading.Event())
    return found, told


def test_a_missing_image_is_pulled_where_that_is_allowed(client: DockerClient, registry: Registry) -> None:
    """Once; its digest is the registry's, and its label says that it is a stand-in."""
    with pytest.raises(TrialError, match="is not on this host"):
        fetched(client, registry.image, Pull.never)
    assert registry.pulls == 0
    found, told = fetched(client, registry.image, Pull.missing)
    assert told == [f"pulling {registry.image}", f"pulled {registry.image}"]
    assert found.digest == f"{registry.image.rpartition(':')[0]}@{registry.digest}"
    assert found.stand_in
    pulls = registry.pulls
    assert fetched(client, registry.image, Pull.missing) == (found, [])
    assert registry.pulls == pulls > 0


def test_side_by_side_it_is_pulled_once(client: DockerClient, registry: Registry) -> None:
    """Trials that want the same image wait for one pull, also of one that is here."""
    told: list[str] = []

    def fetch() -> None:
        images.fetch(client, registry.image, Pull.always, tell=told.append, cancelled=threading.Event())

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [f"pulling {registry.image}", f"pulled {registry.image}"]


def test_an_image_that_the_registry_lacks(client: DockerClient, registry: Registry) -> None:
    """As what is missing, and not as what might come back."""
    with pytest.raises(TrialError, match="there is no such image") as missing:
        fetched(client, registry.image.replace(":v1", ":v2"), Pull.missing)
    assert missing.value.kind == "image_missing"


def test_a_registry_that_stalls(client: DockerClient) -> None:
    """Given up at last: with its own words, as what may work the next time."""
    told: list[str] = []
    with serving(stalls=True) as registry:
        with pytest.raises(TrialError, match="nothing was heard of it for 1 s") as stalled:
            images.fetch(
                client,
                registry.image,
                Pull.missing,
                tell=told.append,
                cancelled=threading.Event(),
                silent_s=1,
            )
        assert registry.stalled.is_set()
    assert stalled.value.kind == "infrastructure"
    assert f"docker pull {registry.image}" in stalled.value.advice
    assert told == [f"pulling {registry.image}"]


def test_an_image_for_another_architecture(client: DockerClient, tmp_path: Path) -> None:
    """Told before anything is started."""
    with serving("arm64") as registry:
        client.api.pull(registry.image, platform="linux/arm64")
        order = order_of(["runtime=vllm"], tmp_path / "trial-0")
        plan = replace(order.plan, image=registry.image)
        problems = DockerDeployer().problems(order.candidate, order.config, plan)
        client.images.remove(registry.image)
    assert problems == [
        f"image {registry.image} is for arm64, this host is x86_64: set runtime.image to one for it"
    ]
