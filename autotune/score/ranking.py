"""The order of the trials of a sweep, one ranking for each workload and model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autotune.schema import Direction
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The trials of one workload and model, best first; those without a score last."""

    title: str
    rows: tuple[Ranked, ...]

    @property
    def winner(self) -> Ranked | None:
        """The best measured trial."""
        return next((row for row in self.rows if row.rank == 1), None)


def rank(
    trials: Iterable[tuple[int, Mapping[str, Any], Mapping[str, Any]]], direction: Direction
) -> list[Ranking]:
    """Return the rankings of (number, `trial_queued`, `trial_finished`).

    Groups differ by the presets and by the swept fields of what must not be compared.
    """
    groups: dict[str, list[tuple[int, Mapping[str, Any], Mapping[str, Any]]]] = {}
    for item in trials:
        groups.setdefault(_group(item[1]), []).append(item)
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


def _group(queued: Mapping[str, Any]) -> str:
    choices = [f"{group}={queued['choices'].get(group, '')}" for group in COMPARED]
    fields = [o for o in queued["overrides"] if o.split(".")[0] in COMPARED and "." in o]
    return " ".join([*choices, *fields])
