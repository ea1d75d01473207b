"""Suites that every implementation of a seam inherits; `Benchmark`'s needs the known-timing server only."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.benchmark.protocol import Benchmark, MeasureRequest, Progress
from autotune.errors import Interrupted, TrialError
from autotune.processes import ProcessGroup
from autotune.records import Endpoint, Load, Measurement, Mode, Traffic

SERVER = Path(__file__).resolve().parents[2] / "benchmarks" / "known_timing_server.py"
QUICK = ("--ttft-ms", "20", "--itl-ms", "2")
PROMPT_S = 10.0  # "at once" on a machine that does other things too

Serve = Callable[..., str]
Ask = Callable[..., MeasureRequest]

TRAFFIC = Traffic(
    endpoint="completions",
    input_tokens=16,
    output_tokens=5,
    input_spread=0,
    output_spread=0,
    requests_per_load=3,
    min_requests=1,
    warmup_requests=1,
    ignore_eos=True,
    seed=1,
)


def children() -> set[int]:
    """The processes that this one started and that still run; zombies do not count."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if int(parent) == os.getpid() and state not in {"Z", "X"}:
            found.add(int(entry.name))
    return found


def near(value: float, truth: float) -> bool:
    """Whether a latency can be the truth's: not below it by a tenth, above it by what a busy machine adds."""
    return 0.9 * truth <= value <= 1.5 * truth + 30


class BenchmarkFixtures:
    """Servers of known timing, and requests for measurements of them."""

    endpoint = "completions"
    """Where requests go if a test does not say."""

    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Serve]:
        """Start a server with these arguments and return its address."""
        servers: list[ProcessGroup] = []

        def start(*arguments: str) -> str:
            argv = [sys.executable, str(SERVER), *arguments]
            servers.append(ProcessGroup(argv, env=os.environ, log=tmp_path / "server.log", piped=True))
            return f"http://127.0.0.1:{int(servers[-1].stdout.readline().split()[1])}"

        yield start
        for server in servers:
            server.terminate(1.0)

    @pytest.fixture
    def ask(self, tmp_path: Path) -> Ask:
        """Make the request for a measurement at `url`; any field of the traffic can be given."""

        def make(
            url: str,
            *,
            mode: Mode = Mode.CONCURRENCY,
            value: float = 1,
            progress: Callable[[Progress], None] = lambda _: None,
            **traffic: str | float,
        ) -> MeasureRequest:
            return MeasureRequest(
                endpoint=Endpoint(url=url, model="known"),
                traffic=replace(TRAFFIC, **{"endpoint": self.endpoint, **traffic}),  # type: ignore[arg-type]
                load=Load(mode=mode, value=value),
                repeat=1,
                out_dir=tmp_path / "out",
                on_progress=progress,
                timeout_s=20,
            )

        return make


