"""The load clients: our own, and whether and where those of others are installed."""

from __future__ import annotations

from collections.abc import Sequence

from autotune import __version__
from autotune.benchmark import BENCHMARKS
from autotune.benchmark.environments import (
    CLIENTS,
    NATIVE,
    VLLM,
    VLLM_BENCH,
    problems_of,
    program_of,
    version_in,
)
from autotune.doctor.finding import Finding, State
from autotune.schema import BenchmarkConfig


def client_findings(asked: BenchmarkConfig) -> list[Finding]:
    """Return a finding for each load client; the one that is asked for may be in `benchmark.venv`."""
    own = Finding(about=f"benchmark={NATIVE}", text=f"part of autotune, version {__version__}")
    return [own, *(_client(kind, asked) for kind in (*CLIENTS, VLLM_BENCH))]


def installed_clients(asked: BenchmarkConfig) -> list[str]:
    """Return the clients that can run here, `native` first."""
    others = (kind for kind in (*CLIENTS, VLLM_BENCH) if kind in BENCHMARKS)
    return [NATIVE, *(kind for kind in others if program_of(chosen(kind, asked)) is not None)]


def chosen(kind: str, asked: BenchmarkConfig) -> BenchmarkConfig:
    """Return a client's configuration: the command's own if it is the one asked for."""
    if kind == asked.kind:
        return asked
    return BenchmarkConfig(kind=kind, request_timeout_s=asked.request_timeout_s)


def missing_words(present: Sequence[str]) -> list[str]:
    """Return how each client that is not there is had."""
    return [
        problems_of(BenchmarkConfig(kind=kind))[0] for kind in (*CLIENTS, VLLM_BENCH) if kind not in present
    ]


def _client(kind: str, asked: BenchmarkConfig) -> Finding:
    about, config = f"benchmark={kind}", chosen(kind, asked)
    program = program_of(config)
    if program is None:
        [text] = problems_of(config)
        what, _, fix = text.removeprefix(f"benchmark.kind={kind}: ").rpartition(": ")
        return Finding(about=about, text=what, state=State.MISSING, fix=fix)
    expected = CLIENTS[kind].version if kind in CLIENTS else None
    distribution = CLIENTS[kind].distribution if kind in CLIENTS else VLLM
    version = version_in(program.parent.parent, distribution)
    text = f"version {version or 'unknown'}, {program}"
    if expected is not None and version != expected:
        fix = f"autotune reads what {expected} writes: it may refuse what another version does"
        return Finding(about=about, text=text, state=State.NOTE, fix=fix)
    if kind not in BENCHMARKS:
        text = f"{text}; this version of autotune cannot run it yet"
        return Finding(about=about, text=text, state=State.NOTE)
    return Finding(about=about, text=text)
