"""Every deployer against the shared suite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.deploy import DEPLOYERS, create_deployer, probe
from autotune.errors import ConfigError
from autotune.process_table import boot_id, open_files, snapshot
from tests.contracts.deployer import Case, DeployerContract, StartingContract, case_of
from tests.shop import STANDINS, Shop, until

TABLE = Path(__file__).parents[1] / "data" / "replay.csv"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written into the checkout."""
    monkeypatch.chdir(tmp_path)


class TestProcess(StartingContract):
    """A local program."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        """The stand-in program."""
        return case_of(Shop(tmp_path).words(), tmp_path / "trial")

    @pytest.fixture
    def dying(self, tmp_path: Path) -> Case:
        """The stand-in refuses its arguments."""
        return case_of(Shop(tmp_path).words(mode="exit"), tmp_path / "trial")

    @pytest.fixture
    def silent(self, tmp_path: Path) -> Case:
        """The stand-in waits for nothing."""
        words = Shop(tmp_path).words("deploy.startup_timeout_s=1", mode="hang")
        return case_of(words, tmp_path / "trial")


class TestForeign(DeployerContract):
    """An engine of someone else."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[Case]:
        """The stand-in program, started by the test and running after it."""
        port = probe.free_port()
        argv = [sys.executable, str(STANDINS / "vllm"), "serve", "--host", "127.0.0.1", "--port", str(port)]
        url = f"http://127.0.0.1:{port}"
        with subprocess.Popen(argv, env={**os.environ, "STANDIN_PIDS": os.devnull}) as engine:
            until(lambda: probe.status(url, "/health", 1.0) == 200)
            yield case_of([*Shop(tmp_path).words(), f"deploy.url={url}"], tmp_path / "trial")
            assert engine.poll() is None
            engine.kill()

    def test_a_start_that_is_cancelled_gives_up(self, case: Case) -> None:
        """There is no start to give up: an engine that runs already is ready at once."""
        case.order.cancelled.set()
        server = case.deployer.start(case.order)
        assert server.ready().endpoint.model == "standin"
        server.stop()


class TestSimulated(StartingContract):
    """The stand-in engine with its cost model."""

    words = ("deploy=simulated", "gpus=h100_8x", "workload=demo", "parallel=tp1")

    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        """vLLM on one simulated H100."""
        return case_of([*self.words, "deploy.startup_s=0"], tmp_path / "trial")

    @pytest.fixture
    def dying(self, tmp_path: Path) -> Case:
        """It has no such argument."""
        case = case_of(self.words, tmp_path / "trial")
        plan = replace(case.order.plan, argv=(*case.order.plan.argv, "--bogus"))
        return replace(case, order=replace(case.order, plan=plan))

    @pytest.fixture
    def silent(self, tmp_path: Path) -> Case:
        """It takes ten minutes."""
        words = [*self.words, "deploy.startup_s=600", "deploy.startup_timeout_s=1"]
        return case_of(words, tmp_path / "trial")


class TestReplay(DeployerContract):
    """Measured rows."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        """A candidate with rows."""
        words = ["deploy=replay", f"deploy.table={TABLE}", "gpus=h100_8x", "workload=demo", "parallel=tp2"]
        return case_of(words, tmp_path / "trial")


@pytest.mark.parametrize("words", [["deploy=process"], ["deploy=simulated", "gpus=h100_8x", "workload=demo"]])
def test_what_was_started_can_be_found_after_a_crash(words: list[str], tmp_path: Path) -> None:
    """It is told with its start, and the process has the trial's label and its own temporary folder."""
    shop = Shop(tmp_path)
    case = case_of([*(shop.words() if words == ["deploy=process"] else words)], tmp_path / "trial-0")
    server = case.deployer.start(case.order)
    started = server.started
    assert started is not None
    [process] = [process for process in snapshot() if process.pid == started.pid]
    server.stop()
    assert process.trial == tmp_path / "trial-0"
    assert (process.start_ticks, process.session) == (started.start_ticks, started.pid)
    assert process.temp == started.scratch
    assert started.boot_id == boot_id()
    assert not started.scratch.exists()


def test_an_engine_inherits_the_locks_of_its_gpus(tmp_path: Path) -> None:
    """A dead controller does not free a GPU on which its engine runs, and its cores are the lease's."""
    case = case_of(Shop(tmp_path).words(), tmp_path / "trial-0")
    core = min(os.sched_getaffinity(0))
    with (tmp_path / "gpu.lock").open("w") as lock:
        lease = replace(case.order.lease, locks=(lock.fileno(),), cpus=(core,))
        server = case.deployer.start(replace(case.order, lease=lease))
        assert server.started is not None
        [process] = [process for process in snapshot() if process.pid == server.started.pid]
        open_then, cores = open_files(process), os.sched_getaffinity(process.pid)
        server.stop()
    assert tmp_path / "gpu.lock" in open_then
    assert cores == {core}


def test_an_unknown_deployer_names_the_known_ones() -> None:
    """The registry is the list."""
    with pytest.raises(
        ConfigError, match="deploy=moon: not available; choose docker, process, simulated, replay"
    ):
        create_deployer("moon")
    assert all(create_deployer(kind) for kind in DEPLOYERS)
