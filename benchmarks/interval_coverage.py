"""How often the stated 95 % intervals hold the truth.

`python benchmarks/interval_coverage.py [--runs 200] [--scenario NAME,...] [--check]`. Each run is a short
measurement of a server whose random timing is known (`closed_loop.py`, virtual time, so that hundreds take
seconds); its requests go through the real metrics, estimates and rule for stopping. The truth is one run of
some ten thousand requests. Printed for every ranked metric: how many of the intervals hold it, the mean
half-width as a share of the metric, and how many runs could state no interval (percentiles of few requests).

* `repeats 1`: the noise within a run alone. `repeats 3`: what is stated by default. `until`: repeats go on
  until output tokens/s are known as well as is asked; stopping when they seem to be biases what is stated.
* Scenarios: `short` 8 in flight and 64 requests; `wide` 64 in flight; `one` 1 in flight, 16 requests; `moods`
  requests in flight are slow together; `differ` repeats differ by more than their requests explain.
* No interval knows of a bias. Requests that all began together are still a little in step after four rounds
  of warm-up, which adds 0.1 to 0.2 % to the throughput of `wide`: asked for ± 0.4 %, 85 % hold the truth.

`--http N` measures N times with the real client over HTTP, the known-timing server drawing every TTFT; the
truth is then all N runs together. ITL and TPOT are not drawn: they are this machine's moods, and not judged.

`--check` exits with 1 unless 90 to 99 % of the intervals hold the truth, in every column of the scenarios
without moods and differences over all the metrics that at least half of the runs state, and 88 to 99.5 % for
each metric: of the hundreds of shares in the tables chance takes some a little outside.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import closed_loop
from coverage_over_http import measured_over_http

from autotune.benchmark.metrics import RequestRecord, summarize
from autotune.records import (
    LATENCIES,
    STATISTICS,
    THROUGHPUTS,
    Load,
    LoadResult,
    Measurement,
    Mode,
)
from autotune.rounds import is_sure
from autotune.schema import Direction, ObjectiveConfig
from autotune.score import objective as score
from autotune.score.batches import Batches, cut

AT_LEAST, AT_MOST = 0.90, 0.99  # of all metrics together
EACH_AT_LEAST, EACH_AT_MOST = 0.88, 0.995
MOST_REPEATS = 20
TRUTH_REQUESTS = 40_000
METRICS = (*THROUGHPUTS, *(f"{latency}_{name}" for latency in LATENCIES for name in STATISTICS))
OBJECTIVE = ObjectiveConfig(metric="output_tokens_per_s", direction=Direction.maximize)

Repeat = tuple[Measurement, Batches]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A server and a load; `until` asks for five repeats and more. Only `checked` ones decide."""

    in_flight: int
    requests: int
    until: float
    timing: closed_loop.Timing = field(default_factory=closed_loop.Timing)
    checked: bool = True


SCENARIOS = {
    "short": Scenario(in_flight=8, requests=64, until=0.012),
    "wide": Scenario(in_flight=64, requests=512, until=0.008),
    "one": Scenario(in_flight=1, requests=16, until=0.025),
    "moods": Scenario(
        in_flight=8, requests=64, until=0.02, timing=closed_loop.Timing(mood=0.2), checked=False
    ),
    "differ": Scenario(
        in_flight=8, requests=64, until=0.03, timing=closed_loop.Timing(repeats_differ=0.05), checked=False
    ),
}


@dataclass(slots=True)
class Tally:
    """What the intervals of one metric did."""

    held: int = 0
    unknown: int = 0
    widths: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Those that hold the truth, of those stated."""
        return self.held / len(self.widths) if self.widths else math.nan


def simulated(scenario: Scenario, seed: str) -> Callable[[int], Repeat]:
    """Return what measures the repeat of that number."""

    def measure(number: int) -> Repeat:
        records = closed_loop.repeat(
            scenario.timing,
            in_flight=scenario.in_flight,
            requests=scenario.requests,
            seed=f"{seed}/{number}",
        )
        return _repeat(records, scenario.in_flight, number)

    return measure


def truth(scenario: Scenario) -> dict[str, float]:
    """Return the metrics of a very long run; where repeats differ, of very many requests of many repeats."""
    if not scenario.timing.repeats_differ:
        long = replace(scenario, requests=TRUTH_REQUESTS)
        return dict(simulated(long, "truth")(0)[0].metrics)
    many = simulated(scenario, "truth")
    return dict(result_of([many(number) for number in range(TRUTH_REQUESTS // scenario.requests)]).metrics)


def result_of(repeats: Sequence[Repeat]) -> LoadResult:
    """Return what is stated of these repeats."""
    cuts = {(item.load, item.repeat): batches for item, batches in repeats}
    [found] = score.summarize([item for item, _ in repeats], OBJECTIVE, 1, price=None, cuts=cuts)
    return found


def until_sure(measure: Callable[[int], Repeat], until: float) -> LoadResult:
    """Return what is stated when `measure.until` is reached."""
    repeats = [measure(number) for number in range(3)]
    while not is_sure(_score_of(repeats), until) and len(repeats) < MOST_REPEATS:
        repeats.append(measure(len(repeats)))
    return result_of(repeats)


def _score_of(repeats: Sequence[Repeat]) -> LoadResult:
    """The same of the objective's metric alone."""
    name = OBJECTIVE.metric
    return result_of(
        [(replace(item, metrics={name: item.metrics[name]}), batches) for item, batches in repeats]
    )


