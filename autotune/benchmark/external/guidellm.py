"""GuideLLM, `guidellm run`.

It sends our prompts with the lengths of their answers, out of a file, those of the warm-up first. What it
does in another way, and what is made of it (source: GuideLLM 0.8.1):

* Its `inter_token_latency_ms` is our TPOT; its `time_per_output_token_ms` is the whole answer's time over all
  of its tokens, the first one's too, and is nothing here. It keeps the first and the last chunk with a token
  of each request and none between: there is no ITL.
* Its `request_latency` is in seconds, and its own throughput is of the time that it counts as steady.
* It has no report if it is interrupted, and it does not tell how far it is: an engine that answers nothing
  more is found out by the time-out of a request.
* It asks for fixed lengths (`ignore_eos`) wherever one is given: said otherwise where that is not wanted.
* Asked for 20 Poisson arrivals a second it sent 60 requests within half a second, on a busy machine of two
  cores: no rates are asked of it.
* It counts tokens itself where the engine gives no usage. Its tokenizer here finds none: that is `no_usage`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from autotune.benchmark.body import PATHS
from autotune.benchmark.external.failures import failure_in
from autotune.benchmark.external.reading import read_object
from autotune.benchmark.external.tool import Abilities, Command, Report, Task, UnreadableReport, words_of
from autotune.benchmark.external.uncounted import write_tokenizer
from autotune.benchmark.metrics import RequestRecord
from autotune.benchmark.protocol import Progress
from autotune.benchmark.traffic import draws
from autotune.records import Mode

RESULT = "guidellm.json"
SCHEMA = 2
GROUPS = ("successful", "errored", "incomplete")


class GuideLlm:
    """See `tool.Tool`."""

    kind = "guidellm"
    version = "0.8"
    abilities = Abilities(arrivals=frozenset(), modes=frozenset({Mode.CONCURRENCY}))

    def command(self, task: Task) -> Command:
        """Write its prompts and its configuration."""
        prompts, scenario = task.scratch / "prompts.jsonl", task.scratch / "scenario.json"
        plans = [*islice(task.plans("warmup"), task.warmup), *islice(task.plans("measure"), task.measured)]
        rows = [{"prompt": plan.text, "output_tokens_count": plan.output_tokens} for plan in plans]
        prompts.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        scenario.write_text(json.dumps({"spec": _scenario(task, prompts, len(plans))}))
        argv = (str(task.program), "run", "--config", str(scenario), "--disable-console-interactive")
        env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(task.scratch / "hub")}
        return Command(argv=(*argv, *words_of(task.args)), env=env)

    def progress(self, task: Task) -> Progress:
        """Return nothing but that it is there: it does not tell how far it is, nor what waits."""
        return Progress(
            phase="warmup",
            requests_completed=0,
            requests_failed=0,
            requests_total=task.measured,
            in_flight=0,
        )

    def read(self, task: Task) -> Report:
        """Return its requests; the first that were sent are the warm-up, as in its file."""
        rows = _rows(read_object(task.folder / RESULT))
        sent = sorted((_record(group, row) for group, row in rows), key=lambda record: record.sent_s)
        records = [replace(r, phase="warmup" if n < task.warmup else "measure") for n, r in enumerate(sent)]
        return Report(
            records=tuple(records),
            lacks=frozenset({"itl_ms"}),
            kept=(RESULT,),
            notes=("guidellm keeps the first and the last chunk of an answer only: ITL is not known",),
        )


def _scenario(task: Task, prompts: Path, many: int) -> dict[str, Any]:
    request, traffic = task.request, task.request.traffic
    seed = draws(traffic, request.load, repeat=request.repeat, phase="measure", of="client")
    warmup = {"warmup": {"value": task.warmup, "mode": "requests"}} if task.warmup else {}
    body = {**traffic.extra_body, **traffic.sampling, **({} if traffic.ignore_eos else {"ignore_eos": False})}
    return {
        "backend": {
            "kind": "openai_http",
            "target": request.endpoint.url,
            "model": request.endpoint.model,
            "request_format": PATHS[traffic.endpoint],
            "http2": False,
            "timeout": request.timeout_s,
            "validate_backend": False,
            "extras": {"body": body},
        },
        "profile": {"kind": "concurrent", "streams": [int(request.load.value)], **warmup},
        "constraints": [{"kind": "max_requests", "count": many}],
        "tokenizer": {
            "kind": "huggingface_auto",
            "model": str(write_tokenizer(task.scratch / "tokenizer")),
        },
        "data": [{"kind": "json_file", "path": str(prompts)}],
        "seed": {"kind": "static", "value": seed.randrange(2**31)},
        "outputs": [{"kind": "json", "path": str(task.folder / RESULT)}],
    }


def _rows(content: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    version = content["metadata"]["version"]
    if version != SCHEMA:
        raise UnreadableReport(f"{RESULT} has the format {version}, not {SCHEMA}")
    benchmarks: Sequence[Mapping[str, Any]] = content["benchmarks"]
    if len(benchmarks) != 1:
        raise UnreadableReport(f"{RESULT} has {len(benchmarks)} benchmarks, one load was asked for")
    requests = benchmarks[0]["requests"]
    return [(group, row) for group in GROUPS for row in requests[group] or []]


def _record(group: str, row: Mapping[str, Any]) -> RequestRecord:
    timings, info = row["info"]["timings"], row["info"]
    error: str | None = None
    stamps: tuple[float, ...] = ()
    detail = str(info.get("error") or "")
    sent_s = float(timings["request_start"] or timings["resolve_start"])
    ended_s = float(timings["request_end"] or timings["resolve_end"])
    prompt, output = row["input_metrics"]["text_tokens"], row["output_metrics"]["text_tokens"]
    if group != "successful":
        error = failure_in(detail) if detail else "truncated"
    elif timings["first_token_iteration"] is None:
        error = "no_content"
    elif not (prompt and output):
        error = "no_usage"
    else:
        first_s, last_s = float(timings["first_token_iteration"]), float(timings["last_token_iteration"])
        stamps = (first_s, last_s) if timings["token_iterations"] > 1 else (first_s,)
        _check(row, sent_s, first_s, last_s)
    return RequestRecord(
        phase="measure",
        index=0,
        sent_s=sent_s,
        begun_s=sent_s,
        scheduled_s=None,
        ended_s=stamps[-1] if stamps else ended_s,
        chunks_s=stamps,
        prompt_tokens=int(prompt or 0),
        output_tokens=int(output or 0),
        status=200 if error is None else 0,
        error=error,
        detail=detail,
    )


def _check(row: Mapping[str, Any], sent_s: float, first_s: float, last_s: float) -> None:
    """Its numbers of a request and its stamps are two ways to the same: a unit that changed shows."""
    pairs = {
        "time_to_first_token_ms": 1000 * (first_s - sent_s),
        "request_latency": float(row["request_end_time"]) - sent_s,
    }
    if row["output_tokens"] > 1:
        pairs["inter_token_latency_ms"] = 1000 * (last_s - first_s) / (row["output_tokens"] - 1)
    for name, own in pairs.items():
        if row[name] is not None and abs(row[name] - own) > max(0.02 * own, 0.01):
            raise UnreadableReport(f"a request says {name}={row[name]:g}, and its stamps {own:g}")
