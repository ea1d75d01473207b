"""Engine arguments under canonical names: checked against the flag list of the version, written out.

The canonical name of a setting is its flag's first spelling with underscores (`max_num_seqs`,
`tensor_parallel_size`), or the key of the options file where it has no flag (`kv_cache_config.dtype`).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autotune.plan.runtimes.flags import Flag, FlagList


def canonical(args: Mapping[str, Any], flags: FlagList) -> tuple[dict[str, Any], list[str]]:
    """Return `args` by canonical names, and what is wrong with them: a setting that is given twice.

    A name that the engine lacks is kept, for `check` to find. Options that are nested become dotted keys.
    """
    found: dict[str, Any] = {}
    given: dict[str, str] = {}
    problems = []
    for name, value in _flattened(args, flags):
        key, meant = _canonical(name, value, flags)
        if key in found and found[key] != meant:
            problems.append(f"runtime.args.{name} and runtime.args.{given[key]} are one setting: give one")
        found[key], given[key] = meant, name
    return found, problems


def check(args: Mapping[str, Any], flags: FlagList) -> list[str]:
    """Return what is wrong with canonical `args`: names the engine lacks, values outside its choices."""
    problems: list[str] = []
    for name, value in args.items():
        flag = _flag(name, flags)
        if flag is None:
            problems.append(_unknown(name, flags))
        elif value is not None:
            problems.extend(_value_problems(name, value, flag))
    return problems


def command_line(args: Mapping[str, Any], flags: FlagList) -> list[str]:
    """Return the words for those `args` that are flags.

    Null leaves one out, true and false switch, lists and maps expand.
    """
    words: list[str] = []
    for name, value in args.items():
        spelling = flags.spelling(name)
        if value is None or spelling is None:
            continue
        flag = flags.find(spelling)
        if isinstance(value, bool) and flag is not None and flag.takes == "none":
            words.extend(_switch(spelling, flags, on=value))
        elif isinstance(value, Mapping):
            words.extend([spelling, json.dumps(value, sort_keys=True)])
        elif isinstance(value, Sequence) and not isinstance(value, str):
            words.extend([spelling, *map(_word, value)])
        else:
            words.extend([spelling, _word(value)])
    return words


def options_file(args: Mapping[str, Any], flags: FlagList) -> dict[str, Any]:
    """Return those `args` that have no flag as the nested content of the engine's options file."""
    content: dict[str, Any] = {}
    for name, value in args.items():
        if value is None or flags.spelling(name) is not None or name not in flags.options:
            continue
        *folders, last = name.split(".")
        node = content
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value
    return content


def _flattened(args: Mapping[str, Any], flags: FlagList, prefix: str = "") -> list[tuple[str, Any]]:
    """A map stays one where a flag or an option takes it; an options file's groups become dotted."""
    pairs: list[tuple[str, Any]] = []
    for name, value in args.items():
        key = f"{prefix}{name}"
        group = flags.options_flag is not None and key not in flags.options and not flags.spelling(key)
        if group and isinstance(value, Mapping):
            pairs += _flattened(value, flags, f"{key}.")
        else:
            pairs.append((key, value))
    return pairs


def _canonical(name: str, value: Any, flags: FlagList) -> tuple[str, Any]:
    """An off form of a switch is its on form with the opposite value."""
    spelling = flags.spelling(name)
    flag = flags.find(spelling) if spelling is not None else flags.setting(name)
    if flag is None:
        return name, value
    first = flag.names[0]
    key = first.removeprefix("--").replace("-", "_")
    if spelling is not None and isinstance(value, bool) and _is_off(spelling, first):
        return key, not value
    return key, value


def _is_off(spelling: str, first: str) -> bool:
    off = (f"--no-{first[2:]}", first.replace("--enable-", "--disable-", 1))
    return spelling != first and spelling in off


def _flag(name: str, flags: FlagList) -> Flag | None:
    spelling = flags.spelling(name)
    return flags.find(spelling) if spelling is not None else flags.options.get(name)


def _unknown(name: str, flags: FlagList) -> str:
    names = {flag_name[2:].replace("-", "_") for flag in flags.flags for flag_name in flag.names}
    near = difflib.get_close_matches(name, sorted({*names, *flags.options}), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    kind = "argument or option" if flags.options else "argument"
    return f"runtime.args.{name}: {flags.engine} {flags.version} has no such {kind}{hint}"


def _switch(spelling: str, flags: FlagList, *, on: bool) -> list[str]:
    """A flag without an off form is off when it is left out; 0.32 of vLLM knows --no-enable-x only."""
    if on:
        return [spelling]
    off = [f"--no-{spelling[2:]}", spelling.replace("--enable-", "--disable-", 1)]
    return [word for word in off if word != spelling and flags.find(word)][:1]


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
    kinds: dict[str | None, tuple[Callable[[str], object], str]] = {
        "int": (int, "a whole number"),
        "float": (float, "a number"),
        "bool": (_bool, "true or false"),
    }
    if flag.takes != "value" or flag.type not in kinds:
        return []
    convert, expected = kinds[flag.type]
    try:
        convert(str(value))
    except ValueError:
        return [f"{where}: expected {expected}"]
    return []


def _bool(word: str) -> bool:
    if word not in {"True", "False"}:
        raise ValueError(word)
    return word == "True"


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
