"""`vllm bench serve`, out of the environment that vLLM is in.

What it does in another way, and what is made of it (source: vLLM 0.32.0, `vllm/benchmarks/serve.py` and
`lib/endpoint_request_func.py`):

* It stamps every chunk with `choices`, also one that only opens a chat with a role and one that closes an
  answer without text: TTFT is then to the role. `edges.py` asks the engine for one short answer first, and
  as many stamps at each end are left out as were without text in that.
* Its readiness check and its warm-up send the first prompt of its file again and again, which is then
  measured with a warm prefix cache. Both are off: the file begins with the requests of the warm-up, which are
  not measured here. Its own summary counts them.
* It counts tokens itself where the engine gives no usage. Its tokenizer here finds none: that is `no_usage`.
* It knows failures by words alone, and waits six hours for an answer.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from autotune.benchmark.body import PATHS, body_of
from autotune.benchmark.external import edges
from autotune.benchmark.external.failures import failure_in
from autotune.benchmark.external.reading import read_object
from autotune.benchmark.external.tool import Abilities, Command, Report, Task, UnreadableReport, words_of
from autotune.benchmark.external.uncounted import MARK, MARKS, write_tokenizer
from autotune.benchmark.metrics import RequestRecord
from autotune.benchmark.protocol import Progress
from autotune.benchmark.traffic import RequestPlan, draws
from autotune.errors import TrialError

RESULT = "result.json"
EDGES = "edges.json"
BEGUN = "Starting main benchmark run..."
COUNTED = re.compile(r"\s(\d+)/(\d+) \[")  # of a progress bar
PROBE_TOKENS = 4
LONGEST = 2048  # tokens of prompt and answer together, of its ShareGPT data
BURSTINESS = {"poisson": 1.0, "constant": float("inf")}
SHAPE = {
    "completed": int,
    "failed": int,
    "input_lens": list,
    "output_lens": list,
    "ttfts": list,
    "itls": list,
    "latencies": list,
    "start_times": list,
    "errors": list,
}


class VllmBench:
    """See `tool.Tool`."""

    kind = "vllm_bench"
    version = "0.32"
    abilities = Abilities(arrivals=frozenset({"poisson", "constant", "gamma"}))

    def command(self, task: Task) -> Command:
        """Write the prompts, and a request to ask the engine how its answers look."""
        traffic, endpoint = task.request.traffic, task.request.endpoint
        plans = [*islice(task.plans("warmup"), task.warmup), *islice(task.plans("measure"), task.measured)]
        data = write_prompts(task.scratch, [_single(plan) for plan in plans])
        path, asked = PATHS[traffic.endpoint], task.scratch / "asked.json"
        short = replace(plans[0], output_tokens=min(PROBE_TOKENS, plans[0].output_tokens))
        asked.write_bytes(body_of(short, traffic, endpoint.model))
        script = str(Path(edges.__file__).resolve())
        look = (sys.executable, "-I", script, str(task.folder / EDGES), endpoint.url + path, str(asked))
        return Command(argv=(*look, *self._argv(task, data, len(plans))), env={"HF_HUB_OFFLINE": "1"})

    def _argv(self, task: Task, data: Sequence[str], many: int) -> Iterator[str]:
        request, traffic = task.request, task.request.traffic
        chat = traffic.endpoint == "chat"
        seed = draws(traffic, request.load, repeat=request.repeat, phase="measure", of="client")
        body = {**traffic.extra_body, **traffic.sampling}
        yield from (str(task.program), "bench", "serve")
        yield from ("--backend", "openai-chat" if chat else "openai")
        yield from ("--base-url", request.endpoint.url, "--endpoint", PATHS[traffic.endpoint])
        yield from ("--model", request.endpoint.model, "--served-model-name", request.endpoint.model)
        yield from ("--tokenizer", str(write_tokenizer(task.scratch / "tokenizer", lengths=True)))
        yield from (*data, "--disable-shuffle", "--num-prompts", str(many))
        yield from ("--num-warmups", "0", "--ready-check-timeout-sec", "0")
        yield from ("--seed", str(seed.randrange(2**31)), "--extra-body", json.dumps(body))
        yield from ("--save-result", "--save-detailed", "--result-dir", str(task.folder))
        yield from ("--result-filename", RESULT)
        if traffic.ignore_eos:
            yield "--ignore-eos"
        if task.closed:
            yield from ("--max-concurrency", f"{request.load.value:g}")
        else:
            burstiness = BURSTINESS.get(traffic.arrival, traffic.burstiness)
            yield from ("--request-rate", f"{request.load.value:g}", "--burstiness", f"{burstiness:g}")
        yield from words_of(task.args)

    def progress(self, task: Task) -> Progress:
        """Return what its progress bars show; it does not tell which requests failed."""
        counts = COUNTED.findall(task.log.read_text(errors="replace").rpartition(BEGUN)[2])
        done = int(counts[-1][0]) if counts else 0
        measuring = bool(counts) and done >= task.warmup
        return Progress(
            phase="measure" if measuring else "warmup",
            requests_completed=done - task.warmup if measuring else done,
            requests_failed=0,
            requests_total=task.measured if measuring else task.warmup,
        )

    def read(self, task: Task) -> Report:
        """Return the requests of its detailed result, those of the warm-up first."""
        content = _content(task.folder / RESULT)
        many = task.warmup + task.measured
        columns = {name: content[name] for name, kind in SHAPE.items() if kind is list}
        if any(len(column) != many for column in columns.values()):
            raise UnreadableReport(f"{RESULT} does not have {many} requests in every list")
        rows = [{name: column[place] for name, column in columns.items()} for place in range(many)]
        _check_counts(content, rows)
        cut = _cut(task, rows)
        records = [_record(number - task.warmup, row, cut) for number, row in enumerate(rows)]
        return Report(records=tuple(records), kept=(RESULT,), notes=_notes(task))


def _single(plan: RequestPlan) -> RequestPlan:
    if plan.history:
        raise TrialError(
            "benchmark_failed",
            "vllm_bench sends single prompts, and a request of the workload has messages before its last",
            advice="measure it with benchmark=native or benchmark=aiperf",
        )
    return plan


def write_prompts(folder: Path, plans: Sequence[RequestPlan]) -> tuple[str, ...]:
    """Write the prompts with the lengths of their answers, and return the words that name them.

    The file of its `custom` data set needs pandas, which vLLM itself does not. The one of ShareGPT does not,
    and takes the length of an answer from a text: here so many marks, with those that the tokenizer adds. It
    leaves out what is shorter or longer than it likes.
    """
    if all(MARKS <= plan.output_tokens <= LONGEST - MARKS for plan in plans):
        file = folder / "sharegpt.json"
        texts = [(plan.text, MARK * (plan.output_tokens - MARKS)) for plan in plans]
        file.write_text(json.dumps([{"conversations": [{"value": text} for text in both]} for both in texts]))
        return ("--dataset-name", "sharegpt", "--dataset-path", str(file))
    file = folder / "custom.jsonl"
    rows = [{"prompt": plan.text, "output_tokens": plan.output_tokens} for plan in plans]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    custom = ("--dataset-name", "custom", "--dataset-path", str(file))
    return (*custom, "--skip-chat-template", "--custom-output-len", "-1")


def _content(file: Path) -> dict[str, Any]:
    content = read_object(file)
    wrong = [name for name, kind in SHAPE.items() if not isinstance(content.get(name), kind)]
    if wrong:
        raise UnreadableReport(f"{file.name} has no {', '.join(wrong)} as version {VllmBench.version} does")
    return content


def _check_counts(content: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Its summary and its requests are two ways to the same numbers: a unit that changed shows."""
    good = [row for row in rows if not row["errors"]]
    if (content["completed"], content["failed"]) != (len(good), len(rows) - len(good)):
        raise UnreadableReport(
            f"its summary says {content['completed']} completed and {content['failed']} failed, and its "
            f"requests {len(good)} and {len(rows) - len(good)}"
        )
    gaps_s = [gap for row in good for gap in row["itls"]]
    for name, values_s in (("mean_ttft_ms", [row["ttfts"] for row in good]), ("mean_itl_ms", gaps_s)):
        own = 1000 * sum(values_s) / len(values_s) if values_s else 0.0
        if abs(content[name] - own) > max(0.01 * own, 0.01):
            raise UnreadableReport(f"its summary says {name}={content[name]:g}, and its requests {own:g}")


