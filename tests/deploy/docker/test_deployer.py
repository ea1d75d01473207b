"""Engines in containers of a real daemon: the shared suite, and what only Docker can do wrong."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from autotune.deploy.docker.deployer import DockerDeployer
from autotune.deploy.docker.left import labelled
from autotune.deploy.protocol import Order
from autotune.errors import TrialError
from autotune.schema import Pull
from tests.contracts.deployer import Case, StartingContract, case_of
from tests.shop import until
from tests.standins.dockerd import Dockerd

WORDS = (
    "deploy=docker",
    "runtime=vllm",
    "gpus=h100_8x",
    "workload=tiny",
    "workload.loads=[2]",
    "deploy.stop_timeout_s=2",
)


@pytest.fixture(autouse=True)
def elsewhere(dockerd: Dockerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dockerd:
    """Nothing is written into the checkout."""
    monkeypatch.chdir(tmp_path)
    return dockerd


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """vLLM's stand-in on two declared GPUs."""
    return case_of([*WORDS, "parallel=tp2"], tmp_path / "sweep" / "trial-0")


def changed(case: Case, *, env: dict[str, str] | None = None, **deploy: Any) -> Order:
    """The order with another environment of the engine, and other keys of `deploy`."""
    order = case.order
    config = replace(order.config, deploy=replace(order.config.deploy, **deploy))
    return replace(order, config=config, plan=replace(order.plan, env={**order.plan.env, **(env or {})}))


def refused(order: Order) -> TrialError:
    """Why a container could not be started."""
    with pytest.raises(TrialError) as caught:
        DockerDeployer().start(order)
    return caught.value


class TestDocker(StartingContract):
    """A container."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        """vLLM's stand-in on one declared GPU."""
        return case_of([*WORDS, "parallel=tp1"], tmp_path / "sweep" / "trial-0")

    @pytest.fixture
    def dying(self, tmp_path: Path) -> Case:
        """The stand-in refuses its arguments."""
        return case_of([*WORDS, "runtime.env.STANDIN=exit"], tmp_path / "sweep" / "trial-0")

    @pytest.fixture
    def silent(self, tmp_path: Path) -> Case:
        """The stand-in waits for nothing."""
        words = [*WORDS, "runtime.env.STANDIN=hang", "deploy.startup_timeout_s=1"]
        return case_of(words, tmp_path / "sweep" / "trial-0")

    def left(self, case: Case) -> list[object]:
        """Containers too."""
        return [*super().left(case), *(each for each in labelled() if each.trial == case.order.folder)]


def test_what_it_is_started_with(case: Case, dockerd: Dockerd) -> None:
    """The leased GPUs by name, renumbered inside; labels; published to this host only; the image named."""
    gpus = tuple(gpu for gpu in case.order.lease.gpus)
    lease = replace(case.order.lease, gpus=tuple(replace(gpu, index=gpu.index + 4) for gpu in gpus))
    order = replace(case.order, lease=lease)
    server = case.deployer.start(order)
    client = DockerClient(base_url=dockerd.host)
    try:
        ready = server.ready()
        [container] = client.containers.list()
        host = container.attrs["HostConfig"]
        assert [request["DeviceIDs"] for request in host["DeviceRequests"]] == [["4", "5"]]
        published = container.attrs["NetworkSettings"]["Ports"]["8000/tcp"]
        assert [each["HostIp"] for each in published] == ["127.0.0.1"]
        assert (host["Privileged"], host["NetworkMode"], host["IpcMode"]) == (False, "default", "private")
        assert host["ShmSize"] == 16 * 2**30
        assert container.labels["autotune.trial"] == str(order.folder)
        assert container.labels["autotune.sweep"] == str(order.folder.parent)
        assert ready.simulated
        assert server.image_digest == client.images.get(order.plan.image).id
        log = (order.folder / "engine.log").read_text()
        assert "NVIDIA_VISIBLE_DEVICES=4,5 CUDA_VISIBLE_DEVICES=0,1" in log
    finally:
        client.close()
        server.stop()


def test_files_of_the_plan_are_inside(case: Case) -> None:
    """An options file is where the command says."""
    show = "import sys; print('read', open(sys.argv[1]).read())"
    plan = replace(
        case.order.plan,
        argv=("/usr/bin/env", "python3", "-c", show, "options.yaml"),
        files={"options.yaml": "kv_cache: 1\n"},
    )
    order = replace(case.order, plan=plan)
    plan = replace(plan, argv=(_python(case), *plan.argv[2:]))
    server = case.deployer.start(replace(order, plan=plan))
    try:
        until(lambda: server.death() is not None)
    finally:
        server.stop()
    assert "read kv_cache: 1" in (order.folder / "engine.log").read_text()


def test_a_container_that_dies_is_known_at_once(case: Case, dockerd: Dockerd) -> None:
    """Within a second, with the signal, and as no failure of anything else."""
    server = case.deployer.start(case.order)
    client = DockerClient(base_url=dockerd.host)
    try:
        server.ready()
        [container] = client.containers.list()
        container.kill()
        until(lambda: server.death() is not None, timeout_s=1.0)
        failure = server.death()
    finally:
        client.close()
        server.stop()
    assert failure is not None
    assert (failure.kind, "signal 9" in failure.message) == ("engine_died", True)


