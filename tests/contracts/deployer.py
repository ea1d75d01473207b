"""The suite of `Deployer` and `Server`: started, ready, measured, gone."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autotune.benchmark.native import NativeClient
from autotune.benchmark.protocol import MeasureRequest
from autotune.benchmark.workload import loads_of, traffic_of
from autotune.compose import hydra_on
from autotune.deploy import create_deployer
from autotune.deploy.protocol import Deployer, Order
from autotune.errors import Interrupted
from autotune.plan.resolve import resolve
from autotune.prepare import prepare
from autotune.records import Lease
from autotune.schema import config_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A deployer and an engine to start with it."""

    deployer: Deployer
    order: Order


def case_of(words: Sequence[str], folder: Path) -> Case:
    """The first candidate of a command, with the GPUs it needs, about to be started."""
    with hydra_on(None) as hydra:
        prepared = prepare(hydra, words, multirun=True)
    candidate = prepared.candidates[0]
    config = config_from(candidate.config)
    plan = resolve(config, prepared.inventory)
    gpus = prepared.inventory.gpus[: plan.gpus]
    lease = Lease(trial=0, kind=prepared.inventory.kind, node="n", gpus=gpus)
    order = Order(
        candidate=candidate,
        config=config,
        plan=plan,
        lease=lease,
        folder=folder,
        env=dict(os.environ),
        cancelled=threading.Event(),
    )
    return Case(deployer=create_deployer(config.deploy.kind), order=order)


class DeployerContract:
    """Every deployer passes these; a subclass overrides `case`."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        """An order that can be served."""
        raise NotImplementedError(tmp_path)

    def test_an_engine_is_ready_measured_and_stopped(self, case: Case) -> None:
        """What is ready answers at its first load; stopping twice is harmless, and no failure."""
        server = case.deployer.start(case.order)
        try:
            ready = server.ready()
            assert ready.startup_s >= 0
            assert server.death() is None
            workload = case.order.config.workload
            request = MeasureRequest(
                endpoint=ready.endpoint,
                traffic=replace(traffic_of(workload), min_requests=2, requests_per_load=1),
                load=loads_of(workload)[0],
                repeat=0,
                out_dir=case.order.folder,
                on_progress=lambda _progress: None,
                timeout_s=30,
            )
            measurement = server.client(NativeClient()).measure(request)
        finally:
            server.stop()
            server.stop()
        assert server.death() is None
        assert measurement.metrics["total_tokens_per_s"] > 0
        assert measurement.load == request.load

    def test_a_start_that_is_cancelled_gives_up(self, case: Case) -> None:
        """`ready` raises Interrupted, or the engine was ready before."""
        case.order.cancelled.set()
        server = case.deployer.start(case.order)
        try:
            with pytest.raises(Interrupted):
                server.ready()
        finally:
            server.stop()

    def test_looking_for_problems_starts_nothing(self, case: Case) -> None:
        """No problem is found, and no file is written."""
        assert case.deployer.problems(case.order.candidate, case.order.config, case.order.plan) == []
        assert not case.order.folder.exists()
