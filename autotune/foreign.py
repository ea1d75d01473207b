"""Hydra's and OmegaConf's errors in the words of a user.

They are caught where an override is parsed (`overrides.py`, `space.py`), where a file is loaded
(`preset_files.py`), and where all of it is composed (`survey.py`).
"""

from __future__ import annotations

import re

import yaml
from hydra.errors import HydraException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    GrammarParseError,
    InterpolationKeyError,
    InterpolationResolutionError,
    InterpolationValidationError,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
    ValidationError,
)

from autotune.keys import hint_of, schema_keys, suggest, takes, written

UNREADABLE_FILE = (yaml.YAMLError, OmegaConfBaseException, OSError, ValueError, AssertionError)
"""What Hydra raises for a file that it cannot load; the last two for a defaults list that is none."""

COMPOSING = (
    HydraException,
    OmegaConfBaseException,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    AssertionError,
)
"""What composing raises for odd overrides of Hydra's own keys: the libraries let Python's errors through."""

HYDRAS_WORDS = {
    r"Multiple values for (\S+)\. To override a value use 'override \S+: (\S+)'": r"+\1=\2: write \1=\2",
    r"force-add of config groups is not supported: '\+\+(.*)'": r"++\1: write \1",
    r"Could not override '([^']+)'\. No match": r"\1: nothing chooses it yet: write +\1=PRESET",
    r"Could not append to config\. An item is already at '([^']+)'": r"+\1: is there already: leave out +",
}
"""Messages of Hydra about the pluses of overrides, and ours instead."""

REFERENCES = "write ${KEY} or ${oc.env:NAME}"
INTERNAL = re.compile(r"(full_key|reference_type|object_type)[:=]")  # lines about OmegaConf's own classes
CALL = re.compile(r"(\w+) while evaluating '(.*?)': (.*)", re.DOTALL)
QUOTES = "check its brackets; text with , : ( ) [ ] { } or quotes stands in quotes: KEY='\"a, b\"'"


def in_words(error: BaseException) -> str:
    """Return one line that says what is wrong: the file, the key, what was expected."""
    inner = error.__cause__ or error.__context__
    if isinstance(error, HydraException) and isinstance(inner, OmegaConfBaseException):
        named = re.match(r"In '([^']*)'", str(error))
        return f"{f'{named[1]}.yaml: ' if named else ''}{_of_omegaconf(inner)}"
    if isinstance(error, OmegaConfBaseException):
        return _of_omegaconf(error)
    for pattern, words in HYDRAS_WORDS.items():
        if found := re.search(pattern, str(error)):
            return found.expand(words)
    if isinstance(error, HydraException):
        return _plain(error)
    return (
        f"the overrides cannot be put together ({type(error).__name__}): look at those of hydra.*, and for "
        "one that takes away what another one sets"
    )


def unreadable(error: HydraException) -> str:
    """Return why an override cannot be read, without the words of Hydra's grammar."""
    call = CALL.match(str(error))
    if call is None:
        return f"cannot be read: {QUOTES}"
    kind, text, reason = call.groups()
    if kind in {"OverflowError", "ValueError"} and re.search(r"\b(inf|nan)\b", text, re.IGNORECASE):
        return "a range needs two ends that are numbers"
    return f"cannot be read: {text}: {reason.splitlines()[0]}"


def _of_omegaconf(error: OmegaConfBaseException) -> str:
    key = error.full_key or ""
    if key.startswith("hydra"):
        unknown = isinstance(error, (ConfigAttributeError, ConfigKeyError))
        return f"{key}: no such key of Hydra" if unknown else f"{key}: Hydra takes no such value"
    reason = _reason(error, key)
    return f"{key}: {reason}" if key else reason


def _reason(error: OmegaConfBaseException, key: str) -> str:
    named = re.search(r"'([^']*)'", str(error))
    known = hint_of(key) is not None
    if isinstance(error, InterpolationValidationError) and known:
        return f"expected {takes(key)}, and its reference leads to something else"
    if isinstance(error, InterpolationKeyError):
        return f"refers to {named[1] if named else 'a key'}, which is not there"
    if isinstance(error, UnsupportedInterpolationType):
        return f"no such kind of reference: {REFERENCES}"
    if isinstance(error, InterpolationResolutionError):
        reason = _plain(error).partition(": ")[2].strip('"')
        return f"a reference that leads nowhere: {reason or _plain(error)}"
    if isinstance(error, GrammarParseError):
        return f"a reference that cannot be read: {REFERENCES}"
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)) and key:
        return f"no such key{suggest(key, tuple(schema_keys()))}"
    if isinstance(error, ValidationError) and known:
        return f"expected {takes(key)}, got {written(error.value)}"
    return _plain(error)


def _plain(error: BaseException) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return "; ".join(line for line in lines if line and not INTERNAL.match(line))


def unreadable_file(error: Exception) -> str:
    """Return why a preset file cannot be read: what, and the line."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text (byte {error.start}): save it as UTF-8"
    if isinstance(error, yaml.MarkedYAMLError):
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        return f"not YAML that can be read{line}: {error.problem}"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    if isinstance(error, GrammarParseError):
        return f"a reference that cannot be read: {REFERENCES}"
    if isinstance(error, (ValueError, AssertionError)) and not isinstance(error, OmegaConfBaseException):
        return "its defaults list: expected lines such as '- override /model: tiny' and '- _self_'"
    return "expected keys with their values, such as tp: 2"
