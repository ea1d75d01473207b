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
from autotune.schema import BenchmarkConfig, Config


def client_findings(config: Config) -> list[Finding]:
    """Return a finding for each load client; the one that is asked for may be in `benchmark.venv`."""
    own = Finding(about=f"benchmark={NATIVE}", text=f"part of autotune, version {__version__}")
    return [own, *(_client(kind, config) for kind in (*CLIENTS, VLLM_BENCH))]


def installed_clients(config: Config) -> list[str]:
    """Return the clients that can run here, `native` first."""
    others = (kind for kind in (*CLIENTS, VLLM_BENCH) if kind in BENCHMARKS)
    return [NATIVE, *(kind for kind in others if program_of(chosen(kind, config)) is not None)]


def chosen(kind: str, config: Config) -> BenchmarkConfig:
    """Return a client's configuration: the command's own if it is the one asked for.

    vLLM's client is looked for where the command has its engine.
    """
    asked = config.benchmark
    if kind == asked.kind:
        return asked
    beside = config.deploy.venv if kind == VLLM_BENCH and config.runtime.kind == VLLM else None
    return BenchmarkConfig(kind=kind, venv=beside, request_timeout_s=asked.request_timeout_s)


def missing_words(present: Sequence[str], config: Config) -> list[str]:
    """Return how each client that is not there is had."""
    lines = []
    for kind in (*CLIENTS, VLLM_BENCH):
        problems = problems_of(chosen(kind, config))
        if kind not in BENCHMARKS:
            lines.append(f"benchmark.kind={kind}: this version of autotune cannot run it yet")
        elif kind not in present:
            lines += problems
    return lines


def _client(kind: str, config: Config) -> Finding:
    about, own = f"benchmark={kind}", chosen(kind, config)
    program = program_of(own)
    if program is None:
        [text] = problems_of(own)
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
