"""Whole sweeps in containers: the user's own command, and faults injected into running ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from docker import DockerClient

from autotune.track.journal import read
from tests.shop import ROOT, Shop, until
from tests.standins.dockerd import Dockerd

PLANTED = "hf_planted_for_this"
STANDIN = (  # the program that misbehaves as told, in an image of that version
    "runtime=vllm",
    "runtime.version=0.32.0",
    "parallel=tp1",
    "gpus=h100_8x",
    "workload=tiny",
    "workload.loads=[2]",
    "workload.min_requests=4",
    "workload.requests_per_load=2",
    "measure.repeats=2",
    "measure.shuffle=false",  # which trial is which is known
    "workload.warmup_max_s=0",  # faults come while it is measured
    "deploy.stop_timeout_s=2",
    "retry.backoff_s=0.1",
)
pytestmark = pytest.mark.usefixtures("dockerd")


@pytest.fixture
def client(dockerd: Dockerd) -> Any:
    """A client of the daemon."""
    opened = DockerClient(base_url=dockerd.host)
    yield opened
    opened.close()


def ends(shop: Shop, sweep: str) -> dict[str, dict[str, Any]]:
    """How trials ended, by their labels."""
    events = shop.events(sweep)
    labels = {each["trial"]: each["label"] for each in events if each["event"] == "trial_queued"}
    return {labels[each["trial"]]: each for each in shop.finished(sweep)}


def kinds(shop: Shop, sweep: str) -> dict[str, str]:
    """Kind of failure by label; the status of those that did not fail."""
    found = ends(shop, sweep)
    return {
        label.partition("=")[2]: (each["failure"] or {"kind": each["status"]})["kind"]
        for label, each in found.items()
    }


def since(events: list[dict[str, Any]], event: str, trial: int) -> float:
    """The time of a trial's event, in seconds."""
    from datetime import datetime

    [told] = [each["time"] for each in events if each["event"] == event and each["trial"] == trial]
    return datetime.fromisoformat(told.replace("Z", "+00:00")).timestamp()


def nothing_is_left(client: DockerClient, shop: Shop) -> None:
    """No container, no process, no temporary folder, no lock."""
    assert client.containers.list(all=True) == []
    assert shop.labelled() == []
    assert shop.scratch() == []


