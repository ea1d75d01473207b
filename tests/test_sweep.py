"""Whole sweeps through the command line, on a stand-in engine program: what a user sees, and what is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.shop import ROOT, STANDINS, Shop, until


def test_a_sweep_over_real_http(shop: Shop) -> None:
    """Two servers are started, measured, ranked, recorded and gone; a CPU engine is not simulated."""
    words = shop.words("-m", "sweep.name=s", "runtime.args.max_num_seqs=1,32")
    status, out, err = shop.run(words)
    assert (status, err) == (0, ""), out
    assert [event["status"] for event in shop.finished("s")] == ["measured", "measured"]
    assert re.search(r"winner  max_num_seqs=(1|32): ", out)
    assert "--max-num-seqs" in out
    assert "python -m autotune ui" in out
    assert "SIMULATED" not in out
    assert shop.left_over() == []
    assert shop.tags("autotune.status") == ["measured", "measured"]
    assert shop.tags("autotune.simulated") == ["false", "false"]
    assert shop.tags("autotune.best") == ["false", "true"]
    assert shop.tags("autotune.engine_version") == ["0.32.0+standin"] * 2


def test_every_event_is_as_documented(shop: Shop) -> None:
    """The journal of a sweep with every kind of end holds to its schema."""
    import jsonschema

    schema = json.loads((ROOT / "autotune" / "track" / "journal.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    good = shop.words("-m", "sweep.name=s", "parallel=tp1,tp2,tp4", "runtime.args.max_num_seqs=8,8")
    bad = shop.words("sweep.name=f", mode="exit")
    again = [*shop.words("sweep.name=a", mode="once"), f"runtime.env.STANDIN_ONCE={shop.folder / 'once'}"]
    assert (shop.run(good)[0], shop.run(bad)[0], shop.run([*again, "retry.backoff_s=0"])[0]) == (0, 1, 0)
    events = [*shop.events("s"), *shop.events("f"), *shop.events("a")]
    problems = [str(error.message)[:200] for event in events for error in validator.iter_errors(event)]
    assert problems == []
    documented = set(schema["properties"]["event"]["enum"])
    assert {event["event"] for event in events} == documented


@pytest.mark.parametrize(
    ("mode", "extra", "kind", "words"),
    [
        pytest.param("exit", [], "bad_arguments", "unrecognized arguments: --bogus", id="exits at once"),
        pytest.param("hang", ["deploy.startup_timeout_s=1"], "startup_timeout", "was not ready within 1 s", id="never ready"),
        pytest.param("errors", [], "all_requests_failed", "the stand-in fails every request", id="500 to everything"),
        pytest.param("dies", [], "cuda_oom", "CUDA out of memory", id="dies while measured"),
    ],
)  # fmt: skip
def test_a_failing_engine_is_a_result(mode: str, extra: list[str], kind: str, words: str, shop: Shop) -> None:
    """Its kind and its evidence are told, nothing is left, and the status says that no trial succeeded."""
    status, out, err = shop.run([*shop.words("sweep.name=s", mode=mode), *extra])
    assert (status, err) == (1, "")
    [end] = shop.finished("s")
    assert end["failure"]["kind"] == kind
    assert words in out
    assert "Traceback" not in out
    assert shop.left_over() == []
    assert shop.tags("autotune.failure") == [kind]


def test_the_sweep_goes_on_after_a_failure(shop: Shop) -> None:
    """One bad configuration does not end the sweep."""
    words = shop.words("-m", "sweep.name=s", "runtime.env.STANDIN=exit,ok", "launcher.max_parallel=1")
    words.remove("runtime.env.STANDIN=ok")
    status, _out, _err = shop.run(words)
    assert status == 0
    assert [event["status"] for event in shop.finished("s")] == ["failed", "measured"]


def test_a_sweep_that_only_fails_stops_and_says_how_to_go_on(shop: Shop) -> None:
    """Two engines are started, no more; every candidate has an end, and the command that runs them all is told."""
    words = shop.words("-m", "sweep.name=s", "runtime.args.max_num_seqs=1,2,3,4", mode="exit")
    status, out, err = shop.run([*words, "launcher.max_parallel=1", "sweep.max_failures=2"])
    assert (status, err) == (1, "")
    ends = [event["failure"]["message"].split(":")[0] for event in shop.finished("s")]
    assert sorted(end == "not started" for end in ends) == [False, False, True, True]
    assert shop.tags("autotune.failure") == ["bad_arguments"] * 2
    assert "failed  (4) bad_arguments, the candidate's own" in out
    assert re.search(r"again   python -m autotune -m .* sweep\.resume=true sweep\.retry=bad_arguments\n", out)


def test_an_engine_that_ignores_sigterm_is_ended(shop: Shop) -> None:
    """SIGKILL reaches it and its child."""
    words = [*shop.words("sweep.name=s", mode="stubborn"), "deploy.stop_timeout_s=0.2"]
    assert shop.run(words)[0] == 0
    assert len(shop.pids.read_text().split()) == 2
    assert shop.left_over() == []


def test_a_child_that_left_the_group_is_ended_with_its_engine(shop: Shop) -> None:
    """It would hold the lock of the GPUs, and their memory, for ever."""
    words = shop.words("-m", "sweep.name=s", "parallel=tp2", "runtime.args.max_num_seqs=1,2", mode="strays")
    assert shop.run(words)[0] == 0
    assert len(shop.pids.read_text().split()) == 4
    assert (shop.labelled(), shop.left_over()) == ([], [])


@pytest.mark.parametrize(
    ("mode", "moment", "sent"),
    [
        pytest.param("hang", "trial_started", signal.SIGINT, id="Ctrl-C during start-up"),
        pytest.param("ok", "server_ready", signal.SIGINT, id="Ctrl-C while measuring"),
        pytest.param("ok", "server_ready", signal.SIGTERM, id="SIGTERM while measuring"),
    ],
)
def test_an_interruption_leaves_nothing_and_says_how_to_go_on(
    mode: str, moment: str, sent: signal.Signals, shop: Shop
) -> None:
    """Exit status 130, no process, and the same command resumes: nothing runs twice."""
    words = shop.words(
        "-m", "sweep.name=s", "runtime.args.max_num_seqs=1,2", "launcher.max_parallel=1", mode=mode
    )
    slow = [*words, "workload.requests_per_load=2000", "runtime.env.STANDIN_PAUSE=0.05"]
    with shop.start(slow) as process:
        until(lambda: moment in {event["event"] for event in shop.events("s")})
        until(lambda: bool(shop.pids.read_text()))
        process.send_signal(sent)
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert shop.left_over() == []
    assert "sweep.name=s sweep.resume=true" in err
    assert shop.finished("s")[0]["status"] == "interrupted"
    assert shop.tags("autotune.status") == ["interrupted"]
    again = [*shop.words(*words[:3], "launcher.max_parallel=1"), "sweep.resume=true"]
    status, out, _err = shop.run(again)
    assert status == 0
    assert "max_num_seqs=1" in out
    measured = [event for event in shop.finished("s") if event["status"] == "measured"]
    assert len(measured) == 2


def test_resuming_a_finished_sweep_measures_nothing_again(shop: Shop) -> None:
    """Finished trials stand; failed ones run again only when asked."""
    words = shop.words("-m", "sweep.name=s", "runtime.args.max_num_seqs=1,2")
    assert shop.run(words)[0] == 0
    status, out, _err = shop.run([*words, "sweep.resume=true"])
    assert status == 0
    assert "winner" in out
    assert len(shop.finished("s")) == 2
    assert len(shop.tags("autotune.status")) == 2


def test_failed_trials_run_again_when_asked(shop: Shop) -> None:
    """`sweep.retry=failed` gives them another attempt."""
    words = shop.words("sweep.name=s", mode="exit")
    assert shop.run(words)[0] == 1
    assert shop.run([*words, "sweep.resume=true"])[0] == 1
    assert len(shop.finished("s")) == 1
    assert shop.run([*words, "sweep.resume=true", "sweep.retry=failed"])[0] == 1
    assert len(shop.finished("s")) == 2


def test_an_engine_of_someone_else_is_measured_and_left_alone(shop: Shop) -> None:
    """`deploy.url` starts nothing, ranks per GPU by `gpus.count`, and stops nothing."""
    port = _free_port()
    env = {**os.environ, "STANDIN_PIDS": str(shop.pids)}
    argv = [sys.executable, str(STANDINS / "vllm"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(argv, env=env) as engine:
        until(lambda: _answers(port))
        status, out, err = shop.run([*shop.words("sweep.name=s"), f"deploy.url=http://127.0.0.1:{port}/v1"])
        running = engine.poll() is None
        engine.kill()
    assert (status, err) == (0, "")
    assert running
    assert "winner" in out
    [end] = shop.finished("s")
    metrics = end["metrics"]
    assert metrics["total_tokens_per_s_per_gpu"] == pytest.approx(metrics["total_tokens_per_s"] / 2)


def test_an_unknown_number_of_gpus_is_warned_of(shop: Shop) -> None:
    """Absolute values rank then, and a note says so."""
    port = _free_port()
    env = {**os.environ, "STANDIN_PIDS": str(shop.pids)}
    argv = [sys.executable, str(STANDINS / "vllm"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    words = [word for word in shop.words("sweep.name=s") if word != "gpus.count=2"]
    with subprocess.Popen(argv, env=env) as engine:
        until(lambda: _answers(port))
        status, out, _err = shop.run([*words, "gpus.count=null", f"deploy.url=http://127.0.0.1:{port}"])
        engine.kill()
    assert status == 0
    assert "the number of GPUs is unknown: absolute values are ranked" in out


def test_the_recorded_configuration_is_complete(shop: Shop) -> None:
    """`config.yaml`, `plan.json`, the engine's log and raw measurements are kept, also in MLflow."""
    assert shop.run(shop.words("sweep.name=s"))[0] == 0
    trial = shop.folder / "outputs" / "s" / "trial-0"
    names = {"config.yaml", "plan.json", "engine.log", "measurements.json"}
    assert names <= {path.name for path in trial.iterdir()}
    [artifacts] = (shop.folder / "mlruns" / "artifacts").glob("*/artifacts")
    assert names == {path.name for path in artifacts.iterdir()}
    rows = json.loads((trial / "measurements.json").read_text())
    assert [row["repeat"] for row in rows] == [0, 1]
    assert all(len(row["requests"]) >= 4 for row in rows)


