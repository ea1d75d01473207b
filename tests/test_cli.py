"""The command line: bad input is refused whole, before anything is started."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.cli import main

DEMO = ["deploy=simulated", "gpus=h100_8x", "workload=demo"]
TINY = ["model=tiny", "runtime=vllm", "runtime.version=0.32.0", "deploy=process", "gpus=cpu", "workload=tiny"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command is called in a folder of its own, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of 127.0.0.1 that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["runtime=vlm"], "runtime=vlm: no such preset; did you mean vllm?", id="unknown preset"),
        pytest.param(["paralel=tp2"], "paralel: no such key or group; did you mean parallel?", id="unknown group"),
        pytest.param(["workload.input_token=5"], "did you mean workload.input_tokens?", id="misspelt key"),
        pytest.param(["workload.output_tokens=many"], "workload.output_tokens=many: expected a whole number", id="wrong type"),
        pytest.param(["workload.loads=[]"], "workload.loads=[]: give at least one load", id="no load"),
        pytest.param(["workload.loads=[0]"], "workload.loads: 0 is not a load", id="load of nothing"),
        pytest.param(["workload.loads=[1.5]"], "1.5 requests cannot be in flight", id="half a request"),
        pytest.param(["parallel.tp=0"], "parallel.tp=0: must be at least 1", id="below its bound"),
        pytest.param(["sweep.retry=cuda_om"], "sweep.retry=cuda_om: no such failure; did you mean cuda_oom?; known: failed, cuda_oom, host_oom", id="unknown failure"),
        pytest.param(["sweep.max_failures=0"], "sweep.max_failures=0: must be at least 1", id="no failure allowed"),
        pytest.param(["retry.attempts=0"], "retry.attempts=0: must be at least 1", id="no attempt"),
        pytest.param(["retry.backoff_s=61"], "retry.backoff_s=61: must be at most 60", id="too long a wait"),
        pytest.param(["objective.load=7"], "objective.load=7: must be best, lowest, highest or one of 1, 4", id="load not measured"),
        pytest.param(["parallel.tp=16"], "needs 16 GPUs: needs 2 nodes; the inventory has 1", id="more GPUs than there are"),
        pytest.param(["parallel=tp2,tp4"], "several values need a sweep", id="sweep without -m"),
        pytest.param(["runtime"], "neither a command (plan, doctor, ui, logs, reap) nor an override", id="a bare word"),
        pytest.param(["runtime=[", "x"], "runtime=[: cannot be read", id="broken syntax"),
        pytest.param(["runtime.args.max_num_sqs=1"], "did you mean max_num_seqs?", id="misspelt engine argument"),
        pytest.param(["runtime.version=1.2.3"], "runtime.version=1.2.3: no flag list for vllm", id="unknown engine version"),
        pytest.param(["runtime.env.HF_TOKEN=abc"], "secrets do not belong in a configuration", id="secret"),
        pytest.param(["deploy=process", "deploy.kind=podman"], "deploy=podman: not available; choose docker, process, simulated, replay", id="deployer"),
        pytest.param(["gpus=nvml"], "no NVIDIA driver answers", id="no driver"),
        pytest.param(["model.heads=null"], "deploy=simulated needs model.heads", id="facts missing"),
        pytest.param(["runtime=sglang", "model=qwen3_8b", "parallel=tp2", "parallel.attn_dp=2"], "the cost model has no times for parallel.attn_dp", id="nothing to simulate"),
        pytest.param(["tracking=server"], "tracking.uri: must be given", id="mandatory value"),
        pytest.param(["sweep.name=../up"], "sweep.name=../up: must be letters, digits", id="name that leaves its folder"),
        pytest.param(["sweep.resume=true"], "which sweep? Give sweep.name=NAME", id="resume of nothing"),
        pytest.param(["objective.metric=total_token_per_s"], "did you mean total_tokens_per_s?", id="misspelt metric"),
        pytest.param(["objective.metric=usd_per_mtok"], "needs the price of a GPU", id="price of nothing"),
        pytest.param(["~workload"], "keys cannot be deleted", id="deletion"),
        pytest.param(["--nonsense"], "--nonsense: no such option", id="unknown option"),
        pytest.param(["hydra/launcher=nonsense"], "nonsense", id="unknown launcher"),
        pytest.param(["--config-dir", "nowhere"], "--config-dir nowhere: no such folder", id="config dir"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused(
    words: list[str], expected: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, one clear message on standard error, no traceback, nothing started."""
    assert _status([*DEMO, *words] if words != ["runtime"] else words) == 2
    streams = capsys.readouterr()
    assert expected in streams.err
    assert "Traceback" not in streams.err
    assert streams.out == ""
    assert not (elsewhere / "outputs").exists()
    assert not (elsewhere / "mlruns").exists()


def test_everything_wrong_is_listed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A user mends all of it in one go."""
    words = [*DEMO, "runtime=vlm", "paralel=tp2", "seed=a", "workload.input_tokens=x"]
    assert main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 4


@pytest.mark.parametrize(
    "word",
    ["search=auto,grid", "objective=max_throughput,min_ttft", "gpus=h100_8x,cpu", "deploy=simulated,process",
     "tracking.experiment=a,b", "benchmark.request_timeout_s=1,2", "seed=1,2", "measure.repeats=1,2"],
)  # fmt: skip
def test_what_makes_no_candidates_cannot_be_swept(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what makes candidates differ can be swept; the refusal says why."""
    assert main(["-m", *DEMO, word]) == 2
    assert "cannot be swept, because" in capsys.readouterr().err


