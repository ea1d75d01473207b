"""Engine arguments as a command line, checked against the flag list of the engine's version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from autotune.plan.runtimes.flags import Flag, FlagList


def option(name: str) -> str:
    """Return the long option of an argument name: `max_num_seqs` is `--max-num-seqs`."""
    return "--" + name.replace("_", "-")


def check(args: Mapping[str, Any], flags: FlagList) -> list[str]:
    """Return what is wrong with `args`: names the engine lacks, values outside its choices."""
    problems: list[str] = []
    for name, value in args.items():
        flag = flags.find(option(name))
        if flag is None:
            near = flags.nearest(option(name))
            hint = f"; did you mean {near.lstrip('-').replace('-', '_')}?" if near else ""
            problems.append(
                f"runtime.args.{name}: {flags.engine} {flags.version} has no {option(name)}{hint}"
            )
        elif value is not None:
            problems.extend(_value_problems(name, value, flag))
    return problems


def command_line(args: Mapping[str, Any], flags: FlagList) -> list[str]:
    """Return the words for `args`: null leaves one out, true and false switch, lists and maps expand."""
    words: list[str] = []
    for name, value in args.items():
        if value is None:
            continue
        flag = flags.find(option(name))
        if isinstance(value, bool) and flag is not None and flag.takes == "none":
            words.extend(_switch(name, flags, on=value))
        elif isinstance(value, Mapping):
            words.extend([option(name), json.dumps(value, sort_keys=True)])
        elif isinstance(value, Sequence) and not isinstance(value, str):
            words.extend([option(name), *map(_word, value)])
        else:
            words.extend([option(name), _word(value)])
    return words


def _switch(name: str, flags: FlagList, *, on: bool) -> list[str]:
    """A flag without an off form is off when it is left out."""
    if on:
        return [option(name)]
    off = [f"--no-{option(name)[2:]}", option(name.replace("enable_", "disable_", 1))]
    return [word for word in off if word != option(name) and flags.find(word)][:1]


def _value_problems(name: str, value: Any, flag: Flag) -> list[str]:
    where = f"runtime.args.{name}={_word(value)}"
    if flag.takes == "none":
        return [] if isinstance(value, bool) else [f"{where}: a switch; give true, false or null"]
    if isinstance(value, bool) and flag.choices is None and flag.type in {"int", "float"}:
        return [f"{where}: expected a number"]
    if flag.takes == "value" and isinstance(value, Sequence) and not isinstance(value, str):
        return [f"{where}: takes one value, got {len(value)}"]
    values = value if flag.takes == "list" and isinstance(value, Sequence) else [value]
    if flag.choices and not isinstance(values, str):
        return [
            f"{where}: must be one of {', '.join(flag.choices)}"
            for item in values
            if _word(item) not in flag.choices
        ]
    return _type_problems(where, value, flag)


def _type_problems(where: str, value: Any, flag: Flag) -> list[str]:
    kinds = {"int": (int, "a whole number"), "float": (float, "a number")}
    if flag.takes != "value" or flag.type not in kinds:
        return []
    convert, expected = kinds[flag.type]
    try:
        convert(str(value))
    except ValueError:
        return [f"{where}: expected {expected}"]
    return []


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
