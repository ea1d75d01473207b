"""The suite for load clients of others: `Benchmark`'s, and that each means by its numbers what we do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.benchmark import create_benchmark
from autotune.benchmark.environments import problems_of, program_of
from autotune.benchmark.protocol import Benchmark
from autotune.records import Mode
from autotune.schema import BenchmarkConfig
from tests.contracts.benchmark import BenchmarkContract, Serve, children

REQUIRED = os.environ.get("AUTOTUNE_CLIENT_TESTS")
"""Clients whose absence is a failure; `scripts/check-clients` sets them. Without it none are tried."""


def require(kind: str) -> None:
    """Skip, or fail where the client has to be there, unless it is installed."""
    if REQUIRED is None:
        pytest.skip("takes minutes for each client: sh scripts/check-clients")
    config = BenchmarkConfig(kind=kind)
    if program_of(config) is None:
        reason = "; ".join(problems_of(config))
        (pytest.fail if kind in REQUIRED.split() else pytest.skip)(reason)


class ExternalContract(BenchmarkContract):
    """What every client of others promises beside the contract. A subclass gives its `kind`."""

    kind: str
    has_rates = True

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        require(self.kind)

    @pytest.fixture
    def client(self) -> Benchmark:
        """A new client."""
        return create_benchmark(BenchmarkConfig(kind=self.kind))

    @pytest.mark.parametrize("endpoint", ["completions", "chat"])
    def test_units_and_definitions_by_primes(
        self, client: Benchmark, serve: Serve, ask: Callable[..., Any], endpoint: str
    ) -> None:
        """TTFT 211 ms, gaps of 23 ms, 31 tokens in chunks of 3, prompts of 47 words: all of them primes.

        No number can be taken for another, and no unit for another. 11 chunks: 10 gaps of ITL, 30 of TPOT,
        and an answer takes 441 ms.
        """
        if endpoint not in self.endpoints:
            pytest.skip(f"{self.kind} has no {endpoint}")
        url = serve("--ttft-ms", "211", "--itl-ms", "23", "--tokens-per-chunk", "3")
        asked = ask(
            url,
            value=2,
            endpoint=endpoint,
            output_tokens=31,
            input_tokens=47,
            min_requests=8,
            requests_per_load=4,
        )
        measured = client.measure(asked)
        metrics = measured.metrics
        assert 211 * 0.98 <= metrics["ttft_ms_p50"] <= 211 + 60
        assert metrics["tpot_ms_p50"] == pytest.approx(230 / 30, rel=0.1)
        assert metrics["e2e_ms_p50"] == pytest.approx(441, rel=0.15)
        if self.keeps_chunks:
            assert metrics["itl_ms_p50"] == pytest.approx(23, rel=0.1)
        else:
            assert not [name for name in metrics if name.startswith("itl_ms")]
        output = metrics["output_tokens_per_s"]
        assert metrics["requests_per_s"] == pytest.approx(output / 31, rel=0.02)
        assert metrics["total_tokens_per_s"] == pytest.approx(output * (31 + 47) / 31, rel=0.05)
        assert 0.6 * 2 * 31 / 0.441 <= output <= 1.02 * 2 * 31 / 0.441

    def test_an_open_loop_comes_at_its_rate(
        self, client: Benchmark, serve: Serve, ask: Callable[..., Any]
    ) -> None:
        """40 arrivals at 20/s take two seconds, give or take what is drawn."""
        if not self.has_rates:
            pytest.skip(f"{self.kind} has no open loop")
        asked = ask(serve("--ttft-ms", "20", "--itl-ms", "2"), mode=Mode.RATE, value=20, min_requests=40)
        measured = client.measure(asked)
        assert measured.requests_completed == 60
        assert 10 <= measured.metrics["load_achieved"] <= 40
        assert "load_achieved_fraction" not in measured.metrics

    def test_its_own_report_stays_in_the_trials_folder(
        self, client: Benchmark, serve: Serve, ask: Callable[..., Any]
    ) -> None:
        """With its log, under its name and load; nothing else is left behind, and no process."""
        before = children()
        asked = ask(serve("--ttft-ms", "20", "--itl-ms", "2"), value=2)
        started = children() - before
        client.measure(asked)
        [folder] = [path for path in (asked.out_dir / "clients").iterdir() if path.is_dir()]
        assert folder.name == f"{self.kind}-concurrency-2-1"
        assert {"client.log"} < {path.name for path in folder.iterdir()}
        assert children() - before == started
        assert not left_in_scratch(asked.out_dir)

    def test_repeats_send_other_requests(
        self, client: Benchmark, serve: Serve, ask: Callable[..., Any]
    ) -> None:
        """As the native client's do: nobody measures a warm prefix cache."""
        asked = ask(serve("--ttft-ms", "20", "--itl-ms", "2"))
        for repeat in (0, 1):
            measured = client.measure(replace(asked, repeat=repeat))
            assert measured.repeat == repeat
            assert measured.requests_completed == 3


def left_in_scratch(trial: Path) -> set[Path]:
    """The folders for temporary files that a trial left."""
    from autotune import scratch

    return scratch.left_of(trial)