def test_a_model_path_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """The message says how to make the tiny one."""
    assert main(TINY) == 2
    err = capsys.readouterr().err
    assert "models/tiny: no such folder: give a folder or a hub name; sh scripts/real-engine makes it" in err
    assert "no program 'vllm' (version 0.32.0)" in err


def test_a_port_already_taken(taken_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """`deploy.port` is tried before anything is started."""
    assert main([*TINY, f"deploy.port={taken_port}"]) == 2
    assert f"deploy.port={taken_port}: already taken" in capsys.readouterr().err


def test_nobody_answers_at_the_url(taken_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """`deploy.url` without an engine."""
    assert main([*TINY, f"deploy.url=http://127.0.0.1:{taken_port + 1}"]) == 2
    assert "nobody answers there: start the engine first" in capsys.readouterr().err


def test_an_engine_of_someone_else_cannot_be_reconfigured(capsys: pytest.CaptureFixture[str]) -> None:
    """With `deploy.url` only the workload can be swept."""
    assert main(["-m", *TINY, "deploy.url=http://127.0.0.1:9", "parallel=tp1,tp2"]) == 2
    assert "only workload can be swept" in capsys.readouterr().err


def test_a_grid_beyond_its_budget(capsys: pytest.CaptureFixture[str]) -> None:
    """A grid is run whole or not at all."""
    assert main(["-m", *DEMO, "parallel=tp1,tp2,tp4", "search.budget.trials=2"]) == 2
    assert "search.budget.trials=2: the grid has 3 candidates" in capsys.readouterr().err


def test_a_range_without_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    """Ranges have no grid."""
    assert main(["-m", *DEMO, "runtime.args.max_num_seqs=int(interval(1,9))"]) == 2
    assert "a range has no grid" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["parallel=interval(1,2)", "runtime=interval(0,1)"])
def test_presets_have_no_range(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A list, or a glob."""
    assert main(["-m", *DEMO, word]) == 2
    assert "presets have no range: give a list such as" in capsys.readouterr().err


def test_a_name_that_is_taken(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An earlier sweep is never overwritten."""
    (elsewhere / "outputs" / "mine").mkdir(parents=True)
    (elsewhere / "outputs" / "mine" / "journal.jsonl").write_text('{"event": "x"}\n')
    assert main([*DEMO, "sweep.name=mine"]) == 2
    assert "sweep.resume=true continues it" in capsys.readouterr().err
    assert (elsewhere / "outputs" / "mine" / "journal.jsonl").read_text() == '{"event": "x"}\n'


def test_help_names_every_group_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` is enough to begin."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    conf = Path(__file__).parents[1] / "conf"
    assert all(f"  {folder.name} " in out for folder in conf.iterdir() if folder.is_dir())
    assert "python -m autotune ui" in out
    assert "python -m autotune doctor" in out


def test_help_imports_nothing_heavy() -> None:
    """MLflow, Optuna, docker and Hydra are imported only where they are used."""
    program = (
        "import sys; from autotune.cli import main; main(['--help'])\n"
        "print([m for m in ('mlflow', 'optuna', 'docker', 'hydra', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stderr == "[]\n"


def test_composing_imports_neither_mlflow_nor_docker(elsewhere: Path) -> None:
    """A refused command is quick."""
    program = (
        "import sys; from autotune.cli import main; main(['runtime=vlm'])\n"
        "print([m for m in ('mlflow', 'optuna', 'docker') if m in sys.modules])"
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=elsewhere,
        env={"PYTHONPATH": root},
    )
    assert done.stdout == "[]\n"


def test_hydras_own_view_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--cfg job` shows what would be composed."""
    monkeypatch.setattr(sys, "argv", ["autotune"])
    assert main(["--cfg", "job", "parallel=tp4"]) == 0
    assert "tp: 4" in capsys.readouterr().out


def test_the_ui_without_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what to do first."""
    assert main(["ui"]) == 2
    assert "no store yet: run a sweep first" in capsys.readouterr().err


def _status(words: list[str]) -> int:
    """The exit status, however the command ended."""
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


def test_everything_wrong_in_a_users_own_presets_is_told(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Misspelt keys and wrong values of all files that the command names, with the files' names."""
    for name, text in {
        "parallel/mine": "tpp: 2\npp: many\n",
        "quant/mine": "gemm_dtype: fp9\nkv_dtype: fp8\n",
        "runtime/mine": "kind: vllm\nversion: 0.33.0\nimage: x\nargs:\n  max_num_sqs: 4\n",
        "serving/mine": "max_running_requests: [\n",
    }.items():
        (elsewhere / name).parent.mkdir()
        (elsewhere / f"{name}.yaml").write_text(text)
    words = ["parallel=mine", "quant=mine,default", "runtime=mine", "serving=mine"]
    assert main(["-m", "--config-dir", str(elsewhere), *words, *DEMO]) == 2
    error = capsys.readouterr().err
    assert "parallel/mine.yaml: parallel.tpp: no such key; did you mean parallel.tp?" in error
    assert "parallel/mine.yaml: parallel.pp=many: expected a whole number" in error
    assert "quant/mine.yaml: quant.gemm_dtype=fp9: expected one of auto, bf16, " in error
    assert "quant/mine.yaml: quant.kv_dtype: no such key; did you mean quant.kvcache_dtype?" in error
    assert "serving/mine.yaml: not YAML that can be read" in error
    assert main(["--config-dir", str(elsewhere), "runtime=mine", *DEMO]) == 2
    assert "has no such argument; did you mean max_num_seqs?" in capsys.readouterr().err
