"""A daemon that takes a request and never answers, or refuses it: at every step of an engine's life."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from docker import DockerClient

from autotune.deploy.docker.deployer import DockerDeployer
from autotune.deploy.protocol import Order
from autotune.errors import TrialError
from autotune.gpus.remains import Remains
from tests.contracts.deployer import case_of
from tests.deploy.docker.test_deployer import WORDS
from tests.shop import until
from tests.standins.docker_proxy import DockerProxy, Fault
from tests.standins.dockerd import Dockerd

CREATE, START, STOP, REMOVE = "POST .*/create", "POST .*/start", "POST .*/stop", "DELETE "
ABOUT_CONTAINERS = "(POST|DELETE) .*/containers/"
TIMEOUT_S = 3  # a disk that others use as well makes a daemon slow
ENDS_WELL = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("ended well")))
print("begun")
while True:
    signal.pause()
"""


class Told:
    """What an order's owner hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.left: list[Remains] = []


@pytest.fixture
def told() -> Told:
    """Nothing so far."""
    return Told()


@pytest.fixture
def order(proxy: DockerProxy, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """The stand-in on one GPU; the daemon has `TIMEOUT_S` for an answer."""
    assert proxy.host
    monkeypatch.chdir(tmp_path)
    case = case_of(
        [*WORDS, "parallel=tp1", f"deploy.daemon_timeout_s={TIMEOUT_S}"], tmp_path / "sweep" / "trial-0"
    )
    return replace(case.order, tell=told.lines.append, left=told.left.append)


@pytest.fixture
def client(dockerd: Dockerd) -> Iterator[DockerClient]:
    """A client of the daemon itself."""
    opened = DockerClient(base_url=dockerd.host)
    yield opened
    opened.close()


def names(client: DockerClient) -> list[str]:
    """All containers, whatever their state."""
    return [each["Names"][0] for each in client.api.containers(all=True)]


def fails(order: Order) -> TrialError:
    """Why it could not be started; that was known in time."""
    began_s = time.monotonic()
    with pytest.raises(TrialError) as caught:
        DockerDeployer().start(order)
    assert time.monotonic() - began_s < 15
    return caught.value


@pytest.mark.parametrize("step", [CREATE, START, "PUT .*/archive"], ids=["create", "start", "files"])
def test_an_answer_that_never_comes(
    step: str, order: Order, proxy: DockerProxy, client: DockerClient, told: Told
) -> None:
    """The daemon did it: the container is gone all the same, and the words say which daemon and what to do."""
    rule = proxy.rule(Fault.SWALLOWED, step)
    order = replace(order, plan=replace(order.plan, files={"options.yaml": "a: 1\n"}))
    failure = fails(order)
    assert len(rule.met) == 1
    assert failure.kind == "infrastructure"
    assert f"the Docker daemon at {proxy.host} hangs" in failure.message
    assert "restart it" in failure.advice
    assert (told.lines, told.left) == ([], [])
    assert names(client) == []


@pytest.mark.parametrize("step", [CREATE, START], ids=["create", "start"])
def test_a_daemon_that_hangs_from_a_step_on(
    step: str, order: Order, proxy: DockerProxy, client: DockerClient, told: Told
) -> None:
    """What it did is named as left, and removed as soon as it answers again."""
    did, hangs = proxy.rule(Fault.SWALLOWED, step), proxy.rule(Fault.HELD, REMOVE)
    assert fails(order).kind == "infrastructure"
    [remains] = told.left
    [line] = told.lines
    [container] = client.containers.list(all=True)
    assert container.status == ("running" if step is START else "created")
    assert remains.what == f"container {container.name}"
    assert (
        f"{remains.what} could not be removed and may still run: the Docker daemon at {proxy.host} hangs"
        in line
    )
    assert line.endswith(f"docker rm -f {container.name}")
    assert not remains.gone()
    did.end()
    hangs.end()
    until(remains.gone)
    assert names(client) == []


def test_a_container_that_is_made_late(
    order: Order, proxy: DockerProxy, client: DockerClient, told: Told
) -> None:
    """That there is none of its name yet does not say that it is gone."""
    rule = proxy.rule(Fault.HELD, CREATE)
    assert fails(order).kind == "infrastructure"
    rule.end()
    [remains] = told.left
    name = remains.what.removeprefix("container ")
    client.containers.create(order.plan.image, "true", name=name)  # what the daemon was asked before
    assert not remains.gone()
    until(remains.gone)
    assert names(client) == []


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        (Fault.HELD, STOP),
        (Fault.REFUSED, REMOVE),
        (Fault.HELD, ABOUT_CONTAINERS),
    ],
    ids=["stop", "removal refused", "everything"],
)
def test_an_engine_that_is_not_ended(
    fault: Fault, step: str, order: Order, proxy: DockerProxy, client: DockerClient, told: Told
) -> None:
    """`stop` returns in time; the container is named until it is gone, and its log is whole."""
    order = replace(order, plan=replace(order.plan, argv=(sys.executable, "-uc", ENDS_WELL)))
    server = DockerDeployer().start(order)
    log = order.folder / "engine.log"
    try:
        until(lambda: log.exists() and "begun" in log.read_text())
        rule = proxy.rule(fault, step)
        began_s = time.monotonic()
        server.stop()
        server.stop()
        assert time.monotonic() - began_s < 15
        assert rule.met
        [remains] = told.left
        assert not remains.gone()
        assert len(names(client)) == 1
        why = "refused" if fault is Fault.REFUSED else "hangs"
        told_of = (
            f"{remains.what} could not be removed and may still run: the Docker daemon at {proxy.host} {why}"
        )
        assert told.lines[0].startswith(told_of)
        assert server.death() is None
        rule.end()
        until(remains.gone)
    finally:
        server.stop()
    assert names(client) == []
    assert log.read_text() == "begun\nended well\n"


def test_a_hanging_daemon_is_no_death(order: Order, dockerd: Dockerd) -> None:
    """An engine serves on while the daemon answers nobody."""
    server = DockerDeployer().start(order)
    try:
        server.ready()
        dockerd.pause()
        try:
            assert "hangs" in fails(order).message
            assert server.death() is None
        finally:
            dockerd.go_on()
    finally:
        server.stop()
    assert server.death() is None


def test_an_engine_may_be_silent_for_longer_than_the_daemon(order: Order) -> None:
    """That no log comes is no answer that does not come."""
    late = "import time; time.sleep(4); print('late', flush=True); time.sleep(60)"
    server = DockerDeployer().start(
        replace(order, plan=replace(order.plan, argv=(sys.executable, "-c", late)))
    )
    log = order.folder / "engine.log"
    try:
        until(lambda: log.exists() and log.read_text() == "late\n")
        assert server.death() is None
    finally:
        server.stop()
