"""The errors of autotune and who can act on each.

AutotuneError
├── ConfigError           the user can mend it; found before any GPU is touched; exit status 2
├── TrialError            one trial failed; it becomes an outcome and the sweep goes on
├── InfrastructureError   disk, store or driver: the sweep cannot go on; exit status 1
└── Interrupted           Ctrl-C or SIGTERM asked a trial to end
"""

from __future__ import annotations

from collections.abc import Sequence


class AutotuneError(Exception):
    """Base of every error that autotune raises on purpose."""


class ConfigError(AutotuneError):
    """Everything that is wrong with the configuration, at once.

    A problem says what, got, allowed and next step. The user can mend all of them.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class TrialError(AutotuneError):
    """A trial failed: `kind` (see `failures.py`), the cause, and the line that shows it."""

    def __init__(self, kind: str, message: str, *, evidence: str = "", advice: str = "") -> None:
        self.kind = kind
        self.message = message
        self.evidence = evidence
        self.advice = advice
        super().__init__(message)


class InfrastructureError(AutotuneError):
    """What the sweep itself stands on failed (disk full, driver gone). The operator can mend it."""


class Interrupted(AutotuneError):
    """The trial was asked to end before it was done."""
