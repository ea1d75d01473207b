"""What is measured where the load is searched: which load, how often, and whether the trial can still win.

Each load is measured `measure.repeats` times, and again while the noise leaves open whether it meets the
bounds, up to `OPEN` times (`measure.max_repeats` if that is less). Close to a bound it is measured
`ENOUGH` times: of fewer repeats some are alike by luck, and look sure. What is not shown to meet them by then
does not count as met: the highest of several loads that seem to is too often one that was lucky.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autotune.load_search import LoadSearch, Point
from autotune.plan.loads import span
from autotune.records import THROUGHPUTS, Interval, Load, LoadResult, Mode, Verdict
from autotune.schema import Config, Direction, SloMode
from autotune.score.intervals import ENOUGH
from autotune.score.objective import ranked_metric

OF_A_SEARCH = ("requests_per_s", "e2e_ms_p50")
"""Metrics that a search looks at, beside those of the objective and the bounds."""

CLOSE_BY = 0.15  # of what is allowed
OPEN = 6  # repeats at a load of which it is not known whether it meets the bounds
APART = 1.25  # times a lower load: from there on the two tell whether the engine is saturated
GAIN = 1.03  # times its throughput: less than that is none
QUEUES = 0.5  # of what the load has grown by: if half of the latencies grew by as much, requests wait


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedLoads:
    """The rounds of a search; `results` gives what is known of each load by now.

    `rival` is the best score of the other trials, None: there is none yet. `say` takes notes, `early`
    why a search is ended before it has found what it is for.
    """

    config: Config
    gpus: int
    results: Callable[[], Sequence[LoadResult]]
    say: Callable[[str], None]
    rival: Callable[[], float | None] = lambda: None
    early: Callable[[str], None] = lambda _why: None

    def search(self) -> LoadSearch:
        """Return a search that has measured nothing."""
        least, most = span(self.config.workload)
        mode = Mode(self.config.workload.mode.value)
        return LoadSearch(
            least=least,
            most=most,
            whole=mode is Mode.CONCURRENCY,
            max_points=self.config.measure.max_points,
        )

    def __iter__(self) -> Iterator[tuple[int, Load]]:
        """Yield repeat and load of what is to be measured next."""
        search, mode = self.search(), Mode(self.config.workload.mode.value)
        while (value := search.next()) is not None:
            load = Load(mode=mode, value=value)
            yield from self._repeats(load)
            search.tell(self._point(load, search))
            if (why := self._cannot_win(search)) is not None:
                self.say(f"stopped early: {why}")
                self.early(why)
                return
        self.say(search.said)

    def _repeats(self, load: Load) -> Iterator[tuple[int, Load]]:
        least = self.config.measure.repeats
        for repeat in range(least):
            yield repeat, load
        for repeat in range(least, max(least, min(OPEN, self.config.measure.max_repeats))):
            verdict = self._known()[load].slo
            if verdict is None or not (verdict.doubtful or self._may_be_luck(verdict, repeat)):
                return
            yield repeat, load

    def _may_be_luck(self, verdict: Verdict, repeats: int) -> bool:
        """Whether few repeats lie close to a bound: who measures once does not ask for the noise."""
        asked = self.config.measure.repeats > 1
        return asked and repeats < ENOUGH and abs(verdict.ratio - 1) < CLOSE_BY

    def _known(self) -> Mapping[Load, LoadResult]:
        return {result.load: result for result in self.results()}

    def _point(self, load: Load, search: LoadSearch) -> Point:
        known = self._known()
        result, lower = known[load], search.met
        before = None
        if lower is not None and lower.load < load.value:
            before = next(each for at, each in known.items() if at.value == lower.load)
        is_saturated = saturated(result, before)
        overrun = result.slo is not None and result.slo.overrun
        if is_saturated or overrun:
            out = result.metrics.get("requests_per_s", 0.0)
            self.say(f"{load}: saturated, {out:.3g} requests/s come out and the queue grows")
        ratio = 0.0 if result.slo is None else result.slo.ratio
        met = result.meets and not result.client_bound  # what the client limits is no merit of the engine
        return Point(load=load.value, ratio=ratio, met=met, saturated=is_saturated)

    def _cannot_win(self, search: LoadSearch) -> str | None:
        """Why no load that is left can beat another trial: what the best of them would make is too little."""
        objective, best, lost = self.config.objective, self.rival(), search.lost
        metric = ranked_metric(objective, self.gpus)
        known = metric.removesuffix("_per_gpu") in THROUGHPUTS and objective.direction is Direction.maximize
        if best is None or lost is None or not known or self.config.slo.mode is not SloMode.constraint:
            return None
        results = {load.value: result for load, result in self._known().items()}
        made = metric.replace("goodput_", "")
        below = None if search.met is None else results[search.met.load]
        most = most_between(below, results[lost.load], made)
        if most is None or most >= best:
            return None
        return (
            f"below {results[lost.load].load}, which is not within the SLO, {made} can be at most "
            f"{most:.1f}, and another trial has {best:.1f} within it"
        )


def most_between(below: LoadResult | None, above: LoadResult, metric: str) -> float | None:
    """Return the most that a throughput can be at a load between two; None: nobody can say.

    It is no more than at the higher one, unless that makes less than the lower one: an engine that is
    overloaded may do worse than a busy one. And it grows by no more than the load does. What the client
    limited says nothing of the engine.
    """
    high, low = _high(above, metric), None if below is None else _high(below, metric)
    if high is None or above.client_bound:
        return None
    if below is None or low is None or below.client_bound:
        return high
    grown = low * above.load.value / below.load.value
    return grown if above.metrics[metric] < below.metrics[metric] else min(high, grown)


def saturated(result: LoadResult, before: LoadResult | None) -> bool:
    """Return whether more in flight brings no more than the lower load `before`, and requests wait."""
    made = _high(result, "requests_per_s")
    if made is None or before is None or result.load.mode is Mode.RATE:
        return False
    grown = result.load.value / before.load.value
    latency, earlier = (each.metrics.get("e2e_ms_p50") for each in (result, before))
    waits = latency is None or not earlier or latency >= earlier * (1 + QUEUES * (grown - 1))
    return grown >= APART and waits and made <= GAIN * before.metrics.get("requests_per_s", 0.0)


def _high(result: LoadResult, metric: str) -> float | None:
    """The most that a metric may be by its noise."""
    value, interval = result.metrics.get(metric), result.intervals.get(metric)
    return interval.high if isinstance(interval, Interval) else value
