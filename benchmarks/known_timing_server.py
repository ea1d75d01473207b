"""An OpenAI-compatible streaming server whose timing is known: what a load client should report.

`python benchmarks/known_timing_server.py --ttft-ms 100 --itl-ms 10` prints `port N` once it listens on
127.0.0.1. Output tokens are the request's `max_tokens`, prompt tokens its words. Chunk i is due at receipt +
ttft + i × itl (--itl-jitter draws each gap), an absolute time, so nothing drifts; the receipt is the read
that completed the request.

`GET /truth?skip=S&take=N` says when the chunks were really written, for N requests in order of receipt after
the first S (default: all), of those that ended well; `GET /requests` says it of each request by the checksum
of what it says, and `GET /reset` forgets. A write may come up to half a millisecond early and, on an idle
core, one late: the loop's timers have whole milliseconds. It goes to the socket at once, when it is stamped.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import heapq
import itertools
import json
import math
import random
import zlib
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop
from known_timing_protocol import STREAM_HEAD, Stream, answer, asked_tokens, event, frame, said, usage_event

TICK_S = 0.001  # uvloop's timers


class KnownTiming:
    """The schedule: one heap of due chunks, one timer."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.truth: list[Stream | None] = []  # None: answered with a failure
        self.refused: list[int] = []  # checksums of those
        self.first_s: float | None = None  # when the first request was received
        self._requests = itertools.count(1)
        self._streams = itertools.count(1)
        self._due: list[tuple[float, int, Stream]] = []
        self._order = itertools.count()
        self._chance = random.Random(options.seed)  # noqa: S311  (draws, not secrets)
        self._timer: asyncio.TimerHandle | None = None
        self._chunk = {
            path: frame(event(path, " token" * options.tokens_per_chunk))
            for path in ("/v1/completions", "/v1/chat/completions")
        }
        role = event("/v1/chat/completions", "")
        role["choices"][0]["delta"]["role"] = "assistant"
        self._role = frame(role)

    def begin(self, path: str, body: bytes, transport: Any, received_s: float) -> None:
        """Answer one request: with a failure if it is its turn, else with a stream."""
        self.first_s = self.first_s or received_s
        number = next(self._requests)
        request: dict[str, Any] = json.loads(body)
        prompt = said(request)
        checksum = zlib.crc32(prompt.encode())
        if number <= self.options.fail_first or _turn(number, self.options.fail_every):
            self.truth.append(None)
            self.refused.append(checksum)
            answer(transport, 500, {"error": {"message": "told to fail"}})
            return
        tokens = asked_tokens(request)
        chunks = math.ceil(tokens / self.options.tokens_per_chunk)
        cut = _turn(next(self._streams), self.options.truncate_every)
        asked = (request.get("stream_options") or {}).get("include_usage") and not self.options.no_usage
        words = len(prompt.split())
        usage = {"prompt_tokens": words, "completion_tokens": tokens, "total_tokens": words + tokens}
        stops_at = chunks // 2 if cut else None
        due_s = self.options.ttft_ms / 1000 * self._factor(self.options.jitter)
        stream = Stream(
            path, transport, received_s, due_s, tokens, chunks, stops_at, usage if asked else None
        )
        stream.checksum = checksum
        self.truth.append(stream)
        stream.write(STREAM_HEAD + (self._role if path.endswith("/chat/completions") else b""))
        self._push(stream)
        self._arm()

    def _factor(self, spread: float) -> float:
        return self._chance.lognormvariate(-(spread**2) / 2, spread) if spread else 1.0

    def _push(self, stream: Stream) -> None:
        heapq.heappush(self._due, (stream.received_s + stream.due_s, next(self._order), stream))

    def _arm(self) -> None:
        """Wake for the chunk that is due first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            delay = max(TICK_S, self._due[0][0] - perf_counter())
            self._timer = asyncio.get_running_loop().call_later(delay, self._write_due)

    def _write_due(self) -> None:
        while self._due and self._due[0][0] <= perf_counter() + TICK_S / 2:
            stream = heapq.heappop(self._due)[2]
            if not stream.transport.is_closing():
                self._write(stream)
        self._arm()

    def _write(self, stream: Stream) -> None:
        number = len(stream.written_s)
        if stream.stops_at is not None and number >= stream.stops_at:
            stream.transport.close()
            return
        last = number == stream.chunks - 1
        stream.written_s.append(perf_counter())
        stream.write(self._last(stream) if last else self._chunk[stream.path])
        if last:
            stream.ended_well = True
        else:
            stream.due_s += self.options.itl_ms / 1000 * self._factor(self.options.itl_jitter)
            self._push(stream)

    def _last(self, stream: Stream) -> bytes:
        tokens = stream.tokens - (stream.chunks - 1) * self.options.tokens_per_chunk
        closing = event(stream.path, " token" * tokens, "length")
        usage = [] if stream.usage is None else [usage_event(stream.path, stream.usage)]
        return frame(closing, *usage, "[DONE]") + b"0\r\n\r\n"

    def measured(self, skip: int, take: int | None) -> dict[str, Any]:
        """What was really written for the requests asked about."""
        chosen = self.truth[skip : None if take is None else skip + take]
        streams = [stream for stream in chosen if stream is not None and stream.ended_well]
        first_ms = sorted((stream.written_s[0] - stream.received_s) * 1000 for stream in streams)
        spans_s = math.fsum(stream.written_s[-1] - stream.written_s[0] for stream in streams)
        gaps = sum(stream.chunks - 1 for stream in streams)
        return {
            "requests": len(streams),
            "ttft_ms_mean": math.fsum(first_ms) / len(first_ms) if first_ms else None,
            "ttft_ms_p99": first_ms[math.ceil(0.99 * len(first_ms)) - 1] if first_ms else None,
            "itl_ms_mean": spans_s * 1000 / gaps if gaps else None,
        }

    def requests(self) -> dict[str, Any]:
        """What became of each request, by the checksum of its prompt: ms from receipt to each chunk."""
        streams = [stream for stream in self.truth if stream is not None]
        ended = {
            stream.checksum: [(written_s - stream.received_s) * 1000 for written_s in stream.written_s]
            for stream in streams
            if stream.ended_well
        }
        cut = [stream.checksum for stream in streams if stream.stops_at is not None]
        return {"first_s": self.first_s, "ended": ended, "refused": self.refused, "cut": cut}

    def reset(self) -> None:
        """Forget what was."""
        self.truth.clear()
        self.refused.clear()
        self.first_s = None


def _turn(number: int, every: int) -> bool:
    return every > 0 and number % every == 0


class Handler(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, timing: KnownTiming) -> None:
        self._timing = timing
        self._transport: Any = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url, self._body, self._stamp = b"", b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Stamp first: the read that completes a request is its receipt."""
        self._stamp = perf_counter()
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._url, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body += body

    def on_message_complete(self) -> None:
        """Called by the parser: route the request."""
        parts = urlsplit(self._url.decode())
        timing = self._timing
        if parts.path in {"/v1/completions", "/v1/chat/completions"}:
            timing.begin(parts.path, self._body, self._transport, self._stamp)
            return
        query = {key: int(values[0]) for key, values in parse_qs(parts.query).items()}
        if parts.path == "/truth":
            answer(self._transport, 200, timing.measured(query.get("skip", 0), query.get("take")))
        elif parts.path == "/reset":
            timing.reset()
            answer(self._transport, 200, {})
        elif parts.path == "/requests":
            answer(self._transport, 200, timing.requests())
        elif parts.path in {"/health", "/v1/models"}:
            answer(self._transport, 200, {"object": "list", "data": [{"id": "known", "object": "model"}]})
        else:
            answer(self._transport, 404, {"error": {"message": "no such path"}})


async def serve(options: argparse.Namespace) -> None:
    """Listen until killed."""
    timing = KnownTiming(options)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Handler(timing), "127.0.0.1", options.port, backlog=4096)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ttft-ms", type=float, default=100)
    parser.add_argument("--itl-ms", type=float, default=10)
    parser.add_argument("--jitter", type=float, default=0, help="spread of each TTFT's lognormal factor")
    parser.add_argument("--itl-jitter", type=float, default=0, help="the same of each gap between chunks")
    parser.add_argument("--seed", type=int, default=1, help="of those draws")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens-per-chunk", type=int, default=1)
    parser.add_argument("--fail-every", type=int, default=0, help="every Nth request gets HTTP 500")
    parser.add_argument("--fail-first", type=int, default=0, help="the first N requests get HTTP 500")
    parser.add_argument("--truncate-every", type=int, default=0, help="every Nth stream is cut in its middle")
    parser.add_argument("--no-usage", action="store_true")
    gc.disable()
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
