"""Which load of a trial is measured next, and how often: until the noise is known, or small enough.

Every repeat goes over all loads, in an order of its own that is drawn from `seed`: a drift, or what one load
leaves behind for the next, then shows as noise and does not always fall on the same load. The order is the
same for every candidate and every attempt, so that what is left of it is alike for all. A replay, which
nothing can disturb, takes the loads as they stand.

With `measure.until` the loads that can still be the objective's go on until the half-width of the score's
interval is at most that share of the score: from `LEAST` repeats on, because who stops at the first look
that is narrow stops too often at one that is narrow by luck (benchmarks/interval_coverage.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from autotune.benchmark.workload import loads_of, taken_by, traffic_of
from autotune.errors import TrialError
from autotune.plan.loads import searches
from autotune.plan.slo import bounds_of, request_limits
from autotune.records import Failure, Load, LoadResult, Measurement, Mode, Status, Traffic, Wording
from autotune.schema import Config, Direction, ObjectiveConfig
from autotune.score.batches import Batches, cut, read_records
from autotune.score.comparison import Score, chance
from autotune.score.estimates import COUNTS
from autotune.score.intervals import CONFIDENCE
from autotune.score.objective import best_result, order_key, summarize
from autotune.search_rounds import OF_A_SEARCH, SearchedLoads

LEAST = 6  # repeats before a narrow interval is believed
LONGER = 1.2  # times the longest measurement at a load: what another one may take


@dataclass(slots=True, kw_only=True)
class Rounds:
    """The measurements of one trial. `left_s` says what its time-out leaves, seconds; None: it has none.

    `rival` is the best score of the sweep's other trials by now.
    """

    config: Config
    gpus: int
    recorded: bool
    left_s: Callable[[], float | None] = lambda: None
    rival: Callable[[], float | None] = lambda: None
    measurements: list[Measurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _early: list[str] = field(default_factory=list)
    _cuts: dict[tuple[Load, int], Batches] = field(default_factory=dict)
    _missing: list[Load] = field(default_factory=list)
    _longest_s: dict[Load, float] = field(default_factory=dict)

    @property
    def first(self) -> Load:
        """The load that is measured first."""
        if searches(self.config.workload):
            first = self._searched().search().next()
            return Load(mode=Mode(self.config.workload.mode.value), value=first or 1.0)
        return self._order(loads_of(self.config.workload), 0)[0]

    def __iter__(self) -> Iterator[tuple[int, Load]]:
        """Yield repeat and load of what is to be measured next; `take` or `leave_out` is called in between.

        Raises: TrialError `no_row` where every load was left out.
        """
        if searches(self.config.workload):
            yield from self._searched()
            if self.config.measure.until is not None:
                yield from self._surer(self.config.measure.until)
            return
        loads = loads_of(self.config.workload)
        repeats = 1 if self.recorded else self.config.measure.repeats
        for repeat in range(repeats):
            for load in self._order(loads, repeat):
                if load not in self._missing:
                    yield repeat, load
        if len(self._missing) == len(loads):
            raise TrialError("no_row", "the table has no row for any load of this candidate")
        self.notes.extend(f"{load}: not in the table, left out" for load in loads if load in self._missing)
        if self.config.measure.until is not None and not self.recorded:
            yield from self._further(loads, repeats, self.config.measure.until)

    def take(self, measurement: Measurement, took_s: float) -> None:
        """Keep what was measured; `took_s` is the whole call, warm-up included."""
        load = measurement.load
        self.measurements.append(measurement)
        self._longest_s[load] = max(took_s, self._longest_s.get(load, 0.0))
        records = None if measurement.raw is None else read_records(measurement.raw)
        if records is not None:
            in_flight = load.value if load.mode is Mode.CONCURRENCY else None
            self._cuts[load, measurement.repeat] = cut(records, in_flight, request_limits(self.config.slo))

    def traffic(self, wording: Wording) -> Traffic:
        """Return the requests of the next measurement; of a file those that were not sent before."""
        traffic = traffic_of(self.config.workload, wording)
        if not searches(self.config.workload):
            return traffic
        return replace(traffic, taken=taken_by((item.load for item in self.measurements), traffic))

    def leave_out(self, load: Load) -> None:
        """Measure that load no more: a table has no row for it."""
        self._missing.append(load)

    def results(self) -> tuple[LoadResult, ...]:
        """Return what is known by now of each load."""
        return self._summed(self.measurements)

    def ended_as(self, results: Sequence[LoadResult]) -> tuple[LoadResult | None, Status, Failure | None]:
        """Return the result at the objective's load, and what a trial that was measured ended as by it."""
        objective = self.config.objective
        best = best_result(results, objective, self.config.slo.mode)
        unknown = best.slo.unknown if best is not None and best.slo is not None else ()
        if best is None or unknown:
            what = ", ".join(unknown) or objective.metric
            message = f"{what} was not measured at load {objective.load}"
            return None, Status.FAILED, Failure(kind="benchmark_failed", message=message)
        if best.meets:
            return best, Status.MEASURED, None
        return best, Status.PRUNED if self._early else Status.SLO_VIOLATED, None

    def _scores(self) -> tuple[LoadResult, ...]:
        """The same of the metrics that decisions rest on: it is asked for after every repeat."""
        metric = self.config.objective.metric
        needed = {metric, metric.removesuffix("_per_gpu"), "output_tokens_per_s", *OF_A_SEARCH}
        needed |= {bound.metric for bound in bounds_of(self.config.slo)} | COUNTS
        return self._summed(
            [
                replace(item, metrics={name: item.metrics[name] for name in needed if name in item.metrics})
                for item in self.measurements
            ]
        )

    def _summed(self, measurements: Sequence[Measurement]) -> tuple[LoadResult, ...]:
        return summarize(
            measurements,
            self.config.objective,
            self.gpus,
            price=self.config.gpus.usd_per_hour,
            cuts=self._cuts,
            slo=self.config.slo,
            strict=searches(self.config.workload),
        )

    def _searched(self) -> SearchedLoads:
        return SearchedLoads(
            config=self.config,
            gpus=self.gpus,
            results=self._scores,
            say=self.notes.append,
            rival=self.rival,
            early=self._early.append,
        )

    def _surer(self, until: float) -> Iterator[tuple[int, Load]]:
        """Repeat the load that a search has found until its score is known well enough."""
        best, _, _ = self.ended_as(self.results())
        if best is None:
            return
        for repeat in range(len(best.score_repeats), self.config.measure.max_repeats):
            left_s = self.left_s()
            wanted = self._wanting([best.load], until)
            if not wanted or (left_s is not None and self._longest_s[best.load] * LONGER > left_s):
                return
            yield repeat, best.load

    def _further(self, loads: Sequence[Load], done: int, until: float) -> Iterator[tuple[int, Load]]:
        most = self.config.measure.max_repeats
        for repeat in range(done, most):
            wanted = self._wanting(loads, until)
            for load in self._order(wanted, repeat):
                left_s = self.left_s()
                if left_s is not None and self._longest_s[load] * LONGER > left_s:
                    self._tell_wide(wanted, "another would go beyond measure.trial_timeout_s")
                    return
                yield repeat, load
            if not wanted:
                return
        self._tell_wide(self._wanting(loads, until), f"measure.max_repeats={most}")

    def _wanting(self, loads: Sequence[Load], until: float) -> list[Load]:
        """The loads whose score decides and is not sure enough yet."""
        results = {result.load: result for result in decisive(self._scores(), self.config.objective)}
        return [load for load in loads if load in results and not is_sure(results[load], until)]

    def _tell_wide(self, wanted: Sequence[Load], why: str) -> None:
        for result in self._scores():
            if result.load in wanted and result.score is not None:
                width = relative_width(result)
                known = "unknown" if width is None else f"± {width:.1%}"
                self.notes.append(
                    f"{result.load}: after {len(result.score_repeats)} repeats its noise is {known}, more "
                    f"than measure.until={self.config.measure.until:g}: {why}"
                )

    def _order(self, loads: Sequence[Load], repeat: int) -> list[Load]:
        drawn = list(loads)
        if self.config.measure.shuffle and not self.recorded:
            chance_of_order = random.Random(f"{self.config.seed}/loads/{repeat}")  # noqa: S311  (no secret)
            chance_of_order.shuffle(drawn)
        return drawn


