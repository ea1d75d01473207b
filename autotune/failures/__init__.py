"""Why trials fail: from evidence to a kind (`signatures`), and what follows from the kind (`kinds`)."""

from autotune.failures.kinds import KINDS, Kind, Whose
from autotune.failures.signatures import classify, last_line

__all__ = ["KINDS", "Kind", "Whose", "classify", "last_line"]
