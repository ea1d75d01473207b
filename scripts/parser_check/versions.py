"""Two versions of an engine by their flag lists."""

from __future__ import annotations

from autotune.plan.runtimes.flags import Flag, FlagList


def flags_that_differ(old: FlagList, new: FlagList) -> frozenset[str]:
    """Return spellings that only one version has, or that do not take the same in both."""
    names = {name for flags in (old, new) for flag in flags.flags for name in flag.names}
    return frozenset(name for name in names if _meaning(old.find(name)) != _meaning(new.find(name)))


def flags_that_lost(old: FlagList, new: FlagList) -> frozenset[str]:
    """Return spellings of the older version that are gone, or take less than they did.

    A flag without a list of values takes any here; the engine may look at them later.
    """
    return frozenset(
        name
        for flag in old.flags
        for name in flag.names
        if (now := new.find(name)) is None
        or now.takes != flag.takes
        or (now.choices is not None and not set(flag.choices or ()) <= set(now.choices))
    )


def differences(old: FlagList, new: FlagList) -> list[str]:
    """Return the differences in a few lines."""
    by_kind: dict[str, list[str]] = {"only there": [], f"only in {old.version}": [], "other values": []}
    kinds = list(by_kind)
    for name in sorted(flags_that_differ(old, new)):
        kind = kinds[0] if old.find(name) is None else kinds[1] if new.find(name) is None else kinds[2]
        by_kind[kind].append(name)
    head = f"{new.engine} {new.version} against {old.version}, by their flag lists:"
    return [head, *(f"  {kind}: {', '.join(names)}" for kind, names in by_kind.items() if names)]


def _meaning(flag: Flag | None) -> tuple[object, ...] | None:
    return None if flag is None else (flag.takes, frozenset(flag.choices or ()))
