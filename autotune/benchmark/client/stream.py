"""What a streamed answer says; read after the run, never on the way.

Most chunks of an answer are the same JSON with another piece of text. What is read of the first one is known
of every chunk that has its bytes before and after the text, and whose text is plain ASCII without quotes,
backslashes and control characters: it is the same object, with a text that is not empty. So only chunks that
are different are parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.benchmark.client.connection import Exchange
from autotune.benchmark.metrics import UNFINISHED

PLAIN = re.compile(rb"[ !#-\[\]-~]+")  # what stands in JSON for itself
TEXT = re.compile(rb'"(?:text|content|reasoning_content|reasoning)": ?"((?:[^"\\]|\\.)+)"')
TEXT_KEYS = ("text", "content", "reasoning_content", "reasoning")
MARK = b"\x7fmark\x7f"
TRIES = 8  # patterns that are looked for in one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`stamps` are the times of the chunks that brought tokens; `error` is a kind, or None."""

    stamps: tuple[float, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None
    detail: str = ""


def read_answer(exchange: Exchange) -> Answer:
    """Return what an exchange brought.

    Failures: `connect`, `timeout`, `truncated` (no end of the answer, or no `[DONE]`), `http_<status>`,
    `bad_response` (not the OpenAI protocol), `no_content` (no token), `no_usage` (tokens not counted);
    `unfinished` (the client stopped first) keeps its stamps.
    """
    if exchange.error is not None and exchange.error != UNFINISHED:
        return Answer(error=exchange.error)
    if exchange.status != 200 and exchange.error is None:
        body = b"".join(data for _, data in exchange.reads)
        return Answer(error=f"http_{exchange.status}", detail=body[:300].decode(errors="replace"))
    try:
        return _read(exchange.reads) if exchange.error is None else _unfinished(exchange.reads)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return Answer(error="bad_response", detail=f"{type(error).__name__}: {error}")


def _read(reads: Sequence[tuple[float, bytes]]) -> Answer:
    stamps: list[float] = []
    usage: Mapping[str, Any] | None = None
    done = False
    for stamp, data in _unlike(reads, stamps):
        if data == b"[DONE]":
            done = True
            continue
        content = json.loads(data)
        if "error" in content:
            return Answer(error="bad_response", detail=str(content["error"])[:300])
        usage = content.get("usage") or usage
        if _brings_tokens(content.get("choices") or []):
            stamps.append(stamp)
    if not done:
        return Answer(error="truncated", detail="the stream ended without [DONE]")
    if not stamps:
        return Answer(error="no_content")
    if usage is None or not usage.get("completion_tokens"):
        return Answer(error="no_usage")
    return Answer(
        stamps=tuple(stamps),
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        output_tokens=int(usage["completion_tokens"]),
    )


def _unfinished(reads: Sequence[tuple[float, bytes]]) -> Answer:
    stamps: list[float] = []
    for stamp, data in _unlike(reads, stamps):
        if data != b"[DONE]" and _brings_tokens(json.loads(data).get("choices") or []):
            stamps.append(stamp)
    return Answer(error=UNFINISHED, stamps=tuple(stamps))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    """The bytes before and after the text of a chunk that brings tokens and says nothing else."""

    before: bytes
    after: bytes

    def fits(self, data: bytes) -> bool:
        """Whether this is such a chunk, whole, with another text."""
        begin, end = len(self.before), len(data) - len(self.after)
        same = end > begin and data.startswith(self.before) and data.endswith(self.after)
        return same and PLAIN.fullmatch(data, begin, end) is not None


def _unlike(reads: Sequence[tuple[float, bytes]], stamps: list[float]) -> Iterator[tuple[float, bytes]]:
    """Yield the events that must be parsed; those known to bring tokens go to `stamps` at once.

    The text of a known one has no line end, so a read that is one from its first byte to its last is one
    event and nothing else, if no part of an event came before it.
    """
    pattern: _Pattern | None = None
    tries = TRIES
    rest = b""
    for stamp, data in reads:
        if pattern is not None and not rest and pattern.fits(data):
            stamps.append(stamp)
            continue
        whole, rest = _split(rest + data)
        for event in whole:
            if pattern is not None and pattern.fits(event + b"\n\n"):
                stamps.append(stamp)
                continue
            content = _data(event)
            if content is not None:
                yield stamp, content
                if tries and (pattern is None or not event.startswith(pattern.before)):
                    pattern = _pattern(event, content) or pattern
                    tries -= 1


def _pattern(event: bytes, data: bytes) -> _Pattern | None:
    """Return the pattern of an event, if it brings nothing but text.

    Where the text lies is guessed and then proved: with a mark in its place, the same object must be read
    with the mark as its text.
    """
    found = TEXT.search(data)
    if found is None or event != b"data: " + data:
        return None
    try:
        content = json.loads(data)
        marked = json.loads(data[: found.start(1)] + MARK + data[found.end(1) :])
    except ValueError:
        return None
    if not isinstance(content, dict) or content.get("usage") or "error" in content:
        return None
    choices = content.get("choices") or []
    choice = choices[0] if isinstance(choices, list) and choices else None
    holder = choice.get("delta") or choice if isinstance(choice, dict) else None
    if not isinstance(holder, dict) or not _brings_tokens(choices):
        return None
    for key in TEXT_KEYS:
        if isinstance(holder.get(key), str) and holder[key]:
            holder[key] = MARK.decode()
            break
    if content != marked:
        return None
    return _Pattern(before=b"data: " + data[: found.start(1)], after=data[found.end(1) :] + b"\n\n")


def events(reads: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """Yield the data of each server-sent event with the stamp of the read that completed it."""
    rest = b""
    for stamp, data in reads:
        whole, rest = _split(rest + data)
        for event in whole:
            content = _data(event)
            if content is not None:
                yield stamp, content


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the events that are complete, and the rest."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    *whole, rest = data.split(b"\n\n")
    return whole, rest


def _data(event: bytes) -> bytes | None:
    """Return the data of an event; None if it has none."""
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def _brings_tokens(choices: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a chunk brought tokens: text, or a token whose text is held back (half a character).

    The role chunk that opens a chat, and a closing chunk without text, bring none.
    """
    if not choices:
        return False
    choice = choices[0]
    delta = choice.get("delta") or {}
    text = choice.get("text") or any(delta.get(key) for key in TEXT_KEYS[1:])
    return bool(text) or (not delta.get("role") and choice.get("finish_reason") is None)
