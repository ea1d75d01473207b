"""The keys of the schema, and what each takes, in a user's words."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autotune.plan.loads import SEARCH, is_number
from autotune.schema import Config

SPACE = "search.space."  # values in Hydra's grammar, kept as text until the space is made
LOADS = "workload.loads"  # the one key that takes a list or a word
OPEN = "???"  # a value that is still to be given
KINDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list[float]: "a list of numbers such as [1,8]",
    list[str]: "a list such as [a,b]",
}


@cache
def schema_keys() -> Mapping[str, Any]:
    """Return every key of the schema, dotted, with its type."""
    return dict(_keys_of(Config))


def hint_of(key: str) -> Any:
    """Return the type that the schema gives a dotted key, None if there is no such key."""
    keys = schema_keys()
    if key in keys:
        return keys[key]
    holder = _required(hint_of(key.rpartition(".")[0])) if "." in key else None
    if holder is Any:
        return Any
    return typing.get_args(holder)[1] if typing.get_origin(holder) is dict else None


def takes(key: str) -> str:
    """Return what values a key takes: `a whole number or null`."""
    if key == LOADS:
        return f"{KINDS[list[float]]}, or {SEARCH}"
    hint = hint_of(key)
    return f"{_kind(key, _required(hint))}{' or null' if _is_optional(hint) else ''}"


def is_whole_key(key: str) -> bool:
    """Return whether a key takes nothing but whole numbers."""
    return _required(hint_of(key)) is int


def is_number_key(key: str) -> bool:
    """Return whether a key takes numbers."""
    return _required(hint_of(key)) in {int, float}


def value_type_problems(key: str, value: Any) -> list[str]:
    """Return what the schema does not take of `value`: the keys inside it, and the types of its values.

    A reference to another key is only known once it is resolved, and so is a value that is still open.
    """
    hint = hint_of(key)
    if hint is None:
        return [f"{key}: no such key{suggest(key, tuple(schema_keys()))}"]
    holder = _required(hint)
    if isinstance(value, Mapping) and (_is_schema(holder) or typing.get_origin(holder) is dict):
        wrong = [f"{key}.{name}: a key is text" for name in value if not isinstance(name, str)]
        return wrong or [p for name, item in value.items() for p in _inner_problems(key, name, item)]
    is_open = isinstance(value, str) and ("${" in value or value == OPEN)
    if is_open or (_are_loads(value) if key == LOADS else hint is Any or _accepted(key, value)):
        return []
    return [f"{key}={written(value)}: expected {takes(key)}"]


def _inner_problems(key: str, name: str, value: Any) -> list[str]:
    """What is wrong with a value inside a map; the free names of a map may have dots."""
    free = typing.get_origin(_required(hint_of(key))) is dict
    plain = name.replace(".", "-") if free else name
    return [
        p.replace(f"{key}.{plain}", f"{key}.{name}", 1) for p in value_type_problems(f"{key}.{plain}", value)
    ]


def written(value: Any) -> str:
    """Return a value as a user writes it: true, null, [1,2], {a:1}."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{written(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(written, value))}]"
    return value.name if isinstance(value, Enum) else str(value)


def suggest(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean parallel?`, or nothing where nothing looks alike."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _are_loads(value: Any) -> bool:
    """Whether this is a search for a load, or numbers: what else is wrong with them `plan.loads` says."""
    return bool(value == SEARCH) or (isinstance(value, list) and all(map(is_number, value)))


def _accepted(key: str, value: Any) -> bool:
    """Try a value on a copy of the schema; no key takes a number that is not finite.

    What OmegaConf itself lets through in a map of texts is looked at first.
    """
    if hint_of(key) is str and (value is None or isinstance(value, (list, Mapping))):
        return False
    numbers = value if isinstance(value, list) else [value]
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        return False
    *folders, last = key.split(".")
    content: dict[str, Any] = {last: value}
    for folder in reversed(folders):
        content = {folder: content}
    try:
        OmegaConf.merge(_blank(folders[0] if folders else None), content)
    except OmegaConfBaseException:
        return False
    return True


@cache
def _blank(node: str | None) -> Any:
    """The schema of one node: merging into the whole one takes 20 ms."""
    whole = OmegaConf.structured(Config)
    return whole if node is None else OmegaConf.masked_copy(whole, [node])


def _kind(key: str, hint: Any) -> str:
    if _is_schema(hint):
        names = [item.name for item in dataclasses.fields(hint)]
        return f"keys below it, such as {key}.{names[0]}" if names else "nothing: it has no keys yet"
    if typing.get_origin(hint) is dict:
        return f"keys below it: {key}.NAME"
    if key.startswith(SPACE):
        return "its values as text, such as choice(16,32)"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of {', '.join(hint.__members__)}"
    return KINDS[hint]


def _keys_of(node: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(node)
    for item in dataclasses.fields(node):
        key = f"{prefix}{item.name}"
        yield key, hints[item.name]
        inner = _required(hints[item.name])
        if _is_schema(inner):
            yield from _keys_of(inner, f"{key}.")


def _is_schema(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _is_optional(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)


def _required(hint: Any) -> Any:
    """Return the type of a value that is given: `int` of `int | None`."""
    if not isinstance(hint, types.UnionType):
        return hint
    return next(option for option in typing.get_args(hint) if option is not type(None))
