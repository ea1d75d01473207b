"""The parser proof's own parts, without an engine: what it would find, and that nothing is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune import compose
from autotune.plan.runtimes.flags import Flag, FlagList, load_flags
from autotune.records import Plan, Readiness
from scripts.parser_check.compare import CHANGES, Examined, judge
from scripts.parser_check.engines import VERSIONS, Answer
from scripts.parser_check.models import config_json
from scripts.parser_check.published import strange
from scripts.parser_check.refusals import REFUSALS
from scripts.parser_check.spaces import Planned
from scripts.parser_check.versions import flags_that_differ, flags_that_lost

PLAN = Plan(
    runtime="vllm",
    runtime_version="0.32.0",
    argv=("vllm", "serve", "m", "--max-num-seqs", "8", "--enforce-eager"),
    env={},
    files={},
    gpus=4,
    world_size=2,
    image="",
    readiness=Readiness(path="/health"),
    served_model="m",
    signature="s",
)
TAKEN = Answer(accepted=True, stage="config", error="", world_size=2, world_size_across_dp=4, changed={})


def flag(*names: str, takes: Any = "value", choices: tuple[str, ...] | None = None) -> Flag:
    """A flag of a list."""
    return Flag(names=names, takes=takes, choices=choices, type=None)


@pytest.mark.parametrize(
    ("engine", "argv", "files", "expected"),
    [
        pytest.param("vllm-0.32.0", PLAN.argv, {}, [], id="known"),
        pytest.param("vllm-0.32.0", ("vllm", "--swap-space", "4"), {}, ["no flag --swap-space"], id="unknown flag"),
        pytest.param("vllm-0.32.0", ("vllm", "--enforce-eager", "yes"), {}, ["--enforce-eager takes no value"], id="a switch with a value"),
        pytest.param("vllm-0.32.0", ("vllm", "--max-num-seqs", "1", "2"), {}, ["--max-num-seqs takes one value, not 2"], id="two values"),
        pytest.param("vllm-0.32.0", ("vllm", "--kv-cache-dtype", "int8"), {}, ["--kv-cache-dtype does not take int8"], id="no choice"),
        pytest.param("tensorrt_llm-1.2.1", ("trtllm-serve", "m"), {"o": "kv_cache_config:\n  dtype: fp8\n  typo: 1\n"}, ["no option kv_cache_config.typo"], id="unknown option"),
        pytest.param("tensorrt_llm-1.2.1", ("trtllm-serve", "--tp_size", "2"), {"o": "tensor_parallel_size: 2\n"}, ["tensor_parallel_size is given 2 times"], id="a flag and its option"),
        pytest.param("tensorrt_llm-1.2.1", ("trtllm-serve", "--tp_size", "2", "--tp_size", "4"), {}, ["tensor_parallel_size is given 2 times"], id="twice"),
    ],
)  # fmt: skip
def test_a_command_is_read_by_the_published_list(
    engine: str, argv: tuple[str, ...], files: Mapping[str, str], expected: list[str]
) -> None:
    """Flags, how many values they take, choices, options; nothing twice."""
    flags = load_flags(*engine.split("-", 1))
    assert strange(replace(PLAN, argv=argv, files=files), flags) == expected


def test_versions_are_compared_by_what_their_flags_take() -> None:
    """A flag that takes more is a difference, but nothing that was lost."""
    old = FlagList(
        engine="e",
        version="1",
        flags=(flag("--a", choices=("x",)), flag("--b"), flag("--c", choices=("x", "y"))),
    )
    new = FlagList(engine="e", version="2", flags=(flag("--a"), flag("--c", choices=("x",)), flag("--d")))
    assert flags_that_differ(old, new) == {"--a", "--b", "--c", "--d"}
    assert flags_that_lost(old, new) == {"--b", "--c"}


@pytest.mark.parametrize("engine", list(VERSIONS))
def test_a_rule_is_shown_or_says_why_not(engine: str) -> None:
    """None is there for nothing, and none has two reasons for being taken."""
    for rule in REFUSALS[engine]:
        re.compile(rule.reason)
        assert bool(rule.shown) is not bool(rule.unsaid), rule.reason
        assert not (rule.later and rule.partly), rule.reason


def test_every_model_preset_has_a_config_json() -> None:
    """The engines are asked about each of them."""
    with compose.hydra_on(None) as app:
        for preset in compose.presets(app)["model"]:
            whole = compose.candidate_from(compose.compose(app, [f"model={preset}"]))
            content = config_json(whole.config["model"])
            assert content["num_hidden_layers"] == whole.config["model"]["layers"]
            assert content["architectures"]


@pytest.mark.parametrize(
    ("plan", "answer", "kind"),
    [
        pytest.param(PLAN, TAKEN, None, id="both take it"),
        pytest.param(PLAN, replace(TAKEN, accepted=False, error="no"), "sglang refuses what plan calls valid", id="a valid one is refused"),
        pytest.param(replace(PLAN, reasons=("no",)), TAKEN, "sglang takes what plan refuses", id="a rejected one is taken"),
        pytest.param(replace(PLAN, reasons=("no",)), replace(TAKEN, accepted=False), None, id="both refuse it"),
        pytest.param(PLAN, replace(TAKEN, world_size=4), "sglang counts other ranks and GPUs", id="ranks"),
        pytest.param(PLAN, replace(TAKEN, world_size_across_dp=8), "sglang counts other ranks and GPUs", id="GPUs"),
        pytest.param(PLAN, replace(TAKEN, changed={"ep_size": ["1", "8"]}), "sglang makes ep_size=8 of 1", id="another layout"),
        pytest.param(PLAN, replace(TAKEN, changed={"chunked_prefill_size": ["2048", "256"]}), None, id="a change that is known"),
        pytest.param(PLAN, replace(TAKEN, changed={"chunked_prefill_size": ["2048", "512"]}), "sglang makes chunked_prefill_size=512 of 2048", id="a known change by another amount"),
    ],
)  # fmt: skip
def test_disagreements_are_found(plan: Plan, answer: Answer, kind: str | None) -> None:
    """Whatever the engine says otherwise than the plan."""
    found = Examined(engine="sglang", gpus="h100_8x")
    planned = Planned(words=("w",), model={}, parallel={"attn_dp": 8}, plan=plan)
    judge(found, ("sglang",), planned, answer)
    assert list(found.problems) == ([kind] if kind else [])


def test_known_changes_are_sglang_s() -> None:
    """vLLM changes nothing of what it is asked."""
    assert CHANGES["vllm"] == {}


def test_the_proof_names_the_versions_that_its_environments_have() -> None:
    """The scripts that install them, and the module that asks them."""
    scripts = Path(__file__).parents[1] / "scripts"
    assert f"version={VERSIONS['vllm']}" in (scripts / "real-engine").read_text()
    assert f"version={VERSIONS['sglang']}" in (scripts / "sglang-parser").read_text()
