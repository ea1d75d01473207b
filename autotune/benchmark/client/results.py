"""From what the processes sent to records, metrics and the files of a measurement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from autotune.benchmark.client.bottleneck import Offer, client_bound, client_metrics
from autotune.benchmark.client.run import Run
from autotune.benchmark.client.stream import read_answer
from autotune.benchmark.client.tally import Sent
from autotune.benchmark.metrics import UNFINISHED, RequestRecord, errors_by_kind, summarize
from autotune.records import Load, RequestLimits

NAMES = tuple(field.name for field in fields(RequestRecord))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one process measured; the times of its records are seconds from a begin common to all."""

    records: tuple[RequestRecord, ...]
    run: Run


def part_of(run: Run, begin_s: float) -> Part:
    """Read the answers of one process."""
    return Part(records=tuple(_record(sent, begin_s) for sent in run.sent), run=replace(run, sent=()))


def write_results(out: str, load: Load, parts: Sequence[Part], limits: RequestLimits) -> None:
    """Write `<out>.requests.json` and `<out>.summary.json`: of the union of the records, nothing averaged."""
    records = sorted((record for part in parts for record in part.records), key=lambda r: r.sent_s)
    runs = [part.run for part in parts]
    window_s = max(run.end_s for run in runs) - min(run.begin_s for run in runs)
    aborted = any(run.aborted for run in runs)
    first = next((r for r in records if r.error not in {None, UNFINISHED}), None)
    metrics = {"load": load.value, **summarize(records, window_s=window_s, limits=limits)}
    metrics |= client_metrics(records, _offer(load, runs, window_s)) | _warmup(runs)
    summary = {
        "metrics": metrics,
        "errors": errors_by_kind(records, phase="warmup" if aborted else "measure"),
        "duration_s": window_s,
        "aborted": aborted,
        "first_error": None if first is None else {"kind": first.error, "detail": first.detail},
        "client_bound": client_bound(metrics, load, window_s),
    }
    _write(out + ".requests.json", [{name: getattr(r, name) for name in NAMES} for r in records])
    _write(out + ".summary.json", summary)


def _offer(load: Load, runs: Sequence[Run], window_s: float) -> Offer:
    return Offer(
        load=load,
        window_s=window_s,
        used=tuple(run.used for run in runs),
        paused_s=sum(run.paused_s for run in runs),
    )


def _warmup(runs: Sequence[Run]) -> dict[str, float]:
    steady = next((run.steady for run in runs if run.steady is not None), None)
    known = {} if steady is None else {"warmup_steady": float(steady)}
    return {"warmup_s": max(run.warmup_s for run in runs), **known}


def _record(sent: Sent, begin_s: float) -> RequestRecord:
    exchange = sent.exchange
    answer = read_answer(exchange)
    due_s = None if sent.due_s is None else round(sent.due_s - begin_s, 6)
    return RequestRecord(
        phase=sent.phase,
        index=sent.index,
        sent_s=round(exchange.sent_s - begin_s, 6),  # microseconds are finer than any stamp here is true
        scheduled_s=due_s if sent.scheduled else None,
        ended_s=round(exchange.ended_s - begin_s, 6),
        chunks_s=tuple([round(stamp - begin_s, 6) for stamp in answer.stamps]),
        prompt_tokens=answer.prompt_tokens,
        output_tokens=answer.output_tokens,
        status=exchange.status,
        error=answer.error,
        detail=answer.detail,
        due_s=due_s,
        begun_s=round(exchange.begun_s - begin_s, 6),
    )


def _write(path: str, content: Any) -> None:
    Path(path).write_text(json.dumps(content))
