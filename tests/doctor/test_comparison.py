"""`doctor --compare-clients`: what is refused, and whole comparisons on the stand-in engine program."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from autotune.benchmark.environments import CLIENTS, STAMP, environment_of, stamp_of
from autotune.cli import main
from tests.shop import Shop, until

DEMO = ["deploy=simulated", "gpus=h100_8x", "workload=demo"]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A working directory and a cache of its own, where no client of others is."""
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return Shop(tmp_path)


def words_of(shop: Shop, *more: str, mode: str = "ok") -> list[str]:
    """Two rounds of a few requests."""
    return [
        *shop.words("doctor", "--compare-clients", "--rounds", "2", "sweep.name=c", mode=mode),
        "workload.warmup_max_s=0",
        *more,
    ]


def install(script: str) -> None:
    """Make an environment whose `aiperf` is that shell script; the cache is the test's."""
    venv = environment_of("aiperf")
    program = venv / "bin" / "aiperf"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (venv / STAMP).write_text(json.dumps(stamp_of(CLIENTS["aiperf"])))


def kept(shop: Shop) -> dict[str, Any]:
    """What the comparison wrote."""
    content: dict[str, Any] = json.loads((shop.folder / "outputs" / "c" / "clients.json").read_text())
    return content


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["parallel=tp1,tp2"], "measures one configuration: give one value for parallel", id="several values"),
        pytest.param(["-m"], "doctor looks at one configuration: leave out -m", id="-m"),
        pytest.param(["--rounds", "1"], "--rounds 1: must be at least 2", id="too few rounds"),
        pytest.param(["--pairs", "3"], "--pairs goes with doctor --interference", id="another's option"),
        pytest.param(["--interference"], "--interference and --compare-clients: one at a time", id="two at once"),
        pytest.param(["workload.loads=search"], "measures at one load: give it, such as [64]", id="a searched load"),
        pytest.param(["sweep.resume=true"], "clients are compared as a whole", id="resume"),
        pytest.param(["deploy=replay"], "recorded rows have no load client", id="replay"),
        pytest.param(["parallel=tp16"], "no candidate can run:", id="rejected"),
        pytest.param(["deploy=process", "deploy.url=http://127.0.0.1:1"], "nobody answers there: start the engine first", id="no engine"),
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
    assert main(["doctor", "--compare-clients", *DEMO, *words]) == 2
    streams = capsys.readouterr()
    assert expected in streams.err
    assert "Traceback" not in streams.err
    assert list(tmp_path.iterdir()) == []


def test_rounds_go_with_a_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    """They mean nothing elsewhere."""
    assert main(["doctor", "--rounds", "3"]) == 2
    assert "--rounds goes with doctor --compare-clients" in capsys.readouterr().err


def test_native_alone(shop: Shop) -> None:
    """One engine for all rounds, native's row, and how the others are had."""
    status, out, err = shop.run(words_of(shop))
    assert (status, err) == (0, "")
    assert "at concurrency 2, 2 rounds" in out
    assert "left out benchmark.kind=aiperf: aiperf==0.13.0 is not installed in" in out
    assert "python -m autotune doctor --install guidellm makes it (5.9 GiB)" in out
    assert "benchmark.kind=vllm_bench: no program 'vllm' in" in out
    assert len(shop.pids.read_text().split()) == 1
    assert (shop.left_over(), shop.labelled()) == ([], [])
    content = kept(shop)
    assert (content["status"], content["clients"]) == ("measured", ["native"])
    assert [turn["client"] for turn in content["turns"]] == ["native", "native"]
    assert all(turn["measurement"]["requests_completed"] == 4 for turn in content["turns"])
    assert all(turn["cpu_s"] > 0 for turn in content["turns"])
    assert all(turn["whole_run_tokens_per_s"] > 0 for turn in content["turns"])
    assert (shop.folder / "outputs" / "c" / "engine.log").exists()
    assert not (shop.folder / "mlruns").exists()


def test_a_client_that_crashes(shop: Shop) -> None:
    """It is a row with its reason, in every round and in turned order; the others are measured."""
    install("echo 'aiperf: no libfoo here'; exit 3")
    status, out, err = shop.run(words_of(shop))
    assert (status, err) == (0, "")
    assert "native, aiperf in turn, 2 rounds" in out
    assert "aiperf: failed: aiperf ended with status 3: client.log: aiperf: no libfoo here" in out
    assert "2 of 2 rounds │" in out
    content = kept(shop)
    assert [turn["client"] for turn in content["turns"]] == ["native", "aiperf", "aiperf", "native"]
    assert [turn["failure"] is None for turn in content["turns"]] == [True, False, False, True]
    assert shop.labelled() == []


def test_a_client_that_cannot_offer_the_workload(shop: Shop) -> None:
    """It is left out, with what it lacks, and never started."""
    install(f"touch {shop.folder}/started")
    status, out, _err = shop.run(words_of(shop, "workload.ramp_s=0.1", "workload.warmup_max_s=1"))
    assert status == 0
    assert "workload.ramp_s=0.1: aiperf has no such ramp: set workload.ramp_s=0" in out
    assert not (shop.folder / "started").exists()


def test_an_interruption_leaves_nothing(shop: Shop) -> None:
    """Exit status 130 while a client of others hangs: it, the engine and all else are gone; a turn is kept."""
    pids = shop.folder / "aiperf-pid"
    install(f"echo $$ > {pids}; exec sleep 600")
    with shop.start(words_of(shop)) as process:
        until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: everything started was stopped; 1 turns are kept in outputs/c/clients.json" in err
    assert "Traceback" not in err
    assert (shop.left_over(), shop.labelled()) == ([], [])
    assert (kept(shop)["status"], len(kept(shop)["turns"])) == ("interrupted", 1)


def test_an_engine_that_fails(shop: Shop) -> None:
    """Exit status 1, the kind of the failure, and the line of the log that shows it."""
    status, out, err = shop.run(words_of(shop, mode="exit"))
    assert status == 1
    assert "error: bad_arguments: " in err
    assert "vllm: error: unrecognized arguments: --bogus" in err
    assert "Traceback" not in out + err
    assert kept(shop)["failure"]["kind"] == "bad_arguments"
