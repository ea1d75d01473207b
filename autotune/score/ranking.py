"""The order of the trials of a sweep, one ranking for each workload and model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autotune.records import Interval
from autotune.schema import Direction
from autotune.score.comparison import Score, chance, ties
from autotune.score.intervals import between
from autotune.score.objective import order_key

COMPARED = ("workload", "model")
"""Groups whose presets are never compared with each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One trial with its place; `rank` is None for a trial without a score."""

    rank: int | None
    trial: int
    queued: Mapping[str, Any]
    finished: Mapping[str, Any]

    @property
    def noisy(self) -> Score:
        """The score with what is known of its noise; early journals have the repeats only."""
        value, known = float(self.finished["score"]), self.finished.get("score_interval")
        if "score_interval" not in self.finished:
            return Score(value=value, interval=between(value, self.finished["score_repeats"]))
        return Score(value=value, interval=None if known is None else Interval(**known))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The trials of one workload and model, best first; those without a score last."""

    title: str
    rows: tuple[Ranked, ...]

    @property
    def winner(self) -> Ranked | None:
        """The best measured trial."""
        return next((row for row in self.rows if row.rank == 1), None)

    @property
    def others(self) -> tuple[Ranked, ...]:
        """The trials that rank behind the winner."""
        return tuple(row for row in self.rows if row.rank is not None and row.rank > 1)

    @property
    def tied(self) -> tuple[Ranked, ...]:
        """The trials that may be as good as the winner, by what is known of the noise; fewest GPUs first."""
        best = self.winner
        if best is None:
            return ()
        found = ties(best.noisy, {row.trial: row.noisy for row in self.others})
        rows = [row for row in self.others if row.trial in found]
        return tuple(sorted(rows, key=lambda row: int(row.queued["plan"]["gpus"])))

    @property
    def unknown(self) -> tuple[Ranked, ...]:
        """The trials of which nobody can say whether they are a tie with the winner: no noise is known."""
        best = self.winner
        if best is None:
            return ()
        return tuple(row for row in self.others if chance(best.noisy, row.noisy) is None)


def rank(
    trials: Iterable[tuple[int, Mapping[str, Any], Mapping[str, Any]]], direction: Direction
) -> list[Ranking]:
    """Return the rankings of (number, `trial_queued`, `trial_finished`).

    Groups differ by the presets and by the swept fields of what must not be compared.
    """
    groups: dict[str, list[tuple[int, Mapping[str, Any], Mapping[str, Any]]]] = {}
    for item in trials:
        groups.setdefault(group_of(item[1]), []).append(item)
    return [Ranking(title=title, rows=_ranked(items, direction)) for title, items in groups.items()]


def _ranked(
    items: list[tuple[int, Mapping[str, Any], Mapping[str, Any]]], direction: Direction
) -> tuple[Ranked, ...]:
    ordered = sorted(items, key=lambda item: (order_key(item[2]["score"], direction), item[0]))
    return tuple(
        Ranked(
            rank=place if finished["score"] is not None else None,
            trial=number,
            queued=queued,
            finished=finished,
        )
        for place, (number, queued, finished) in enumerate(ordered, 1)
    )


def group_of(queued: Mapping[str, Any]) -> str:
    """Return what the trials have in common that are compared with the one that was so queued."""
    choices = [f"{group}={queued['choices'].get(group, '')}" for group in COMPARED]
    fields = [o for o in queued["overrides"] if o.split(".")[0] in COMPARED and "." in o]
    return " ".join([*choices, *fields])
