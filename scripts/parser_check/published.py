"""What an engine's published flag list says to a command, read without the code that wrote the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from autotune.plan.runtimes.flags import Flag, FlagList
from autotune.records import Plan


def strange(plan: Plan, flags: FlagList) -> list[str]:
    """Return what the engine does not know of a plan's command and files; nothing if it knows all."""
    found, keys = [], Counter[str]()
    for option, values in _options(plan.argv):
        flag = flags.find(option)
        if flag is None:
            found.append(f"no flag {option}")
            continue
        found += _values(option, values, flag)
        keys[flag.option or option] += 1
    for text in plan.files.values():
        for key, value in _leaves(yaml.safe_load(text)):
            option_of = flags.options.get(key)
            found += [f"no option {key}"] if option_of is None else _values(key, (value,), option_of)
            keys[key] += 1
    return found + [f"{key} is given {times} times" for key, times in keys.items() if times > 1]


def _options(argv: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    starts = [n for n, word in enumerate(argv) if word.startswith("--")]
    for n, end in zip(starts, [*starts[1:], len(argv)], strict=False):
        yield argv[n], argv[n + 1 : end]


def _values(option: str, values: tuple[Any, ...], flag: Flag) -> list[str]:
    if flag.takes == "none":
        return [] if all(isinstance(value, bool) for value in values) else [f"{option} takes no value"]
    if flag.takes == "value" and len(values) != 1:
        return [f"{option} takes one value, not {len(values)}"]
    wrong = [value for value in values if flag.choices and str(value) not in flag.choices]
    return [f"{option} does not take {value}" for value in wrong]


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