def tallied(results: Sequence[LoadResult], true: dict[str, float]) -> dict[str, Tally]:
    """Return for each metric how often its interval holds the truth."""
    tallies = {name: Tally() for name in METRICS}
    for result in results:
        for name, tally in tallies.items():
            interval = result.intervals.get(name)
            if interval is None:
                tally.unknown += 1
            else:
                tally.held += interval.low <= true[name] <= interval.high
                tally.widths.append(interval.half_width / true[name])
    return tallies


def run(name: str, runs: int) -> list[str]:
    """Print a scenario; return what is out of bounds."""
    scenario = SCENARIOS[name]
    true = truth(scenario)
    columns = {}
    for repeats in (1, 3):
        measured = (simulated(scenario, f"{repeats}/{number}") for number in range(runs))
        results = [result_of([measure(each) for each in range(repeats)]) for measure in measured]
        columns[f"repeats {repeats}"] = tallied(results, true)
    results = [until_sure(simulated(scenario, f"u/{n}"), scenario.until) for n in range(runs)]
    mean = sum(len(result.score_repeats) for result in results) / runs
    columns[f"until ± {scenario.until:.1%} ({mean:.1f})"] = tallied(results, true)
    print(f"{name}: {scenario.in_flight} in flight, {scenario.requests} requests, {runs} runs")
    problems = list(table(columns))
    return [f"{name}: {problem}" for problem in problems] if scenario.checked else []


def table(columns: dict[str, dict[str, Tally]]) -> Iterator[str]:
    """Print the coverage; yield what is out of bounds."""
    print(f"  {'metric':24}" + "".join(f"{head:>28}" for head in columns))
    problems = []
    for metric in METRICS:
        cells = []
        for head, tallies in columns.items():
            tally = tallies[metric]
            total = len(tally.widths) + tally.unknown
            width = sum(tally.widths) / len(tally.widths) if tally.widths else math.nan
            said = f"{tally.share:6.1%} ± {width:5.1%}" if tally.widths else "unknown"
            cells.append(f"{said}{f' ({tally.unknown} unknown)' if 0 < tally.unknown < total else ''}")
            if tally.unknown * 2 <= total and not EACH_AT_LEAST <= tally.share <= EACH_AT_MOST:
                problems.append(f"{metric}, {head}: {tally.share:.1%}")
        print(f"  {metric:24}" + "".join(f"{cell:>28}" for cell in cells))
    shares = [_together(tallies) for tallies in columns.values()]
    print(f"  {'together':24}" + "".join(f"{share:>14.1%}{'':14}" for share in shares))
    heads = zip(columns, shares, strict=True)
    problems += [f"{head}: {share:.1%}" for head, share in heads if not AT_LEAST <= share <= AT_MOST]
    yield from problems


def _together(tallies: dict[str, Tally]) -> float:
    """The share that holds the truth over the metrics that most runs state."""
    stated = [tally for tally in tallies.values() if tally.unknown <= len(tally.widths)]
    return sum(tally.held for tally in stated) / max(1, sum(len(tally.widths) for tally in stated))


def over_http(runs: int) -> list[str]:
    """Print the coverage of the real client's measurements; return what is out of bounds."""
    repeats = list(measured_over_http(runs))
    true = dict(result_of(repeats).metrics)
    threes = [result_of(repeats[at : at + 3]) for at in range(0, runs - 2, 3)]
    columns = {
        "repeats 1": tallied([result_of([each]) for each in repeats], true),
        f"repeats 3 ({len(threes)} runs)": tallied(threes, true),
    }
    print(f"over HTTP: 8 in flight, 64 requests, {runs} runs")
    return [f"over HTTP: {line}" for line in table(columns) if not line.startswith(("itl_", "tpot_"))]


def _repeat(records: Sequence[RequestRecord], in_flight: int, number: int) -> Repeat:
    window_s = max(record.ended_s for record in records if record.phase == "measure")
    metrics = summarize(records, window_s=window_s)
    measurement = Measurement(
        load=Load(mode=Mode.CONCURRENCY, value=float(in_flight)),
        repeat=number,
        metrics=metrics,
        requests_completed=int(metrics["requests_completed"]),
        requests_failed=0,
        errors={},
        duration_s=window_s,
    )
    return measurement, cut(records, float(in_flight))


def main() -> int:
    """Read the arguments, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--scenario", default="short,wide,one,moods,differ")
    parser.add_argument("--http", type=int, default=0, metavar="N")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    names = [] if options.http else options.scenario.split(",")
    problems = [problem for name in names for problem in run(name, options.runs)]
    if options.http:
        problems += over_http(options.http)
    for problem in problems:
        print(f"out of bounds: {problem}")
    return 1 if options.check and problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
