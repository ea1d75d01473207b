"""How well the packing policy uses 8 GPUs, in simulated time.

    python benchmarks/packing.py [--mixes 400] [--check]

Mixes of trials are drawn by seed: widths from 1,1,2,2,4 or 1,1,2,2,4,8, lognormal durations of mean 1 with
σ 0.3 or 0.6, on one NVLink island of eight or on two of four. The policy is `autotune.gpus.packing.pack`
itself. Beside it run one trial at a time, batches of 4 and 8, and first come, first served without and with
backfill.

A known grid is judged by makespan over its lower bound max(GPU-seconds / 8, longest trial, sum of the
trials wider than 4); a stream (three trials wait, the rest is not known yet) by the part of the GPUs that is
busy until the last trial starts, and by the longest wait of an 8-wide trial in mean durations. On two islands
the crossing of four-wide trials is judged, and what it costs in makespan that they do not. `--check` exits 1
if a figure misses its bar.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from packing_baselines import Batches, in_turn, one_at_a_time
from packing_clock import NODES, Choose, Clock, Played, bound, mix

from autotune.gpus.forecast import Expected
from autotune.gpus.packing import Assignment, Policy, Situation, pack

WIDTHS = {"no 8": (1, 1, 2, 2, 4), "with 8": (1, 1, 2, 2, 4, 8)}
LOOK_AHEAD = 3


def ours(situation: Situation, *, known: bool) -> list[Assignment]:
    """The policy that ships, with its defaults."""
    return pack(situation, Policy(known=known), room=len(situation.queue))


POLICIES: dict[str, Callable[[bool], Choose]] = {
    "autotune": lambda known: partial(ours, known=known),
    "one at a time": lambda _known: one_at_a_time,
    "batches of 4": lambda _known: Batches(4),
    "batches of 8": lambda _known: Batches(8),
    "in turn": lambda _known: partial(in_turn, backfill=False),
    "in turn, backfill": lambda _known: partial(in_turn, backfill=True),
}
ERRORS: dict[str, Callable[[random.Random], float]] = {
    "±20 %": lambda chance: chance.uniform(0.8, 1.2),
    "σ 0.2": lambda chance: chance.lognormvariate(0.0, 0.2),
}


@dataclass(frozen=True)
class Cell:
    """One row: how many trials of which widths and durations, known or streamed, with which estimates."""

    policy: str
    count: int
    widths: str
    sigma: float
    known: bool = True
    error: str | None = None
    islands: str = "one"

    def played(self, seed: int) -> tuple[float, Played]:
        """Return the lower bound of a mix and its schedule."""
        trials = mix(self.count, WIDTHS[self.widths], self.sigma, seed)
        expected: list[Expected | None] = []
        if self.error is not None:
            chance = random.Random(seed + 10**6)  # noqa: S311  (draws, not secrets)
            wrong = ERRORS[self.error]
            expected = [Expected(mean_s=seconds * wrong(chance), spread=0.2) for _, seconds in trials]
        choose = POLICIES[self.policy](self.known)
        clock = Clock(NODES[self.islands], trials, choose, None if self.known else LOOK_AHEAD, expected)
        return bound(trials), clock.play()

    def bars(self) -> dict[str, float]:
        """What the figures must reach; only where a bar was set."""
        if self.policy != "autotune" or self.error == "σ 0.2":
            return {}
        few = (self.count, self.sigma) == (24, 0.6)  # too few and too uneven for a bar on their makespan
        if self.islands == "two":
            return {
                "crossing": 0.0 if self.known else 0.25 if self.widths == "with 8" else 1.0,
                "cost": 1.025,
            }
        if not self.known:
            busy = {0.3: 0.89, 0.6: 0.85}[self.sigma] if self.widths == "with 8" else 0.95
            return {"busy": busy, "wait": {0.3: 5.0, 0.6: 7.0}[self.sigma]}
        bars = {
            (64, None): (1.045, 1.10),
            (64, "±20 %"): (1.02, 1.035),
            (24, None): (1.09, 1.17),
            (24, "±20 %"): (1.05, 1.09),
        }
        half, most = bars[self.count, self.error]
        return {} if few else {"median": half, "p95": most}


def cells() -> list[Cell]:
    """Every row, the policy that ships first."""
    rows = []
    for policy in POLICIES:
        ours_only = policy == "autotune"
        rows += [
            Cell(policy, count, widths, sigma, error=error, islands=islands)
            for islands in NODES
            for count in (64, 24)
            for error in ([None, *ERRORS] if ours_only else [None])
            for widths in WIDTHS
            for sigma in (0.3, 0.6)
        ]
        rows += [
            Cell(policy, 64, widths, sigma, known=False, islands=islands)
            for islands in NODES
            for widths in WIDTHS
            for sigma in (0.3, 0.6)
        ]
    return rows


def figures(cell: Cell, mixes: int) -> dict[str, float]:
    """Return the figures of one row over its mixes."""
    played = [cell.played(seed) for seed in range(mixes)]
    ratios = sorted(each.makespan / least for least, each in played)
    waits = sorted(each.wait for _, each in played)
    late = min(math.ceil(0.95 * mixes), mixes) - 1
    four_wide = sum(each.four_wide for _, each in played)
    return {
        "makespan": sum(each.makespan for _, each in played) / mixes,
        "median": median(ratios),
        "p95": ratios[late],
        "busy": median(each.busy for _, each in played),
        "wait": waits[late],
        "crossing": sum(each.crossing for _, each in played) / max(four_wide, 1),
    }


def missed(cell: Cell, found: dict[str, float]) -> list[str]:
    """Return the bars that a row misses."""
    return [
        f"{name} {found[name]:.3f} (bar {bar:g})"
        for name, bar in cell.bars().items()
        if (found[name] < bar if name == "busy" else found[name] > bar)
    ]


def main() -> int:
    """Print the table; the exit status tells whether a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixes", type=int, default=400)
    parser.add_argument("--policy", action="append", choices=list(POLICIES))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    rows = [cell for cell in cells() if options.policy is None or cell.policy in options.policy]
    print(f"{'policy':18} {'islands':7} {'trials':>6} {'widths':7} {'σ':>4} {'order':14} "
          f"{'median':>7} {'p95':>7} {'busy':>6} {'wait':>6} {'crossing':>8} {'cost':>6}")  # fmt: skip
    wrong, alone = 0, dict[Cell, float]()
    with ProcessPoolExecutor() as workers:
        for cell, found in zip(rows, workers.map(partial(figures, mixes=options.mixes), rows), strict=True):
            twin = replace(cell, islands="one")
            found["cost"] = found["makespan"] / alone.setdefault(twin, found["makespan"])
            bad = missed(cell, found)
            wrong += bool(bad)
            print(_row(cell, found, bad), flush=True)
    return 1 if options.check and wrong else 0


def _row(cell: Cell, found: dict[str, float], bad: list[str]) -> str:
    order = "streamed" if not cell.known else f"known, {cell.error}" if cell.error else "known"
    return (
        f"{cell.policy:18} {cell.islands:7} {cell.count:6} {cell.widths:7} {cell.sigma:4} {order:14} "
        f"{found['median']:7.3f} {found['p95']:7.3f} {found['busy']:6.3f} {found['wait']:6.2f} "
        f"{found['crossing']:8.3f} {found['cost']:6.3f}{'  MISSED ' + ', '.join(bad) if bad else ''}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
