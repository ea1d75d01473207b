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
from pathlib import Path
from typing import Any

import uvloop

from autotune.benchmark.client.run import LoadRun, Run, State
from autotune.benchmark.client.stream import read_answer
from autotune.benchmark.metrics import UNFINISHED, RequestRecord, errors_by_kind, summarize
from autotune.records import Endpoint, Load, Mode, Traffic


def main() -> int:
    """Run what standard input says and write what was measured."""
    told = sys.stdin.buffer.readline()
    if not told:
        return 1
    spec: dict[str, Any] = json.loads(told)
    gc.disable()  # a collection in the middle would be measured as latency; the process is short
    prepared = _load_run(spec, spec["model"])
    told = sys.stdin.buffer.readline()
    if not told:
        return 1
    endpoint = Endpoint(**json.loads(told))
    if endpoint.model != spec["model"]:  # it was not known, or is another one
        prepared = _load_run(spec, endpoint.model)
    run = uvloop.run(_offer(prepared, endpoint.url))
    if run is None:
        return 1
    _write_results(spec, run)
    return 0


def _load_run(spec: dict[str, Any], model: str) -> LoadRun:
    load = Load(mode=Mode(spec["load"]["mode"]), value=spec["load"]["value"])
    traffic = Traffic(**spec["traffic"])
    return LoadRun(model, traffic, load, repeat=spec["repeat"], timeout_s=spec["timeout_s"])


async def _offer(prepared: LoadRun, url: str) -> Run | None:
    """Offer the load; None if whoever started this process has gone."""
    offered = asyncio.ensure_future(prepared.run(url, _report))
    orphaned = asyncio.ensure_future(_end_of_input())
    await asyncio.wait({offered, orphaned}, return_when=asyncio.FIRST_COMPLETED)
    orphaned.cancel()
    if offered.done():
        return offered.result()
    offered.cancel()
    return None


def _write_results(spec: dict[str, Any], run: Run) -> None:
    records = [_record(sent, run) for sent in run.sent]
    window_s = run.end_s - run.begin_s
    first = next((r for r in records if r.error not in {None, UNFINISHED}), None)
    failed = errors_by_kind(records, phase="warmup" if run.aborted else "measure")
    measured = summarize(records, window_s=window_s, cpu_s=run.cpu_s)
    summary = {
        "metrics": {"load": spec["load"]["value"], **measured},
        "errors": failed,
        "duration_s": window_s,
        "aborted": run.aborted,
        "first_error": None if first is None else {"kind": first.error, "detail": first.detail},
    }
    _write(spec["out"] + ".requests.json", [asdict(record) for record in records])
    _write(spec["out"] + ".summary.json", summary)


async def _end_of_input() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def _record(sent: Any, run: Run) -> RequestRecord:
    exchange = sent.exchange
    answer = read_answer(exchange)
    begin = run.begin_s
    return RequestRecord(
        phase=sent.phase,
        index=sent.index,
        sent_s=_rounded(exchange.sent_s - begin),
        scheduled_s=None if sent.due_s is None else _rounded(sent.due_s - begin),
        ended_s=_rounded(exchange.ended_s - begin),
        chunks_s=tuple(_rounded(stamp - begin) for stamp in answer.stamps),
        prompt_tokens=answer.prompt_tokens,
        output_tokens=answer.output_tokens,
        status=exchange.status,
        error=answer.error,
        detail=answer.detail,
    )


def _rounded(seconds: float) -> float:
    """Microseconds are finer than any stamp here is true."""
    return round(seconds, 6)


def _report(state: State) -> None:
    sys.stdout.write(json.dumps(asdict(state)) + "\n")
    sys.stdout.flush()


def _write(path: str, content: object) -> None:
    Path(path).write_text(json.dumps(content))


if __name__ == "__main__":
    raise SystemExit(main())
