"""What is asked of a load client's accuracy, and how its rows are printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

OUTPUT_AT_MOST = 1.01  # the server may write half a millisecond early
IDLE = 0.9  # of all cores, before it begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What is asked of the loads up to `concurrency`; ratios to the truth, shares of ideal."""

    concurrency: int
    ttft_within: float | None = None
    itl_within: float | None = None
    p99_within_ms: float | None = None
    output_at_least: float
    cpu_s: float | None = None
    first_s: float | None = None


BUSY = (Bar(concurrency=64, ttft_within=0.05, output_at_least=0.97),)
BARS = (
    Bar(concurrency=64, ttft_within=0.03, itl_within=0.01, output_at_least=0.98, first_s=0.5),
    Bar(concurrency=256, ttft_within=0.06, p99_within_ms=50, output_at_least=0.97, cpu_s=1.5, first_s=0.5),
    Bar(concurrency=1024, output_at_least=0.85),
)
"""On two idle cores, shared with a server of 100 ms TTFT and 10 ms ITL: 128 tokens in, 64 out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One load; times in the units of the names, shares of 1."""

    ttft_ms: float
    truth_ms: float
    ttft_ratio: float
    p99_ms: float
    p99_truth_ms: float
    itl_ratio: float
    output_share: float
    cpu_s: float
    core: float
    window_s: float
    around_s: float
    first_s: float
    bound: float
    miscounted: float


def median(rows: Sequence[Row]) -> Row:
    """Return the median of each column."""
    names = [field.name for field in fields(Row)]
    return Row(**{name: statistics.median(getattr(row, name) for row in rows) for name in names})


def print_rows(rows: Mapping[tuple[str, int], Row]) -> None:
    """Print the table."""
    print(
        "client      concurrency  TTFT ms   truth  ratio     p99   truth  ITL ratio  of ideal  CPU s  core"
        "  window s  around s  first s  bound  miscounted"
    )
    for (name, load), row in rows.items():
        print(
            f"{name:11}{load:12}{row.ttft_ms:9.1f}{row.truth_ms:8.1f}{row.ttft_ratio:7.3f}{row.p99_ms:8.1f}"
            f"{row.p99_truth_ms:8.1f}{row.itl_ratio:11.3f}{row.output_share:10.1%}{row.cpu_s:7.2f}{row.core:6.2f}"
            f"{row.window_s:10.1f}{row.around_s:10.1f}{row.first_s:9.2f}{row.bound:7g}{row.miscounted:12g}"
        )


def problems_of(name: str, load: int, row: Row, bars: tuple[Bar, ...]) -> list[str]:
    """Return what a row falls short of; nothing for loads without a bar."""
    bar = next((bar for bar in bars if load <= bar.concurrency), None)
    if bar is None:
        return []
    judged = [
        ("TTFT over the truth - 1", abs(row.ttft_ratio - 1), bar.ttft_within),
        ("ITL over the truth - 1", abs(row.itl_ratio - 1), bar.itl_within),
        ("p99 TTFT - the truth, ms", abs(row.p99_ms - row.p99_truth_ms), bar.p99_within_ms),
        ("CPU s", row.cpu_s, bar.cpu_s),
        ("s to the first request", row.first_s, bar.first_s),
        ("output over ideal", row.output_share, OUTPUT_AT_MOST),
        ("runs with errors that the server does not know, or without", row.miscounted, 0.0),
    ]
    problems = [
        f"{name}, concurrency {load}: {what} is {value:.3f}, {most:g} is allowed"
        for what, value, most in judged
        if most is not None and value > most
    ]
    if row.output_share < bar.output_at_least:
        least = bar.output_at_least
        problems.append(
            f"{name}, concurrency {load}: output is {row.output_share:.1%} of ideal, not {least:.0%}"
        )
    return problems


def idle_share() -> float:
    """Return which share of the machine is idle, over a second."""
    before = _ticks()
    time.sleep(1.0)
    passed = [after - earlier for after, earlier in zip(_ticks(), before, strict=True)]
    return (passed[3] + passed[4]) / sum(passed)


def _ticks() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
