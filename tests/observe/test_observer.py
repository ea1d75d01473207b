"""Whole trials with what is sampled beside them; the threads end with the trial on every path."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from autotune.observe.series import NAME
from autotune.records import Outcome, Status
from autotune.trial import Job, Trial
from tests.contracts.deployer import case_of
from tests.observe.pages import serving, vllm_page
from tests.shop import Shop
from tests.standins.nvml.driver import StandInDriver, StandInGpu

PAGES = Path(__file__).parents[1] / "data" / "metrics"
TABLE = Path(__file__).parents[1] / "data" / "replay.csv"
SIMULATED = (
    "deploy=simulated",
    "gpus=h100_8x",
    "workload=tiny",
    "workload.loads=[4]",
    "deploy.startup_s=0",
    "measure.repeats=1",
)
Hear = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A trial that has ended: its outcome, its `measured` events, and the lines of its series."""

    outcome: Outcome
    measured: list[dict[str, Any]]
    series: list[dict[str, Any]]

    @property
    def names(self) -> set[str]:
        """The names of all series."""
        return {name for row in self.series for name in row["values"]}


def samplers() -> list[str]:
    """The threads that sample, of any trial."""
    return [thread.name for thread in threading.enumerate() if thread.name.endswith(" metrics")]


def run(words: list[str], folder: Path, *, hear: Callable[[threading.Event, str], None] | None = None) -> Ran:
    """Run the first candidate of a command; `hear` gets the event that stops it, and what happens."""
    case = case_of(words, folder / "trial")
    cancelled, measured = threading.Event(), []

    def emit(event: str, **fields: Any) -> None:
        if event == "measured":
            measured.append(fields)
        if hear is not None:
            hear(cancelled, event)

    order = replace(case.order, cancelled=cancelled)
    job = Job(
        number=0,
        candidate=order.candidate,
        config=order.config,
        plan=order.plan,
        label="",
        folder=order.folder,
    )
    trial = Trial(
        job=job,
        lease=order.lease,
        deployer=case.deployer,
        env=os.environ,
        cancelled=cancelled,
        emit=emit,
    )
    outcome = trial.run()
    assert samplers() == []
    path = order.folder / NAME
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return Ran(outcome=outcome, measured=measured, series=rows)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Where a stand-in engine serves the page of a real one."""
    shutil.copy(PAGES / "vllm-0.32.0-under-load.txt", tmp_path / "page")
    return Shop(tmp_path)


def words(shop: Shop, *more: str, mode: str = "ok") -> list[str]:
    """The command of a trial on the stand-in, which takes a tenth of a second for ten tokens."""
    env = [f"runtime.env.STANDIN_METRICS={shop.folder / 'page'}", "runtime.env.STANDIN_PAUSE=0.1"]
    return [*shop.words(*env, mode=mode), "measure.sample_s=0.1", *more]


def test_the_engines_own_numbers_are_metrics_of_every_measurement(shop: Shop) -> None:
    """Two repeats with those of the page, their medians in the result, and series with times and loads."""
    ran = run(words(shop), shop.folder)
    assert ran.outcome.status is Status.MEASURED
    expected = {
        "server/running_mean": 8.0,
        "server/running_max": 8.0,
        "server/waiting_mean": 0.0,
        "server/waiting_max": 0.0,
        "server/kv_cache_usage_mean": pytest.approx(0.4407, abs=1e-4),
        "server/kv_cache_usage_max": pytest.approx(0.4407, abs=1e-4),
        "server/preemptions": 0.0,
    }
    assert len(ran.measured) == 2
    for fields in ran.measured:
        metrics = fields["metrics"]
        assert {name: value for name, value in metrics.items() if name.startswith("server/")} == expected
        assert not [name for name in metrics if name.startswith(("gpu/", "energy"))]
    assert ran.outcome.best is not None
    assert ran.outcome.best.metrics["server/running_mean"] == 8.0
    assert not any("metrics" in note for note in ran.outcome.notes)
    assert ran.names == {
        "server/running",
        "server/waiting",
        "server/kv_cache_usage",
        "server/preemptions_total",
    }
    assert {row.get("repeat") for row in ran.series} >= {0, 1}
    assert {row["load"] for row in ran.series if "load" in row} == {2.0}
    times = [row["time_ms"] for row in ran.series]
    assert times == sorted(times)


def test_an_engine_without_metrics_is_a_note(shop: Shop) -> None:
    """It is measured all the same; an old file of series is gone."""
    (shop.folder / "trial").mkdir()
    (shop.folder / "trial" / NAME).write_text("{}\n")
    ran = run([word for word in words(shop) if "METRICS" not in word], shop.folder)
    assert ran.outcome.status is Status.MEASURED
    assert "no server metrics: /metrics answers with status 404" in ran.outcome.notes
    assert ran.series == []
    assert not any(name.startswith("server/") for name in ran.measured[0]["metrics"])


def test_it_can_be_switched_off(shop: Shop) -> None:
    """Nothing is asked, nothing is noted, nothing is written."""
    seen: list[list[str]] = []
    ran = run(words(shop, "measure.sample_s=null"), shop.folder, hear=lambda *_: seen.append(samplers()))
    assert ran.outcome.status is Status.MEASURED
    assert (ran.series, [names for names in seen if names]) == ([], [])
    assert not any("server" in name for name in [*ran.measured[0]["metrics"], *ran.outcome.notes])


def test_detected_gpus(shop: Shop, nvml: StandInDriver) -> None:
    """Power over the measured window is the energy, of the leased GPUs alone; throttling is noted."""
    capped = StandInGpu(power_w=500, utilization_percent=90, free_gib=60, reasons=4, sm_clock_mhz=1400)
    nvml.tell([capped, StandInGpu(power_w=300, utilization_percent=50, free_gib=70), StandInGpu(power_w=9)])
    ours = [word for word in words(shop, "parallel=tp2", "measure.repeats=1") if not word.startswith("gpus")]
    ran = run([*ours, "gpus=nvml", "gpus.min_free_fraction=0.1"], shop.folder)
    assert ran.outcome.status is Status.MEASURED
    [fields] = ran.measured
    metrics, duration_s = fields["metrics"], fields["duration_s"]
    assert metrics["gpu/utilization_mean"] == pytest.approx(0.7)
    assert metrics["gpu/memory_gib_max"] == pytest.approx(20)
    assert metrics["gpu/power_w_mean"] == pytest.approx(800)
    assert metrics["gpu/sm_clock_mhz_mean"] == pytest.approx((1400 + 1980) / 2)
    assert metrics["gpu/throttled_fraction"] == 1.0
    assert metrics["energy_j"] == pytest.approx(800 * duration_s, rel=0.01)
    for kind in ("output", "total"):
        tokens = metrics[f"{kind}_tokens_per_s"] * duration_s
        assert metrics[f"energy_j_per_{kind}_token"] == pytest.approx(800 * duration_s / tokens, rel=0.01)
    [note] = [note for note in ran.outcome.notes if note.startswith("throttled")]
    assert "GPU 0: power cap in 100% of" in note
    assert "GPU 1" not in note
    assert {name for name in ran.names if "watts" in name} == {
        "system/gpu_0_power_usage_watts",
        "system/gpu_1_power_usage_watts",
    }


def test_a_driver_that_tells_little(shop: Shop, nvml: StandInDriver) -> None:
    """What is not told is missing and noted; the trial is measured."""
    nvml.tell([StandInGpu(utilization_percent=None, power_w=None, energy=False, reasons=None)])
    ours = [word for word in words(shop, "measure.repeats=1") if not word.startswith("gpus")]
    ran = run([*ours, "gpus=nvml"], shop.folder)
    assert ran.outcome.status is Status.MEASURED
    metrics = ran.measured[0]["metrics"]
    assert {name for name in metrics if name.startswith(("gpu/", "energy"))} == {
        "gpu/memory_gib_max",
        "gpu/sm_clock_mhz_mean",
        "gpu/memory_clock_mhz_mean",
        "gpu/temperature_c_max",
    }
    [note] = [note for note in ran.outcome.notes if note.startswith("GPU 0")]
    for what in ("utilization", "power", "energy", "throttle reasons"):
        assert f"{what}: Not Supported" in note


@pytest.mark.parametrize("runtime", ["vllm", "sglang"])
def test_a_simulated_engine_tells_and_declared_gpus_do_not(runtime: str, tmp_path: Path) -> None:
    """Its requests are those that are in flight; no GPU is invented."""
    ran = run([*SIMULATED, f"runtime={runtime}", "measure.sample_s=0.1"], tmp_path)
    assert ran.outcome.status is Status.MEASURED
    metrics = ran.measured[0]["metrics"]
    assert 0 < metrics["server/running_max"] <= 4
    assert 0 < metrics["server/kv_cache_usage_max"] < 1
    assert metrics["server/preemptions"] == 0
    assert 0 <= metrics["server/prefix_cache_hit_rate"] <= 1
    assert not [name for name in metrics if name.startswith(("gpu/", "energy"))]
    assert not any("metrics" in note for note in ran.outcome.notes)
    assert not any(name.startswith("system/") for name in ran.names)


def test_an_engine_that_someone_else_runs(shop: Shop, nvml: StandInDriver) -> None:
    """Its page is read, whichever engine it is; GPUs of this host are none of its."""
    nvml.tell([StandInGpu()])
    model = '{"data": [{"id": "m"}]}'
    page = vllm_page(num_requests_running=3)
    with serving(
        lambda path: (
            (200, {"/v1/models": model, "/metrics": page}.get(path, "{}"))
            if path in {"/v1/models", "/metrics"}
            else (404, "")
        )
    ) as pages:
        given = ["deploy=process", f"deploy.url={pages.url}", "workload=tiny", "workload.loads=[1]"]
        ran = run([*given, "gpus=cpu", "runtime=sglang"], shop.folder)
    assert ran.outcome.failure is not None  # it answers no request
    assert ran.names == {"server/running"}


def test_a_replay_is_not_watched(tmp_path: Path) -> None:
    """What was recorded is all there is."""
    words = ["deploy=replay", f"deploy.table={TABLE}", "gpus=h100_8x", "workload=demo", "parallel=tp2"]
    ran = run(words, tmp_path)
    assert ran.outcome.status is Status.MEASURED
    assert ran.series == []
    assert not any(name.startswith(("server/", "gpu/")) for name in ran.measured[0]["metrics"])


@pytest.mark.parametrize("mode", ["dies", "errors", "truncated", "exit"])
def test_the_threads_end_with_a_trial_that_fails(mode: str, shop: Shop) -> None:
    """Whatever ends it; that a dead engine does not tell anything is not worth a note."""
    ran = run(words(shop, mode=mode), shop.folder)
    assert ran.outcome.status is Status.FAILED
    assert not any("metrics" in note for note in ran.outcome.notes)


def test_the_threads_end_with_a_trial_that_is_stopped(shop: Shop) -> None:
    """In the middle of a measurement."""
    told: list[str] = []

    def stop(cancelled: threading.Event, event: str) -> None:
        told.append(event)
        if told.count("benchmark_progress") == 3:  # by then, a second each, it has looked
            assert samplers() == ["engine metrics"]
            cancelled.set()

    ran = run(words(shop, mode="stalls"), shop.folder, hear=stop)
    assert ran.outcome.status is Status.INTERRUPTED
    assert ran.series


def test_an_engine_whose_page_hangs_holds_nobody_up(shop: Shop) -> None:
    """A pipe that nobody writes to stands for it: the trial is measured, and the looks are told."""
    (shop.folder / "page").unlink()
    os.mkfifo(shop.folder / "page")
    ran = run(words(shop, "measure.repeats=1"), shop.folder)
    assert ran.outcome.status is Status.MEASURED
    assert any("looks went without: timed out" in note for note in ran.outcome.notes)
