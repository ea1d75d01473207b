"""A neighbour must be under load all the time, or what was measured beside it does not count."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from autotune import compose
from autotune.deploy import create_deployer
from autotune.doctor.neighbour import Neighbour, now
from autotune.errors import Interrupted, TrialError
from autotune.records import Lease
from autotune.survey import survey
from autotune.trial import Job
from tests.shop import Shop, until


def neighbour_of(folder: Path, mode: str = "ok") -> Neighbour:
    """One whose load is over after four requests, started."""
    shop = Shop(folder)
    with compose.hydra_on(None) as hydra:
        asked = survey(hydra, shop.words(mode=mode), multirun=False)
    [entry] = asked.entries
    job = Job(
        number=1,
        candidate=entry.candidate,
        config=replace(entry.config, measure=replace(entry.config.measure, repeats=1)),
        plan=entry.plan,
        label="neighbour",
        folder=folder / "neighbour",
    )
    lease = Lease(trial=1, kind=asked.inventory.kind, node="n", gpus=asked.inventory.gpus[1:])
    return Neighbour(job, lease, deployer=create_deployer("process"), env=dict(os.environ))


def test_a_load_that_ends_is_noticed(tmp_path: Path) -> None:
    """Whoever measured beside it is told, and waiting for it is no use."""
    neighbour = neighbour_of(tmp_path)
    neighbour.wait(threading.Event())
    since = now()
    until(lambda: not neighbour.is_loaded)
    with pytest.raises(TrialError, match="the neighbour on GPU 1 was not under load all the time"):
        neighbour.check(since=since)
    neighbour.leave()
    done = neighbour.gone(now())
    assert (done.gpus, done.requests_completed, done.requests_failed) == ((1,), 4, 0)
    with pytest.raises(TrialError, match="was not under load all the time"):
        neighbour.wait(threading.Event())


def test_one_that_never_is_ready_is_not_waited_for_after_a_stop(tmp_path: Path) -> None:
    """Ctrl-C ends the wait, and the engine."""
    neighbour = neighbour_of(tmp_path, mode="hang")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        neighbour.wait(stop)
    neighbour.leave()
    done = neighbour.gone(now())
    assert (done.loaded_from, done.requests_completed) == (math.inf, 0)
