"""What a streamed answer says; read after the run, never on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.benchmark.client.connection import Exchange
from autotune.benchmark.metrics import UNFINISHED


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
    for stamp, data in events(reads):
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
    contents = ((stamp, json.loads(data)) for stamp, data in events(reads) if data != b"[DONE]")
    stamps = tuple(stamp for stamp, content in contents if _brings_tokens(content.get("choices") or []))
    return Answer(error=UNFINISHED, stamps=stamps)


def events(reads: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """Yield the data of each server-sent event with the stamp of the read that completed it."""
    rest = b""
    for stamp, data in reads:
        rest = (rest + data).replace(b"\r\n", b"\n")
        *whole, rest = rest.split(b"\n\n")
        for event in whole:
            lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
            if lines:
                yield stamp, b"\n".join(lines)


def _brings_tokens(choices: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a chunk brought tokens: text, or a token whose text is held back (half a character).

    The role chunk that opens a chat, and a closing chunk without text, bring none.
    """
    if not choices:
        return False
    choice = choices[0]
    delta = choice.get("delta") or {}
    text = (
        choice.get("text") or delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning")
    )
    return bool(text) or (not delta.get("role") and choice.get("finish_reason") is None)
