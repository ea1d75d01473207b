"""The native load client: the contract, and what is its own."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from autotune.benchmark.arrivals import arrivals
from autotune.benchmark.native import NativeClient
from autotune.benchmark.protocol import Benchmark, MeasureRequest, Progress
from autotune.errors import TrialError
from autotune.records import Load, Measurement, Mode
from tests.contracts.benchmark import QUICK, Ask, BenchmarkContract, Serve, children
from tests.shop import until

ROOT = Path(__file__).resolve().parents[2]


class TestNativeClient(BenchmarkContract):
    """A process of its own, which leaves one record a request."""

    @pytest.fixture
    def client(self) -> Benchmark:
        """A new client."""
        return NativeClient()

    def test_an_open_loop_sends_by_its_schedule(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """Arrivals are those drawn, never early, and late answers do not hold them back."""
        asked = ask(serve("--ttft-ms", "300", "--itl-ms", "1"), mode=Mode.RATE, value=40, min_requests=30)
        records = _raw(client.measure(asked))
        measured = sorted((r for r in records if r["phase"] == "measure"), key=lambda r: int(r["index"]))
        times_s = arrivals(asked.traffic, asked.load, repeat=1, phase="measure")
        due_s = [record["scheduled_s"] - measured[0]["scheduled_s"] for record in measured]
        assert due_s == pytest.approx(list(islice(times_s, len(measured))), abs=1e-5)
        late_s = [record["sent_s"] - record["scheduled_s"] for record in measured]
        assert min(late_s) >= -2e-6  # both are rounded to microseconds
        assert statistics.median(late_s) < 0.1
        assert {r["error"] for r in records if r["phase"] == "fill"} <= {None, "unfinished"}

    def test_the_raw_file_has_one_record_a_request(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """Warm-up and measured requests ended, filler may be cut; no chunk comes before the one it follows."""
        records = _raw(client.measure(ask(serve(*QUICK), value=2, warmup_requests=2)))
        for phase, count in (("warmup", 4), ("measure", 6)):
            assert sorted(r["index"] for r in records if r["phase"] == phase) == list(range(count))
        assert {record["phase"] for record in records} <= {"warmup", "measure", "fill"}
        assert {r["error"] for r in records if r["phase"] == "fill"} <= {None, "unfinished"}
        for record in (record for record in records if record["error"] != "unfinished"):
            assert (record["status"], record["error"]) == (200, None)
            assert (record["prompt_tokens"], record["output_tokens"]) == (16, 5)
            times = [record["sent_s"], *record["chunks_s"], record["ended_s"]]
            assert len(record["chunks_s"]) == 5
            assert all(before <= after for before, after in pairwise(times))

    def test_throughput_counts_what_was_still_in_flight(
        self, client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """Requests of very unlike lengths end apart, and what the cut ones brought inside the window counts.

        At B and at E each of the 16 in flight has a part of one chunk at most that arrives elsewhere.
        """
        url = serve("--ttft-ms", "20", "--itl-ms", "4")
        measured = client.measure(ask(url, value=16, requests_per_load=2, output_tokens=40, output_spread=1))
        records = _raw(measured)
        cut = [record for record in records if record["error"] == "unfinished"]
        inside = [s for record in records for s in record["chunks_s"] if 0 <= s <= measured.duration_s]
        assert any(record["chunks_s"] for record in cut)
        brought = measured.metrics["output_tokens_per_s"] * measured.duration_s
        assert brought == pytest.approx(len(inside), abs=16)
        assert sum(len(record["chunks_s"]) for record in cut) > 32

    @pytest.mark.parametrize("tokens", [1, 2])
    def test_throughput_is_never_above_what_is_possible(
        self, client: Benchmark, serve: Serve, ask: Ask, tokens: int
    ) -> None:
        """Requests in step all end when the window begins; a busy machine can only make it less."""
        url = serve("--ttft-ms", "100", "--itl-ms", "50")
        asked = ask(url, value=16, requests_per_load=2, warmup_requests=2, output_tokens=tokens)
        metrics = client.measure(asked).metrics
        possible = 16 / (0.1 + 0.05 * (tokens - 1))
        assert metrics["requests_per_s"] <= 1.02 * possible
        assert metrics["output_tokens_per_s"] <= 1.02 * possible * tokens

    def test_the_reason_names_how_many_failed_and_with_what(
        self, client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """Every request of the warm-up is answered with 500, and the answer is the evidence."""
        url = serve(*QUICK, "--fail-every", "1")
        with pytest.raises(
            TrialError, match="all 6 warm-up requests failed, 6 of them with http_500"
        ) as failed:
            client.measure(ask(url, value=2, warmup_requests=3))
        assert failed.value.kind == "all_requests_failed"
        assert "told to fail" in failed.value.evidence

    @pytest.mark.parametrize(
        ("load", "warmup_requests", "fails"), [(1, 1, 1), (1, 1, 2), (8, 1, 7), (8, 1, 1)]
    )
    def test_a_failure_or_two_are_no_broken_engine(
        self, client: Benchmark, serve: Serve, ask: Ask, load: int, warmup_requests: int, fails: int
    ) -> None:
        """The warm-up goes on, and nothing is measured before one of its requests is answered."""
        url = serve("--ttft-ms", "200", "--itl-ms", "2", "--fail-first", str(fails))
        measured = client.measure(ask(url, value=load, warmup_requests=warmup_requests, min_requests=8))
        failed = [record for record in _raw(measured) if record["error"] == "http_500"]
        assert len(failed) == fails
        assert {record["phase"] for record in failed} == {"warmup"}
        assert measured.requests_failed == 0
        assert measured.requests_completed == max(8, 3 * load)

    def test_a_failure_beside_seven_in_flight_is_no_broken_engine(
        self, client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """The least warm-up is one request, and the others are measured at once."""
        url = serve("--ttft-ms", "200", "--itl-ms", "2", "--fail-first", "1")
        measured = client.measure(ask(url, value=8, warmup_requests=0))
        assert [record["error"] for record in _raw(measured)].count("http_500") == 1
        assert measured.requests_completed + measured.requests_failed == 24

    @pytest.mark.parametrize(
        ("mode", "load", "expected"),
        [(Mode.CONCURRENCY, 1, 3), (Mode.CONCURRENCY, 2, 3), (Mode.CONCURRENCY, 8, 8), (Mode.RATE, 20, 20)],
    )
    def test_an_engine_that_fails_everything_is_told_by_its_warm_up(
        self, client: Benchmark, serve: Serve, ask: Ask, mode: Mode, load: int, expected: int
    ) -> None:
        """Three failures at the least, one for each unit of load, and none of the measured requests is sent."""
        url = serve(*QUICK, "--fail-first", "1000000")
        told: list[Progress] = []
        asked = ask(url, mode=mode, value=load, seconds_per_load=300, progress=told.append)
        with pytest.raises(TrialError, match=r"all \d+ warm-up requests failed") as failed:
            client.measure(asked)
        assert failed.value.kind == "all_requests_failed"
        assert {report.phase for report in told} == {"warmup"}
        assert told[-1].requests_failed == pytest.approx(expected, abs=1)
        assert told[-1].requests_failed >= expected

    def test_only_its_raw_file_is_left(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """What it was told and what it summed up is in the measurement."""
        measured = client.measure(ask(serve(*QUICK)))
        assert measured.raw is not None
        assert list(measured.raw.parent.iterdir()) == [measured.raw]

    def test_it_tells_what_has_come_and_what_waits(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """Of 3 answers with 5 tokens of one chunk each, their heads and some reads; filler counts too."""
        told: list[Progress] = []
        client.measure(ask(serve(*QUICK), warmup_requests=0, progress=told.append))
        assert None not in {told[-1].received, told[-1].in_flight}
        assert (told[0].received, told[0].in_flight) == (0, 0)
        assert (told[-1].received or 0) >= 3 * 2

    @pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: every process is on it")
    def test_it_runs_on_its_cores_only(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """Every thread of it, and nobody else: neither the one who asks, nor what that starts next."""
        mine = os.sched_getaffinity(0)
        core = max(mine)
        url = serve(*QUICK)
        others = children()
        seen: set[frozenset[int]] = set()

        def look(_: Progress) -> None:
            for pid in children() - others:
                seen.update(_cores(pid))

        client.measure(replace(ask(url, progress=look), cpus=(core,)))
        assert seen == {frozenset({core})}
        assert os.sched_getaffinity(0) == mine
        seen.clear()
        client.measure(ask(url, progress=look))
        assert seen == {frozenset(mine)}

    def test_a_client_that_is_killed_fails_the_trial(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """The reason names the signal's status; nothing is left of it."""
        url = serve(*QUICK)
        before = children()

        def kill(_: Progress) -> None:
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)

        with pytest.raises(TrialError, match="ended with status -9") as failed:
            client.measure(ask(url, min_requests=1000, progress=kill))
        assert failed.value.kind == "benchmark_failed"
        assert children() == before

    def test_a_client_ends_with_whoever_started_it(self, tmp_path: Path, serve: Serve, ask: Ask) -> None:
        """The end of its standard input is enough, in the middle of a request."""
        asked = ask(serve("--ttft-ms", "60000"))
        with _alone() as process:
            assert process.stdout is not None
            assert process.stdin is not None
            for line in (_spec(asked, tmp_path / "client"), asdict(asked.endpoint)):
                process.stdin.write(json.dumps(line).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["phase"] == "warmup"
            process.stdin.close()
            try:
                assert process.wait(10) == 1
            finally:
                process.kill()
        assert not list(tmp_path.glob("client*"))

    @pytest.mark.parametrize("lines", [0, 1])
    def test_a_client_that_waits_ends_with_whoever_started_it(
        self, lines: int, tmp_path: Path, ask: Ask
    ) -> None:
        """Before it is told what to send, and before it is told where to."""
        with _alone() as process:
            assert process.stdin is not None
            spec = json.dumps(_spec(ask("http://127.0.0.1:1"), tmp_path / "client")).encode() + b"\n"
            process.stdin.write(spec * lines)
            process.stdin.close()
            try:
                assert process.wait(20) == 1
            finally:
                process.kill()
        assert not list(tmp_path.glob("client*"))

    def test_what_was_prepared_is_what_measures(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """The process that waited, and a new one for a measurement that nobody had announced."""
        asked = ask(serve(*QUICK), value=2)
        before = children()
        client.prepare(replace(asked, endpoint=replace(asked.endpoint, url="")))
        [waiting] = children() - before
        seen: set[int] = set()

        def look(_: Progress) -> None:
            seen.update(children() - before)

        client.measure(replace(asked, on_progress=look))
        assert seen == {waiting}
        client.measure(replace(asked, on_progress=look))
        assert len(seen) == 2

    @pytest.mark.parametrize(
        "change", [{"repeat": 2}, {"timeout_s": 7}, {"load": Load(mode=Mode.CONCURRENCY, value=3)}]
    )
    def test_what_was_prepared_for_another_measurement_is_not_used(
        self, change: dict[str, Any], client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """It ends unused, and nothing of it is left."""
        asked = ask(serve(*QUICK))
        before = children()
        client.prepare(asked)
        [waiting] = children() - before
        seen: set[int] = set()

        def look(_: Progress) -> None:
            seen.update(children() - before)

        measured = client.measure(replace(asked, on_progress=look, **change))
        assert waiting not in seen
        assert children() == before
        assert measured.raw is not None
        assert list(measured.raw.parent.iterdir()) == [measured.raw]

    def test_a_client_that_died_while_it_waited_is_replaced(
        self, client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """Nobody is measured by it, and the trial goes on."""
        asked = ask(serve(*QUICK))
        before = children()
        client.prepare(asked)
        [waiting] = children() - before
        os.kill(waiting, signal.SIGKILL)
        until(lambda: waiting not in children())
        assert client.measure(asked).requests_completed == 3


FAULTY = """
import sys
from autotune.benchmark.client.group import Group

def build(model, share):
    if share.rank:
        raise LookupError("a defect of this one")
    return None

Group(2, "known", build)
sys.stdin.read()
"""


def test_a_followers_own_defect_is_in_the_log() -> None:
    """Its traceback goes to standard error, which is the client's log."""
    ran = subprocess.run(
        [sys.executable, "-c", FAULTY], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, check=False
    )
    assert b"Traceback" in ran.stderr
    assert b"LookupError: a defect of this one" in ran.stderr


def _alone() -> subprocess.Popen[bytes]:
    """A client without its adapter."""
    return subprocess.Popen(
        [sys.executable, "-m", "autotune.benchmark.client"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _raw(measured: Measurement) -> list[dict[str, Any]]:
    assert measured.raw is not None
    records: list[dict[str, Any]] = json.loads(measured.raw.read_text())
    return records


def _cores(pid: int) -> set[frozenset[int]]:
    """The cores of each thread of a process; none of one that has ended."""
    found = set()
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(ProcessLookupError):
            found.add(frozenset(os.sched_getaffinity(int(task.name))))
    return found


def _spec(asked: MeasureRequest, out: Path) -> dict[str, object]:
    return {
        "model": asked.endpoint.model,
        "traffic": asdict(asked.traffic),
        "load": {"mode": asked.load.mode.value, "value": asked.load.value},
        "repeat": asked.repeat,
        "timeout_s": asked.timeout_s,
        "out": str(out),
    }
