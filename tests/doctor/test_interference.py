"""`doctor --interference`: what is refused, and whole experiments on the stand-in engine program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autotune.cli import main
from tests.shop import ROOT, STANDINS, Shop, until
from tests.standins.nvml.driver import StandInDriver, StandInGpu

DEMO = ["deploy=simulated", "gpus=h100_8x", "workload=demo"]
TOLERANCE_S = 0.6  # between two requests of a busy client, on a machine that others use too

Span = tuple[float, float]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A working directory of its own."""
    return Shop(tmp_path)


def words_of(shop: Shop, *more: str, mode: str = "ok") -> list[str]:
    """An experiment of three pairs on two slots, whose measured window is most of a second."""
    return [
        *shop.words("doctor", "--interference", "--pairs", "3", "sweep.name=i", mode=mode),
        "workload.min_requests=12",
        "runtime.env.STANDIN_PAUSE=0.02",
        *more,
    ]


def kept(shop: Shop) -> dict[str, Any]:
    """What the experiment wrote."""
    content: dict[str, Any] = json.loads((shop.folder / "outputs" / "i" / "interference.json").read_text())
    return content


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["parallel=tp1,tp2"], "measures one configuration: give one value for parallel", id="several values"),
        pytest.param(["+experiment=demo"], "measures one configuration: give one value for runtime, parallel", id="a sweep's preset"),
        pytest.param(["-m"], "doctor looks at one configuration: leave out -m", id="-m"),
        pytest.param(["--pairs", "2"], "--pairs 2: must be at least 3", id="too few pairs"),
        pytest.param(["--pairs", "2", "gpus.count=1"], "nothing can run beside it", id="all at once"),
        pytest.param(["workload.loads=search"], "measures at one load: give it, such as [64]", id="a searched load"),
        pytest.param(["sweep.resume=true"], "an experiment is measured as a whole", id="resume"),
        pytest.param(["--pairs", "many"], "invalid int value", id="no number"),
        pytest.param(["parallel=tp8"], "nothing can run beside it: it takes 8 of 8 GPUs", id="no room"),
        pytest.param(["launcher.max_parallel=1"], "nothing can run beside it: launcher.max_parallel=1", id="not allowed"),
        pytest.param(["deploy=process", "deploy.url=http://127.0.0.1:1"], "starts and ends engines of its own", id="someone else's"),
        pytest.param(["deploy.port=8000"], "engines side by side need ports of their own", id="one port"),
        pytest.param(["deploy=replay"], "recorded rows have no neighbours", id="replay"),
        pytest.param(["parallel=tp16"], "no candidate can run:", id="rejected"),
        pytest.param(["paralel=tp2"], "did you mean parallel?", id="unknown group"),
        pytest.param(["deploy.kind=podman"], "deploy=podman: not available", id="deployer"),
    ],
)  # fmt: skip
def test_what_is_refused(
    words: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit status 2, a message, and nothing was started or written."""
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["doctor", "--interference", *DEMO, *words])
    except SystemExit as end:
        status = int(end.code or 0)
    streams = capsys.readouterr()
    assert status == 2
    assert expected in streams.err
    assert "Traceback" not in streams.err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An earlier result is never overwritten."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "mine").mkdir(parents=True)
    assert main(["doctor", "--interference", *DEMO, "sweep.name=mine"]) == 2
    assert "sweep.name=mine: outputs/mine exists: choose another name" in capsys.readouterr().err
    assert list((tmp_path / "outputs" / "mine").iterdir()) == []


def test_alone_and_beside_in_turn(shop: Shop) -> None:
    """By the engines' own account neighbours work all through the windows beside them, and never through others."""
    requests = shop.folder / "requests"
    status, out, err = shop.run(words_of(shop, f"runtime.env.STANDIN_REQUESTS={requests}"))
    assert (status, err) == (0, "")
    assert "SIMULATED" not in out
    assert "at concurrency 2, alone and beside 1 copy of itself" in out
    assert "\nadvice  " in out
    assert shop.left_over() == []
    assert len(shop.pids.read_text().split()) == 4
    content = kept(shop)
    assert [run["condition"] for run in content["runs"]] == ["alone", "beside"] * 3
    assert [run["pair"] for run in content["runs"]] == [1, 1, 2, 2, 3, 3]
    assert [effect["metric"] for effect in content["effects"]] == [
        "total_tokens_per_s_per_gpu",
        "ttft_ms_p99",
        "tpot_ms_mean",
    ]
    assert content["status"] == "measured"
    mine, others = _spans(requests, subject=int(shop.pids.read_text().split()[0]))
    for run in content["runs"]:
        window = _within(mine, (run["began"], run["ended"]))
        beside = [span for span in others if span[0] < window[1] and span[1] > window[0]]
        if run["condition"] == "alone":
            assert (beside, run["neighbours"]) == ([], [])
            continue
        assert _longest_gap(beside, window) < TOLERANCE_S < window[1] - window[0]
        [neighbour] = run["neighbours"]
        assert neighbour["loaded_from"] <= run["began"] < run["ended"] <= neighbour["loaded_until"]
        assert neighbour["requests_failed"] == 0
    assert {path.name for path in (shop.folder / "outputs" / "i").glob("*/engine.log")} == {"engine.log"}


@pytest.mark.parametrize(
    ("started", "runs"), [pytest.param(1, 0, id="alone"), pytest.param(2, 1, id="beside")]
)
def test_an_interruption_leaves_nothing(started: int, runs: int, shop: Shop) -> None:
    """Exit status 130, no process, and what was measured is kept."""
    words = words_of(shop, "workload.min_requests=30")
    with shop.start(words) as process:
        until(lambda: len(shop.pids.read_text().split()) >= started)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        "interrupted: everything started was stopped; 0 whole pairs are kept in outputs/i/interference.json"
        in err
    )
    assert "Traceback" not in err
    assert shop.left_over() == []
    assert (kept(shop)["status"], len(kept(shop)["runs"])) == ("interrupted", runs)


