"""One keep-alive HTTP connection: writes a request, stamps every read of its answer.

Nothing is decoded here: bodies are kept with the time of the read that brought them, and are read after
the run. One stamp for each read is as close to the socket as Python gets.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httptools

from autotune.benchmark.metrics import UNFINISHED

STALE_S = 0.25  # a kept connection that is lost by then, without a byte, had been closed while idle


@dataclass(slots=True)
class Exchange:
    """What one request has brought so far: times are `perf_counter` seconds, 0 for not yet."""

    sent_s: float = 0.0
    ended_s: float = 0.0
    status: int = 0
    reads: list[tuple[float, bytes]] = field(default_factory=list)
    error: str | None = None  # connect, truncated, timeout, bad_response, unfinished


class Connection(asyncio.Protocol):
    """Carries one exchange at a time."""

    def __init__(self) -> None:
        self.reusable = False
        self._transport: Any = None
        self._parser: Any = None
        self._exchange = Exchange()
        self._ended: asyncio.Future[None] | None = None
        self._stamp = 0.0

    def send(self, data: bytes, exchange: Exchange, ended: asyncio.Future[None]) -> None:
        """Write a request; `ended` is resolved when its answer is complete or cannot come any more."""
        self._parser = httptools.HttpResponseParser(self)
        self._exchange = exchange
        self._ended = ended
        self.reusable = False
        exchange.sent_s = exchange.sent_s or perf_counter()  # sent again: waiting began the first time
        self._transport.write(data)

    def give_up(self, error: str) -> None:
        """End the exchange in progress as failed, and close."""
        self._stamp = perf_counter()
        self._end(error)
        self.close()

    def close(self) -> None:
        """Close without waiting for what is in flight."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Uvloop and asyncio both set TCP_NODELAY."""
        self._transport = transport
        self.reusable = True

    def data_received(self, data: bytes) -> None:
        """Stamp first, then let the parser find the body."""
        self._stamp = perf_counter()
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.give_up("bad_response")

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that is not complete by now is truncated."""
        self.reusable = False
        self._stamp = perf_counter()
        self._end("truncated")

    def on_body(self, body: bytes) -> None:
        """Called by the parser with each piece of the body."""
        self._exchange.reads.append((self._stamp, body))

    def on_headers_complete(self) -> None:
        """Called by the parser before the body."""
        self._exchange.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the answer."""
        self.reusable = bool(self._parser.should_keep_alive())
        self._end(None)

    def _end(self, error: str | None) -> None:
        if self._ended is None or self._ended.done():
            return
        self._exchange.ended_s = self._stamp or perf_counter()
        self._exchange.error = error
        self._ended.set_result(None)
        self._ended = None


class Pool:
    """Connections to one endpoint; a new one where none is idle."""

    def __init__(self, url: str, path: str, *, stale_s: float = STALE_S) -> None:
        self._stale_s = stale_s
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (443 if secure else 80)
        self._tls = ssl.create_default_context() if secure else None
        self._head = (
            f"POST {parts.path.rstrip('/')}{path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: "
        ).encode()
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()

    async def warm(self, count: int) -> None:
        """Open `count` connections, a few at a time, so that none is opened while it is measured."""
        for begin in range(0, count, 32):
            opened = await asyncio.gather(*(self._open() for _ in range(min(32, count - begin))))
            self._idle.extend(connection for connection in opened if connection is not None)

    async def carry(self, body: bytes, timeout_s: float, exchange: Exchange) -> None:
        """Send one request and fill its exchange until it has ended; failures are in it, not raised."""
        data = self._head + str(len(body)).encode() + b"\r\n\r\n" + body
        while True:
            connection, used = await self._take()
            if connection is None:
                exchange.ended_s = perf_counter()
                exchange.sent_s = exchange.sent_s or exchange.ended_s
                exchange.error = "connect"
                return
            await self._once(connection, data, timeout_s, exchange)
            lost = exchange.error == "truncated" and not exchange.status
            if not (used and lost and exchange.ended_s - exchange.sent_s < self._stale_s):
                return
            # the server closed an idle connection as we wrote: not the request's fault
            exchange.ended_s, exchange.error = 0.0, None

    def close(self) -> None:
        """Drop every connection; what was in flight is `unfinished`, and the engine aborts it."""
        for connection in list(self._all):
            connection.give_up(UNFINISHED)

    async def _once(self, connection: Connection, data: bytes, timeout_s: float, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(timeout_s, connection.give_up, "timeout")
        connection.send(data, exchange, ended)
        try:
            await ended
        finally:
            timer.cancel()
        if connection.reusable:
            self._idle.append(connection)
        else:
            self._all.discard(connection)
            connection.close()

    async def _take(self) -> tuple[Connection | None, bool]:
        """An idle connection (used before), else a new one; None where nobody listens."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection, True
            self._all.discard(connection)
        return await self._open(), False

    async def _open(self) -> Connection | None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(Connection, self._host, self._port, ssl=self._tls)
        except OSError:
            return None
        self._all.add(connection)
        return connection