class BenchmarkContract(BenchmarkFixtures):
    """What `autotune.benchmark.protocol.Benchmark` promises. A subclass gives the client."""

    endpoints = frozenset({"completions", "chat"})
    keeps_chunks = True
    """Whether it knows when each chunk came; if not, it says nothing of ITL."""

    @pytest.fixture
    def client(self) -> Benchmark:
        """Return a new client; to be overridden."""
        raise NotImplementedError

    @pytest.mark.parametrize(("load", "least", "expected"), [(1, 7, 7), (4, 1, 12), (4, 20, 20)])
    def test_it_measures_as_many_requests_as_asked(
        self, client: Benchmark, serve: Serve, ask: Ask, load: int, least: int, expected: int
    ) -> None:
        """max(min_requests, requests_per_load × load), neither warm-up nor filler among them."""
        measured = client.measure(ask(serve(*QUICK), value=load, min_requests=least))
        assert (measured.requests_completed, measured.requests_failed) == (expected, 0)
        assert measured.metrics["requests_completed"] == expected
        assert measured.errors == {}

    @pytest.mark.parametrize("endpoint", ["completions", "chat"])
    def test_latencies_are_milliseconds_of_what_their_names_say(
        self, client: Benchmark, serve: Serve, ask: Ask, endpoint: str
    ) -> None:
        """With 11 tokens of one chunk each, e2e = ttft + 10 × tpot, and tpot is itl."""
        if endpoint not in self.endpoints:
            pytest.skip(f"this client has no {endpoint}")
        url = serve("--ttft-ms", "53", "--itl-ms", "7")
        metrics = client.measure(
            ask(url, value=2, endpoint=endpoint, output_tokens=11, min_requests=8)
        ).metrics
        assert near(metrics["ttft_ms_p50"], 53)
        assert near(metrics["tpot_ms_p50"], 7)
        if self.keeps_chunks:
            assert near(metrics["itl_ms_p50"], 7)
            assert metrics["tpot_ms_mean"] == pytest.approx(metrics["itl_ms_mean"], rel=0.001)
        assert metrics["e2e_ms_mean"] == pytest.approx(
            metrics["ttft_ms_mean"] + 10 * metrics["tpot_ms_mean"], rel=0.001
        )
        ideal = 2 * 11 / (0.053 + 10 * 0.007)
        assert 0.5 * ideal < metrics["output_tokens_per_s"] < 1.1 * ideal

    def test_tpot_counts_tokens_and_itl_counts_chunks(
        self, client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """12 tokens in 3 chunks: 2 gaps of itl are 11 times tpot."""
        url = serve("--ttft-ms", "20", "--itl-ms", "37", "--tokens-per-chunk", "4")
        metrics = client.measure(ask(url, output_tokens=12, min_requests=6)).metrics
        assert near(metrics["tpot_ms_mean"] * 11, 74)
        if self.keeps_chunks:
            assert near(metrics["itl_ms_p50"], 37)
            assert metrics["tpot_ms_mean"] * 11 == pytest.approx(metrics["itl_ms_mean"] * 2, rel=0.001)
        else:
            assert not [name for name in metrics if name.startswith("itl_ms")]

    @pytest.mark.parametrize(
        ("argument", "kind"), [("--fail-every", "http_500"), ("--truncate-every", "truncated")]
    )
    def test_failures_are_counted_by_kind_and_kept_out_of_latencies(
        self, client: Benchmark, serve: Serve, ask: Ask, argument: str, kind: str
    ) -> None:
        """Every fourth of 40 fails, and what they took (nearly nothing, half of the others) moves no mean."""
        measured = client.measure(ask(serve(*QUICK, argument, "4"), min_requests=40, warmup_requests=4))
        assert (measured.requests_completed, measured.requests_failed) == (30, 10)
        assert measured.errors == {kind: 10}
        assert near(measured.metrics["ttft_ms_mean"], 20)
        assert near(measured.metrics["e2e_ms_mean"], 28)

    def test_tokens_that_nobody_counted_are_no_result(
        self, client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """Without usage no request counts."""
        url = serve(*QUICK, "--no-usage")
        with pytest.raises(TrialError, match="no_usage") as failed:
            client.measure(ask(url))
        assert failed.value.kind == "all_requests_failed"

    def test_an_engine_that_nobody_can_reach_fails_the_trial(self, client: Benchmark, ask: Ask) -> None:
        """The warm-up is enough to know; the port is bound, and nobody listens."""
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{held.getsockname()[1]}"
            with pytest.raises(TrialError, match="connect") as failed:
                client.measure(ask(url, value=4))
        assert failed.value.kind == "all_requests_failed"

    def test_stop_ends_a_measurement_at_once(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """It raises Interrupted, no process is left, and later measurements are refused.

        Of an engine that answers nothing, nothing has come.
        """
        url = serve("--ttft-ms", "60000")
        begun, ended = threading.Event(), threading.Event()
        told: list[Progress] = []
        results: list[Measurement | Exception] = []
        before = children()

        def hear(progress: Progress) -> None:
            told.append(progress)
            begun.set()

        def measure() -> None:
            try:
                results.append(client.measure(ask(url, progress=hear)))
            except Interrupted as interrupted:
                results.append(interrupted)
            ended.set()

        thread = threading.Thread(target=measure)
        thread.start()
        assert begun.wait(30)
        stopped_s = time.monotonic()
        client.stop()
        assert ended.wait(30)
        assert time.monotonic() - stopped_s < PROMPT_S
        thread.join()
        assert isinstance(results[0], Interrupted)
        assert {report.received or 0 for report in told} == {0}
        assert children() == before
        with pytest.raises(Interrupted):
            client.measure(ask(url))

    def test_a_measurement_that_was_prepared_is_like_any_other(
        self, client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """Its endpoint is told only when it begins, and the name of the model may be another one then."""
        asked = ask(serve(*QUICK), value=2)
        for model in ("known", ""):
            client.prepare(replace(asked, endpoint=Endpoint(url="", model=model)))
            measured = client.measure(asked)
            assert (measured.requests_completed, measured.requests_failed) == (6, 0)
        client.stop()

    def test_preparing_sends_nothing_and_reports_nothing(self, client: Benchmark, ask: Ask) -> None:
        """There is no engine yet; twice is harmless."""
        told: list[Progress] = []
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            held.listen()
            held.settimeout(1.0)
            asked = ask(f"http://127.0.0.1:{held.getsockname()[1]}", progress=told.append)
            client.prepare(asked)
            client.prepare(asked)
            with pytest.raises(TimeoutError):
                held.accept()
            client.stop()
        assert told == []

    def test_stop_ends_what_was_prepared(self, client: Benchmark, ask: Ask, tmp_path: Path) -> None:
        """No process and no file is left, then or later, and stopping twice is harmless."""
        before = children()
        asked = ask("http://127.0.0.1:1")
        client.prepare(asked)
        client.stop()
        client.stop()
        assert children() == before
        client.prepare(asked)
        assert children() == before
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        with pytest.raises(Interrupted):
            client.measure(asked)

    def test_progress_never_falls_back_and_ends_with_the_totals(
        self, client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """The last report is of the measuring phase, complete."""
        told: list[Progress] = []
        client.measure(ask(serve(*QUICK), value=2, min_requests=20, progress=told.append))
        steps = [(report.phase == "measure", report.requests_completed) for report in told]
        assert steps == sorted(steps)
        last = told[-1]
        assert last.phase == "measure"
        assert (last.requests_completed, last.requests_failed, last.requests_total) == (20, 0, 20)
        counted = [report.received for report in told if report.received is not None]
        assert counted == sorted(counted)
        assert len(counted) in {0, len(told)}

    def test_a_count_of_what_has_come_grows_within_an_answer(
        self, client: Benchmark, serve: Serve, ask: Ask
    ) -> None:
        """A client that keeps no such count says None; an engine at its first answer seems to hang then."""
        told: list[Progress] = []
        url = serve("--ttft-ms", "100", "--itl-ms", "700")
        asked = ask(url, progress=told.append, warmup_requests=0, requests_per_load=1)
        client.measure(asked)
        within = [report for report in told if report.requests_completed == 0]
        if told[-1].received is not None:
            assert len({report.received for report in within}) >= 3
            assert max(report.received or 0 for report in within) >= 3
        if told[-1].in_flight is not None:
            assert {report.in_flight for report in within[1:]} == {1}

    def test_a_second_measurement_is_like_the_first(self, client: Benchmark, serve: Serve, ask: Ask) -> None:
        """A client measures one load after the other."""
        url = serve(*QUICK)
        assert [client.measure(ask(url, value=n)).requests_completed for n in (1, 2)] == [3, 6]
