"""Shapes of a load against the server of known timing: processes, seconds, ramps, warm-up."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.benchmark.native import MOST_PROCESSES, NativeClient, automatic_processes
from autotune.benchmark.protocol import Benchmark, Progress
from autotune.errors import TrialError
from autotune.process_table import stat_of
from autotune.records import Load, Measurement, Mode
from tests.contracts.benchmark import QUICK, Ask, BenchmarkContract, BenchmarkFixtures, Serve, children
from tests.shop import until


class TestSeveralProcesses(BenchmarkContract):
    """Three processes are one client: the whole contract holds of them together."""

    @pytest.fixture
    def client(self) -> Benchmark:
        """A client of three processes, where there is load for so many."""
        return NativeClient(processes=3)

    @pytest.mark.parametrize(("mode", "value"), [(Mode.CONCURRENCY, 5), (Mode.RATE, 60)])
    def test_they_send_the_same_requests_as_one(
        self, client: Benchmark, serve: Serve, ask: Ask, mode: Mode, value: float
    ) -> None:
        """Each index once; in an open loop at the same times."""
        url = serve(*QUICK)
        asked = ask(url, mode=mode, value=value, min_requests=40, output_spread=1, input_spread=1)
        alone, together = records_of(NativeClient().measure(asked)), records_of(client.measure(asked))
        assert [r["index"] for r in measured_of(together)] == list(range(len(measured_of(alone))))
        for one, other in zip(measured_of(alone), measured_of(together), strict=True):
            assert (one["prompt_tokens"], one["output_tokens"]) == (
                other["prompt_tokens"],
                other["output_tokens"],
            )
            if mode is Mode.RATE:
                begin_s = measured_of(together)[0]["scheduled_s"] - measured_of(alone)[0]["scheduled_s"]
                assert other["scheduled_s"] - one["scheduled_s"] == pytest.approx(begin_s, abs=1e-5)

    def test_their_concurrency_is_the_whole(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """Seven in flight over three processes, all the time, and no more."""
        measured = client.measure(ask(serve(*QUICK), value=7, requests_per_load=8))
        assert measured.metrics["in_flight_mean"] == pytest.approx(7, rel=0.1)
        edges = [(r["sent_s"], 1) for r in records_of(measured)]
        edges += [(r["ended_s"], -1) for r in records_of(measured)]
        flying = most = 0
        for _, change in sorted(edges):
            flying += change
            most = max(most, flying)
        assert most == 7

    def test_one_that_dies_fails_the_measurement(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """Its part would be missing; the others end too."""
        killed: list[int] = []

        def kill(_: Progress) -> None:
            for pid in forks() if not killed else []:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
                break

        url = serve("--ttft-ms", "300")
        before = children()
        with pytest.raises(TrialError, match="ended with status 1") as failed:
            client.measure(ask(url, value=6, min_requests=1000, progress=kill))
        assert failed.value.kind == "benchmark_failed"
        assert "has died" in failed.value.evidence
        assert children() == before
        assert killed

    def test_none_outlives_the_first(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """It is killed, and the others notice."""
        seen: set[int] = set()

        def kill(_: Progress) -> None:
            seen.update(forks())
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)

        url = serve("--ttft-ms", "300")
        before = children()
        with pytest.raises(TrialError, match="ended with status -9"):
            client.measure(ask(url, value=6, min_requests=1000, progress=kill))
        assert len(seen) == 2
        until(lambda: all(gone(pid) for pid in seen))


@pytest.mark.parametrize(
    ("mode", "value", "cpus", "expected"),
    [
        pytest.param(Mode.CONCURRENCY, 64, (0, 1), 1, id="little load"),
        pytest.param(Mode.CONCURRENCY, 4096, (0,), 1, id="one core"),
        pytest.param(Mode.CONCURRENCY, 4096, (0, 1), 2, id="two cores"),
        pytest.param(Mode.CONCURRENCY, 100_000, tuple(range(64)), MOST_PROCESSES, id="no end of both"),
        pytest.param(Mode.RATE, 40, (0, 1), 1, id="a low rate"),
    ],
)
def test_as_many_processes_as_load_and_cores_want(
    mode: Mode, value: float, cpus: tuple[int, ...], expected: int
) -> None:
    """Never more than its cores."""
    assert automatic_processes(Load(mode=mode, value=value), cpus) == expected


class TestShapes(BenchmarkFixtures):
    """One process, and loads that are more than a number."""

    @pytest.mark.parametrize(("mode", "value"), [(Mode.CONCURRENCY, 4), (Mode.RATE, 50)])
    def test_seconds_bound_what_is_measured(self, serve: Serve, ask: Ask, mode: Mode, value: float) -> None:
        """Measured is what is sent within half a second, and filler keeps the load up until its end."""
        asked = ask(serve("--ttft-ms", "50", "--itl-ms", "10"), mode=mode, value=value, seconds_per_load=0.5)
        measured = NativeClient().measure(asked)
        records = records_of(measured)
        sent_s = [record["sent_s"] for record in measured_of(records)]
        assert 0 <= min(sent_s) <= 0.1
        assert 0.3 < max(sent_s) <= 0.6
        assert min(r["sent_s"] for r in records if r["phase"] == "fill") > max(sent_s) - 0.05
        assert measured.requests_completed == len(sent_s) > 10
        assert measured.metrics["load_achieved_fraction"] == pytest.approx(1, abs=0.3)

    def test_a_ramp_is_over_before_anything_is_measured(self, serve: Serve, ask: Ask) -> None:
        """Four workers begin over a second, a third of it apart."""
        records = records_of(NativeClient().measure(ask(serve(*QUICK), value=4, ramp_s=1.0)))
        begin_s = records[0]["sent_s"]
        assert min(record["sent_s"] for record in measured_of(records)) - begin_s >= 0.99
        assert sum(record["sent_s"] - begin_s < 0.2 for record in records) <= 0.2 / 0.02
        first_half = sum(
            record["sent_s"] - begin_s < 0.5 for record in records if record["phase"] == "warmup"
        )
        assert first_half < sum(
            record["sent_s"] - begin_s >= 0.5 for record in records if record["phase"] == "warmup"
        )

    def test_a_steady_engine_is_not_warmed_up_for_longer(self, serve: Serve, ask: Ask) -> None:
        """Two batches are enough to know."""
        url = serve("--ttft-ms", "100", "--itl-ms", "2")
        measured = NativeClient().measure(ask(url, value=4, warmup_requests=4, warmup_max_s=20))
        assert measured.metrics["warmup_steady"] == 1
        assert measured.metrics["warmup_s"] < 5
        assert measured.notes == ()

    def test_an_unsteady_engine_is_measured_and_noted(self, serve: Serve, ask: Ask) -> None:
        """An open loop that begins with less time than two batches need is never seen to be steady."""
        url = serve("--ttft-ms", "600", "--itl-ms", "1")
        asked = ask(url, value=2, warmup_requests=1, warmup_max_s=0.5, min_requests=4)
        measured = NativeClient().measure(asked)
        assert measured.metrics["warmup_steady"] == 0
        assert measured.requests_completed == 6
        [note] = measured.notes
        assert "concurrency 2: latency was not steady when" in note
        assert "workload.warmup_max_s=0.5" in note
        again = NativeClient().measure(replace(asked, repeat=2))
        assert again.metrics["warmup_s"] != measured.metrics["warmup_s"]
        assert again.notes == measured.notes  # equal ones are one note of the trial

    def test_without_a_bound_nothing_is_said_about_steadiness(self, serve: Serve, ask: Ask) -> None:
        """The least warm-up was all that was asked for."""
        assert "warmup_steady" not in NativeClient().measure(ask(serve(*QUICK))).metrics

    def test_a_slow_engine_at_low_load_is_not_the_clients_fault(self, serve: Serve, ask: Ask) -> None:
        """Nothing is said about the client."""
        measured = NativeClient().measure(ask(serve("--ttft-ms", "400", "--itl-ms", "20"), value=2))
        assert measured.client_bound == ()
        assert measured.metrics["load_achieved_fraction"] == pytest.approx(1, abs=0.05)

    def test_an_engine_that_refuses_every_other_request_is_not_the_clients_fault(
        self, serve: Serve, ask: Ask
    ) -> None:
        """At once, so that requests are sent much faster than they are answered."""
        measured = NativeClient().measure(ask(serve(*QUICK, "--fail-every", "2"), value=4, min_requests=200))
        assert measured.client_bound == ()
        assert measured.errors == {"http_500": measured.requests_failed}


def forks() -> list[int]:
    """The processes whose parents are children of this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) in children() and state not in {"Z", "X"}:
                found.append(int(entry.name))
    return sorted(found)


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    stat = stat_of(pid)
    return stat is None or stat.state in {"Z", "X"}


def records_of(measured: Measurement) -> list[dict[str, Any]]:
    """What the client left, in the order of sending."""
    assert measured.raw is not None
    records: list[dict[str, Any]] = json.loads(measured.raw.read_text())
    return sorted(records, key=lambda record: float(record["sent_s"]))


def measured_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The measured ones by their number."""
    return sorted((r for r in records if r["phase"] == "measure"), key=lambda r: int(r["index"]))
