"""How well the search for the highest load within the SLO does, on simulated engines whose capacity is known.

`python benchmarks/slo_search.py [--seeds 20] [--noise 0.05] [--check]`. Each seed draws an engine and its
layout, the lengths of the requests, and a bound on mean TPOT, p95 TTFT or p90 end-to-end latency, and
searches with the code of a sweep (`autotune.rounds`). The engine is the simulated one's cost model in virtual
time, so that a search takes seconds. Its capacity is the highest whole load whose value without noise meets
the bound, found by halving. No claim about hardware.

* Without noise, one repeat: `of capacity` is what was reported over the capacity, `points` the loads that
  were measured. Where an engine is saturated within the SLO, more load brings nothing: the search ends and
  says so, and `of capacity` is the throughput at what was reported over that at the capacity.
* With noise each repeat's latencies are multiplied by one factor (lognormal, 5 %) and its throughputs divided
  by it; three repeats, five close to the bound, and up to six where the noise leaves it open. `truth` is the
  value without noise at the reported load, over the bound: above 1 the load violates it. Reported is what the
  95 % interval shows to be within. `interval` is its half-width at that load as a share of the bound.

`--check` exits with 1 unless, without noise, all reported loads are within 5 % of the capacity in at most
eight points, and with it at most 2.5 % violate the bound, none by more than 5 %.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

from autotune.benchmark.workload import traffic_of
from autotune.compose import hydra_on
from autotune.deploy.simulated.deployer import specification
from autotune.deploy.simulated.evaluate import evaluate
from autotune.plan.resolve import resolve
from autotune.plan.slo import bounds_of
from autotune.prepare import prepare
from autotune.records import LATENCIES, THROUGHPUTS, Load, Measurement, Mode
from autotune.rounds import Rounds
from autotune.schema import Config, config_from

MOST = 256  # requests in flight
BOUNDS = ("tpot_ms_mean", "ttft_ms_p95", "e2e_ms_p90")
WITHIN, POINTS, VIOLATING, BEYOND = 0.95, 8, 0.025, 0.05
SEARCHES = 10  # with noise, for each without


@dataclass(slots=True)
class Engine:
    """A simulated engine, its loads measured once each in virtual time."""

    config: Config
    gpus: int
    argv: list[str]
    facts: Mapping[str, object]
    known: dict[float, dict[str, float]] = field(default_factory=dict)

    def at(self, load: float) -> dict[str, float]:
        """Return the metrics at a load, without noise."""
        if load not in self.known:
            traffic = traffic_of(self.config.workload)
            found = evaluate(self.argv, self.facts, traffic, Load(mode=Mode.CONCURRENCY, value=load))
            self.known[load] = found
        return self.known[load]

    def ratio(self, load: float) -> float:
        """Return the bound latency over its bound, without noise."""
        [bound] = [bound for bound in bounds_of(self.config.slo) if bound.metric in BOUNDS]
        return self.at(load)[bound.metric] / bound.value

    def capacity(self) -> int:
        """Return the highest load that meets the bound: latencies grow with the load."""
        low, high = 1, MOST + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.ratio(middle) <= 1 else (low, middle)
        return low


def main() -> int:
    """Print both tables; with `--check`, judge them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    wrong, truths, widths = [], [], []
    print(f"seed  {'engine        bound':44} capacity  reported  of capacity  points")
    for seed in range(options.seeds):
        engine = _engine(seed)
        rounds = _searched(engine, lambda: 1.0)
        best, capacity = _reported(rounds), engine.capacity()
        points, share = len({item.load for item in rounds.measurements}), best / capacity
        full = any("brings no more throughput" in note for note in rounds.notes)
        if full:
            share = engine.at(best)["requests_per_s"] / engine.at(capacity)["requests_per_s"]
        [bound, *_] = bounds_of(engine.config.slo)
        about = f"{engine.config.runtime.kind} {engine.gpus} GPUs  {bound.metric:13} <= {bound.value:9.2f}"
        told = f"{best:9g} {share:12.1%} {points:7}{'  saturated' if full else ''}"
        print(f"{seed:4}  {about:44} {capacity:8} {told}", flush=True)
        if not (share >= WITHIN and best <= capacity and points <= POINTS):
            wrong.append(f"seed {seed}: {best:g} of {capacity} in {points} points")
        for number in range(SEARCHES):
            chance = random.Random(f"{seed}/{number}")  # noqa: S311  (draws, no secret)
            noisy = _searched(engine, partial(chance.lognormvariate, 0, options.noise))
            reported = _reported(noisy)
            if reported:
                truths.append(engine.ratio(reported))
                widths.append(_half_width(noisy, reported))
    share = sum(truth > 1 for truth in truths) / len(truths)
    many = f"{len(truths)} of {SEARCHES * options.seeds} searches report a load"
    print(f"with {options.noise:.0%} noise {many}, {share:.1%} of them one that violates the bound")
    print(f"truth {min(truths):.3f} to {max(truths):.3f}, mean {fmean(truths):.3f}", end="; ")
    print(f"interval ± {fmean(widths):.3f} in the mean")
    if max(truths) > 1 + BEYOND:
        wrong.append(f"one violates by {max(truths) - 1:.1%}, {BEYOND:.0%} is allowed")
    if share > VIOLATING:
        wrong.append(f"{share:.1%} of the noisy searches violate, {VIOLATING:.1%} are allowed")
    if options.check:
        print(*wrong, sep="\n")
    return 1 if options.check and wrong else 0


