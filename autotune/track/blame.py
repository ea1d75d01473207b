"""Which GPUs the failures of different candidates have in common."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from autotune.failures.kinds import KINDS

BLAMING = frozenset(name for name, kind in KINDS.items() if kind.blames_gpu) - {"gpu_busy"}
"""Failures that count against a GPU. One that was busy is none: the pool knows how to wait for it."""


class Blame:
    """Books of failures by GPU. `suspects` are the GPUs (UUIDs) to use no more, each with the reason.

    A candidate that fails twice on a GPU counts once: the fault may be its own. A GPU on which a trial was
    measured after a failure is free of blame.
    """

    def __init__(self) -> None:
        self.suspects: Mapping[str, str] = {}
        self._failed: dict[str, dict[Hashable, tuple[int, str]]] = {}  # GPU -> candidate -> trial and kind

    def failed(self, trial: int, kind: str, *, candidate: Hashable, gpus: Iterable[str]) -> None:
        """Take a failure in; those that no GPU can cause are passed over."""
        if kind in BLAMING:
            for uuid in gpus:
                self._failed.setdefault(uuid, {}).setdefault(candidate, (trial, kind))
            self._count()

    def measured(self, gpus: Iterable[str]) -> None:
        """Take in that a trial was measured there."""
        if [uuid for uuid in gpus if self._failed.pop(uuid, None) is not None]:
            self._count()

    def _count(self) -> None:
        """Made anew, never changed: other threads read it."""
        self.suspects = {
            uuid: _told(books.values()) for uuid, books in self._failed.items() if len(books) > 1
        }


def _told(failures: Iterable[tuple[int, str]]) -> str:
    """What is said of a GPU: `trials 2 and 5 failed on it (nccl)`."""
    every = sorted(failures)
    *numbers, last = [str(trial) for trial, _ in every]
    return f"trials {', '.join(numbers)} and {last} failed on it ({', '.join(sorted({k for _, k in every}))})"
