"""The simulated engine over HTTP, as a raw ASGI application.

How far this process fell behind its own times is told at `/simulated/lag`: a stand-in that lags is no truth.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvicorn

from autotune.deploy.simulated.batching import Sequence
from autotune.deploy.simulated.engine import Engine
from autotune.deploy.simulated.metrics_page import metrics_page
from autotune.deploy.simulated.openai_protocol import (
    PATHS,
    Answer,
    Asked,
    BadRequest,
    check_fits,
    error_content,
    read_request,
)
from autotune.deploy.simulated.real_time import ReplicaLoop

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
JSON = [(b"content-type", b"application/json")]
PROMETHEUS = [(b"content-type", b"text/plain; version=0.0.4")]


class App:
    """An ASGI application for one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loops = [ReplicaLoop(replica) for replica in engine.replicas]
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []
        self._pages: dict[str, Callable[[], Any]] = {
            "/health": dict,
            "/v1/models": self._models,
            "/simulated/lag": self._lag,
        }
        if engine.engine == "vllm":
            self._pages["/version"] = self._version
        else:
            self._pages |= {"/ready": dict, "/server_info": self._version, "/get_server_info": self._version}

    def abort(self) -> None:
        """End every answer that is on its way, unfinished. Source: vLLM's --shutdown-timeout 0."""
        for loop in self._loops:
            loop.abort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; `lifespan` starts the replicas."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["method"] == "POST" and scope["path"] in PATHS:
            await self._complete(scope["path"], receive, send)
        elif scope["path"] == "/metrics" and self._engine.arguments.metrics:
            await _answer(send, 200, metrics_page(self._engine).encode(), PROMETHEUS)
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
        try:
            asked = read_request(path, await _body(receive))
            check_fits(
                asked, model=self._engine.arguments.served_name, max_model_len=self._engine.max_model_len
            )
        except BadRequest as error:
            await _json(send, error.status, error_content(error.status, str(error)))
            return
        number = next(self._numbers)
        answer = Answer(asked, number)
        sequence = Sequence(number=number, prompt=asked.words, output_tokens=asked.max_tokens)
        loop = min(self._loops, key=lambda loop: loop.replica.load)
        queue = loop.add(sequence)
        gone = asyncio.ensure_future(_disconnected(receive, queue))
        try:
            await (_stream if asked.stream else _whole)(asked, answer, queue, send)
        finally:
            gone.cancel()
            loop.drop(sequence)

    def _version(self) -> dict[str, Any]:
        return {"version": f"{self._engine.version}+simulated", "simulated": True}

    def _models(self) -> dict[str, Any]:
        name = self._engine.arguments.served_name
        model = {"id": name, "object": "model", "max_model_len": self._engine.max_model_len}
        return {"object": "list", "data": [model]}

    def _lag(self) -> dict[str, float]:
        """Seconds behind its own times, over all steps."""
        steps = sum(loop.steps for loop in self._loops)
        mean_s = sum(loop.late_s for loop in self._loops) / max(steps, 1)
        return {"steps": steps, "mean_s": mean_s, "max_s": max(loop.max_late_s for loop in self._loops)}


class EngineServer(uvicorn.Server):
    """Aborts what is in flight as soon as it is asked to end."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End within uvicorn's tenth of a second and the time that clients take to read."""
        self._app.abort()
        await super().shutdown(sockets)


async def _stream(asked: Asked, answer: Answer, queue: asyncio.Queue[bool], send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": SSE})
    if answer.opening:
        await send({"type": "http.response.body", "body": answer.opening, "more_body": True})
    token = {"type": "http.response.body", "body": answer.token, "more_body": True}
    for left in range(asked.max_tokens, 0, -1):
        if not await queue.get():
            await send({"type": "http.response.body", "body": b""})
            return
        await send(token if left > 1 else {**token, "body": answer.last_token})
    await send({"type": "http.response.body", "body": answer.closing})


async def _whole(asked: Asked, answer: Answer, queue: asyncio.Queue[bool], send: Send) -> None:
    for _ in range(asked.max_tokens):
        if not await queue.get():
            await _json(send, 503, error_content(503, "the engine is shutting down"))
            return
    await _json(send, 200, answer.whole())


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


async def _json(send: Send, status: int, content: object) -> None:
    await _answer(send, status, json.dumps(content).encode(), JSON)


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
