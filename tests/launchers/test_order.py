"""The order of candidates that are alike to the packing: drawn, and the same again."""

from __future__ import annotations

from collections.abc import Callable

from autotune.sweep import Sweep
from autotune.track.journal import read
from hydra_plugins.autotune_launchers._scheduler import Scheduler

SweepOf = Callable[..., Sweep]
WORDS = (
    "deploy.time_scale=0",
    "measure.repeats=1",
    "launcher.max_parallel=1",
    "runtime.args.max_num_seqs=1,2,3,4,5,6",
)


def started(sweep: Sweep) -> dict[int, list[str]]:
    """For each width the candidates in the order in which they were started."""
    scheduler = Scheduler(sweep)
    scheduler.submit_all(sweep.settings.candidates)
    while scheduler.wait_any() is not None:
        pass
    found: dict[int, list[str]] = {}
    queued = {}
    for event in read(sweep.journal.path):
        if event["event"] == "trial_queued":
            queued[event["trial"]] = event
        elif event["event"] == "trial_started":
            plan = queued[event["trial"]]
            [word] = [word for word in plan["overrides"] if "max_num_seqs" in word]
            found.setdefault(plan["plan"]["gpus"], []).append(word)
    return found


def test_candidates_that_are_alike_start_in_a_drawn_order(sweep_of: SweepOf) -> None:
    """Another one for each seed, for each width its own, and wide ones still first."""
    orders = [started(sweep_of(*WORDS, f"seed={seed}", name=f"s{seed}")) for seed in (1, 2)]
    for found in orders:
        assert next(iter(found)) == 8
        assert [len(order) for order in found.values()] == [6] * 4
    assert any(order != sorted(order) for order in orders[0].values())
    assert orders[0] != orders[1]


def test_in_the_order_of_the_grid_if_so_wanted(sweep_of: SweepOf) -> None:
    """`measure.shuffle=false`."""
    found = started(sweep_of(*WORDS, "measure.shuffle=false"))
    assert all(order == sorted(order) for order in found.values())


def test_a_resumed_sweep_goes_on_in_the_same_order(sweep_of: SweepOf) -> None:
    """What is left comes as it would have come, whatever its number is by now."""
    whole = started(sweep_of(*WORDS, "seed=1"))
    sweep = sweep_of(*WORDS, "seed=1", "sweep.name=t", "sweep.resume=true", name="t")
    first = Scheduler(sweep)
    first.submit_all(sweep.settings.candidates)
    for _ in range(5):
        assert first.wait_any() is not None
    sweep.stop.set()
    while first.wait_any() is not None:
        pass
    both = started(sweep_of(*WORDS, "seed=1", "sweep.name=t", "sweep.resume=true", name="t"))
    assert {width: list(dict.fromkeys(order)) for width, order in both.items()} == whole
