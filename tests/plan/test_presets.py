"""Every preset in `conf/` composes, holds to the schema, and plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.compose import candidate_from, compose, hydra_on
from autotune.errors import ConfigError
from autotune.gpus.inventory import take_inventory
from autotune.plan.resolve import resolve
from autotune.plan.rules import value_problems
from autotune.plan.wordings import Wordings
from autotune.prepare import prepare
from autotune.schema import GpusConfig, GpuSpecConfig, config_from

DATA = Path(__file__).parents[1] / "data"
CONF = Path(__file__).parents[2] / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
PRESETS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml"))
SPEC = GpuSpecConfig(
    tflops_16bit=1, memory_gib=141, memory_gb_per_s=1, link_gb_per_s=1, compute_capability=9.0
)
INVENTORY = take_inventory(GpusConfig(kind="declared", model="H200", count=16, spec=SPEC), {})
MOE = ["model=qwen3_30b_a3b"]
W4AFP8 = ["model=qwen3_30b_a3b", "model.stored.method=compressed-tensors", "model.stored.moe_dtype=w4afp8"]
BESIDE = {
    "parallel/ep8": MOE,
    "parallel/moe-optimized": MOE,
    "parallel/long-context": MOE,
    "quant/aggressive-moe": W4AFP8,
    **{f"model/{name}": ["parallel=tp8"] for group, name in PRESETS if group == "model" and name != "tiny"},
}
"""What a preset needs beside it, on sixteen GPUs of one node."""


@pytest.mark.parametrize(("group", "preset"), PRESETS, ids=["/".join(pair) for pair in PRESETS])
def test_preset(group: str, preset: str) -> None:
    """It composes with all defaults, is valid, and its candidate can run."""
    word = f"+{group}={preset}" if group == "experiment" else f"{group}={preset}"
    with hydra_on(None) as hydra:
        candidate = candidate_from(compose(hydra, [word, *BESIDE.get(f"{group}/{preset}", [])]))
    config = config_from(candidate.config)
    assert value_problems(config) == []
    assert resolve(config, INVENTORY).reasons == ()
    assert group == "experiment" or candidate.choices[group] == preset


CHUNKED = {"tensorrt_llm": {"long_context": ["serving.chunked_prefill=true"]}}


@pytest.mark.parametrize("runtime", ["vllm", "sglang", "tensorrt_llm"])
@pytest.mark.parametrize("workload", [name for group, name in PRESETS if group == "workload"])
def test_every_workload_plans_on_every_runtime(
    runtime: str, workload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a small file where it is from one; a prompt that an engine takes only in chunks is told."""
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path))
    beside = CHUNKED.get(runtime, {}).get(workload, [])
    file = DATA / f"{workload}.requests"
    beside = [*beside, f"workload.file={file}"] if file.exists() else beside
    with hydra_on(None) as hydra:
        candidate = candidate_from(compose(hydra, [f"runtime={runtime}", f"workload={workload}", *beside]))
    config, wording = Wordings({})(config_from(candidate.config))
    assert value_problems(config) == []
    assert wording.problems == ()
    plan = resolve(config, INVENTORY, None, wording)
    assert plan.reasons == ()
    assert not [note for note in plan.notes if "longer than the context" in note]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CONF)) for path in FILES])
def test_a_preset_begins_with_the_command_that_uses_it(path: Path) -> None:
    """A reader of the file knows how to call it."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# python -m autotune ")
    group = path.parent.relative_to(CONF)
    names = {f"{group}={path.stem}", f"+{group}={path.stem}"}
    assert path.parent == CONF or any(name in lines[0].split() for name in names)


def test_an_experiment_preset_is_a_whole_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`+experiment=demo` spans the demo's grid; the command line wins over it."""
    monkeypatch.chdir(tmp_path)
    with hydra_on(None) as hydra:
        whole = prepare(hydra, ["+experiment=demo"], multirun=True)
        less = prepare(hydra, ["+experiment=demo", "runtime=sglang"], multirun=True)
    assert [c.choices["runtime"] + c.choices["parallel"] for c in whole.candidates] == [
        "vllmtp2",
        "vllmtp4",
        "sglangtp2",
        "sglangtp4",
    ]
    assert {c.choices["runtime"] for c in less.candidates} == {"sglang"}


def test_a_users_own_presets_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--config-dir` brings presets that need no change here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "parallel").mkdir(parents=True)
    (tmp_path / "mine" / "parallel" / "wide.yaml").write_text("tp: 8\n")
    words = ["parallel=wide", "deploy=simulated", "gpus=h100_8x"]
    with hydra_on(str(tmp_path / "mine")) as hydra:
        prepared = prepare(hydra, words, multirun=False)
    assert prepared.config.parallel.tp == 8


def test_a_users_preset_with_the_name_of_ours_is_told(tmp_path: Path) -> None:
    """Ours would be taken instead of it, without a word."""
    for name in ("parallel/tp2", "workload/chat", "workload/mine"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text("{}\n")
    with pytest.raises(ConfigError) as error, hydra_on(str(tmp_path)):
        pass
    taken = "one of ours has this name and would be taken instead: rename it"
    assert list(error.value.problems) == [
        f"--config-dir {tmp_path}: parallel/tp2.yaml: {taken}",
        f"--config-dir {tmp_path}: workload/chat.yaml: {taken}",
    ]
