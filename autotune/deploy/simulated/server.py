"""The simulated engine over HTTP: the OpenAI protocol in real time, from the schedulers' virtual time.

Every step ends at an absolute time, the end of the last plus its duration, so that nothing drifts. How far
this process fell behind its own times is told at `/simulated/lag`: a stand-in that lags is no truth.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from autotune.deploy.simulated.batching import Replica, Sequence
from autotune.deploy.simulated.engine import Engine

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def _event(kind: str, choice: Mapping[str, Any]) -> bytes:
    content = {"object": kind, "choices": [{"index": 0, **choice, "finish_reason": None}]}
    return b"data: " + json.dumps(content).encode() + b"\n\n"


CHUNKS = {
    "/v1/completions": _event("text_completion", {"text": " a"}),
    "/v1/chat/completions": _event("chat.completion.chunk", {"delta": {"content": " a"}}),
}
ROLE = _event("chat.completion.chunk", {"delta": {"role": "assistant", "content": ""}})
SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
JSON = [(b"content-type", b"application/json")]


class ReplicaLoop:
    """Runs one replica's steps in real time and hands tokens to who waits for them."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.lags_s: list[float] = []
        self._waiters: dict[int, asyncio.Queue[bool]] = {}
        self._work = asyncio.Event()

    def add(self, sequence: Sequence) -> asyncio.Queue[bool]:
        """Take a request in; its queue gets True for each token, False when its client has gone."""
        queue: asyncio.Queue[bool] = asyncio.Queue()
        self._waiters[sequence.number] = queue
        self.replica.add(sequence)
        self._work.set()
        return queue

    def drop(self, sequence: Sequence) -> None:
        """Forget a request; harmless when it has finished."""
        self.replica.drop(sequence)
        self._waiters.pop(sequence.number, None)

    async def run(self) -> None:
        """Step for as long as the process lives."""
        clock = asyncio.get_running_loop().time
        end_s = clock()
        while True:
            step = self.replica.step()
            if step is None:
                self._work.clear()
                await self._work.wait()
                end_s = clock()
                continue
            end_s += step.duration_s
            await asyncio.sleep(max(0.0, end_s - clock()))
            self._note_lag(clock() - end_s)
            for sequence in step.tokens:
                queue = self._waiters.get(sequence.number)
                if queue is not None:
                    queue.put_nowait(True)

    def _note_lag(self, lag_s: float) -> None:
        if len(self.lags_s) >= 10_000:
            del self.lags_s[:5_000]
        self.lags_s.append(lag_s)


