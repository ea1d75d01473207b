"""`python -m autotune.benchmark.client SPEC.json`: one repeat at one load.

Progress goes to standard output as JSON lines, the summary to `<out>.summary.json` and one record a request
to `<out>.requests.json`. It ends when its standard input does: a client never outlives who started it.
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


def main(path: Path) -> int:
    """Run what the file says and write what was measured."""
    spec: dict[str, Any] = json.loads(path.read_text())
    load = Load(mode=Mode(spec["load"]["mode"]), value=spec["load"]["value"])
    gc.disable()  # a collection in the middle would be measured as latency; the process is short
    run = uvloop.run(_offer(spec, load))
    if run is None:
        return 1
    records = [_record(sent, run) for sent in run.sent]
    window_s = run.end_s - run.begin_s
    first = next((r for r in records if r.error not in {None, UNFINISHED}), None)
    failed = errors_by_kind(records, phase="warmup" if run.aborted else "measure")
    summary = {
        "metrics": {"load": load.value, **summarize(records, window_s=window_s, cpu_s=run.cpu_s)},
        "errors": failed,
        "duration_s": window_s,
        "aborted": run.aborted,
        "first_error": None if first is None else {"kind": first.error, "detail": first.detail},
    }
    _write(spec["out"] + ".requests.json", [asdict(record) for record in records])
    _write(spec["out"] + ".summary.json", summary)
    return 0


async def _offer(spec: dict[str, Any], load: Load) -> Run | None:
    """Offer the load; None if whoever started this process has gone."""
    run = LoadRun(
        Endpoint(**spec["endpoint"]),
        Traffic(**spec["traffic"]),
        load,
        repeat=spec["repeat"],
        timeout_s=spec["timeout_s"],
    )
    offered = asyncio.ensure_future(run.run(_report))
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
    raise SystemExit(main(Path(sys.argv[1])))
