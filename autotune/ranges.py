"""What is wrong with several values on a command line: ranges without numbers, lists without an end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep, Sweep

from autotune.keys import hint_of, is_number_key, is_whole_key, takes

TAGS = ("log",)  # log: every order of magnitude is drawn equally often
MOST = 10_000  # values of one range(...)


def sweep_problem(override: Override, presets: Sequence[str] | None) -> str | None:
    """Return what is wrong with the several values of a key, None if they can be used.

    `presets` are those of the group that the key is, None for a key that is none.
    """
    value, key = override.value(), override.key_or_group
    if isinstance(value, Glob):
        return _glob_problem(key, value, presets)
    unknown = sorted(set(value.tags) - set(TAGS)) if isinstance(value, Sweep) else []
    if unknown:
        return f"{', '.join(unknown)}: no such tag; known: {', '.join(TAGS)}"
    if not isinstance(value, (RangeSweep, IntervalSweep)):
        return None
    if presets is not None:
        return f"presets have no range: give a list such as {key}={','.join(presets[:2])}"
    if isinstance(value, RangeSweep):
        return _range_problem(value)
    return _interval_problem(value) or _interval_key_problem(key, value)


def whole(value: IntervalSweep) -> bool:
    """Return whether only whole numbers are meant: `int(interval(16,1024))`."""
    return isinstance(value.start, int) and isinstance(value.end, int)


def wants_whole(start: float, end: float, *, log: bool) -> str:
    """Return the words for a range of fractions where whole numbers are wanted."""
    meant = f"int(interval({start:.12g},{end:.12g}))"
    return f"takes whole numbers; did you mean {f'tag(log,{meant})' if log else meant}?"


def _interval_problem(value: IntervalSweep) -> str | None:
    start, end = value.start, value.end
    if start is None or end is None or not (math.isfinite(start) and math.isfinite(end)):
        return "a range needs two ends that are numbers"
    if start == end:
        return f"a range of one value: give {start:.12g}"
    if start > end:
        return f"the lower end comes first: interval({end:.12g},{start:.12g})"
    if "log" in value.tags and start <= 0:
        return f"a log range begins above 0, not at {start:.12g}"
    return None


def _interval_key_problem(key: str, value: IntervalSweep) -> str | None:
    if hint_of(key) is None or key.startswith(("runtime.args.", "runtime.env.")):
        return None  # of the engine: its arguments are judged with its flags
    if not is_number_key(key):
        return f"takes no range: expected {takes(key)}"
    if is_whole_key(key) and not whole(value):
        return wants_whole(value.start or 0, value.end or 0, log="log" in value.tags)
    return None


def _range_problem(value: RangeSweep) -> str | None:
    start, stop, step = value.start, value.stop, value.step
    if start is None or stop is None or not all(map(math.isfinite, (start, stop, step))):
        return "a range needs two ends and a step that are numbers"
    if step == 0:
        return "the step must not be 0"
    count = math.ceil((stop - start) / step)
    if count > MOST:
        return f"{count:,} values, at most {MOST:,} can be listed: give a larger step"
    if count <= 0:
        falls = start > stop
        hint = f"; it falls: range({start:g},{stop:g},{-step:g})" if falls else ""
        return f"no value lies in this range, whose end {stop:g} is not part of it{hint}"
    return None


def _glob_problem(key: str, value: Glob, presets: Sequence[str] | None) -> str | None:
    if presets is None:
        return f"a glob chooses presets, and {key} has none: give a list such as {key}=A,B"
    if not value.filter(list(presets)):
        return f"no preset looks like that; known: {', '.join(presets)}"
    return None
