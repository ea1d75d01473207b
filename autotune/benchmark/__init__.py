"""The registry of load clients: `benchmark.kind` names a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from autotune.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from autotune.benchmark.external.tool import Tool
    from autotune.benchmark.protocol import Benchmark
    from autotune.schema import BenchmarkConfig


def _native(config: BenchmarkConfig) -> Benchmark:
    from autotune.benchmark.native import NativeClient

    return NativeClient(processes=config.processes)


def _aiperf() -> Tool:
    from autotune.benchmark.external.aiperf import AiPerf

    return AiPerf()


def _vllm_bench() -> Tool:
    from autotune.benchmark.external.vllm_bench import VllmBench

    return VllmBench()


def _guidellm() -> Tool:
    from autotune.benchmark.external.guidellm import GuideLlm

    return GuideLlm()


def _genai_bench() -> Tool:
    from autotune.benchmark.external.genai_bench import GenAiBench

    return GenAiBench()


TOOLS: Mapping[str, Callable[[], Tool]] = {
    "aiperf": _aiperf,
    "guidellm": _guidellm,
    "genai_bench": _genai_bench,
    "vllm_bench": _vllm_bench,
}
"""Load clients of others, each a process of its own in its own environment."""


def _external(config: BenchmarkConfig) -> Benchmark:
    from autotune.benchmark.environments import problems_of, program_of
    from autotune.benchmark.external.client import ExternalClient

    def program() -> Path:
        found = program_of(config)
        if found is None:
            raise ConfigError(problems_of(config))
        return found

    return ExternalClient(TOOLS[config.kind](), program=program, args=config.args)


BENCHMARKS: Mapping[str, Callable[[BenchmarkConfig], Benchmark]] = {
    "native": _native,
    **dict.fromkeys(TOOLS, _external),
}


def create_benchmark(config: BenchmarkConfig) -> Benchmark:
    """Return the load client of that name.

    Raises: ConfigError naming the known ones.
    """
    if config.kind not in BENCHMARKS:
        raise ConfigError([f"benchmark.kind={config.kind}: must be one of {', '.join(BENCHMARKS)}"])
    return BENCHMARKS[config.kind](config)
