"""Connections that are kept: what is sent again, and what is not."""

from __future__ import annotations

import asyncio
from time import perf_counter

from autotune.benchmark.client.connection import Exchange
from autotune.benchmark.client.pool import Pool
from autotune.benchmark.client.run import LoadRun, Run
from autotune.records import Load, Mode, Traffic

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSED = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
BODY = b"{}"
BACKLOG_S = 1.0  # how long the one request that is not refused takes


class Dropping(asyncio.Protocol):
    """Answers a connection's first request, and closes without a byte at its second."""

    def __init__(self) -> None:
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A request comes in one read: it is short."""
        if self._answered:
            self._transport.abort()
        else:
            self._answered = True
            self._transport.write(OK)


async def carried(pool: Pool, exchange: Exchange) -> Exchange:
    """Send one request and wait for its end."""
    ended: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
    pool.carry(BODY, exchange, ended.set_result)
    return await ended


async def second_of_two(stale_s: float) -> tuple[Exchange, float]:
    """Send two requests on one connection; return the second, and when it was first sent at the earliest."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Dropping, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pool = Pool(f"http://127.0.0.1:{port}", "/", timeout_s=20, stale_s=stale_s)
        await pool.warm(1)
        await carried(pool, Exchange())
        second, before_s = Exchange(), perf_counter()
        await carried(pool, second)
        pool.close()
    return second, before_s


def test_a_connection_that_was_closed_while_idle_costs_no_request() -> None:
    """It is sent again on a new one."""
    second, before_s = asyncio.run(second_of_two(stale_s=60))
    assert (second.error, second.status) == (None, 200)
    assert before_s <= second.sent_s <= second.ended_s


def test_a_request_that_was_taken_and_dropped_is_truncated() -> None:
    """Lost later than a stale connection would be: the server had it, and it is a failure."""
    second, _ = asyncio.run(second_of_two(stale_s=0))
    assert (second.error, second.status) == ("truncated", 0)


def test_waiting_begins_when_a_request_is_first_sent() -> None:
    """Sending it again does not hide what it waited before."""

    async def sent_again() -> Exchange:
        server = await asyncio.get_running_loop().create_server(Dropping, "127.0.0.1", 0)
        async with server:
            pool = Pool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "/", timeout_s=20)
            exchange = Exchange(sent_s=1.5)  # as if it had been sent before
            await carried(pool, exchange)
            pool.close()
        return exchange

    assert asyncio.run(sent_again()).sent_s == 1.5


class Shedding(asyncio.Protocol):
    """Answers all but the fifth request at once: the first four well, those after it with 503."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A request comes in one read."""
        Shedding.count += 1
        if Shedding.count == 5:
            asyncio.get_running_loop().call_later(BACKLOG_S, self._transport.write, OK)
        else:
            self._transport.write(OK if Shedding.count < 5 else REFUSED)


async def shed() -> Run:
    """Offer four in flight, of which one is held up."""
    server = await asyncio.get_running_loop().create_server(Shedding, "127.0.0.1", 0)
    async with server:
        traffic = Traffic(
            endpoint="completions",
            input_tokens=4,
            output_tokens=1,
            input_spread=0,
            output_spread=0,
            requests_per_load=2,
            min_requests=1,
            warmup_requests=1,
            ignore_eos=True,
            seed=1,
        )
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        load = Load(mode=Mode.CONCURRENCY, value=4)
        offered = LoadRun("m", traffic, load, repeat=1, timeout_s=20)
        return await offered.run(url, lambda *_: None)


def test_an_engine_that_refuses_is_not_flooded_with_filler() -> None:
    """For a second three workers are refused at once: some ten each, not thousands."""
    Shedding.count = 0
    run = asyncio.run(shed())
    filler = sum(1 for sent in run.sent if sent.phase == "fill")
    assert 1 <= filler < 100
