"""Whole sweeps whose daemon hangs, is killed or restarted, and a registry that stalls."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from docker import DockerClient

from tests.deploy.docker.test_sweeps import STANDIN, kinds, measuring, nothing_is_left, reap, since
from tests.shop import Shop, until
from tests.standins.docker_proxy import DockerProxy, Fault
from tests.standins.dockerd import Dockerd
from tests.standins.registry import serving

SLOW = ("runtime.env.STANDIN=ok", "runtime.env.STANDIN_PAUSE=0.1")
IMPATIENT = "deploy.daemon_timeout_s=4"

pytestmark = pytest.mark.usefixtures("dockerd")


@pytest.fixture
def client(dockerd: Dockerd) -> Iterator[DockerClient]:
    """A client of the daemon."""
    opened = DockerClient(base_url=dockerd.host)
    yield opened
    opened.close()


def failures(shop: Shop) -> list[dict[str, Any]]:
    """Why attempts failed that were made again."""
    return [each["failure"] for each in shop.events("s") if each["event"] == "attempt_failed"]


def test_answers_that_never_come(shop: Shop, client: DockerClient, proxy: DockerProxy) -> None:
    """At a create, at a start, and at a stop: two attempts more, no outcome less, and nothing is left."""
    met = [proxy.rule(Fault.SWALLOWED, f"POST .*/{step}", times=1) for step in ("create", "start")]
    met += [proxy.rule(Fault.HELD, f"{step}", times=1) for step in ("POST .*/stop", "DELETE")]
    words = ["runtime.env.STANDIN=ok", "runtime.env.N=0,1,2,3", IMPATIENT]
    code, out, err = shop.run(["-m", *STANDIN, *words, "sweep.name=s"])
    assert (code, err) == (0, ""), out
    assert [len(rule.met) for rule in met] == [1] * 4
    assert set(kinds(shop, "s").values()) == {"measured"}
    assert len(kinds(shop, "s")) == 4
    assert [each["kind"] for each in failures(shop)] == ["infrastructure"] * 2
    assert all(f"the Docker daemon at {proxy.host} hangs" in each["message"] for each in failures(shop))
    assert all("restart it" in each["advice"] for each in failures(shop))
    nothing_is_left(client, shop)


def test_a_daemon_that_hangs_for_a_while(shop: Shop, client: DockerClient, dockerd: Dockerd) -> None:
    """What is measured is measured; the GPU of an engine that is not ended waits for its end."""
    words = [
        *SLOW,
        "runtime.env.N=0,1",
        IMPATIENT,
        "launcher.max_parallel=1",
        "gpus.count=1",
        "retry.backoff_s=1",
    ]
    with shop.start(["-m", *STANDIN, *words, "sweep.name=s"]) as process:
        assert process.stdout is not None
        until(lambda: measuring(shop, "s") >= {0})
        dockerd.pause()
        try:
            lines = iter(process.stdout.readline, "")
            assert any("GPU 0 is kept back: container" in line for line in lines)
            assert [end["status"] for end in shop.finished("s")] == ["measured"]
        finally:
            resumed_s = time.time()
            dockerd.go_on()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out
    assert "GPU 0 is used again: container" in out
    assert kinds(shop, "s") == {"0": "measured", "1": "measured"}
    assert since(shop.events("s"), "trial_started", 1) > resumed_s
    assert failures(shop) == []
    nothing_is_left(client, shop)


def test_what_is_left_at_the_end_is_told(shop: Shop, client: DockerClient, proxy: DockerProxy) -> None:
    """With the command that ends it, once the daemon answers."""
    hangs = proxy.rule(Fault.HELD, "POST .*/stop|DELETE")
    code, out, err = shop.run([*STANDIN, "runtime.env.STANDIN=ok", IMPATIENT, "sweep.name=s"])
    assert (code, err) == (0, ""), out
    assert kinds(shop, "s") == {"": "measured"}
    [left] = client.api.containers()
    told = f"still there: container {left['Id'][:12]}; once that is possible: "
    assert f"{told}python -m autotune reap --yes outputs/s\n" in out
    hangs.end()
    assert "ended: 1 container of trial-0" in reap(shop, "--yes", "outputs/s")
    nothing_is_left(client, shop)


def test_a_daemon_that_is_killed(shop: Shop, client: DockerClient, dockerd: Dockerd) -> None:
    """Its engines are lost when it is back; another attempt measures them."""
    words = [*SLOW, "runtime.env.N=0,1", "retry.backoff_s=3"]
    with shop.start(["-m", *STANDIN, *words, "sweep.name=s"]) as process:
        until(lambda: measuring(shop, "s") >= {0, 1})
        dockerd.kill()
        dockerd.start()
        out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, ""), out
    assert kinds(shop, "s") == {"0": "measured", "1": "measured"}
    assert [each["kind"] for each in failures(shop)] == ["infrastructure"] * 2, failures(shop)
    nothing_is_left(client, shop)


def test_a_daemon_that_comes_back_to_live_containers(
    shop: Shop, client: DockerClient, dockerd: Dockerd
) -> None:
    """With live-restore: its way to the engines was cut, so what was measured then is measured anew."""
    dockerd.stop()
    dockerd.start(live_restore=True)
    try:
        words = [*SLOW, "runtime.env.N=0,1", "retry.backoff_s=3"]
        with shop.start(["-m", *STANDIN, *words, "sweep.name=s"]) as process:
            until(lambda: measuring(shop, "s") >= {0, 1})
            before = {each["Id"] for each in client.api.containers()}
            dockerd.stop()
            dockerd.start(live_restore=True)
            assert {each["Id"] for each in client.api.containers()} == before
            out, err = process.communicate(timeout=180)
        assert (process.returncode, err) == (0, ""), out
        assert kinds(shop, "s") == {"0": "measured", "1": "measured"}
        cut_off = "the Docker daemon went away while the engine served"
        assert [each["message"].startswith(cut_off) for each in failures(shop)] == [True] * 2
        nothing_is_left(client, shop)
    finally:
        dockerd.stop()
        dockerd.start()


def test_ctrl_c_while_a_pull_stalls(shop: Shop, client: DockerClient) -> None:
    """It ends in seconds, and nothing is left, neither of the pull."""
    with serving(stalls=True) as registry:
        words = [*STANDIN, f"runtime.image={registry.image}", "deploy.pull=missing", "sweep.name=s"]
        with shop.start(words) as process:
            assert registry.stalled.wait(60)
            began_s = time.monotonic()
            os.kill(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert time.monotonic() - began_s < 10
        assert "sweep.resume=true" in err
    assert [end["status"] for end in shop.finished("s")] == ["interrupted"]
    assert client.api.images(registry.image) == []
    nothing_is_left(client, shop)