def _engine(seed: int) -> Engine:
    """An engine whose capacity lies anywhere between 2 and most of the loads."""
    draw = random.Random(seed)  # noqa: S311  (draws, no secret)
    words = [
        f"runtime={draw.choice(['vllm', 'sglang'])}",
        f"parallel={draw.choice(['tp1', 'tp2', 'tp4'])}",
        f"serving.max_running_requests={draw.choice([32, 128, 512])}",
        f"workload.input_tokens={draw.choice([64, 256, 1024])}",
        f"workload.output_tokens={draw.choice([8, 16, 32])}",
        f"seed={seed}",
    ]
    name, at = draw.choice(BOUNDS), round(2 * (MOST / 2.5) ** draw.random())
    free = _composed([*words, f"slo.{name}=1e9"])
    allowed = free.at(at)[name] * draw.uniform(1.0, 1.03)
    return _composed([*words, f"slo.{name}={allowed:.4f}"])


def _composed(words: list[str]) -> Engine:
    fixed = ["deploy=simulated", "gpus=h100_8x", "model=llama3_1_8b", "workload=demo"]
    fixed += ["workload.loads=search", f"workload.most_load={MOST}"]
    fixed += ["workload.requests_per_load=3", "workload.warmup_requests=1"]
    with hydra_on(None) as hydra:
        prepared = prepare(hydra, [*fixed, *words], multirun=False)
    config = config_from(prepared.candidates[0].config)
    plan = resolve(config, prepared.inventory)
    argv = [word.replace("{port}", "8000") for word in plan.argv]
    facts = specification(config, plan, prepared.inventory.gpus[: plan.gpus])
    return Engine(config, plan.gpus, argv, facts)


def _searched(engine: Engine, factor: Callable[[], float]) -> Rounds:
    """The rounds of a whole search; `factor` makes a repeat slower."""
    noiseless = factor() == 1.0
    engine.config.measure.repeats = 1 if noiseless else 3
    rounds = Rounds(config=engine.config, gpus=engine.gpus, recorded=False)
    for repeat, load in rounds:
        slower = factor()
        metrics = dict(engine.at(load.value))
        for name in metrics:
            if name in THROUGHPUTS:
                metrics[name] /= slower
            elif name.rpartition("_")[0] in LATENCIES:
                metrics[name] *= slower
        rounds.take(_measured(load, repeat, metrics), 1.0)
    return rounds


def _measured(load: Load, repeat: int, metrics: Mapping[str, float]) -> Measurement:
    return Measurement(
        load=load,
        repeat=repeat,
        metrics=metrics,
        requests_completed=int(metrics["requests_completed"]),
        requests_failed=0,
        errors={},
        duration_s=metrics["duration_s"],
    )


def _reported(rounds: Rounds) -> float:
    """The highest load that was measured and meets the bound; 0: none."""
    return max((result.load.value for result in rounds.results() if result.meets), default=0.0)


def _half_width(rounds: Rounds, load: float) -> float:
    result = next(each for each in rounds.results() if each.load.value == load)
    [bound] = [bound for bound in bounds_of(rounds.config.slo) if bound.metric in BOUNDS]
    return result.intervals[bound.metric].half_width / bound.value


if __name__ == "__main__":
    raise SystemExit(main())
