"""A command line read as the engine's own parser reads it: against its flag list, in its words.

Source of the grammar: argparse (a word that looks like an option is never a value; the last of two wins),
and for vLLM utils/argparse_utils.py: `_` in an option's name is `-`, `-O3` is `--optimization-level 3`,
`--flag.key value` is a part of a JSON flag. Both parsers refuse abbreviations here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from autotune.plan.runtimes.flags import Flag, FlagList

MULTIPLIERS = {f"{letter}": 1000**power for power, letter in enumerate("kmgt", 1)} | {
    f"{letter}": 1024**power for power, letter in enumerate("KMGT", 1)
}
"""Source: vLLM 0.33.0 utils/argparse_utils.py, human_readable_int."""

FIT = ("auto", "-1")
"""Values of vLLM's --max-model-len: as much as the KV cache holds. Source: the same file."""


class UsageError(Exception):
    """The engine's parser refuses the command line; it ends with status 2."""


def human_int(text: str) -> int:
    """Return the integer that `16k` (16,000), `16K` (16,384) or `1.5m` means.

    Raises: ValueError if it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", text.strip())
    if found is None:
        return int(text)
    number, suffix = found.groups()
    factor = MULTIPLIERS[suffix]
    return int(float(number) * factor) if suffix.islower() else int(number) * factor


CONVERSIONS: Mapping[str, tuple[str, Callable[[str], float]]] = {
    "int": ("int", int),
    "float": ("float", float),
    "human_int": ("human_readable_int", human_int),
}
"""By a flag's type: what argparse calls it, and how it converts. Other types are taken as they are."""


class CommandLine:
    """What was given, by any of a flag's names; it remembers what was asked for."""

    def __init__(
        self, given: Mapping[str, Sequence[str]], positional: Sequence[str], flags: FlagList
    ) -> None:
        self.positional = tuple(positional)
        self._given = given
        self._flags = flags
        self._read: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        """Return the flag's first word."""
        words = self._words(name)
        return words[0] if words else default

    def number(self, name: str, default: int) -> int:
        """Return a whole number."""
        found = self.number_or_none(name)
        return default if found is None else found

    def number_or_none(self, name: str) -> int | None:
        """Return a whole number; None if the flag was not given."""
        words = self._words(name)
        return human_int(words[0]) if words else None

    def fraction(self, name: str, default: float) -> float:
        """Return a number."""
        words = self._words(name)
        return float(words[0]) if words else default

    def switch(self, name: str, *, default: bool) -> bool:
        """Return whether a flag without a value is on: a spelling with `no-` or `disable-` turns it off."""
        words = self._words(name)
        if words is None:
            return default
        return words[0] == name or not words[0].startswith(("--no-", "--disable-"))

    def without_effect(self, untimed: Collection[str]) -> tuple[str, ...]:
        """Return the flags that were given and not asked for, and those of `untimed` that were given."""
        known = {flag.names[0] for name in untimed if (flag := self._flags.find(name)) is not None}
        return tuple(sorted(name for name in self._given if name not in self._read or name in known))

    def _words(self, name: str) -> Sequence[str] | None:
        flag = self._flags.find(name)
        if flag is None:
            return None
        self._read.add(flag.names[0])
        return self._given.get(flag.names[0])


def read_command_line(
    words: Sequence[str], flags: FlagList, *, program: str, command: str, max_positional: int = 0
) -> CommandLine:
    """Return what is given after the program's name.

    `program` speaks of unknown words and `command` of wrong values: argparse knows the former only when the
    subcommand has finished. Source: tests/logs/vllm-0.32.0-unknown-flag.log and -invalid-choice.log.

    Raises: UsageError.
    """
    given: dict[str, list[str]] = {}
    positional: list[str] = []
    unknown: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not _is_option(word):
            (positional if len(positional) < max_positional else unknown).append(word)
            continue
        name, attached = _split(word, flags)
        flag = flags.find(name) or _json_part(name, flags)
        if flag is None:
            unknown.append(word)
            continue
        values = _take(flag, rest) if attached is None else [attached]
        given[flag.names[0]] = _checked(flag, name, values, command)
    if unknown:
        raise UsageError(f"{program}: error: unrecognized arguments: {' '.join(unknown)}")
    return CommandLine(given, positional, flags)


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and re.fullmatch(r"-\d+|-\d*\.\d+", word) is None


def _split(word: str, flags: FlagList) -> tuple[str, str | None]:
    """The name of an option as the engine's parser normalizes it, and the value attached by `=`."""
    if flags.engine == "vllm" and word.startswith("-O") and word != "-O":
        return "--optimization-level", word[2:].removeprefix("=")
    name, equals, attached = word.partition("=")
    if flags.engine == "vllm" and name.startswith("--"):
        head, dot, key = name.partition(".")
        name = head.replace("_", "-") + dot + key
    return name, attached if equals else None


def _json_part(name: str, flags: FlagList) -> Flag | None:
    head, dot, _ = name.partition(".")
    flag = flags.find(head) if dot and flags.engine == "vllm" else None
    return flag if flag is not None and flag.type == "json" else None


def _take(flag: Flag, rest: list[str]) -> list[str]:
    """The words that follow a flag and belong to it."""
    values: list[str] = []
    while flag.takes != "none" and rest and not _is_option(rest[0]):
        values.append(rest.pop(0))
        if flag.takes == "value":
            break
    return values


def _checked(flag: Flag, name: str, values: list[str], command: str) -> list[str]:
    wrong = f"{command}: error: argument {'/'.join(flag.names)}: "
    if flag.takes == "none":
        if values:
            raise UsageError(f"{wrong}ignored explicit argument {values[0]!r}")
        return [name]
    if not values:
        raise UsageError(f"{wrong}expected {'one' if flag.takes == 'value' else 'at least one'} argument")
    for value in values:
        if flag.choices and value not in flag.choices:
            known = ", ".join(map(repr, flag.choices))
            raise UsageError(f"{wrong}invalid choice: {value!r} (choose from {known})")
        _convert(flag, name, value, wrong)
    return values


def _convert(flag: Flag, name: str, value: str, wrong: str) -> None:
    called, convert = CONVERSIONS.get(flag.type or "", ("", None))
    if convert is None or (name == "--max-model-len" and value in FIT):
        return
    try:
        convert(value)
    except ValueError:
        raise UsageError(f"{wrong}invalid {called} value: {value!r}") from None
