"""What neighbours cost, in a table and a sentence of advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autotune.records import Load
from autotune.report.render import HEADERS
from autotune.schema import Direction
from autotune.score.statistics import Difference, geometric_mean, paired_difference

BESIDE_OBJECTIVE = ("ttft_ms_p99", "tpot_ms_mean")
"""Latencies that are reported beside the objective's metric, if they were measured."""

SMALL_PERCENT = 1.0  # a difference up to this is not worth a node for one trial
COARSE_PERCENT = 5.0  # an interval that reaches beyond this says nothing yet

Pair = tuple[Mapping[str, float], Mapping[str, float]]  # metrics alone, and beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One metric alone and beside neighbours: geometric means over the pairs, and their difference."""

    metric: str
    lower_is_better: bool
    alone: float
    beside: float
    difference: Difference

    @property
    def cost(self) -> tuple[float, float, float]:
        """By how many percent it is worse beside neighbours, and the interval; negative: better."""
        difference = self.difference
        if self.lower_is_better:
            return difference.percent, difference.low, difference.high
        return -difference.percent, -difference.high, -difference.low


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What was measured: the candidate's label, its load, how many neighbours it had."""

    label: str
    load: Load
    neighbours: int
    simulated: bool
    file: Path


def effects(pairs: Sequence[Pair], metric: str, direction: Direction) -> list[Effect]:
    """Return the effect on the objective's metric, first, and on latencies that every measurement has."""
    names = dict.fromkeys((metric, *BESIDE_OBJECTIVE))
    lower = {name: direction is Direction.minimize if name == metric else True for name in names}
    found = [_effect(name, pairs, lower_is_better=lower[name]) for name in names]
    return [effect for effect in found if effect is not None]


def advice(found: Sequence[Effect], metric: str) -> list[str]:
    """Return what the effect on the objective's metric means for `launcher.exclusive`; then other costs."""
    if not found or found[0].metric != metric:
        return [f"{metric} was zero or missing in a measurement: nothing can be said"]
    rest = [
        f"{effect.metric}: neighbours cost {_percent(effect)}"
        for effect in found[1:]
        if effect.difference.is_seen and effect.cost[0] > SMALL_PERCENT
    ]
    return [_advice(found[0]), *rest]


def render_interference(out: Console, found: Sequence[Effect], said: Sequence[str], setting: Setting) -> None:
    """Print the table, the advice, and where every pair is kept."""
    mark = "  SIMULATED: no claim about hardware" if setting.simulated else ""
    beside = "1 copy" if setting.neighbours == 1 else f"{setting.neighbours} copies"
    title = f"{setting.label} at {setting.load}, alone and beside {beside} of itself{mark}"
    out.print(escape(title), soft_wrap=True)
    table = Table()
    table.add_column("metric")
    for head in ("alone", "beside", "difference", "95 % interval", "pairs"):
        table.add_column(head, justify="right")
    for effect in found:
        difference = effect.difference
        table.add_row(
            HEADERS.get(effect.metric, effect.metric),
            f"{effect.alone:.1f}",
            f"{effect.beside:.1f}",
            f"{difference.percent:+.1f} %",
            f"{difference.low:+.1f} to {difference.high:+.1f} %",
            str(difference.pairs),
        )
    out.print(table)
    for number, text in enumerate(said):
        suffix = " (simulated)" if setting.simulated else ""
        out.print(f"{'advice ' if number == 0 else '       '} {escape(text)}{suffix}", soft_wrap=True)
    out.print(f"files   {setting.file}", soft_wrap=True)


def _effect(name: str, pairs: Sequence[Pair], *, lower_is_better: bool) -> Effect | None:
    if any(name not in metrics for pair in pairs for metrics in pair):
        return None
    values = [(alone[name], beside[name]) for alone, beside in pairs]
    difference = paired_difference(values)
    if difference is None:
        return None
    return Effect(
        metric=name,
        lower_is_better=lower_is_better,
        alone=geometric_mean([alone for alone, _ in values]),
        beside=geometric_mean([beside for _, beside in values]),
        difference=difference,
    )


def _advice(effect: Effect) -> str:
    percent, low, high = effect.cost
    pairs = effect.difference.pairs
    if not effect.difference.is_seen:
        bound = max(abs(low), abs(high))
        if bound > COARSE_PERCENT:
            return (
                f"too noisy to tell: neighbours cost {low:.1f} to {high:.1f} % by {pairs} pairs: measure "
                "more of them (--pairs), or longer (workload.requests_per_load)"
            )
        seen = f"no interference larger than {bound:.1f} % was seen in {pairs} pairs"
        return f"{seen}: trials can share the node"
    if percent < 0:
        return (
            f"it was {-percent:.1f} % better beside neighbours (95 % CI {-high:.1f} to {-low:.1f}), and they "
            "are hardly why: something drifted (clocks, caches); measure more pairs (--pairs)"
        )
    if percent <= SMALL_PERCENT:
        return (
            f"neighbours cost {_percent(effect)}: trials can share the node, unless they are as close as that"
        )
    return (
        f"neighbours cost {_percent(effect)}: launcher.exclusive=true measures undisturbed, or compare only "
        "trials that had the same company"
    )


def _percent(effect: Effect) -> str:
    percent, low, high = effect.cost
    return f"{percent:.1f} % (95 % CI {low:.1f} to {high:.1f})"
