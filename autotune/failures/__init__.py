"""Why trials fail: from evidence to a kind (`classify`), and what follows from the kind (`kinds`)."""

from autotune.failures.classify import classify
from autotune.failures.evidence import Evidence, last_line
from autotune.failures.host_memory import oom_kills
from autotune.failures.kinds import KINDS, Kind, Whose

__all__ = ["KINDS", "Evidence", "Kind", "Whose", "classify", "last_line", "oom_kills"]