def test_the_users_own_command(shop: Shop, client: DockerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two engines, two layouts, packed on eight declared GPUs: each container sees the GPUs of its lease."""
    monkeypatch.setenv("HF_TOKEN", PLANTED)
    words = ["-m", "runtime=vllm,sglang", "parallel=tp2,tp4", "gpus=h100_8x", "workload=demo"]
    code, out, err = shop.run([*words, "measure.repeats=1", "sweep.name=s"])
    assert (code, err) == (0, "")
    assert "SIMULATED" in out
    assert set(kinds(shop, "s").values()) == {"measured"}
    events = shop.events("s")
    for started in (each for each in events if each["event"] == "trial_started"):
        indices = started["lease"]["indices"]
        log = (shop.folder / "outputs" / "s" / f"trial-{started['trial']}" / "engine.log").read_text()
        devices = ",".join(map(str, indices))
        assert f"HF_TOKEN={'*' * len(PLANTED)}\n" in log  # it was there to be seen
        assert f"NVIDIA_VISIBLE_DEVICES={devices} CUDA_VISIBLE_DEVICES=" in log
        assert f"CUDA_VISIBLE_DEVICES={','.join(map(str, range(len(indices))))}\n" in log
    begun = sorted(since(events, "trial_started", trial) for trial in range(4))
    first_end = min(since(events, "trial_finished", trial) for trial in range(4))
    assert sum(each < first_end for each in begun) >= 3  # 2 + 2 + 4 of the eight GPUs
    assert shop.tags("autotune.simulated") == ["true"] * 4
    assert all(tag.startswith("sha256:") for tag in shop.tags("autotune.image_digest"))
    files = [path for path in shop.folder.rglob("*") if path.is_file()]
    assert [path for path in files if PLANTED.encode() in path.read_bytes()] == []
    nothing_is_left(client, shop)


def test_engines_that_misbehave(shop: Shop, client: DockerClient) -> None:
    """Each ends as its own kind; the one beside them is measured as if nothing were."""
    modes = "runtime.env.STANDIN=ok,errors,truncated,stalls,hang,dies,exit"
    limits = ["measure.stall_timeout_s=3", "deploy.startup_timeout_s=20"]
    code, out, err = shop.run(["-m", *STANDIN, modes, *limits, "sweep.name=s"])
    assert (code, err) == (0, ""), out
    assert kinds(shop, "s") == {
        "ok": "measured",
        "errors": "all_requests_failed",
        "truncated": "all_requests_failed",
        "stalls": "stalled",
        "hang": "startup_timeout",
        "dies": "cuda_oom",
        "exit": "bad_arguments",
    }
    nothing_is_left(client, shop)


def test_a_container_that_is_killed(shop: Shop, client: DockerClient) -> None:
    """Its trial fails within two seconds with the signal; those beside it are untouched."""
    words = ["runtime.env.STANDIN=ok", "runtime.env.STANDIN_PAUSE=0.1", "runtime.env.N=0,1,2"]
    with shop.start(["-m", *STANDIN, *words, "sweep.name=s"]) as process:
        until(lambda: measuring(shop, "s") >= {0, 1, 2})
        folder = str((shop.folder / "outputs" / "s" / "trial-1").resolve())
        [container] = client.containers.list(filters={"label": f"autotune.trial={folder}"})
        killed_s = time.time()
        container.kill()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out
    assert kinds(shop, "s") == {"0": "measured", "1": "engine_died", "2": "measured"}
    assert "signal 9" in ends(shop, "s")["N=1"]["failure"]["message"]
    assert since(shop.events("s"), "trial_finished", 1) - killed_s < 2
    nothing_is_left(client, shop)


def test_a_daemon_that_is_restarted(shop: Shop, client: DockerClient, dockerd: Dockerd) -> None:
    """It takes the containers with it: told as infrastructure, and measured in another attempt."""
    words = [
        "runtime.env.STANDIN=ok",
        "runtime.env.STANDIN_PAUSE=0.1",
        "runtime.env.N=0,1",
        "retry.backoff_s=3",
    ]
    with shop.start(["-m", *STANDIN, *words, "sweep.name=s"]) as process:
        until(lambda: measuring(shop, "s") >= {0, 1})
        dockerd.stop()
        dockerd.start()
        out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, ""), out
    assert kinds(shop, "s") == {"0": "measured", "1": "measured"}
    failed = [each for each in shop.events("s") if each["event"] == "attempt_failed"]
    assert {each["failure"]["kind"] for each in failed} == {"infrastructure"}
    assert {each["trial"] for each in failed} == {0, 1}
    nothing_is_left(client, shop)


def test_a_controller_that_is_killed(shop: Shop, client: DockerClient) -> None:
    """Its container is listed and ended by reap; a resumed sweep ends another one and goes on."""
    words = [*STANDIN, "runtime.env.STANDIN=ok", "runtime.env.STANDIN_PAUSE=0.1", "sweep.name=s"]
    for resume in ([], ["sweep.resume=true"]):
        with shop.start([*words, *resume]) as process:
            until(lambda: bool(client.containers.list()) and 0 in measuring(shop, "s"))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        [container] = client.containers.list()
        if not resume:
            listed = reap(shop)
            assert f"container {container.name}" in listed
            assert "ended: 1 container" in reap(shop, "--yes")
            assert client.containers.list(all=True) == []
    code, out, err = shop.run([*words, "sweep.resume=true"])
    assert (code, err) == (0, "")
    assert "ended what an earlier process left: 1 container" in out
    assert [each["status"] for each in shop.finished("s")][-1] == "measured"
    nothing_is_left(client, shop)


def test_ctrl_c(shop: Shop, client: DockerClient) -> None:
    """Everything started is stopped, and the message says how to go on."""
    words = ["runtime.env.STANDIN=ok", "runtime.env.STANDIN_PAUSE=0.1", "runtime.env.N=0,1"]
    with shop.start(["-m", *STANDIN, *words, "sweep.name=s"]) as process:
        until(lambda: measuring(shop, "s") >= {0, 1})
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "sweep.resume=true" in err
    nothing_is_left(client, shop)


def test_what_is_missing_is_told_before_anything_is_started(shop: Shop, client: DockerClient) -> None:
    """All images at once, and how to get them."""
    words = ["-m", "runtime=vllm,sglang", "runtime.image=nobody/nothing:v1,nobody/else:v1", "gpus=h100_8x"]
    code, _, err = shop.run([*words, "workload=demo"])
    assert code == 2
    for name in ("nobody/nothing:v1", "nobody/else:v1"):
        assert f"image {name} is not on this host: docker pull {name}, or deploy.pull=missing" in err
    assert not (shop.folder / "outputs").exists()
    nothing_is_left(client, shop)


def measuring(shop: Shop, sweep: str) -> set[int]:
    """The trials of which a request has come back since they were last started."""
    found: set[int] = set()
    path = shop.folder / "outputs" / sweep / "journal.jsonl"
    for each in read(path) if path.exists() else []:
        if each["event"] == "trial_started":
            found.discard(each["trial"])
        if each["event"] == "benchmark_progress":
            found.add(each["trial"])
    return found


def reap(shop: Shop, *words: str) -> str:
    """What `autotune reap` says."""
    told = subprocess.run(
        [sys.executable, "-m", "autotune", "reap", *words],
        cwd=shop.folder,
        env={**shop.env, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'launchers'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout
