"""Whether a failed attempt is followed by another, and when. Pure: the table decides, `retry.*` bounds."""

from __future__ import annotations

from autotune.failures.kinds import KINDS, Kind
from autotune.schema import RetryConfig

LONGEST_S = 60.0  # between two attempts


def kind_of(name: str) -> Kind:
    """Return what follows from a kind; a name that the table lacks (of a replayed row) is unknown."""
    return KINDS.get(name, KINDS["unknown"])


def again_in_s(name: str, *, attempt: int, since_first_s: float, bounds: RetryConfig) -> float | None:
    """Return the seconds from now to the next attempt at a trial; None if there is none.

    `attempt` has just failed as `name`, 1 being the first; that one began `since_first_s` ago. The wait is
    backoff_s × 2^(attempt - 1), at most `LONGEST_S`.
    """
    allowed = kind_of(name).attempts
    if attempt >= min(bounds.attempts, bounds.attempts if allowed is None else allowed):
        return None
    wait_s = min(bounds.backoff_s * 2.0 ** min(attempt - 1, 64), LONGEST_S)
    return wait_s if since_first_s + wait_s <= bounds.within_s else None
