"""What a process deployer knows of an engine's end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from autotune.deploy.readiness import read_log
from tests.contracts.deployer import case_of
from tests.shop import Shop, until


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written into the checkout."""
    monkeypatch.chdir(tmp_path)


def test_an_engine_that_is_killed_while_serving_died(tmp_path: Path) -> None:
    """It was ready, nobody stopped it, and a stop afterwards does not make that undone."""
    case = case_of(Shop(tmp_path).words(), tmp_path / "trial-0")
    server = case.deployer.start(case.order)
    assert server.started is not None
    try:
        server.ready()
        assert server.death() is None
        os.kill(server.started.pid, signal.SIGKILL)
        until(lambda: server.death() is not None)
    finally:
        server.stop()
    died = server.death()
    assert died is not None
    assert (died.kind, died.message) == ("engine_died", "the engine was killed by signal 9 while serving")


def test_an_engine_that_is_stopped_before_it_is_ready_did_not_fail(tmp_path: Path) -> None:
    """SIGTERM is its exit status, and it was ours."""
    case = case_of(Shop(tmp_path).words(), tmp_path / "trial-0")
    server = case.deployer.start(case.order)
    server.stop()
    assert server.death() is None


def test_an_engine_that_refuses_its_arguments_is_told_so(tmp_path: Path) -> None:
    """The evidence is the line of its log."""
    case = case_of(Shop(tmp_path).words(mode="exit"), tmp_path / "trial-0")
    server = case.deployer.start(case.order)
    try:
        until(lambda: server.death() is not None)
    finally:
        server.stop()
    died = server.death()
    assert died is not None
    assert died.kind == "bad_arguments"
    assert died.evidence == "engine.log:1: vllm: error: unrecognized arguments: --bogus"


def test_a_log_is_read_with_its_carriage_returns(tmp_path: Path) -> None:
    """A progress bar is one line of it, as in an editor; a byte that is no text does not matter."""
    case = case_of(Shop(tmp_path).words(), tmp_path / "trial-0")
    assert read_log(case.order) == ""
    case.order.folder.mkdir()
    (case.order.folder / "engine.log").write_bytes(b"10%\r20%\r\n\xff\n")
    assert read_log(case.order) == "10%\r20%\r\n�\n"
