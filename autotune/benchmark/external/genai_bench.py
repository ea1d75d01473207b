"""GenAI-Bench, `genai-bench benchmark`.

It draws its prompts itself, out of lines of our words and by lengths: not our very requests, and other ones
each time. What it does in another way, and what is made of it (source: GenAI-Bench 0.0.5):

* Its `error_rate` is 0 whatever failed, as it is worked out before the requests are counted: failures are
  counted here by the requests.
* Its throughput is of the tokens without the warm-up over a time with it: here every request's tokens count.
* It looks once a second if enough requests have ended, and drops those in flight then: more are sent than
  asked for. The first of those behind the warm-up are taken, as many as are to be measured.
* It tells of each request how long it took and not when: the load that was offered is not known.
* Its latencies are in seconds; there is no ITL; a connection is opened for each request, and TTFT has that.
* A folder that is used again keeps stale results: it gets a new one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from autotune.benchmark.external.failures import failure_in
from autotune.benchmark.external.reading import read_object
from autotune.benchmark.external.tool import Abilities, Command, Report, Task, UnreadableReport, words_of
from autotune.benchmark.external.uncounted import write_vocabulary
from autotune.benchmark.metrics import RequestRecord
from autotune.benchmark.protocol import Progress
from autotune.records import Mode

FOLDER = "report"
UNCOUNTED = "There is no usage info returned"
MOST_S = 24 * 3600.0
CODES = {503: "connect", 408: "timeout"}
"""What it makes of a connection that failed and of a time-out; engines say these too."""


class GenAiBench:
    """See `tool.Tool`."""

    kind = "genai_bench"
    version = "0.0.5"
    abilities = Abilities(
        arrivals=frozenset(),
        verbatim=False,
        endpoints=frozenset({"chat"}),
        modes=frozenset({Mode.CONCURRENCY}),
    )

    def command(self, task: Task) -> Command:
        """Write lines of words, and a tokenizer that knows them."""
        plans = [*islice(task.plans("warmup"), task.warmup), *islice(task.plans("measure"), task.measured)]
        lines = task.scratch / "lines.txt"
        lines.write_text("".join(f"{plan.text}\n" for plan in plans))
        words = sorted({word for plan in plans for word in plan.text.split()})
        tokenizer = write_vocabulary(task.scratch / "tokenizer", words)
        many = task.warmup + task.measured
        argv = self._argv(task, tokenizer=str(tokenizer), lines=str(lines), many=many)
        return Command(argv=tuple(argv), env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(task.scratch / "hub")})

    def _argv(self, task: Task, *, tokenizer: str, lines: str, many: int) -> Iterator[str]:
        request, traffic = task.request, task.request.traffic
        longest_s = min(MOST_S, many / request.load.value * request.timeout_s + request.timeout_s)
        yield from (str(task.program), "benchmark")
        yield from ("--api-backend", "vllm" if traffic.ignore_eos else "openai")
        yield from ("--api-base", request.endpoint.url, "--api-key", "none", "--task", "text-to-text")
        yield from ("--api-model-name", request.endpoint.model, "--model-tokenizer", tokenizer)
        yield from ("--traffic-scenario", _scenario(task), "--dataset-path", lines)
        yield from ("--num-concurrency", f"{request.load.value:g}")
        yield from ("--max-time-per-run", str(math.ceil(longest_s / 60)))
        yield from ("--max-requests-per-run", str(many))
        yield from ("--additional-request-params", json.dumps({**traffic.extra_body, **traffic.sampling}))
        yield from ("--experiment-base-dir", str(task.folder), "--experiment-folder-name", FOLDER)
        yield from words_of(task.args)

    def progress(self, task: Task) -> Progress:
        """Return nothing but that it is there: it does not tell how far it is, nor what waits."""
        return Progress(
            phase="warmup", requests_completed=0, requests_failed=0, requests_total=task.measured, in_flight=0
        )

    def read(self, task: Task) -> Report:
        """Return the requests behind the warm-up, in the order in which they ended."""
        if failed := sorted(
            (task.folder / FOLDER).glob("debug_for_run_*.json")
        ):  # it gave up: nothing ended well
            return Report(records=_those(task, _every(task, read_object(failed[0]))), window_s=1.0)
        files = sorted((task.folder / FOLDER).glob("*_text-to-text_num_concurrency_*_time_*s.json"))
        if len(files) != 1:
            raise UnreadableReport(f"it left {len(files)} results, one load was asked for")
        content = read_object(files[0])
        every, summary = _every(task, content), content["aggregated_metrics"]
        window_s = float(summary["run_duration"])
        good = [record for record in every if record.error is None]
        if len(every) != summary["num_completed_requests"] + summary["num_error_requests"]:
            raise UnreadableReport("its summary and its requests do not agree in how many there were")
        return Report(
            records=_those(task, every),
            lacks=frozenset({"itl_ms"}),
            kept=(f"{FOLDER}/{files[0].name}",),
            window_s=window_s,
            throughputs=_throughputs(good, window_s),
            notes=(
                "genai-bench draws prompts itself, other ones each time, by the lengths of the workload",
                "genai-bench looks once a second if it is done: throughput is of all that ended until then",
            ),
        )


def _every(task: Task, content: Mapping[str, Any]) -> list[RequestRecord]:
    uncounted = UNCOUNTED in _said(task)
    return [_record(row, uncounted=uncounted) for row in content["individual_request_metrics"]]


def _those(task: Task, every: Sequence[RequestRecord]) -> tuple[RequestRecord, ...]:
    """As many as are to be measured, behind the warm-up."""
    return tuple(every[task.warmup : task.warmup + task.measured])


def _scenario(task: Task) -> str:
    """The lengths in its words; what the engine puts around a prompt is not a part of it."""
    traffic = task.request.traffic
    prompt, answer = max(1, traffic.input_tokens - traffic.overhead_tokens), traffic.output_tokens
    if not (traffic.input_spread or traffic.output_spread):
        return f"D({prompt},{answer})"
    spread = (round(traffic.input_tokens * traffic.input_spread), round(answer * traffic.output_spread))
    return f"N({prompt},{spread[0]})/({answer},{spread[1]})"


def _said(task: Task) -> str:
    """Everything that it wrote in words."""
    logs = sorted(task.folder.rglob("*.log"))
    return " ".join(" ".join(log.read_text(errors="replace").split()) for log in logs)


def _record(row: Mapping[str, Any], *, uncounted: bool) -> RequestRecord:
    error: str | None = None
    stamps: tuple[float, ...] = ()
    detail = ""
    if row["error_code"]:
        detail = str(row.get("error_message") or row["error_code"])
        error = CODES.get(row["error_code"]) or _failure(row["error_code"], detail)
    elif uncounted:
        error = "no_usage"
    else:
        stamps = (float(row["ttft"]), float(row["e2e_latency"]))
        _check(row)
    return RequestRecord(
        phase="measure",
        index=0,
        sent_s=0.0,
        begun_s=0.0,
        scheduled_s=None,
        ended_s=stamps[-1] if stamps else 0.0,
        chunks_s=stamps,
        prompt_tokens=int(row["num_input_tokens"] or 0),
        output_tokens=int(row["num_output_tokens"] or 0),
        status=200 if error is None else 0,
        error=error,
        detail=detail,
    )


def _failure(code: int, detail: str) -> str:
    """It calls an answer that was cut short a 500, too."""
    said = failure_in(detail)
    return said if said in {"truncated", "timeout", "connect"} else f"http_{code}"


def _check(row: Mapping[str, Any]) -> None:
    """Its TPOT follows from its other numbers: a unit or a meaning that changed shows.

    It has none where it read a whole answer at once.
    """
    if row["num_output_tokens"] > 1 and row["tpot"] is not None:
        own = (row["e2e_latency"] - row["ttft"]) / (row["num_output_tokens"] - 1)
        if abs(row["tpot"] - own) > max(0.02 * own, 1e-6):
            raise UnreadableReport(f"a request says tpot={row['tpot']:g}, and its times {own:g}")


def _throughputs(good: Sequence[RequestRecord], window_s: float) -> dict[str, float]:
    output, prompts = sum(r.output_tokens for r in good), sum(r.prompt_tokens for r in good)
    return {
        "output_tokens_per_s": output / window_s,
        "total_tokens_per_s": (output + prompts) / window_s,
        "requests_per_s": len(good) / window_s,
        "goodput_requests_per_s": len(good) / window_s,
    }
