"""An engine that SIGKILL does not end: it waits in the kernel, for a driver or a disk."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.deploy.protocol import Order
from autotune.gpus.remains import Remains
from tests.contracts.deployer import case_of
from tests.shop import Shop, runs, until
from tests.standins import freezer

pytestmark = pytest.mark.skipif(freezer.why_not() is not None, reason=str(freezer.why_not()))


@pytest.mark.parametrize("mode", ["ok", "strays"])
def test_its_processes_are_told_and_named_until_they_are_gone(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine, or a worker of it in a session of its own; `stop` ends in time."""
    monkeypatch.chdir(tmp_path)
    shop = Shop(tmp_path)
    told: list[str] = []
    left: list[Remains] = []
    case = case_of([*shop.words(mode=mode), "deploy.stop_timeout_s=0.2"], tmp_path / "trial")
    order: Order = replace(case.order, tell=told.append, left=left.append)
    server = case.deployer.start(order)
    assert server.started is not None
    count = 2 if mode == "strays" else 1
    try:
        until(lambda: len(shop.left_over()) == count)
        pid = shop.left_over()[-1]
        with freezer.frozen(pid):
            began_s = time.monotonic()
            server.stop()
            assert time.monotonic() - began_s < 60
            assert runs(pid)
            [remains] = left
            assert remains.what == f"process {pid}"
            assert not remains.gone()
            [line] = told
            assert f"process {pid} does not end, not even by SIGKILL" in line
        until(remains.gone)
    finally:
        server.stop()
    assert shop.left_over() == []
