"""`plan`: what it shows is what a sweep does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autotune.cli import main

MIXED = [
    "runtime=vllm,sglang,tensorrt_llm",
    "parallel=single-gpu,tp1,tp2,tp16",
    "quant=default,aggressive-moe",
    "gpus=h100_8x",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command is called in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> dict[str, Any]:
    """What `plan --json` says."""
    assert main(["plan", "--json", *words]) == status
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What `plan` prints."""
    assert main(["plan", *words]) == 0
    return capsys.readouterr().out


def test_json_has_every_candidate_with_the_fields_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but JSON on standard output; rejected and duplicate ones are there too."""
    content = planned(capsys, "-m", *MIXED)
    assert content["counts"] == {"valid": 6, "rejected": 15, "duplicate": 3}
    assert [len(content["candidates"]), list(content)] == [24, ["counts", "candidates"]]
    assert set(content["candidates"][0]) == {
        *("overrides", "status", "reasons", "notes", "duplicate_of", "runtime", "runtime_version"),
        *("argv", "env", "files", "gpus", "world_size", "signature", "memory"),
    }
    assert {"weights_gib", "kv_cache_gib", "per_gpu_gib", "fits"} <= set(content["candidates"][0]["memory"])
    for candidate in content["candidates"]:
        assert (candidate["status"] == "rejected") is bool(candidate["reasons"])
        assert (candidate["status"] == "duplicate") is (candidate["duplicate_of"] is not None)


def test_a_duplicate_is_what_the_engine_would_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    """`single-gpu` and `tp1` are one; the order of arguments does not matter."""
    content = planned(capsys, "-m", "parallel=single-gpu,tp1", "gpus=h100_8x", "model=tiny")
    first, second = content["candidates"]
    assert (second["duplicate_of"], second["signature"]) == (0, first["signature"])
    args = ["runtime.args.max_num_seqs=8", "runtime.args.block_size=16"]
    one = planned(capsys, *args, "gpus=h100_8x")["candidates"][0]["signature"]
    assert planned(capsys, *reversed(args), "gpus=h100_8x")["candidates"][0]["signature"] == one


def test_nothing_is_written(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No journal, no store, no folder."""
    planned(capsys, "-m", *MIXED)
    shown(capsys, "-m", *MIXED)
    assert list(elsewhere.iterdir()) == []


def test_the_table_shows_ten_and_counts_all(capsys: pytest.CaptureFixture[str]) -> None:
    """`--all` shows the rest; reasons are grouped."""
    text = shown(capsys, "-m", *MIXED)
    assert "... and 14 more: --all shows them" in text
    assert "6 valid, 15 rejected, 3 duplicates; 9 GPU-starts on 8 GPUs" in text
    assert "needs 16 GPUs: needs 2 nodes; the inventory has 1" in text
    every = shown(capsys, "-m", *MIXED, "--all")
    assert "23  tensorrt_llm · tp16 · aggressive-moe" in every
    assert "--all" not in every


def test_differences_leave_out_what_all_have(capsys: pytest.CaptureFixture[str]) -> None:
    """`--diff`: the rest stands once below the table."""
    words = ["-m", "parallel=tp2,tp4", "runtime.args.max_num_seqs=64", "gpus=h100_8x"]
    text = shown(capsys, *words, "--diff")
    assert text.count("--max-num-seqs 64") == 1
    assert "in every candidate: --max-num-seqs 64" in text
    assert "--tensor-parallel-size 2" in text
    assert shown(capsys, *words).count("--max-num-seqs 64") == 2
    alone = ["-m", "parallel=tp1,tp2", "runtime.args.max_num_seqs=64", "gpus=h100_8x", "--diff"]
    assert "(nothing else)" in shown(capsys, *alone)
    assert "(the engine's defaults)" in shown(capsys, "-m", "parallel=tp1,tp2", "gpus=h100_8x", "--diff")


