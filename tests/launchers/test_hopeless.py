"""Sweeps in which everything fails for one reason, and what is told of the trials that were not started."""

from __future__ import annotations

from collections.abc import Callable

from autotune.deploy.protocol import Order
from autotune.sweep import Sweep
from hydra_plugins.autotune_launchers._scheduler import Scheduler
from tests.launchers.flaky import FlakyDeployer

SweepOf = Callable[..., Sweep]
ONE_BY_ONE = ["deploy.time_scale=0", "measure.repeats=1", "launcher.max_parallel=1"]


def failing(sweep: Sweep, kind: str, *, runtime: str | None = None) -> tuple[list[str], list[str]]:
    """Run a grid whose engines fail, all or those of a runtime; what was told, and the messages of failures."""
    said: list[str] = []
    sweep.tell = said.append
    sweep.deployer = FlakyDeployer(lambda order: kind if runtime in {None, order.plan.runtime} else None)
    scheduler = Scheduler(sweep)
    with scheduler.guarded():
        scheduler.submit_all(sweep.settings.candidates)
        while scheduler.wait_any() is not None:
            pass
    failures = [(trial.finished or {}).get("failure") for trial in sweep.state.trials.values()]
    return said, [failure["message"] if failure else "measured" for failure in failures]


def test_a_sweep_that_only_fails_stops_and_says_how_to_go_on(sweep_of: SweepOf) -> None:
    """Each trial that was not started has an end of the same kind; `sweep.retry` runs them all."""
    sweep = sweep_of(*ONE_BY_ONE, "sweep.max_failures=2")
    said, ends = failing(sweep, "bad_arguments")
    told = "not started: all trials so far failed as bad_arguments (sweep.max_failures=2)"
    assert sorted(ends) == sorted(["because of bad_arguments"] * 2 + [told] * 2)
    again = "once that is mended, sweep.resume=true sweep.retry=bad_arguments runs them"
    assert said == [f"2 trials are {told}; {again}"]
    assert sum(trial.started is not None for trial in sweep.state.trials.values()) == 2
    resumed = sweep_of(*ONE_BY_ONE, "sweep.name=s", "sweep.resume=true", "sweep.retry=bad_arguments")
    assert failing(resumed, "none", runtime="none")[1][4:] == ["measured"] * 4


def test_a_search_is_asked_no_more(sweep_of: SweepOf) -> None:
    """Once everything has failed for one reason."""
    sweep = sweep_of(*ONE_BY_ONE, "sweep.max_failures=1", "launcher.lookahead=3")
    sweep.deployer = FlakyDeployer(lambda _order: "bad_arguments")
    scheduler = Scheduler(sweep)
    assert scheduler.has_room()
    scheduler.submit(sweep.settings.candidates[0])
    assert scheduler.wait_any() is not None
    assert not scheduler.has_room()


def test_an_image_that_is_missing_stops_only_what_needs_it(sweep_of: SweepOf) -> None:
    """After the first trial with it; the other engine's trials are measured."""
    sweep = sweep_of(*ONE_BY_ONE, "runtime=vllm,sglang")
    said, ends = failing(sweep, "image_missing", runtime="vllm")
    images = {trial.queued["plan"]["image"] for trial in sweep.state.trials.values()}
    [image] = [image for image in images if "vllm" in image]
    [first] = [end for end in ends if end == "because of image_missing"]
    dropped = [end for end in ends if end.startswith("not started")]
    assert (first, len(dropped), ends.count("measured")) == ("because of image_missing", 3, 4)
    assert dropped[0].endswith(f"ended as image_missing, and this one has the same image, {image}")
    [told] = said
    assert told.startswith("3 trials are not started: ")
    assert told.endswith("sweep.resume=true sweep.retry=image_missing runs them")


def test_trials_that_run_end_as_they_will(sweep_of: SweepOf) -> None:
    """Only what waits is dropped."""
    sweep = sweep_of("measure.repeats=1", "sweep.max_failures=1")
    begun: list[int] = []

    def fails(order: Order) -> str | None:
        begun.append(order.plan.gpus)
        return "bad_arguments" if order.plan.gpus == 2 else None

    sweep.deployer = FlakyDeployer(fails)
    scheduler = Scheduler(sweep)
    with scheduler.guarded():
        scheduler.submit_all([c for c in sweep.settings.candidates if c.config["parallel"]["tp"] < 8])
        while scheduler.wait_any() is not None:
            pass
    assert sorted(begun) == [1, 2, 4]
    assert sorted(trial.status for trial in sweep.state.trials.values()) == ["failed", "measured", "measured"]
