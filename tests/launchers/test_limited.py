"""A sweep whose load client is the bottleneck of some of its trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from autotune.benchmark.protocol import Benchmark, MeasureRequest
from autotune.deploy.protocol import Order, Server
from autotune.deploy.replay import ReplayDeployer
from autotune.records import Measurement
from autotune.session import _finish
from autotune.sweep import Sweep
from hydra_plugins.autotune_launchers._scheduler import Scheduler

SweepOf = Callable[..., Sweep]
WHY = "the client took 98 % of its core"


class _Limited:
    """A client that says of itself that it was too slow."""

    def __init__(self, client: Benchmark) -> None:
        self._client = client

    def prepare(self, request: MeasureRequest) -> None:
        """Nothing to prepare."""

    def measure(self, request: MeasureRequest) -> Measurement:
        """What the table says, and that it is not to be trusted."""
        return replace(self._client.measure(request), client_bound=(WHY,))

    def stop(self) -> None:
        """Stop reading."""
        self._client.stop()


class LimitedDeployer(ReplayDeployer):
    """Replays, and limits the candidates on at least so many GPUs."""

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus

    def start(self, order: Order) -> Server:
        """Return the rows of the candidate."""
        server = super().start(order)
        if order.plan.gpus >= self._gpus:
            read = server.client
            server.client = lambda chosen: _Limited(read(chosen))  # type: ignore[method-assign]
        return server


def run(sweep: Sweep, gpus: int) -> list[int | None]:
    """Run the grid; the ranks by GPUs, the fewest first."""
    sweep.deployer = LimitedDeployer(gpus)
    scheduler = Scheduler(sweep)
    scheduler.submit_all(sweep.settings.candidates)
    while scheduler.wait_any() is not None:
        pass
    [ranking] = _finish(sweep)
    return [row.rank for row in sorted(ranking.rows, key=lambda row: int(row.queued["plan"]["gpus"]))]


def test_what_the_client_limited_is_measured_and_not_ranked(sweep_of: SweepOf) -> None:
    """Its metrics are on record with the reason; the others rank among themselves."""
    sweep = sweep_of("deploy.time_scale=0")
    assert run(sweep, 4) == [1, 2, None, None]
    for trial in sweep.state.trials.values():
        end = trial.finished or {}
        limited = int(trial.queued["plan"]["gpus"]) >= 4
        assert (end["status"], end["failure"]) == ("measured", None)
        assert (end["score"] is None) is limited
        assert end["client_bound"] == ([WHY] if limited else [])
        assert end["metrics"]["total_tokens_per_s"] == 1
        assert end["by_load"][0]["score"] == 1 / int(trial.queued["plan"]["gpus"])


def test_without_any_other_nobody_wins(sweep_of: SweepOf) -> None:
    """No rank at all."""
    sweep = sweep_of("deploy.time_scale=0")
    assert run(sweep, 1) == [None] * 4
