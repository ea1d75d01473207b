"""Which candidate next, and how a search and the launcher take turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from autotune.records import Candidate

if TYPE_CHECKING:
    from hydra_plugins.autotune_launchers._scheduler import Finished


class Search(Protocol):
    """Chooses candidates. `known`: what ends has no influence on what comes, so all can wait at once."""

    known: bool

    def ask(self) -> Candidate | None:
        """Return the next candidate; None when there is none for now, or for good."""
        ...

    def tell(self, finished: Finished) -> None:
        """Take the end of a trial in."""
        ...


class GridSearch:
    """Every candidate of the grid once, in its order."""

    known = True

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates
        self._next = 0

    def ask(self) -> Candidate | None:
        """Return the next candidate; None when all were asked for."""
        if self._next >= len(self._candidates):
            return None
        self._next += 1
        return self._candidates[self._next - 1]

    def tell(self, finished: Finished) -> None:
        """A grid learns nothing from an outcome; the sweep has recorded it."""

    def overrides(self) -> list[list[str]]:
        """Return all candidates in Hydra's form, for a launcher that takes batches."""
        return [[_hydra_form(o) for o in item.overrides] for item in self._candidates]


def run_search(search: Search, launcher: Any) -> None:
    """Run the candidates of a search to the end of the last one.

    A search that learns is asked only when a candidate can start or the look-ahead has room, so that it
    knows as much as can be known. The launcher gives `submit`, `submit_all`, `has_room` and `wait_any`.
    """
    if search.known:
        launcher.submit_all(list(iter(search.ask, None)))
    while True:
        while not search.known and launcher.has_room() and (candidate := search.ask()) is not None:
            launcher.submit(candidate)
        finished = launcher.wait_any()
        if finished is None:
            return
        search.tell(finished)


def _hydra_form(override: str) -> str:
    free = override.startswith(("runtime.args.", "runtime.env."))
    return f"++{override}" if free else override