def test_a_glob_chooses_presets(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the group that look like it."""
    content = planned(capsys, "-m", "quant=glob(*fp8)", "parallel=glob([tp1,tp2])", "gpus=h100_8x")
    assert [candidate["overrides"][:2] for candidate in content["candidates"]] == [
        [f"quant={quant}", f"parallel={parallel}"]
        for quant in ("dynamic-fp8", "kv-cache-fp8")
        for parallel in ("tp1", "tp2")
    ]


def test_the_space_shows_what_the_samples_can_have(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of the other runtimes, nor what the command gives itself; true and false as users write them."""
    given = ["runtime.args.gpu_memory_utilization=0.9", "runtime.args.stream_interval=4"]
    text = shown(capsys, "-m", "runtime=vllm", "search/space=tuning", *given, "gpus=h100_8x")
    lines = text.partition("the space:\n")[2].partition("10 samples")[0].splitlines()
    assert lines == [
        "  runtime.args.max_num_seqs: 32 to 2048, whole numbers, log",
        "  runtime.args.max_num_batched_tokens: 2048, 4096, 8192, 16384, 32768",
        "  runtime.args.async_scheduling: true, false",
    ]
    assert "async_scheduling=true" in text
    assert "async_scheduling=True" not in text


def test_ranges_show_the_space_and_ten_seeded_samples(capsys: pytest.CaptureFixture[str]) -> None:
    """The same seed draws the same; what is only vLLM's is only there."""
    words = ["-m", "runtime=vllm,sglang", "search/space=tuning", "gpus=h100_8x"]
    text = shown(capsys, *words)
    assert "runtime.args.max_num_seqs (only vllm): 32 to 2048, whole numbers, log" in text
    assert "10 samples of it, drawn with seed=0:" in text
    content = planned(capsys, *words)
    assert content == planned(capsys, *words)
    assert content != planned(capsys, *words, "seed=1")
    assert content["counts"]["valid"] == 10
    for candidate in content["candidates"]:
        own = "--mem-fraction-static" if candidate["runtime"] == "sglang" else "--gpu-memory-utilization"
        assert own in candidate["argv"]


def test_only_where_no_candidate_is_left_the_status_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """And the reasons are there all the same."""
    words = ["parallel=tp16", "gpus=h100_8x"]
    content = planned(capsys, *words, status=2)
    assert content["counts"] == {"valid": 0, "rejected": 1, "duplicate": 0}
    assert "no candidate can run" in _printed(["plan", *words])[2]


def test_without_a_driver_a_plan_is_still_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """What needs the GPUs is not judged, and a run is said to be refused."""
    text = shown(capsys, "-m", "parallel=tp2,tp8")
    assert "2 valid, 0 rejected, 0 duplicates; 10 GPU-starts on GPUs that are not known" in text
    assert "a run here would be refused:" in text
    assert "no NVIDIA driver answers" in text
    memory = planned(capsys, "parallel=tp2")["candidates"][0]["memory"]
    assert memory["fits"] is None
    assert memory["weights_gib"] == pytest.approx(7.48, abs=0.02)


def test_wrong_values_are_refused_as_in_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """All at once."""
    assert main(["plan", "workload.loads=[]", "measure.repeats=0", "gpus=h100_8x"]) == 2
    error = capsys.readouterr().err
    assert "workload.loads=[]" in error
    assert "measure.repeats=0" in error


def test_a_sweep_runs_what_the_preview_shows(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same candidates queued with the same commands and signatures, the same ones rejected and doubled."""
    rows = "parallel.tp,workload.concurrency,total_tokens_per_s\n1,8,100\n2,8,150\n4,8,200\n"
    (elsewhere / "rows.csv").write_text(rows)
    words = [
        "-m",
        "runtime=vllm,sglang,tensorrt_llm",
        "parallel=single-gpu,tp1,tp2,tp16",
        "quant=default,dynamic-fp8",
        "search.space.vllm.max_num_seqs=8,16",
        "gpus=h100_8x",
        "deploy=replay",
        "deploy.table=rows.csv",
        "workload.loads=[8]",
    ]
    candidates = planned(capsys, *words)["candidates"]
    assert _printed([*words, "sweep.name=s"])[0] == 0
    lines = (elsewhere / "outputs" / "s" / "journal.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    queued = [event for event in events if event["event"] == "trial_queued"]
    assert [(e["plan"]["argv"], e["plan"]["signature"], e["plan"]["files"]) for e in queued] == [
        (c["argv"], c["signature"], c["files"]) for c in candidates if c["status"] == "valid"
    ]
    assert [e["reasons"] for e in events if e["event"] == "candidate_rejected"] == [
        c["reasons"] for c in candidates if c["status"] == "rejected"
    ]
    doubled = [e["overrides"] for e in events if e["event"] == "candidate_duplicate"]
    assert [_of_interest(words) for words in doubled] == [
        _of_interest(c["overrides"]) for c in candidates if c["status"] == "duplicate"
    ]
    assert doubled


def _of_interest(overrides: list[str]) -> list[str]:
    return [word for word in overrides if not word.startswith("sweep.")]


def _printed(words: list[str]) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "autotune", *words], capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr
