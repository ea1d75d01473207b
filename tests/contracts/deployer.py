"""The suite of `Deployer` and `Server`: started, ready, measured, gone."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from autotune import process_table, scratch
from autotune.benchmark.native import NativeClient
from autotune.benchmark.protocol import MeasureRequest
from autotune.benchmark.workload import loads_of, traffic_of
from autotune.compose import hydra_on
from autotune.deploy import create_deployer, probe
from autotune.deploy.protocol import Deployer, Order, Server
from autotune.errors import Interrupted, TrialError
from autotune.plan.resolve import resolve
from autotune.prepare import prepare
from autotune.records import Lease
from autotune.schema import config_from
from tests.shop import until

LEAK_MIB = 8.0  # what allocators may keep; also the bound for a hundred cycles
OUTCOME_S = 2.0  # from an engine's end until it is told


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


class StartingContract(DeployerContract):
    """Those that start an engine pass these too. A subclass gives the orders, `case` with `port` unset.

    `dying`: the engine says why and ends at once. `silent`: it runs, is never ready, and its
    `startup_timeout_s` is 1. What a deployer leaves elsewhere than in processes and temporary files
    (containers) its subclass adds to `left`.
    """

    @pytest.fixture
    def dying(self, tmp_path: Path) -> Case:
        """An order whose engine ends at once, with a cause in its last words."""
        raise NotImplementedError(tmp_path)

    @pytest.fixture
    def silent(self, tmp_path: Path) -> Case:
        """An order whose engine never becomes ready, with `deploy.startup_timeout_s=1`."""
        raise NotImplementedError(tmp_path)

    def left(self, case: Case) -> list[object]:
        """Return what is left of an order's engine: processes of its trial, and its temporary files."""
        return [*process_table.of_trial(case.order.folder), *scratch.left_of(case.order.folder)]

    def test_an_engine_that_ends_at_once_is_told_with_its_cause(self, dying: Case) -> None:
        """`ready` raises within two seconds of the end, and the evidence is a line of engine.log."""
        server = dying.deployer.start(dying.order)
        ended_s: list[float] = []
        watch = threading.Thread(target=lambda: ended_s.append(_end_of(server)))
        try:
            watch.start()
            with pytest.raises(TrialError) as died:
                server.ready()
            told_s = time.monotonic()
            watch.join()
            again = server.death()
        finally:
            server.stop()
        assert told_s - ended_s[0] < OUTCOME_S
        assert again is not None
        assert again.kind == died.value.kind
        assert _cited(dying, died.value).strip() in died.value.evidence
        assert self.left(dying) == []

    def test_an_engine_that_is_never_ready_is_given_up(self, silent: Case) -> None:
        """As `startup_timeout`, when the time is over and not before; the engine is alive until it is stopped."""
        assert silent.order.config.deploy.startup_timeout_s == 1
        began_s = time.monotonic()
        server = silent.deployer.start(silent.order)
        try:
            with pytest.raises(TrialError, match="not ready within 1 s") as late:
                server.ready()
            took_s = time.monotonic() - began_s
            alive = server.death() is None
        finally:
            server.stop()
        assert late.value.kind == "startup_timeout"
        assert "deploy.startup_timeout_s" in late.value.advice
        assert 1 <= took_s < 1 + probe.TIMEOUT_S + OUTCOME_S
        assert alive
        assert self.left(silent) == []

    def test_an_engine_starts_and_stops_twice_in_the_same_folder(self, case: Case) -> None:
        """Nothing is left in between: no process, no temporary file, and the port is free again."""
        for _ in range(2):
            server = case.deployer.start(case.order)
            try:
                url = server.ready().endpoint.url
            finally:
                server.stop()
            assert self.left(case) == []
            assert probe.port_is_free(urlsplit(url).port or 0)
            assert (case.order.folder / "engine.log").exists()

    def test_the_log_of_an_earlier_engine_is_no_evidence(self, dying: Case) -> None:
        """A second attempt in the same folder has a log of its own."""
        lengths = []
        for _ in range(2):
            server = dying.deployer.start(dying.order)
            try:
                with pytest.raises(TrialError):
                    server.ready()
            finally:
                server.stop()
            lengths.append(len((dying.order.folder / "engine.log").read_text().splitlines()))
        assert lengths[0] == lengths[1] > 0

    def test_engines_side_by_side_have_ports_of_their_own(self, case: Case) -> None:
        """Two of the same order, in folders of their own, answer both."""
        beside = replace(case.order, folder=case.order.folder.with_name("beside"))
        first = case.deployer.start(case.order)
        try:
            second = case.deployer.start(beside)
            try:
                urls = {first.ready().endpoint.url, second.ready().endpoint.url}
            finally:
                second.stop()
        finally:
            first.stop()
        assert len(urls) == 2

    def test_starting_and_stopping_leaks_nothing(self, case: Case) -> None:
        """Descriptors and threads are as many after all cycles as after two, and memory is flat.

        `AUTOTUNE_CYCLES` says how many (10).
        """
        seen = [_cycle(case) for _ in range(int(os.environ.get("AUTOTUNE_CYCLES", "10")))]
        assert self.left(case) == []
        (descriptors, threads, before_mib), (*last, after_mib) = seen[1], seen[-1]
        assert last == [descriptors, threads]
        assert after_mib - before_mib < LEAK_MIB


def _cycle(case: Case) -> tuple[int, int, float]:
    """Start, be ready, stop; then what this process holds: descriptors, threads, MiB of memory."""
    server = case.deployer.start(case.order)
    try:
        server.ready()
    finally:
        server.stop()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), mib


def _end_of(server: Server) -> float:
    """When an engine was seen to have ended."""
    until(lambda: server.death() is not None)
    return time.monotonic()


def _cited(case: Case, error: TrialError) -> str:
    """The line of the engine's log that a piece of evidence names."""
    found = re.match(r"engine\.log:(\d+): ", error.evidence)
    assert found is not None, error.evidence
    return (case.order.folder / "engine.log").read_text().splitlines()[int(found[1]) - 1][:300]
