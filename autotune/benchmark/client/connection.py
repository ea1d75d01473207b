"""One keep-alive HTTP connection: writes a request, stamps every read of its answer.

On the way nothing is decoded that need not be: of a streamed answer the head is parsed and the rest kept with
the time of each read; what marks its end is looked for in the last bytes only. `frames` and `stream` take the
answer apart after the run, by the whole grammar, and say so where the short look was wrong.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httptools

CHUNK_END = b"\n\n\r\n"  # of an HTTP chunk that ends with an event
LAST_CHUNK = b"0\r\n\r\n"
STREAM_END = CHUNK_END + LAST_CHUNK
OK = 200


@dataclass(slots=True, eq=False)
class Exchange:
    """What one request has brought so far: times are `perf_counter` seconds, 0 for not yet.

    `raw` are the reads as they came.
    """

    begun_s: float = 0.0  # when the client set about sending it; a connection may have to be opened first
    sent_s: float = 0.0
    ended_s: float = 0.0
    status: int = 0
    error: str | None = None  # connect, truncated, timeout, bad_response, unfinished
    raw: list[tuple[float, bytes]] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """Carries one exchange at a time; `ended` is called with it when an answer is complete or cannot come."""

    def __init__(self, ended: Callable[[Connection], None]) -> None:
        self.reusable = False
        self.used = False  # before the exchange in progress
        self.exchange: Exchange | None = None
        self.data = b""
        self._ended = ended
        self._raw: list[tuple[float, bytes]] | None = None
        self._transport: Any = None
        self._file = -1  # what a request is written to at once; -1: the transport must (TLS)
        self._parser: Any = None
        self._fed = 0  # reads that the parser has had
        self._chunked = self._streams = self._complete = False

    def send(self, data: bytes, exchange: Exchange) -> None:
        """Write a request now: uvloop's transport would wait for the end of its round."""
        self._parser = httptools.HttpResponseParser(self)
        self.exchange, self._raw, self.data = exchange, exchange.raw, data
        self._fed = 0
        self._chunked = self._streams = self._complete = self.reusable = False
        exchange.sent_s = exchange.sent_s or perf_counter()  # sent again: waiting began the first time
        written = 0
        if self._file >= 0 and not self._transport.get_write_buffer_size():
            with suppress(OSError):  # full, or lost: the transport knows what to do
                written = os.write(self._file, data)
        if written < len(data):
            self._transport.write(data[written:])

    def give_up(self, error: str) -> None:
        """Close, and end the exchange in progress as failed."""
        self.close()
        self._end(error, perf_counter())

    def close(self) -> None:
        """Close without waiting for what is in flight."""
        self.reusable = False
        self._file = -1  # soon another's
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Uvloop and asyncio both set TCP_NODELAY."""
        self._transport = transport
        self.reusable = True
        if transport.get_extra_info("sslcontext") is None:
            self._file = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        """Stamp first; an event in the middle of a stream needs no more."""
        stamp = perf_counter()
        raw = self._raw
        if raw is None:
            return
        raw.append((stamp, data))
        if not self._streams or data[-4:] != CHUNK_END:
            self._look(raw, data, stamp)

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that is not complete by now is truncated."""
        self.reusable = False
        self._file = -1
        self._end("truncated", perf_counter())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() == b"transfer-encoding":
            self._chunked = value.lower() == b"chunked"

    def on_headers_complete(self) -> None:
        """Called by the parser before the body."""
        if self.exchange is not None:
            self.exchange.status = self._parser.get_status_code()
            self._streams = self._chunked and self.exchange.status == OK
            self.reusable = self._streams and bool(self._parser.should_keep_alive())

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the answer."""
        self._complete = True
        self.reusable = bool(self._parser.should_keep_alive())

    def _look(self, raw: list[tuple[float, bytes]], data: bytes, stamp: float) -> None:
        """Find out whether the answer is complete: by its last bytes, or by parsing what has come."""
        if not (self._streams and _ends_stream(raw, data)):
            try:
                for _, read in raw[self._fed :]:
                    self._parser.feed_data(read)
            except httptools.HttpParserError:
                if not self._complete:
                    self.give_up("bad_response")
                    return
                self.reusable = False  # more came than the answer
            self._fed = len(raw)
            if not self._complete:
                return
        self._end(None, stamp)

    def _end(self, error: str | None, stamp: float) -> None:
        exchange = self.exchange
        if exchange is None or self._raw is None:
            return
        self._raw = None
        exchange.ended_s, exchange.error = stamp, error
        self._ended(self)


def _ends_stream(raw: list[tuple[float, bytes]], data: bytes) -> bool:
    """Whether a chunk that ends an event is followed by the last chunk, in one read or the next."""
    if data == LAST_CHUNK:
        return len(raw) > 1 and raw[-2][1].endswith(CHUNK_END)
    return data.endswith(STREAM_END)
