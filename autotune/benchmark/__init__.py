"""The registry of load clients: `benchmark.kind` names a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from autotune.errors import ConfigError

if TYPE_CHECKING:
    from autotune.benchmark.protocol import Benchmark
    from autotune.schema import BenchmarkConfig


def _native(config: BenchmarkConfig) -> Benchmark:
    from autotune.benchmark.native import NativeClient

    return NativeClient(processes=config.processes)


BENCHMARKS: Mapping[str, Callable[[BenchmarkConfig], Benchmark]] = {"native": _native}


def create_benchmark(config: BenchmarkConfig) -> Benchmark:
    """Return the load client of that name.

    Raises: ConfigError naming the known ones.
    """
    if config.kind not in BENCHMARKS:
        raise ConfigError([f"benchmark.kind={config.kind}: must be one of {', '.join(BENCHMARKS)}"])
    return BENCHMARKS[config.kind](config)
