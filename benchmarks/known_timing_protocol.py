"""The bytes that the server of known timing sends, and how they are written."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
REASONS = {200: "OK", 404: "Not Found", 500: "Internal Server Error"}


def frame(*events: object) -> bytes:
    """One HTTP chunk of server-sent events."""
    data = b"".join(
        b"data: " + (event.encode() if isinstance(event, str) else json.dumps(event).encode()) + b"\n\n"
        for event in events
    )
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(path: str, text: str, finish: str | None = None) -> dict[str, Any]:
    """A chunk of a completion or of a chat."""
    chat = path.endswith("/chat/completions")
    choice: dict[str, Any] = {"index": 0, "delta": {"content": text}} if chat else {"index": 0, "text": text}
    kind = "chat.completion.chunk" if chat else "text_completion"
    head = {"id": "known", "object": kind, "created": 0, "model": "known"}
    return {**head, "choices": [{**choice, "finish_reason": finish}]}


def said(request: dict[str, Any]) -> str:
    """Return everything that a request says, as one text; parts of a message may be a list."""
    if request.get("prompt"):
        return str(request["prompt"])
    contents = (message["content"] for message in request.get("messages", []))
    return " ".join(
        content if isinstance(content, str) else " ".join(part["text"] for part in content)
        for content in contents
    )


def asked_tokens(request: dict[str, Any]) -> int:
    """Return how many tokens a request asks for, by the old name or the new one."""
    return int(request.get("max_tokens") or request.get("max_completion_tokens") or 16)


def usage_event(path: str, usage: dict[str, int]) -> dict[str, Any]:
    """The last chunk, which counts the tokens."""
    return {**event(path, ""), "choices": [], "usage": usage}


@dataclass(slots=True)
class Stream:
    """One answer in progress: what is left to write, and when each chunk was written."""

    path: str
    transport: Any
    received_s: float
    due_s: float  # from its receipt to its next chunk
    tokens: int
    chunks: int
    stops_at: int | None  # the chunk before which the connection is closed
    usage: dict[str, int] | None
    checksum: int = 0
    written_s: list[float] = field(default_factory=list)
    ended_well: bool = False

    def write(self, data: bytes) -> None:
        """Write now, past the transport, which would wait for the end of the loop's round."""
        written = 0
        if not self.transport.get_write_buffer_size():
            with suppress(OSError):  # full, or lost: the transport knows what to do
                written = os.write(self.transport.get_extra_info("socket").fileno(), data)
        if written < len(data):
            self.transport.write(data[written:])


def answer(transport: Any, status: int, content: object) -> None:
    """Write a whole JSON answer; the connection is kept."""
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
    transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
