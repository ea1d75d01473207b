"""The process deployer's own: environment, prefix, ports, and trees of processes."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.deploy import probe
from autotune.deploy.protocol import Server
from autotune.errors import ConfigError, TrialError
from autotune.process_table import of_trial, stat_of
from autotune.records import Gpu, InventoryKind, Lease
from autotune.report.render import engine_command
from autotune.track.records import plan_record
from tests.contracts.deployer import Case, case_of
from tests.shop import STANDINS, Shop, runs, until

UUIDS = ("GPU-8932f937-d72c", "GPU-8932aaaa-1111")
WAITS = ["sh", "-c", 'until [ -e go ]; do sleep 0.02; done; exec "$@"', "sh"]  # for a file in its folder
STAYS = ["sh", "-c", '"$@"; exit $?', "sh"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written into the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A place with a stand-in engine."""
    return Shop(tmp_path)


def ordered(shop: Shop, *words: str, mode: str = "hang", prefix: Sequence[str] = ()) -> Case:
    """An order for the stand-in program."""
    quoted = ",".join("'" + word.replace("'", r"\'") + "'" for word in prefix)
    more = [f"deploy.prefix=[{quoted}]"] if prefix else []
    return case_of([*shop.words(mode=mode), *words, *more], shop.folder / "trial")


@contextmanager
def started(case: Case) -> Iterator[tuple[Server, int]]:
    """The server and its leader's process id."""
    server = case.deployer.start(case.order)
    assert server.started is not None
    try:
        yield server, server.started.pid
    finally:
        server.stop()
    assert of_trial(case.order.folder) == []


def environ(shop: Shop, pid: int) -> dict[str, str]:
    """What an engine was given, once its program runs."""
    until(lambda: pid in shop.left_over())
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


@pytest.mark.parametrize(
    ("kind", "runtime", "shown"),
    [
        (InventoryKind.DETECTED, "vllm", ",".join(UUIDS)),
        (InventoryKind.DETECTED, "tensorrt_llm", ",".join(UUIDS)),
        (InventoryKind.DETECTED, "sglang", "3,5"),
        (InventoryKind.DECLARED, "vllm", "3,5"),
        (InventoryKind.CPU, "vllm", None),
    ],
)
def test_an_engine_sees_the_gpus_of_its_lease(
    kind: InventoryKind, runtime: str, shown: str | None, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By UUID where there are real ones and the engine can read them; in the driver's order elsewhere."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    case = ordered(shop)
    gpus = tuple(Gpu(uuid=uuid, index=n, model="m", node="n") for uuid, n in zip(UUIDS, (3, 5), strict=True))
    lease = Lease(trial=0, kind=kind, node="n", gpus=gpus)
    order = replace(case.order, lease=lease, plan=replace(case.order.plan, runtime=runtime))
    with started(replace(case, order=order)) as (_, pid):
        seen = environ(shop, pid)
    assert seen.get("CUDA_VISIBLE_DEVICES") == shown
    assert seen.get("CUDA_DEVICE_ORDER") == (None if shown is None else "PCI_BUS_ID")


def test_an_engine_is_alone_in_its_session(shop: Shop) -> None:
    """It leads its process group and its session, and writes to engine.log of its trial."""
    with started(ordered(shop)) as (_, pid):
        stat = stat_of(pid)
        log = Path(f"/proc/{pid}/fd/1").readlink()
    assert stat is not None
    assert (stat.group, stat.session) == (pid, pid)
    assert log == shop.folder / "trial" / "engine.log"


def test_a_prefix_stands_before_the_engine(shop: Shop) -> None:
    """It binds or wraps the engine; the plan says so, and it is another engine."""
    bare, case = ordered(shop), ordered(shop, prefix=["nice", "-n", "7"])
    with started(case) as (_, pid):
        until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == 7)
        until(lambda: b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes())
    assert set(case.order.plan.notes) - set(bare.order.plan.notes) == {
        "deploy.prefix: the engine is started by nice -n 7"
    }
    assert case.order.plan.argv == bare.order.plan.argv
    assert case.order.plan.signature != bare.order.plan.signature
    assert " nice -n 7 vllm serve " in engine_command(plan_record(case.order.plan))


def test_a_prefix_that_stays_goes_with_the_engine(shop: Shop) -> None:
    """The engine is its child then; the end of one is the end of both."""
    with started(ordered(shop, mode="ok", prefix=STAYS)) as (server, pid):
        assert server.ready().engine_version == "0.32.0+standin"
        [engine] = shop.left_over()
        assert engine != pid
    assert not runs(engine)
    assert not runs(pid)


def test_a_prefix_that_ends_is_told_as_the_engine_that_ended(shop: Shop) -> None:
    """Its status and its last words."""
    prefix = ["sh", "-c", "echo no such node: 9; exit 3", "sh"]
    ended = pytest.raises(TrialError, match="with exit status 3")
    with started(ordered(shop, prefix=prefix)) as (server, _), ended as died:
        server.ready()
    assert died.value.evidence == "engine.log:1: no such node: 9"


def venv_of(folder: Path) -> Path:
    """A Python environment with the stand-in in it."""
    programs = folder / "an environment" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "python3"):
        (programs / name).symlink_to(sys.executable)
    (programs / "vllm").symlink_to(STANDINS / "vllm")
    return programs.parent