class App:
    """An ASGI application for one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loops = [ReplicaLoop(replica) for replica in engine.replicas]
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []
        told = f"{engine.version}+simulated"
        self._pages: dict[str, Callable[[], Any]] = {
            "/health": dict,
            "/v1/models": self._models,
            "/simulated/lag": self._lag,
        }
        if engine.engine == "vllm":
            self._pages["/version"] = lambda: {"version": told, "simulated": True}
        else:
            self._pages["/ready"] = dict
            self._pages["/server_info"] = lambda: {"version": told, "simulated": True}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; `lifespan` starts the replicas."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["method"] == "POST" and scope["path"] in CHUNKS:
            await self._complete(scope["path"], receive, send)
        elif scope["path"] == "/metrics" and self._engine.arguments.metrics:
            await _answer(send, 200, self._metrics().encode(), [(b"content-type", b"text/plain")])
        elif scope["path"] in self._pages:
            await _json(send, 200, self._pages[scope["path"]]())
        else:
            await _json(send, 404, {"detail": "Not Found"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._tasks = [asyncio.ensure_future(loop.run()) for loop in self._loops]
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                for task in self._tasks:
                    task.cancel()
                return

    async def _complete(self, path: str, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        try:
            asked = json.loads(body)
            words = tuple(_prompt(asked).split())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await _error(send, 400, f"{type(error).__name__}: {error}")
            return
        tokens = int(asked.get("max_tokens") or asked.get("max_completion_tokens") or 16)
        refused = self._refused(asked, len(words) + tokens)
        if refused is not None:
            await _error(send, *refused)
            return
        sequence = Sequence(number=next(self._numbers), prompt=words or ("",), output_tokens=tokens)
        loop = min(self._loops, key=lambda loop: loop.replica.load)
        queue = loop.add(sequence)
        gone = asyncio.ensure_future(_disconnected(receive, queue))
        try:
            usage = {
                "prompt_tokens": len(words),
                "completion_tokens": tokens,
                "total_tokens": len(words) + tokens,
            }
            if asked.get("stream"):
                await self._stream(path, asked, queue, usage, send)
            else:
                await self._whole(path, queue, usage, send)
        finally:
            gone.cancel()
            loop.drop(sequence)

    def _refused(self, asked: Mapping[str, Any], length: int) -> tuple[int, str] | None:
        if asked.get("model") != self._engine.arguments.served_name:
            return 404, f"The model `{asked.get('model')}` does not exist."
        longest = self._engine.max_model_len
        if length > longest:
            return 400, f"This model's maximum context length is {longest} tokens, you requested {length}."
        return None

    async def _stream(
        self,
        path: str,
        asked: Mapping[str, Any],
        queue: asyncio.Queue[bool],
        usage: Mapping[str, int],
        send: Send,
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": SSE})
        if path.startswith("/v1/chat"):
            await send({"type": "http.response.body", "body": ROLE, "more_body": True})
        chunk = {"type": "http.response.body", "body": CHUNKS[path], "more_body": True}
        for _ in range(usage["completion_tokens"]):
            if not await queue.get():
                return
            await send(chunk)
        last = b""
        if (asked.get("stream_options") or {}).get("include_usage"):
            last = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
        await send({"type": "http.response.body", "body": last + b"data: [DONE]\n\n"})

    async def _whole(
        self, path: str, queue: asyncio.Queue[bool], usage: Mapping[str, int], send: Send
    ) -> None:
        for _ in range(usage["completion_tokens"]):
            if not await queue.get():
                return
        text = " a" * usage["completion_tokens"]
        chat = {"message": {"role": "assistant", "content": text}}
        choice = {"index": 0, "finish_reason": "length", **(chat if "chat" in path else {"text": text})}
        await _json(send, 200, {"choices": [choice], "usage": usage})

    def _models(self) -> dict[str, Any]:
        name = self._engine.arguments.served_name
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "max_model_len": self._engine.max_model_len}],
        }

    def _lag(self) -> dict[str, float]:
        """Seconds behind its own times, over the latest steps."""
        lags = [lag for loop in self._loops for lag in loop.lags_s]
        return {"steps": len(lags), "mean_s": sum(lags) / max(len(lags), 1), "max_s": max(lags, default=0.0)}

    def _metrics(self) -> str:
        """Gauges by the names of each engine. Source: engine-facts section 4."""
        replicas = self._engine.replicas
        running = sum(len(replica.running) for replica in replicas)
        waiting = sum(len(replica.waiting) for replica in replicas)
        usage = sum(replica.used_tokens for replica in replicas) / (self._engine.kv_tokens * len(replicas))
        if self._engine.engine == "vllm":
            names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
        else:
            names = ("sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage")
        rows = zip(names, (running, waiting, usage), strict=True)
        return "".join(f"# TYPE {name} gauge\n{name} {value}\n" for name, value in rows)


def _prompt(asked: Mapping[str, Any]) -> str:
    """The text of a request; one whitespace-separated word counts as one token."""
    if "messages" in asked:
        return " ".join(str(message["content"]) for message in asked["messages"])
    return str(asked["prompt"])


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _disconnected(receive: Receive, queue: asyncio.Queue[bool]) -> None:
    """Tell the request's own task that nobody listens any more."""
    while (await receive())["type"] != "http.disconnect":
        pass
    queue.put_nowait(False)


async def _error(send: Send, status: int, message: str) -> None:
    await _json(send, status, {"error": {"message": message, "code": status}})


async def _json(send: Send, status: int, content: object) -> None:
    await _answer(send, status, json.dumps(content).encode(), JSON)


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
