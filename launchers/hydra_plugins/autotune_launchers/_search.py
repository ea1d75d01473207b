"""Which candidate next."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.records import Candidate


class GridSearch:
    """Every candidate of the grid once, in its order."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates
        self._next = 0

    def ask(self) -> Candidate | None:
        """Return the next candidate; None when all were asked for."""
        if self._next >= len(self._candidates):
            return None
        self._next += 1
        return self._candidates[self._next - 1]

    def overrides(self) -> list[list[str]]:
        """Return all candidates in Hydra's form, for a launcher that takes batches."""
        return [[_hydra_form(o) for o in item.overrides] for item in self._candidates]


def _hydra_form(override: str) -> str:
    free = override.startswith(("runtime.args.", "runtime.env."))
    return f"++{override}" if free else override
