"""One trial on the stand-in program, without a sweep around it."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.records import Status
from autotune.trial import Job, Trial
from tests.contracts.benchmark import children
from tests.contracts.deployer import case_of
from tests.shop import Shop


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: every process is on it")
def test_the_load_client_runs_on_the_cores_that_the_lease_keeps_for_it(tmp_path: Path) -> None:
    """The client alone: neither the engine, whose cores are left open here, nor this process."""
    case = case_of(Shop(tmp_path).words(), tmp_path / "trial")
    mine = os.sched_getaffinity(0)
    core = max(mine)
    before = children()
    seen: dict[str, set[frozenset[int]]] = {"client": set(), "engine": set()}

    def look(event: str, **_fields: Any) -> None:
        if event == "benchmark_progress":
            for pid in children() - before:
                with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                    words = Path(f"/proc/{pid}/cmdline").read_bytes()
                    kind = "client" if b"autotune.benchmark.client" in words else "engine"
                    seen[kind].add(frozenset(os.sched_getaffinity(pid)))

    trial = Trial(
        job=Job(
            number=0,
            candidate=case.order.candidate,
            config=case.order.config,
            plan=case.order.plan,
            label="",
            folder=case.order.folder,
        ),
        lease=replace(case.order.lease, client_cpus=(core,)),
        deployer=case.deployer,
        env=os.environ,
        cancelled=threading.Event(),
        emit=look,
    )
    outcome = trial.run()
    assert outcome.status is Status.MEASURED
    assert seen == {"client": {frozenset({core})}, "engine": {frozenset(mine)}}
    assert os.sched_getaffinity(0) == mine
    assert children() == before


def test_repeats_go_on_on_the_warm_engine_until_the_score_is_known(tmp_path: Path) -> None:
    """One engine; every repeat of both loads is told once, and the score has its interval."""
    words = Shop(tmp_path).words("workload.loads=[1,2]", "measure.until=0.9", "measure.max_repeats=6")
    case = case_of(words, tmp_path / "trial")
    told: list[tuple[str, Any]] = []

    def hear(event: str, **fields: Any) -> None:
        told.append((event, (fields["load"]["value"], fields["repeat"]) if event == "measured" else None))

    trial = Trial(
        job=Job(
            number=0,
            candidate=case.order.candidate,
            config=case.order.config,
            plan=case.order.plan,
            label="",
            folder=case.order.folder,
        ),
        lease=case.order.lease,
        deployer=case.deployer,
        env=os.environ,
        cancelled=threading.Event(),
        emit=hear,
    )
    outcome = trial.run()
    assert outcome.status is Status.MEASURED
    assert [event for event, _ in told].count("server_ready") == 1
    measured = [place for event, place in told if event == "measured"]
    assert len(measured) == len(set(measured))
    assert outcome.best is not None
    assert outcome.best.score_interval is not None
    assert len(outcome.best.score_repeats) in {5, 6}
    assert outcome.best.score_interval.low < (outcome.best.score or 0) < outcome.best.score_interval.high
