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
from autotune.benchmark.client.frames import Frames
from autotune.benchmark.metrics import UNFINISHED

PLAIN = re.compile(rb"[ !#-\[\]-~]+")  # what stands in JSON for itself
TEXT = re.compile(rb'"(?:text|content|reasoning_content|reasoning)": ?"((?:[^"\\]|\\.)+)"')
TEXT_KEYS = ("text", "content", "reasoning_content", "reasoning")
MARK = b"\x7fmark\x7f"
TRIES = 8  # patterns that are looked for in one answer

Reads = Sequence[tuple[float, bytes]]


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
    frames = Frames()
    if exchange.status != 200 and exchange.error is None:
        body = b"".join([frames.feed(data) for _, data in exchange.raw])
        return Answer(error=f"http_{exchange.status}", detail=body[:300].decode(errors="replace"))
    try:
        return _read(exchange.raw, frames) if exchange.error is None else _unfinished(exchange.raw, frames)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return Answer(error="bad_response", detail=f"{type(error).__name__}: {error}")


def _read(raw: Reads, frames: Frames) -> Answer:
    stamps: list[float] = []
    usage: Mapping[str, Any] | None = None
    done = False
    for stamp, data in unlike(raw, frames, stamps):
        if data == b"[DONE]":
            done = True
            continue
        content = json.loads(data)
        if "error" in content:
            return Answer(error="bad_response", detail=str(content["error"])[:300])
        usage = content.get("usage") or usage
        if _brings_tokens(content.get("choices") or []):
            stamps.append(stamp)
    if not frames.complete:
        return Answer(error="bad_response", detail="the answer is no whole HTTP message")
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


def _unfinished(raw: Reads, frames: Frames) -> Answer:
    stamps: list[float] = []
    for stamp, data in unlike(raw, frames, stamps):
        if data != b"[DONE]" and _brings_tokens(json.loads(data).get("choices") or []):
            stamps.append(stamp)
    return Answer(error=UNFINISHED, stamps=tuple(stamps))


class _Pattern:
    """The bytes before and after the text of a chunk that brings tokens and says nothing else."""

    def __init__(self, before: bytes, after: bytes) -> None:
        self.before, self._after, self._framed = before, after, after + b"\r\n"
        self._heads: dict[int, bytes] = {}

    def fits(self, data: bytes) -> bool:
        """Whether this is such an event, whole, with another text."""
        return self._between(data, self.before, self._after)

    def fits_framed(self, data: bytes) -> bool:
        """Whether this is one HTTP chunk, whole, with such an event and nothing else in it."""
        head = self._heads.get(len(data))
        if head is None:
            head = self._heads[len(data)] = self._head(len(data))
        return self._between(data, head, self._framed)

    def _between(self, data: bytes, head: bytes, tail: bytes) -> bool:
        same = data.startswith(head) and data.endswith(tail)
        return same and PLAIN.fullmatch(data, len(head), len(data) - len(tail)) is not None

    def _head(self, length: int) -> bytes:
        """Return what a chunk of so many bytes with its frame begins with; of no chunk, what none does."""
        for digits in range(1, 8):
            size = length - digits - 4
            if size > 0 and len(f"{size:x}") == digits:
                return b"%x\r\n%b" % (size, self.before)
        return b"\n"


def unlike(raw: Reads, frames: Frames, stamps: list[float]) -> Iterator[tuple[float, bytes]]:
    """Yield the events that must be parsed; those known to bring tokens go to `stamps` at once.

    A read that is one HTTP chunk with one known event in it, from its first byte to its last, is nothing else
    if it came between two chunks and no part of an event came before it: the parser need not see it.
    """
    pattern: _Pattern | None = None
    known: set[bytes] = set()  # reads that fitted, of this answer: words come again
    tries = TRIES
    rest = b""
    for stamp, data in raw:
        if pattern is not None and not rest and frames.between:
            if data in known:
                stamps.append(stamp)
                continue
            if pattern.fits_framed(data):
                known.add(data)
                stamps.append(stamp)
                continue
        whole, rest = _split(rest + frames.feed(data))
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
    return _Pattern(b"data: " + data[: found.start(1)], data[found.end(1) :] + b"\n\n")


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
