"""Whether an engine is asked, at its start, to tell its metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune import compose
from autotune.candidates import Composer
from autotune.gpus.inventory import take_inventory
from autotune.plan.resolve import resolve
from autotune.records import Plan
from autotune.schema import config_from


def plan(*words: str) -> Plan:
    """The plan of one candidate."""
    fixed = ["gpus=h100_8x", *words]
    with compose.hydra_on(None) as app:
        config = config_from(Composer(app, fixed).candidate(fixed).config)
    return resolve(config, take_inventory(replace(config.gpus), {}))


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["runtime=sglang"], True),
        (["runtime=sglang", "measure.sample_s=null"], False),
        (["runtime=sglang", "+runtime.args.enable_metrics=false"], False),
        (["runtime=sglang", "measure.sample_s=null", "+runtime.args.enable_metrics=true"], True),
        (["runtime=vllm"], False),
        (["runtime=tensorrt_llm"], False),
    ],
    ids=str,
)
def test_sglang_has_to_be_asked(words: list[str], asked: bool) -> None:  # noqa: FBT001
    """vLLM always tells; what TensorRT-LLM tells costs it too much to be switched on unasked."""
    found = plan(*words)
    assert found.valid
    assert ("--enable-metrics" in found.argv) == asked
    assert not any("metrics" in text for text in found.files.values())


def test_asked_by_the_user_or_by_us_it_is_the_same_engine() -> None:
    """So it is no other candidate; one that does not tell is another."""
    ours, theirs = plan("runtime=sglang"), plan("runtime=sglang", "+runtime.args.enable_metrics=true")
    assert ours.signature == theirs.signature
    assert ours.signature != plan("runtime=sglang", "+runtime.args.enable_metrics=false").signature
