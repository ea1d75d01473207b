"""The load clients: our own, and whether and where those of others are installed."""

from __future__ import annotations

from dataclasses import replace

from autotune import __version__
from autotune.benchmark.environments import (
    CLIENTS,
    NATIVE,
    VLLM,
    VLLM_BENCH,
    problems_of,
    program_of,
    version_in,
)
from autotune.benchmark.startable import client_problems
from autotune.doctor.finding import Finding, State
from autotune.records import Wording
from autotune.schema import BenchmarkConfig, Config


def client_findings(config: Config) -> list[Finding]:
    """Return a finding for each load client; the one that is asked for may be in `benchmark.venv`."""
    own = Finding(about=f"benchmark={NATIVE}", text=f"part of autotune, version {__version__}")
    return [own, *(_client(kind, config) for kind in (*CLIENTS, VLLM_BENCH))]


def able_clients(config: Config, wording: Wording) -> tuple[list[str], list[str]]:
    """Return the clients that can measure this workload here, `native` first, and why others cannot."""
    able, lines = [NATIVE], []
    for kind in (*CLIENTS, VLLM_BENCH):
        problems = client_problems(replace(config, benchmark=chosen(kind, config)), wording)
        lines += problems
        if not problems:
            able.append(kind)
    return able, lines


def chosen(kind: str, config: Config) -> BenchmarkConfig:
    """Return a client's configuration: the command's own if it is the one asked for.

    vLLM's client is looked for where the command has its engine.
    """
    asked = config.benchmark
    if kind == asked.kind:
        return asked
    beside = config.deploy.venv if kind == VLLM_BENCH and config.runtime.kind == VLLM else None
    return BenchmarkConfig(kind=kind, venv=beside, request_timeout_s=asked.request_timeout_s)


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
    return Finding(about=about, text=text)
