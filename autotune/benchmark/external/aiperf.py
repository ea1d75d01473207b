"""NVIDIA AIPerf, `aiperf profile`.

It sends our very bodies (`inputs_json`, word for word), warm-up first, and keeps every chunk of each request.
What it does in another way, and what is made of it (source: AIPerf 0.13.0):

* Its `inter_token_latency` is our TPOT, its `inter_chunk_latency` our ITL.
* It counts tokens itself unless told to use the server's; a count that the server did not give is missing.
* It ends by `os._exit` and keeps a copy of each data set in the user's cache: it gets a cache of its own.
* Variables that keep the hub's library offline make it refuse a local tokenizer: they are left out.
* It draws the arrivals of an open loop itself; a seed of each measurement makes them repeatable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from autotune.benchmark.body import body_of
from autotune.benchmark.external.failures import failure_in
from autotune.benchmark.external.reading import read_object
from autotune.benchmark.external.tool import Abilities, Command, Report, Task, UnreadableReport, words_of
from autotune.benchmark.external.uncounted import write_tokenizer
from autotune.benchmark.metrics import RequestRecord
from autotune.benchmark.protocol import Progress
from autotune.benchmark.traffic import RequestPlan, draws

RECORDS = "profile_export.jsonl"
SUMMARY = "profile_export_aiperf.json"
SCHEMA = "1."
UNITS = {
    "time_to_first_token": "ms",
    "inter_chunk_latency": "ms",
    "request_latency": "ms",
    "usage_prompt_tokens": "tokens",
    "usage_completion_tokens": "tokens",
}
STATED = {
    "time_to_first_token": "ttft_ms_mean",
    "inter_token_latency": "tpot_ms_mean",
    "inter_chunk_latency": "itl_ms_mean",
    "request_latency": "e2e_ms_mean",
}
BEGUN = re.compile(r"Phase profiling \(profiling\) started")
ENDPOINTS = {"chat": "chat", "completions": "completions"}


class AiPerf:
    """See `tool.Tool`."""

    kind = "aiperf"
    version = "0.13"
    abilities = Abilities(arrivals=frozenset({"poisson", "constant", "gamma"}), histories=True)

    def command(self, task: Task) -> Command:
        """Write every body as it is to be sent."""
        inputs = task.scratch / "inputs.json"
        inputs.write_text(json.dumps({"data": list(_sessions(task))}))
        own = {"XDG_CACHE_HOME": str(task.scratch / "cache"), "AIPERF_DATASET_MMAP_CACHE_ENABLED": "0"}
        return Command(
            argv=tuple(self._argv(task, inputs)),
            env=own,
            unset=("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"),
        )

    def _argv(self, task: Task, inputs: Path) -> Iterator[str]:
        request, traffic = task.request, task.request.traffic
        seed = draws(traffic, request.load, repeat=request.repeat, phase="measure", of="client")
        yield from (str(task.program), "profile")
        yield from ("--model", request.endpoint.model, "--url", request.endpoint.url)
        yield from ("--endpoint-type", ENDPOINTS[traffic.endpoint], "--streaming")
        yield from ("--tokenizer", str(write_tokenizer(task.scratch / "tokenizer")))
        yield from ("--input-file", str(inputs), "--custom-dataset-type", "inputs_json")
        yield from ("--dataset-sampling-strategy", "sequential", "--use-server-token-count")
        yield from ("--request-count", str(task.measured))
        if task.warmup:
            yield from ("--warmup-request-count", str(task.warmup))
        if task.closed:
            yield from ("--concurrency", f"{request.load.value:g}")
        else:
            yield from ("--request-rate", f"{request.load.value:g}", "--arrival-pattern", traffic.arrival)
        if not task.closed and traffic.arrival == "gamma":
            yield from ("--arrival-smoothness", f"{traffic.burstiness:g}")
        yield from ("--random-seed", str(seed.randrange(2**31)))
        yield from ("--request-timeout-seconds", f"{request.timeout_s:g}")
        yield from ("--export-level", "records", "--ui", "none", "--no-gpu-telemetry", "--no-server-metrics")
        yield from ("--artifact-dir", str(task.folder))
        yield from words_of(task.args)

    def progress(self, task: Task) -> Progress:
        """Return how many requests its file of records has by now."""
        completed = failed = 0
        with (task.folder / RECORDS).open("rb") as file:
            for line in file:
                if b'"benchmark_phase":"profiling"' in line:
                    bad = b'"error":{' in line
                    completed, failed = completed + (not bad), failed + bad
        begun = completed + failed > 0 or BEGUN.search(task.log.read_text(errors="replace")) is not None
        return Progress(
            phase="measure" if begun else "warmup",
            requests_completed=completed,
            requests_failed=failed,
            requests_total=task.measured,
        )

    def read(self, task: Task) -> Report:
        """Return its records, held against its summary; there is none where every request failed."""
        rows = [row for row in _rows(task.folder / RECORDS) if row["metadata"]["phase_kind"] == "profiling"]
        records = tuple(_record(number, row) for number, row in enumerate(rows))
        stated: Mapping[str, float] = {}
        if any(record.error is None for record in records):
            stated = _stated(task.folder / SUMMARY)
        if any(record.error == "no_usage" for record in records):
            stated = {name: value for name, value in stated.items() if not name.startswith("tpot")}
        return Report(records=records, stated=stated, kept=(RECORDS, SUMMARY))


def _sessions(task: Task) -> Iterator[dict[str, Any]]:
    plans: list[RequestPlan] = [
        *islice(task.plans("warmup"), task.warmup),
        *islice(task.plans("measure"), task.measured),
    ]
    for number, plan in enumerate(plans):
        body = json.loads(body_of(plan, task.request.traffic, task.request.endpoint.model))
        yield {"session_id": f"{number:08}", "payloads": [body]}


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError as error:
        raise UnreadableReport(f"it left no {file.name}") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UnreadableReport(f"line {number} of {file.name} is not whole") from error
        if not (isinstance(row, dict) and {"metadata", "metrics"} <= row.keys()):
            raise UnreadableReport(f"line {number} of {file.name} is no record of version {AiPerf.version}")
        yield row


def _record(number: int, row: Mapping[str, Any]) -> RequestRecord:
    metadata, metrics = row["metadata"], row["metrics"]
    sent_s = metadata["request_start_ns"] / 1e9
    error, detail, stamps = None, "", ()
    if row.get("error"):
        detail = str(row["error"].get("message") or row["error"])
        code = row["error"].get("code")
        error = f"http_{code}" if isinstance(code, int) and 300 <= code < 600 else failure_in(detail)
    else:
        gaps = _value(metrics, "inter_chunk_latency", []) or []
        first_ms = _value(metrics, "time_to_first_token")
        stamps = tuple(sent_s + ms / 1000 for ms in accumulate([first_ms, *gaps]))
        if not {"usage_prompt_tokens", "usage_completion_tokens"} <= metrics.keys():
            error = "no_usage"
    counted = error is None
    return RequestRecord(
        phase="measure",
        index=number,
        sent_s=sent_s,
        begun_s=sent_s,
        scheduled_s=None,
        ended_s=stamps[-1] if stamps else metadata["request_end_ns"] / 1e9,
        chunks_s=stamps,
        prompt_tokens=int(_value(metrics, "usage_prompt_tokens")) if counted else 0,
        output_tokens=int(_value(metrics, "usage_completion_tokens")) if counted else 0,
        status=200 if counted else 0,
        error=error,
        detail=detail,
    )


def _value(metrics: Mapping[str, Any], name: str, missing: Any = None) -> Any:
    if name not in metrics and missing is not None:
        return missing
    entry = metrics[name]
    if entry["unit"] != UNITS[name]:
        raise UnreadableReport(f"{name} is in {entry['unit']}, not in {UNITS[name]}")
    return entry["value"]


def _stated(file: Path) -> dict[str, float]:
    summary = read_object(file)
    version = str(summary.get("schema_version"))
    if not version.startswith(SCHEMA):
        raise UnreadableReport(f"{file.name} has schema {version}, not {SCHEMA}x")
    stated = {}
    for theirs, ours in STATED.items():
        if theirs in summary:
            if summary[theirs]["unit"] != "ms":
                raise UnreadableReport(f"{theirs} is in {summary[theirs]['unit']}, not in ms")
            stated[ours] = float(summary[theirs]["avg"])
    if "ttft_ms_mean" not in stated or "e2e_ms_mean" not in stated:
        raise UnreadableReport(f"{file.name} has no time_to_first_token or no request_latency")
    return stated