def test_an_engine_that_fails(shop: Shop) -> None:
    """Exit status 1, the kind of the failure, and the line of the log that shows it."""
    status, out, err = shop.run(words_of(shop, mode="exit"))
    assert status == 1
    assert "error: bad_arguments: " in err
    assert "vllm: error: unrecognized arguments: --bogus" in err
    assert "Traceback" not in out + err
    assert kept(shop)["failure"]["kind"] == "bad_arguments"


def test_a_neighbour_that_fails(shop: Shop) -> None:
    """It ends the experiment: what was measured beside it is not what was asked for. The subject is ended too."""
    programs = shop.folder / "bin"
    programs.mkdir()
    first = shop.folder / "first"
    script = f'#!/bin/sh\nmkdir {first} 2>/dev/null || export STANDIN=exit\nexec {STANDINS}/vllm "$@"\n'
    (programs / "vllm").write_text(script)
    (programs / "vllm").chmod(0o755)
    status, _out, err = shop.run(words_of(shop, f"deploy.bin={programs}"))
    assert status == 1
    assert "error: bad_arguments: the neighbour on GPU 1: " in err
    assert "unrecognized arguments: --bogus" in err
    assert shop.left_over() == []
    assert [run["condition"] for run in kept(shop)["runs"]] == ["alone"]


def test_gpus_that_others_hold(tmp_path: Path, nvml_library: Path) -> None:
    """Detected GPUs that a process computes on are not taken; nothing is started or left."""
    shop = Shop(tmp_path)
    driver = StandInDriver(folder=nvml_library, state=tmp_path / "nvml-state")
    driver.tell([StandInGpu(), StandInGpu(processes=(4711,))])
    words = [word for word in words_of(shop) if not word.startswith("gpus.count=")]
    words[words.index("gpus=cpu")] = "gpus=nvml"
    environment = {**os.environ, **driver.env, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "autotune", *words]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 of 2 engines find room: GPU 1: process 4711 computes on it" in done.stderr
    assert not (tmp_path / "outputs" / "i").exists()


def _spans(path: Path, *, subject: int) -> tuple[list[Span], list[Span]]:
    """When requests began and ended: those to the subject, those to others."""
    rows = [line.split() for line in path.read_text().splitlines()]
    spans = [(int(pid), (float(begin), float(end))) for pid, begin, end in rows]
    return [span for pid, span in spans if pid == subject], [span for pid, span in spans if pid != subject]


def _within(spans: list[Span], run: Span) -> Span:
    """From the first to the last request of one run."""
    inside = [span for span in spans if run[0] <= span[0] <= run[1]]
    return min(begin for begin, _ in inside), max(end for _, end in inside)


def _longest_gap(spans: list[Span], window: Span) -> float:
    """The longest time in a window in which there was no request."""
    longest, until_s = 0.0, window[0]
    for begin, end in [*sorted(spans), (window[1], window[1])]:
        longest = max(longest, begin - until_s)
        until_s = max(until_s, end)
    return longest