def test_out_of_host_memory(case: Case) -> None:
    """The kernel's word, told by the daemon, is the cause."""
    eat = "b = bytearray(); [b.extend(bytes(2**24)) for _ in range(999)]"
    plan = replace(case.order.plan, argv=(_python(case), "-c", eat))
    server = case.deployer.start(replace(changed(case, memory_gib=0.1), plan=plan))
    try:
        until(lambda: server.death() is not None)
        failure = server.death()
    finally:
        server.stop()
    assert failure is not None
    assert failure.kind == "host_oom"


def test_a_port_that_is_taken(case: Case, dockerd: Dockerd) -> None:
    """Told with what to do; the container that could not start is gone."""
    first = case.deployer.start(case.order)
    try:
        first.ready()
        client = DockerClient(base_url=dockerd.host)
        [container] = client.containers.list()
        port = int(container.attrs["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"])
        failure = refused(changed(case, port=port))
        assert len(client.containers.list(all=True)) == 1
        client.close()
    finally:
        first.stop()
    assert (failure.kind, failure.advice) == ("port_in_use", "leave deploy.port unset to get a free one")


@pytest.mark.parametrize(
    ("deploy", "kind", "key"),
    [
        ({"ulimits": [f"nofile:{2**31}"]}, "infrastructure", "deploy.ulimits"),
        ({"cap_add": ["NO_SUCH_THING"]}, "infrastructure", "deploy.cap_add"),
        ({"memory_gib": 0.001}, "infrastructure", "deploy.memory_gib"),
    ],
    ids=["ulimit", "capability", "memory"],
)
def test_what_this_host_refuses_names_the_key(
    case: Case, deploy: dict[str, Any], kind: str, key: str
) -> None:
    """A limit that the daemon or the kernel does not allow."""
    failure = refused(changed(case, **deploy))
    assert failure.kind == kind
    assert key in failure.advice


def test_a_program_that_the_image_lacks(case: Case) -> None:
    """Another engine's command in this image."""
    plan = replace(case.order.plan, argv=("trtllm-serve", "m"))
    server = case.deployer.start(replace(case.order, plan=plan))
    try:
        until(lambda: server.death() is not None)
        failure = server.death()
    finally:
        server.stop()
    assert failure is not None
    assert failure.kind == "bad_arguments"
    assert "runtime.image" in failure.advice
    assert "trtllm-serve" in failure.evidence


def test_an_image_that_is_not_here(case: Case) -> None:
    """Told before anything is started; at the start as well, where it was removed meanwhile."""
    plan = replace(case.order.plan, image="vllm/vllm-openai:v0.0.1")
    problems = case.deployer.problems(case.order.candidate, case.order.config, plan)
    assert problems == [
        "image vllm/vllm-openai:v0.0.1 is not on this host: docker pull vllm/vllm-openai:v0.0.1, or "
        "deploy.pull=missing"
    ]
    assert refused(replace(case.order, plan=plan)).kind == "image_missing"


def test_a_registry_that_does_not_answer(case: Case) -> None:
    """A pull that cannot be is told as what it is."""
    plan = replace(case.order.plan, image="127.0.0.1:1/engine:v1")
    told: list[str] = []
    order = replace(changed(case, pull=Pull.missing), plan=plan, tell=told.append)
    assert refused(order).kind == "infrastructure"
    assert told == ["pulling 127.0.0.1:1/engine:v1"]


def test_tokens_reach_the_engine_and_no_log(case: Case) -> None:
    """HF_TOKEN is passed on; where the engine prints it, the log has stars."""
    show = "import os; print('token', os.environ['HF_TOKEN'], len(os.environ['HF_TOKEN']))"
    plan = replace(case.order.plan, argv=(_python(case), "-c", show))
    server = case.deployer.start(replace(case.order, plan=plan, env={**os.environ, "HF_TOKEN": "hf_planted"}))
    try:
        until(lambda: server.death() is not None)
    finally:
        server.stop()
    assert "token ********** 10" in (case.order.folder / "engine.log").read_text()


def test_eight_start_side_by_side(case: Case) -> None:
    """Nothing of ours makes one wait for another: the daemon has all of them at the same time."""
    orders = [replace(case.order, folder=case.order.folder.with_name(f"trial-{n}")) for n in range(8)]
    servers = [None] * 8
    together = threading.Barrier(8, timeout=60)

    def run(number: int) -> None:
        server = case.deployer.start(orders[number])
        try:
            server.ready()
            together.wait()
        finally:
            server.stop()
        servers[number] = server  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in servers


def test_a_daemon_that_hangs_does_not_keep_the_sweep(case: Case, dockerd: Dockerd) -> None:
    """Starting gives up in time; once it answers again, nothing is left."""
    dockerd.pause()
    began_s = time.monotonic()
    try:
        with pytest.raises(
            TrialError, match="hangs: it takes requests and does not answer in time"
        ) as caught:
            DockerDeployer().start(changed(case, daemon_timeout_s=1))
    finally:
        dockerd.go_on()
    assert caught.value.kind == "infrastructure"
    assert time.monotonic() - began_s < 20


def _python(case: Case) -> str:
    """The interpreter in the image."""
    assert case.order.plan.image
    return sys.executable
