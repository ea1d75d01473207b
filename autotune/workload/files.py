"""Requests that a user's file holds: ShareGPT conversations, or one request a line.

ShareGPT: a JSON list of `{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", ...}]}`.
JSON lines: `{"prompt": "..."}`, `{"messages": [{"role": "user", "content": "..."}]}` or
`{"input_tokens": n}`, with `"output_tokens": n` and, for a trace, `"time": seconds`; or a line of a Mooncake
trace, `{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [...]}`, whose ids name blocks of
512 tokens. Source: github.com/kvcache-ai/Mooncake, README of the traces.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

SHOWN = 5  # problems of one file; the rest is counted
BLOCK = 512  # tokens of a Mooncake block
HUMAN = frozenset({"human", "user"})
MODEL = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard"})
WANTED = '"prompt", "messages", "input_tokens" or "input_length"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request: the text at `position` is its prompt, those before its history; None: to be counted."""

    position: int
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A conversation; without texts it has lengths, and `blocks` name what it shares with others."""

    texts: tuple[tuple[str, str], ...] = ()
    asks: tuple[Ask, ...]
    at_s: float | None = None
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a file holds, or what is wrong with it; `unusable` conversations have no answered question."""

    conversations: tuple[Recorded, ...] = ()
    problems: tuple[str, ...] = ()
    unusable: int = 0


def read_sharegpt(content: bytes, *, turns: int) -> Reading:
    """Return the conversations of a ShareGPT file, each with at most so many turns."""
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        return Reading(problems=(f"is no JSON ({error})",))
    if not isinstance(entries, list):
        return Reading(problems=(f"holds a JSON {_kind(entries)}, must hold a list of conversations",))
    problems, found, unusable = [], [], 0
    for number, entry in enumerate(entries, 1):
        said = entry.get("conversations") if isinstance(entry, dict) else None
        if not isinstance(said, list) or not all(_is_message(each) for each in said):
            problems.append(f"entry {number}: {_WANTED_ENTRY}")
            continue
        recorded = _conversation(said, turns)
        unusable += recorded is None
        found += [] if recorded is None else [recorded]
    return _read(problems, found, unusable, what="conversation with an answered question")


def read_lines(content: bytes, *, output_tokens: int | None) -> Reading:
    """Return the requests of a file with one JSON object a line; `output_tokens` is for lines without."""
    problems, found = [], []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(_request(json.loads(line), output_tokens))
        except RecursionError:
            problems.append(f"line {number}: is nested too deep")
        except json.JSONDecodeError as error:
            problems.append(f"line {number}: is no JSON ({error.msg} at column {error.colno})")
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    timed = sum(each.at_s is not None for each in found)
    if timed not in {0, len(found)}:
        problems.append(f"{timed} of {len(found)} lines have a time: give it on each of them, or on none")
    elif timed:
        found.sort(key=lambda each: each.at_s or 0.0)
        begin_s = found[0].at_s or 0.0
        found = [replace(each, at_s=(each.at_s or 0.0) - begin_s) for each in found]
    return _read(problems, found, 0, what="request")


_WANTED_MESSAGES = '"messages" must be a list of {"role": "user", "content": "..."} whose last is a user\'s'
_WANTED_ENTRY = '"conversations" must be a list of {"from": "human", "value": "..."}'


def _read(problems: list[str], found: list[Recorded], unusable: int, *, what: str) -> Reading:
    if not problems and not found:
        problems.append(f"holds no {what}")
    if len(problems) > SHOWN:
        problems = [*problems[:SHOWN], f"and {len(problems) - SHOWN} more"]
    return Reading(
        conversations=() if problems else tuple(found), problems=tuple(problems), unusable=unusable
    )


def _is_message(each: Any) -> bool:
    return isinstance(each, dict) and isinstance(each.get("from"), str) and isinstance(each.get("value"), str)


def _conversation(said: list[Mapping[str, str]], turns: int) -> Recorded | None:
    """Its first answered questions, from the first human on; None where there are none."""
    texts: list[tuple[str, str]] = []
    for each in _from_human(said):
        wanted = HUMAN if len(texts) % 2 == 0 else MODEL
        if each["from"] not in wanted or not each["value"].strip() or len(texts) == 2 * turns:
            break
        texts.append(("user" if wanted is HUMAN else "assistant", each["value"]))
    answered = len(texts) // 2
    if not answered:
        return None
    asks = tuple(Ask(position=2 * turn) for turn in range(answered))
    return Recorded(texts=tuple(texts[: 2 * answered]), asks=asks)


def _from_human(said: list[Mapping[str, str]]) -> Iterator[Mapping[str, str]]:
    """Leave out what stands before the first question: system prompts, answers without one."""
    begun = False
    for each in said:
        begun = begun or each["from"] in HUMAN
        if begun:
            yield each


def _request(line: Any, default_output: int | None) -> Recorded:
    """Raises: ValueError with what is wrong with a line."""
    if not isinstance(line, dict):
        raise ValueError(f"is a JSON {_kind(line)}, must be an object")  # noqa: TRY004  (the file is wrong)
    output = line.get("output_tokens", line.get("output_length", default_output))
    if output is None:
        raise ValueError('has no "output_tokens": give it on each line, or workload.output_tokens for all')
    output = _whole("output_tokens", output)
    at_s = _time(line)
    if "prompt" in line:
        prompt = line["prompt"]
        if not isinstance(prompt, str) or not prompt.strip():
            raise ValueError('"prompt" must be a text that is not empty')
        return Recorded(texts=(("user", prompt),), asks=(Ask(position=0, output_tokens=output),), at_s=at_s)
    if "messages" in line:
        texts = _messages(line["messages"])
        ask = Ask(position=len(texts) - 1, output_tokens=output)
        return Recorded(texts=texts, asks=(ask,), at_s=at_s)
    tokens = line.get("input_tokens", line.get("input_length"))
    if tokens is None:
        raise ValueError(f"must have one of {WANTED}; has {', '.join(map(str, line)) or 'nothing'}")
    ask = Ask(position=0, input_tokens=_whole("input_tokens", tokens), output_tokens=output)
    return Recorded(asks=(ask,), at_s=at_s, blocks=_blocks(line.get("hash_ids")))


def _messages(given: Any) -> tuple[tuple[str, str], ...]:
    good = isinstance(given, list) and all(
        isinstance(each, dict) and isinstance(each.get("role"), str) and isinstance(each.get("content"), str)
        for each in given
    )
    if not good or not given or given[-1]["role"] != "user" or not given[-1]["content"].strip():
        raise ValueError(_WANTED_MESSAGES)
    return tuple((each["role"], each["content"]) for each in given)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f'"{name}" is {json.dumps(value)}, must be a whole number from 1')
    return value


def _time(line: Mapping[str, Any]) -> float | None:
    """Seconds, from `time` or from Mooncake's milliseconds."""
    name = "time" if "time" in line else "timestamp"
    value = line.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f'"{name}" is {json.dumps(value)}, must be a number from 0')
    return float(value) if name == "time" else value / 1000


def _blocks(given: Any) -> tuple[int, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not all(type(each) is int for each in given):
        raise ValueError('"hash_ids" must be a list of whole numbers')
    return tuple(given)


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
