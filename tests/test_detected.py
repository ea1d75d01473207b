"""Whole sweeps on detected GPUs, of a stand-in driver: shared with others, never used twice."""

from __future__ import annotations

import signal
from itertools import combinations
from typing import Any

import pytest

from tests.shop import Shop, until
from tests.standins.nvml.driver import StandInDriver, StandInGpu, uuid_of


@pytest.fixture(autouse=True)
def node(nvml: StandInDriver, monkeypatch: pytest.MonkeyPatch) -> StandInDriver:
    """Two free GPUs, for the commands too."""
    for name, value in nvml.env.items():
        monkeypatch.setenv(name, value)
    nvml.tell([StandInGpu(), StandInGpu()])
    return nvml


def words(shop: Shop, *more: str, mode: str = "ok") -> list[str]:
    """A sweep on the detected GPUs."""
    ours = [word for word in shop.words(mode=mode) if not word.startswith("gpus")]
    return ["-m", *ours, "gpus=nvml", "measure.repeats=1", *more]


def spans(events: list[dict[str, Any]]) -> list[tuple[str, str, set[str]]]:
    """From when to when each trial had which GPUs."""
    ends = {event["trial"]: event["time"] for event in events if event["event"] == "trial_finished"}
    begun = [event for event in events if event["event"] == "trial_started"]
    return [(event["time"], ends[event["trial"]], set(event["lease"]["gpus"])) for event in begun]


def test_two_sweeps_at_once_never_share_a_gpu(shop: Shop) -> None:
    """Each waits for what the other holds; everything is measured once, and nothing is left."""
    one = words(shop, "sweep.name=a", "parallel=tp1,tp2", "runtime.args.max_num_seqs=1,2")
    two = words(shop, "sweep.name=b", "parallel=tp1,tp2", "runtime.args.max_num_seqs=3,4")
    with shop.start(one) as first, shop.start(two) as second:
        first.communicate(timeout=120)
        second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0)
    every = [span for sweep in "ab" for span in spans(shop.events(sweep))]
    assert len(every) == 8
    assert set().union(*(gpus for _, _, gpus in every)) == {uuid_of(0), uuid_of(1)}
    for (begin, end, gpus), (other_begin, other_end, others) in combinations(every, 2):
        assert not gpus & others or end <= other_begin or other_end <= begin
    assert {e["status"] for sweep in "ab" for e in shop.finished(sweep)} == {"measured"}
    assert (shop.labelled(), shop.left_over()) == ([], [])


def test_a_gpu_in_use_is_left_alone_and_what_needs_it_is_told(shop: Shop, node: StandInDriver) -> None:
    """The others are measured; the wide one fails with the reason, and runs when it is resumed."""
    node.tell([StandInGpu(processes=(4711,)), StandInGpu()])
    sweep = words(shop, "sweep.name=s", "parallel=tp1,tp2", "gpus.settle_timeout_s=1")
    status, out, _err = shop.run(sweep)
    assert status == 0
    assert "GPU 0 is in use: process 4711 computes on it" in out
    assert "GPU 0 is set aside: process 4711 computes on it" in out
    narrow, wide = shop.finished("s")
    assert (narrow["status"], wide["failure"]["kind"]) == ("measured", "no_gpus")
    assert "needs 2 GPUs, 1 can be used: GPU 0 is set aside" in wide["failure"]["message"]
    [(_, _, gpus)] = spans(shop.events("s"))
    assert gpus == {uuid_of(1)}
    node.tell([StandInGpu(), StandInGpu()])
    assert shop.run([*sweep, "sweep.resume=true", "sweep.retry=no_gpus"])[0] == 0
    assert [end["status"] for end in shop.finished("s")][-1] == "measured"


def test_the_engine_of_a_dead_controller_keeps_its_gpu(shop: Shop) -> None:
    """Its lock is inherited: another sweep cannot have the GPU before the engine is ended."""
    with shop.start(words(shop, "sweep.name=s", "parallel=tp2", mode="hang")) as dead:
        until(lambda: any(event["event"] == "server_started" for event in shop.events("s")))
        dead.send_signal(signal.SIGKILL)
    other = ["parallel=tp1", "launcher.acquire_timeout_s=0.5"]
    status, out, _err = shop.run(words(shop, "sweep.name=t", *other))
    assert (status, [end["failure"]["kind"] for end in shop.finished("t")]) == (1, ["no_gpus"])
    assert "waiting for GPUs: GPU 0: its lock is held; GPU 1: its lock is held" in out
    assert uuid_of(0) in shop.run(["reap", "outputs/s"])[1]
    assert shop.run(["reap", "--yes", "outputs/s"])[0] == 0
    assert shop.run(words(shop, "sweep.name=u", *other))[0] == 0
    assert (shop.labelled(), shop.left_over(), shop.scratch()) == ([], [], [])


def test_gpus_of_a_dead_controller_may_take_their_time(shop: Shop, node: StandInDriver) -> None:
    """What the resume has just ended is no stranger: its memory is waited for, then said to be the trial's."""
    with shop.start(words(shop, "sweep.name=s", "parallel=tp2", mode="hang")) as dead:
        until(lambda: any(event["event"] == "server_started" for event in shop.events("s")))
        dead.send_signal(signal.SIGKILL)
    node.tell([StandInGpu(free_gib=8), StandInGpu(free_gib=8)])
    limits = ["gpus.settle_timeout_s=1", "launcher.acquire_timeout_s=0.3", "sweep.resume=true"]
    status, out, _err = shop.run(words(shop, "sweep.name=s", "parallel=tp2", *limits, mode="hang"))
    assert status == 1
    assert "ended what an earlier process left" in out
    assert "GPU 0 is set aside: 10 % of its memory is free" in out
    assert " after its trial" in out
    assert "is in use" not in out
    assert shop.finished("s")[-1]["failure"]["kind"] == "no_gpus"
    assert (shop.labelled(), shop.left_over()) == ([], [])