def _cut(task: Task, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """How many stamps at both ends of an answer are of chunks without text."""
    try:
        found = json.loads((task.folder / EDGES).read_text())
    except FileNotFoundError:
        if all(row["errors"] for row in rows):
            return 0, 0
        raise UnreadableReport(
            "the engine gave no answer from which to know if its first chunk has text: TTFT is not known"
        ) from None
    return int(found["leading"]), int(found["trailing"])


def _record(number: int, row: Mapping[str, Any], cut: tuple[int, int]) -> RequestRecord:
    sent_s, error, detail = float(row["start_times"]), None, str(row["errors"]).strip()
    stamps: tuple[float, ...] = ()
    if detail:
        detail = detail.splitlines()[-1]  # of a traceback
        error = failure_in(detail)
    else:
        every = list(accumulate([float(row["ttfts"]), *map(float, row["itls"])]))
        stamps = tuple(sent_s + stamp for stamp in every[cut[0] : len(every) - cut[1]])
        if not stamps:
            error = "no_content"
        elif not (row["output_lens"] and row["input_lens"]):
            error = "no_usage"
    ended_s = stamps[-1] if stamps else sent_s + float(row["latencies"])
    return RequestRecord(
        phase="warmup" if number < 0 else "measure",
        index=number,
        sent_s=sent_s,
        begun_s=sent_s,
        scheduled_s=None,
        ended_s=ended_s,
        chunks_s=stamps,
        prompt_tokens=int(row["input_lens"]),
        output_tokens=int(row["output_lens"]),
        status=200 if error is None else 0,
        error=error,
        detail=detail,
    )


def _notes(task: Task) -> tuple[str, ...]:
    if not task.warmup:
        return ()
    return (f"the first {task.warmup} requests in {RESULT} are the warm-up, and in its own summary too",)
