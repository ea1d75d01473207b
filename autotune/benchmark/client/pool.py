"""The connections to one endpoint: kept, opened where none is idle, given up when an answer is too late."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from time import perf_counter
from urllib.parse import urlsplit

from autotune.benchmark.client.connection import Connection, Exchange
from autotune.benchmark.metrics import UNFINISHED

STALE_S = 0.25  # a kept connection that is lost by then, without a byte, had been closed while idle
TOGETHER = 64  # connections that are opened at a time, before the run

Then = Callable[[Exchange], None]


class Pool:
    """Carries requests to one endpoint; `open` are those on their way, the oldest first."""

    def __init__(self, url: str, path: str, *, timeout_s: float, stale_s: float = STALE_S) -> None:
        self.open: dict[Exchange, Then] = {}
        self._timeout_s, self._stale_s = timeout_s, stale_s
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
        self._opening: set[asyncio.Task[None]] = set()

    async def warm(self, count: int) -> None:
        """Open `count` connections, some at a time, so that none is opened while it is measured."""
        for begin in range(0, count, TOGETHER):
            opened = await asyncio.gather(*(self._connect() for _ in range(min(TOGETHER, count - begin))))
            self._idle.extend(connection for connection in opened if connection is not None)

    def carry(self, body: bytes, exchange: Exchange, then: Then) -> None:
        """Send one request; `then` is called once, when its exchange has ended. Failures are in it."""
        exchange.begun_s = perf_counter()
        self.open[exchange] = then
        self._send(self._head + str(len(body)).encode() + b"\r\n\r\n" + body, exchange)

    def expire(self) -> None:
        """Give up what has taken too long; to be called now and then."""
        oldest_s = perf_counter() - self._timeout_s
        late = []
        for exchange in self.open:
            if exchange.begun_s > oldest_s:
                break
            late.append(exchange)
        for connection in [c for c in self._all if c.exchange in late] if late else []:
            connection.give_up("timeout")

    def close(self) -> None:
        """Drop every connection; what was in flight is `unfinished`, and the engine aborts it."""
        for task in self._opening:
            task.cancel()
        for connection in list(self._all):
            connection.give_up(UNFINISHED)

    def _send(self, data: bytes, exchange: Exchange) -> None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                connection.used = True
                connection.send(data, exchange)
                return
            self._all.discard(connection)
        task = asyncio.ensure_future(self._send_on_new(data, exchange))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _send_on_new(self, data: bytes, exchange: Exchange) -> None:
        """Open a connection for a request; it fails where nobody listens."""
        connection = await self._connect()
        if connection is not None:
            connection.send(data, exchange)
            return
        exchange.ended_s = perf_counter()
        exchange.sent_s = exchange.sent_s or exchange.ended_s
        exchange.error = "connect"
        self.open.pop(exchange)(exchange)

    def _ended(self, connection: Connection) -> None:
        """Keep the connection, or close it, and go on; a stale one's request is sent again."""
        exchange = connection.exchange
        if exchange is None:
            return
        connection.exchange = None
        if connection.reusable:
            self._idle.append(connection)
        else:
            self._all.discard(connection)
            connection.close()
        lost = exchange.error == "truncated" and not exchange.status
        if connection.used and lost and exchange.ended_s - exchange.sent_s < self._stale_s:
            # the server closed an idle connection as we wrote: not the request's fault
            exchange.ended_s, exchange.error = 0.0, None
            exchange.raw.clear()
            self._send(connection.data, exchange)
            return
        self.open.pop(exchange)(exchange)

    async def _connect(self) -> Connection | None:
        loop = asyncio.get_running_loop()
        make = loop.create_connection(lambda: Connection(self._ended), self._host, self._port, ssl=self._tls)
        try:
            _, connection = await asyncio.wait_for(make, self._timeout_s)
        except (OSError, asyncio.TimeoutError):
            return None
        self._all.add(connection)
        return connection
