"""The service-level objective as the stages know it: what a request may take, and what a load must meet."""

from __future__ import annotations

import math
from dataclasses import dataclass

ATTAINMENT = "slo_attainment"
ERROR_RATE = "error_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """What one request may take to be a good one, milliseconds; without a bound, infinite."""

    ttft_ms: float = math.inf
    tpot_ms: float = math.inf
    e2e_ms: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A metric at a load and the value that it must not exceed; of `slo_attainment` the least.

    `key` is the configuration key that it is from.
    """

    key: str
    metric: str
    value: float

    @property
    def at_least(self) -> bool:
        """Whether more is better."""
        return self.metric == ATTAINMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A bound that a load does not meet; `excess` is by which share of what is allowed it misses."""

    bound: Bound
    measured: float
    excess: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a load meets the bounds, by its values; `doubtful` are metrics whose noise allows the contrary.

    `unknown` are metrics that were not measured: nobody can say that such a load meets its bounds. `ratio` is
    the greatest measured share of what is allowed: 1 is just met. `shown` says that the noise is known
    and does not allow a violation. What violates a `constraint` does not rank. With `strict`
    what is doubtful is not met; nor is anything at a rate that is `overrun`, from which fewer requests come
    out than go in.
    """

    violations: tuple[Violation, ...] = ()
    unknown: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    ratio: float = 0.0
    shown: bool = False
    strict: bool = False
    overrun: bool = False
    constraint: bool = True

    @property
    def meets(self) -> bool:
        """Whether every bound is met."""
        return not (self.violations or self.unknown or self.overrun or (self.strict and self.doubtful))

    @property
    def excess(self) -> float:
        """By how much the bounds are missed, all together: the sum of their shares."""
        return math.fsum(violation.excess for violation in self.violations)