def test_a_secret_in_the_environment_is_written_nowhere(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine prints what it inherited; journal, configuration, log and store do not hold it."""
    monkeypatch.setenv("HF_TOKEN", "hf_planted_secret")
    code, out, err = shop.run(shop.words("sweep.name=s"))
    assert code == 0
    logs = list(shop.folder.rglob("engine.log"))
    stars = "*" * len("hf_planted_secret")
    assert logs
    assert all(f"token {stars}\n" in log.read_text() for log in logs)
    files = [path for path in shop.folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"hf_planted_secret" in path.read_bytes()] == []
    assert "hf_planted_secret" not in out + err


@pytest.mark.parametrize("mode", ["dies", "exit"])
def test_the_evidence_of_a_failure_holds_no_secret(
    mode: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an engine says at its end."""
    monkeypatch.setenv("HF_TOKEN", "unrecognized arguments: --bogus" if mode == "exit" else "20.00 GiB")
    assert shop.run(shop.words("sweep.name=s", mode=mode))[0] == 1
    assert os.environ["HF_TOKEN"] not in (shop.folder / "outputs" / "s" / "journal.jsonl").read_text()


def _free_port() -> int:
    from autotune.deploy.probe import free_port

    return free_port()


def _answers(port: int) -> bool:
    from autotune.deploy.probe import status

    return status(f"http://127.0.0.1:{port}", "/health", 1.0) == 200