def test_an_engine_runs_in_its_own_environment(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after its `activate`: nothing of where our Python looks for modules, what the user gives stays."""
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("PYTHONHOME", "/ours")
    monkeypatch.setenv("VIRTUAL_ENV", "/ours")
    venv = venv_of(shop.folder)
    words = ["deploy.bin=null", f"deploy.venv='{venv.relative_to(shop.folder)}'"]
    with started(ordered(shop, *words)) as (_, pid):
        seen = environ(shop, pid)
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    assert str(venv / "bin" / "vllm").encode() in program
    assert seen["VIRTUAL_ENV"] == str(venv)
    assert seen["PATH"].split(os.pathsep)[0] == str(venv / "bin")
    assert not {"PYTHONPATH", "PYTHONHOME"} & seen.keys()
    with started(ordered(shop, *words, "runtime.env.PYTHONPATH=/mine")) as (_, pid):
        assert environ(shop, pid)["PYTHONPATH"] == "/mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["deploy.prefix=[numactl-of-nobody]"], ["deploy.prefix=['numactl-of-nobody']: no program 'numactl-of-nobody' on PATH"], id="prefix"),
        pytest.param(["deploy.bin=null", "deploy.venv=nowhere"], ["deploy.venv=nowhere: no Python environment, bin/python is missing"], id="no environment"),
        pytest.param(["deploy.bin=null", "deploy.venv=bare"], ["no program 'vllm' (version 0.32.0) in bare"], id="no engine in it"),
        pytest.param(["deploy.venv=nowhere", "deploy.prefix=[nobody]", "deploy.port={taken}"], ["deploy.venv=nowhere and deploy.bin=", "deploy.prefix=['nobody']", "already taken"], id="all at once"),
        pytest.param(["deploy.url=http://127.0.0.1:{taken}", "deploy.prefix=[nice]"], ["nobody answers there", "deploy.prefix=['nice']: deploy.url measures an engine that someone else started"], id="an engine of someone else"),
        pytest.param(["deploy=simulated", "gpus=h100_8x", "workload=demo", "model.heads=32", "deploy.venv=bare"], ["deploy.venv=bare: deploy=simulated starts no engine's program"], id="simulated"),
    ],
)  # fmt: skip
def test_what_cannot_be_started_is_told_before(words: list[str], told: list[str], shop: Shop) -> None:
    """Everything at once, and nothing was started."""
    (shop.folder / "bare" / "bin").mkdir(parents=True)
    (shop.folder / "bare" / "bin" / "python").symlink_to(sys.executable)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        taken.listen()
        taken.close() if "deploy.url" in words[0] else None
        with pytest.raises(ConfigError, match="deploy") as refused:
            ordered(shop, *(word.replace("{taken}", port) for word in words))
    assert len(refused.value.problems) == len(told)
    for problem, text in zip(refused.value.problems, told, strict=True):
        assert text in problem
    assert not (shop.folder / "trial").exists()


def test_a_fixed_port_that_was_taken_meanwhile_is_told(shop: Shop) -> None:
    """Else whoever listens there would be measured."""
    port = probe.free_port()
    case = ordered(shop, f"deploy.port={port}", mode="ok")
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(TrialError, match=f"deploy.port={port} is taken") as taken,
    ):
        case.deployer.start(case.order)
    assert taken.value.kind == "port_in_use"
    assert "leave deploy.port unset" in taken.value.advice
    assert not (shop.folder / "trial").exists()


def test_a_port_that_is_taken_while_the_engine_starts_is_told(shop: Shop) -> None:
    """By the engine's own words, with what to do."""
    port = probe.free_port()
    gate = shop.folder / "go"
    case = ordered(shop, f"deploy.port={port}", mode="ok", prefix=WAITS)
    with started(case) as (server, _), socket.socket() as other:
        other.bind(("127.0.0.1", port))
        gate.touch()
        with pytest.raises(TrialError, match="is taken by another program") as taken:
            server.ready()
    assert taken.value.kind == "port_in_use"
    assert "Address already in use" in taken.value.evidence
    assert "deploy.port" in taken.value.advice


@pytest.mark.parametrize("mode", ["stubborn", "strays"])
def test_children_of_a_killed_leader_are_ended(mode: str, shop: Shop) -> None:
    """Those that ignore SIGTERM, and those that have left its session; they have nothing to finish."""
    with started(ordered(shop, "deploy.stop_timeout_s=600", mode=mode)) as (server, pid):
        until(lambda: len(shop.left_over()) == 2)
        os.kill(pid, signal.SIGKILL)
        until(lambda: server.death() is not None)
        [child] = shop.left_over()
        stopped_s = time.monotonic()
        server.stop()
        took_s = time.monotonic() - stopped_s
    assert took_s < 60
    assert child != pid
    assert not runs(child)
    assert shop.scratch() == []


def test_the_command_line_is_what_the_plan_says(shop: Shop) -> None:
    """With the port in its place, and no shell between."""
    case = ordered(shop)
    with started(case) as (_, pid):
        until(lambda: b"vllm" in Path(f"/proc/{pid}/cmdline").read_bytes())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    port = words[words.index("--port") + 1]
    assert shlex.join(case.order.plan.argv[1:]).replace("'{port}'", port) in shlex.join(words)
