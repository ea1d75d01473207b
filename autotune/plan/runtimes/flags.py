"""The engines' own command lines, one list per engine and version: `flag_lists/ENGINE-VERSION.json`.

A list is made by `scripts/dump_flags.py`, run with the engine's own Python. The stand-in engine reads
these lists too, so nothing heavy is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from autotune.errors import ConfigError

FLAG_LISTS = Path(__file__).with_name("flag_lists")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One option of an engine's command line.

    `names` holds every spelling, long ones first, the off forms of a switch among them. `takes` is
    `none` for a switch and `list` for several words. `type` is the word that the parser converts with
    (`int`, `float`, `str`, ...), None where the list does not tell. `option` is the key of the engine's
    options file that says the same.
    """

    names: tuple[str, ...]
    takes: Literal["none", "value", "list"]
    choices: tuple[str, ...] | None
    type: str | None
    option: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagList:
    """Every option that one version of an engine accepts.

    `options` are the keys of its options file (`kv_cache_config.dtype`), which `options_flag` names on the
    command line; empty for an engine without one.
    """

    engine: str
    version: str
    flags: tuple[Flag, ...]
    options: Mapping[str, Flag] = field(default_factory=dict)
    options_flag: str | None = None
    _by_name: Mapping[str, Flag] = field(init=False, repr=False, compare=False)
    _by_option: Mapping[str, Flag] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {name: flag for flag in self.flags for name in flag.names}
        object.__setattr__(self, "_by_name", index)
        by_option = {flag.option: flag for flag in self.flags if flag.option is not None}
        object.__setattr__(self, "_by_option", by_option)

    def find(self, name: str) -> Flag | None:
        """Return the flag that has `name`, dashes included, among its spellings."""
        return self._by_name.get(name)

    def spelling(self, name: str) -> str | None:
        """Return how the engine writes an argument: `max_num_seqs` is `--max-num-seqs`, or as it is."""
        written = ("--" + name.replace("_", "-"), "--" + name)
        return next((word for word in written if word in self._by_name), None)

    def setting(self, option: str) -> Flag | None:
        """Return the flag that says the same as a key of the options file."""
        return self._by_option.get(option)

    def nearest(self, name: str) -> str | None:
        """Return the long spelling that looks most like `name`, None if none looks alike."""
        import difflib

        long_names = [known for known in self._by_name if known.startswith("--")]
        return next(iter(difflib.get_close_matches(name, long_names, n=1)), None)


def known_versions(engine: str) -> tuple[str, ...]:
    """Return the versions of `engine` that have a flag list, oldest first; none for an unknown engine."""
    names = (path.stem.partition("-") for path in FLAG_LISTS.glob("*.json"))
    return tuple(sorted((version for kind, _, version in names if kind == engine), key=_age))


@cache
def load_flags(engine: str, version: str) -> FlagList:
    """Return the flag list of one engine version.

    Raises: ConfigError if there is none; the user can choose a known version or dump a list.
    """
    known = known_versions(engine)
    if version not in known:
        allowed = f"must be one of {', '.join(known)}" if known else f"no version of {engine} has one"
        raise ConfigError(
            [f"runtime.version={version}: no flag list for {engine}: {allowed}; see scripts/dump_flags.py"]
        )
    content = json.loads((FLAG_LISTS / f"{engine}-{version}.json").read_text("utf-8"))
    return FlagList(
        engine=engine,
        version=version,
        flags=tuple(map(_flag, content["flags"])),
        options={row["names"][0]: _flag(row) for row in content.get("options", ())},
        options_flag=content.get("options_flag"),
    )


def _flag(row: Mapping[str, Any]) -> Flag:
    choices = row["choices"]
    return Flag(
        names=tuple(row["names"]),
        takes=row["takes"],
        choices=None if choices is None else tuple(choices),
        type=row["type"],
        option=row.get("option"),
    )


def _age(version: str) -> list[tuple[int, str]]:
    """Order versions by their numbers: 0.9 is older than 0.10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in version.split(".")]
