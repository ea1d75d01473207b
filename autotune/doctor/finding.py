"""What `doctor` says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How a finding is to be taken."""

    GOOD = "good"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked for: `about` what, what was found, and how to get it if it is missing."""

    about: str
    text: str
    state: State = State.GOOD
    fix: str = ""