def relative_width(result: LoadResult) -> float | None:
    """Return the half-width of a score's interval as a share of the score; None if it is unknown."""
    interval, score = result.score_interval, result.score
    if interval is None or not score:
        return None
    return interval.half_width / abs(score)


def is_sure(result: LoadResult, until: float) -> bool:
    """Whether there are repeats enough and the interval is narrow."""
    width = relative_width(result)
    return len(result.score_repeats) >= LEAST and width is not None and width <= until


def decisive(results: Sequence[LoadResult], objective: ObjectiveConfig) -> list[LoadResult]:
    """Return the results that can be the objective's: at its load; of `best`, those not clearly behind.

    What misses its bounds is not among them, unless the noise allows that it meets them or none does.
    """
    ranking = [result for result in results if result.score is not None and not result.client_bound]
    ranking = [result for result in ranking if _may_meet(result)] or ranking
    if not ranking:
        return []
    if objective.load in {"lowest", "highest"}:
        return [ranking[0 if objective.load == "lowest" else -1]]
    if objective.load != "best":
        return [result for result in ranking if f"{result.load.value:g}" == objective.load]
    direction = Direction(objective.direction)
    best = min(ranking, key=lambda result: order_key(result.score, direction))
    return [result for result in ranking if not _is_behind(result, best)]


def _may_meet(result: LoadResult) -> bool:
    if result.slo is None or result.meets:
        return True
    missed = {violation.bound.metric for violation in result.slo.violations}
    return not result.slo.unknown and missed <= set(result.slo.doubtful)


def _is_behind(result: LoadResult, best: LoadResult) -> bool:
    if result.score is None or best.score is None:
        return False
    luck = chance(
        Score(value=best.score, interval=best.score_interval),
        Score(value=result.score, interval=result.score_interval),
    )
    return luck is not None and luck < 1 - CONFIDENCE
