"""`python -m autotune.benchmark.client`: one repeat at one load, told by two lines of JSON on standard input.

The first line says what to send, so that everything is imported and built when the second one comes: the
endpoint. Progress goes to standard output as JSON lines, the summary to `<out>.summary.json` and one record
a request to `<out>.requests.json`. It ends when its standard input does: a client never outlives who
started it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from dataclasses import asdict
from typing import Any

import uvloop

from autotune.benchmark.client.channel import Lost
from autotune.benchmark.client.group import Group
from autotune.benchmark.client.requests import Share
from autotune.benchmark.client.results import Part, write_results
from autotune.benchmark.client.run import LoadRun
from autotune.benchmark.client.tally import State
from autotune.records import Endpoint, Load, Mode, RequestLimits, Traffic


def main() -> int:
    """Run what standard input says and write what was measured."""
    told = sys.stdin.buffer.readline()
    if not told:
        return 1
    spec: dict[str, Any] = json.loads(told)
    gc.disable()  # a collection in the middle would be measured as latency; the process is short
    load = Load(mode=Mode(spec["load"]["mode"]), value=spec["load"]["value"])
    traffic = Traffic(**spec["traffic"])

    def build(model: str, share: Share) -> LoadRun:
        return LoadRun(model, traffic, load, repeat=spec["repeat"], timeout_s=spec["timeout_s"], share=share)

    group = Group(spec.get("processes", 1), spec["model"], build)
    told = sys.stdin.buffer.readline()
    if not told:
        return 1
    try:
        parts = uvloop.run(_offer(group, Endpoint(**json.loads(told))))
    except Lost:
        sys.stderr.write("a process of the load client has died\n")
        return 1
    if parts is None:
        return 1
    write_results(spec["out"], load, parts, RequestLimits(**spec["limits"]))
    return 0


async def _offer(group: Group, endpoint: Endpoint) -> list[Part] | None:
    """Offer the load; None if whoever started this process has gone."""
    offered = asyncio.ensure_future(group.offer(endpoint.url, endpoint.model, _report))
    orphaned = asyncio.ensure_future(_end_of_input())
    await asyncio.wait({offered, orphaned}, return_when=asyncio.FIRST_COMPLETED)
    orphaned.cancel()
    if offered.done():
        return offered.result()
    offered.cancel()
    return None


async def _end_of_input() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def _report(state: State) -> None:
    sys.stdout.write(json.dumps(asdict(state)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
