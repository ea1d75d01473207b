"""Real reports, as the clients left them, and what another version or an interruption would make of them.

They are of three requests of 17 words and 31 tokens, in chunks of 3, one after the other, of a server with a
TTFT of 101 ms and gaps of 13 ms: 11 chunks, an answer in 231 ms.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.benchmark import TOOLS
from autotune.benchmark.external.client import UNREADABLE
from autotune.benchmark.external.results import measurement_of
from autotune.benchmark.external.tool import Report, Task, UnreadableReport
from autotune.benchmark.protocol import MeasureRequest
from autotune.errors import TrialError
from autotune.records import Endpoint, Load, Measurement, Mode, Traffic

DATA = Path(__file__).resolve().parents[2] / "data/clients"
FOLDERS = {
    "aiperf": "aiperf-0.13.0",
    "genai_bench": "genai_bench-0.0.5",
    "guidellm": "guidellm-0.8.1",
    "vllm_bench": "vllm_bench-0.32.0",
}
MAIN = {
    "aiperf": "profile_export.jsonl",
    "genai_bench": "report/D17_31_text-to-text_num_concurrency_1_time_2s.json",
    "guidellm": "guidellm.json",
    "vllm_bench": "result.json",
}
WITH_CHUNKS = {"aiperf", "vllm_bench"}
TRAFFIC = Traffic(
    endpoint="chat",
    input_tokens=17,
    output_tokens=31,
    input_spread=0,
    output_spread=0,
    requests_per_load=3,
    min_requests=1,
    warmup_requests=1,
    ignore_eos=True,
    seed=1,
)

Change = Callable[[Any], None]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """The measurement that the reports are of."""
    request = MeasureRequest(
        endpoint=Endpoint(url="http://127.0.0.1:1", model="known"),
        traffic=TRAFFIC,
        load=Load(mode=Mode.CONCURRENCY, value=1),
        repeat=0,
        out_dir=tmp_path,
        on_progress=lambda _: None,
        timeout_s=20,
    )
    folder, scratch = tmp_path / "report", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    return Task(request=request, folder=folder, scratch=scratch, program=Path("/bin/true"))


def _laid(kind: str, task: Task) -> Path:
    """Put a client's report into the task's folder; return its main file."""
    shutil.copytree(DATA / FOLDERS[kind], task.folder, dirs_exist_ok=True)
    return task.folder / MAIN[kind]


def _measured(kind: str, task: Task) -> Measurement:
    report: Report = TOOLS[kind]().read(task)
    return measurement_of(task, report, used={}, notes=())


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_real_report_is_what_the_server_did(kind: str, task: Task) -> None:
    """Milliseconds of what their names say, TPOT without the first token, tokens of the server."""
    _laid(kind, task)
    measured = _measured(kind, task)
    metrics = measured.metrics
    assert (measured.requests_completed, measured.requests_failed, dict(measured.errors)) == (3, 0, {})
    assert 101 <= metrics["ttft_ms_mean"] <= 120
    assert metrics["tpot_ms_mean"] == pytest.approx(130 / 30, rel=0.02)
    assert metrics["e2e_ms_mean"] == pytest.approx(metrics["ttft_ms_mean"] + 130, rel=0.02)
    ended = 8 if kind == "genai_bench" else 3  # it tells of all that ended, and of the time of all
    assert metrics["output_tokens_per_s"] == pytest.approx(ended * 31 / measured.duration_s, rel=0.01)
    assert metrics["total_tokens_per_s"] == pytest.approx(ended * (31 + 17) / measured.duration_s, rel=0.01)
    if kind in WITH_CHUNKS:
        assert metrics["itl_ms_mean"] == pytest.approx(13, rel=0.02)
        assert metrics["itl_ms_mean"] * 10 == pytest.approx(metrics["tpot_ms_mean"] * 30, rel=0.001)
    else:
        assert not [name for name in metrics if name.startswith("itl")]


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_report_that_is_cut_short_is_none(kind: str, share: float, task: Task) -> None:
    """Of a client that was interrupted while it wrote, or of a full disk."""
    file = _laid(kind, task)
    content = file.read_text()
    file.write_text(content[: int(share * len(content))])
    with pytest.raises(UnreadableReport, match=r"not whole|tells of \d requests"):
        _measured(kind, task)


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_report_that_is_missing_is_said_to_be(kind: str, task: Task) -> None:
    """With its name."""
    _laid(kind, task).unlink()
    said = "it left 0 results" if kind == "genai_bench" else f"it left no {MAIN[kind]}"
    with pytest.raises(UnreadableReport, match=said):
        _measured(kind, task)


def _genai_milliseconds(content: Any) -> None:
    for row in content["individual_request_metrics"]:
        row["ttft"] *= 1000


def _genai_fewer(content: Any) -> None:
    content["individual_request_metrics"].pop()


def _genai_renamed(content: Any) -> None:
    content["requests"] = content.pop("individual_request_metrics")


def test_genai_benchs_failures_are_counted_by_its_requests(task: Task) -> None:
    """Its own `error_rate` is 0 whatever failed."""
    file = _laid("genai_bench", task)
    content = json.loads(file.read_text())
    for row, code, message in zip(
        content["individual_request_metrics"][1:3],
        (500, 503),
        ("told to fail", "Connection error: x"),
        strict=True,
    ):
        row.update(dict.fromkeys(row) | {"error_code": code, "error_message": message})
    content["aggregated_metrics"] |= {"num_completed_requests": 6, "num_error_requests": 2}
    assert content["aggregated_metrics"]["error_rate"] == 0
    file.write_text(json.dumps(content))
    measured = _measured("genai_bench", task)
    assert dict(measured.errors) == {"http_500": 1, "connect": 1}
    assert (measured.requests_completed, measured.requests_failed) == (1, 2)
    assert measured.metrics["requests_per_s"] == pytest.approx(6 / measured.duration_s)


def test_tokens_that_genai_bench_counted_itself_are_none(task: Task) -> None:
    """It says so in its log alone."""
    _laid("genai_bench", task)
    task.log.write_text("WARNING  There is no usage info\n   returned from the model server.\n")
    with pytest.raises(TrialError, match="3 of them with no_usage"):
        _measured("genai_bench", task)


def _guidellm_version(content: Any) -> None:
    content["metadata"]["version"] = 3


def _guidellm_seconds(content: Any) -> None:
    for row in content["benchmarks"][0]["requests"]["successful"]:
        row["time_to_first_token_ms"] /= 1000


def _guidellm_stamps(content: Any) -> None:
    for row in content["benchmarks"][0]["requests"]["successful"]:
        for name in row["info"]["timings"]:
            row["info"]["timings"][name] = None


def _guidellm_two(content: Any) -> None:
    content["benchmarks"] *= 2


def _guidellm_renamed(content: Any) -> None:
    content["runs"] = content.pop("benchmarks")


def _vllm_milliseconds(content: Any) -> None:
    content["ttfts"] = [1000 * value for value in content["ttfts"]]


def _vllm_summary_only(content: Any) -> None:
    del content["itls"]


def _vllm_fewer(content: Any) -> None:
    content["errors"].pop()


def _vllm_flat(content: Any) -> None:
    content["itls"] = [13.0] * len(content["itls"])


def _vllm_counts(content: Any) -> None:
    content["failed"] = 1


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("genai_bench", _genai_milliseconds),
        ("genai_bench", _genai_fewer),
        ("genai_bench", _genai_renamed),
        ("guidellm", _guidellm_version),
        ("guidellm", _guidellm_seconds),
        ("guidellm", _guidellm_stamps),
        ("guidellm", _guidellm_two),
        ("guidellm", _guidellm_renamed),
        ("vllm_bench", _vllm_milliseconds),
        ("vllm_bench", _vllm_summary_only),
        ("vllm_bench", _vllm_fewer),
        ("vllm_bench", _vllm_flat),
        ("vllm_bench", _vllm_counts),
    ],
)
def test_a_report_of_another_version_is_no_number(kind: str, change: Change, task: Task) -> None:
    """Names, units, shapes and counts: what is not as it was when it was looked at is not read."""
    file = _laid(kind, task)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UNREADABLE):
        _measured(kind, task)


def _in_seconds(row: Any) -> None:
    row["metrics"]["time_to_first_token"]["unit"] = "sec"


def _unnamed(row: Any) -> None:
    row["metrics"]["ttft"] = row["metrics"].pop("time_to_first_token")


def _other_values(row: Any) -> None:
    row["metrics"]["time_to_first_token"]["value"] *= 1000


def _flat(row: Any) -> None:
    row["latency"] = row.pop("metrics")


@pytest.mark.parametrize("change", [_in_seconds, _unnamed, _other_values, _flat])
def test_records_of_another_aiperf_are_no_numbers(change: Change, task: Task) -> None:
    """A unit, a name, a scale, a shape."""
    file = _laid("aiperf", task)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        change(row)
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(UNREADABLE):
        _measured("aiperf", task)


def _next_schema(summary: Any) -> None:
    summary["schema_version"] = "2.0"


def _summary_in_seconds(summary: Any) -> None:
    summary["time_to_first_token"]["unit"] = "s"


def _summary_disagrees(summary: Any) -> None:
    summary["request_latency"]["avg"] *= 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_next_schema, "schema 2.0, not 1.x"),
        (_summary_in_seconds, "time_to_first_token is in s, not in ms"),
        (_summary_disagrees, "its summary says e2e_ms_mean=.*, and its requests"),
    ],
)
def test_aiperfs_summary_has_to_agree_with_its_records(change: Change, said: str, task: Task) -> None:
    """Two ways to the same numbers."""
    _laid("aiperf", task)
    file = task.folder / "profile_export_aiperf.json"
    summary = json.loads(file.read_text())
    change(summary)
    file.write_text(json.dumps(summary))
    with pytest.raises(UnreadableReport, match=said):
        _measured("aiperf", task)


def test_vllms_stamps_of_chunks_without_text_are_left_out(task: Task) -> None:
    """It stamps the role that opens a chat: without knowing of it TTFT would be a few milliseconds."""
    _laid("vllm_bench", task)
    assert _measured("vllm_bench", task).metrics["ttft_ms_mean"] > 101
    (task.folder / "edges.json").unlink()
    with pytest.raises(UnreadableReport, match="TTFT is not known"):
        _measured("vllm_bench", task)


def test_an_answer_that_took_too_long_has_failed(task: Task) -> None:
    """Also with a client that waits for hours: what is slow must not look good."""
    _laid("vllm_bench", task)
    strict = replace(task, request=replace(task.request, timeout_s=0.2))
    with pytest.raises(TrialError, match="all 3 measured requests failed, 3 of them with timeout"):
        _measured("vllm_bench", strict)
