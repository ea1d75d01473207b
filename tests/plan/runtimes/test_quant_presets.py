"""The five quantization presets, as each engine is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autotune.plan import arguments
from autotune.plan.facts import ModelFacts
from autotune.plan.runtimes.flags import load_flags
from tests.contracts.runtime import DENSE
from tests.plan.runtimes.asking import W4AFP8, ask, versions

PRESETS = Path(__file__).parents[3] / "conf" / "quant"
FIELDS = {"gemm_dtype": "gemm", "kvcache_dtype": "kv", "attention_dtype": "attention", "moe_dtype": "moe"}
ARGV = {
    "default": (DENSE, "", ""),
    "kv-cache-fp8": (DENSE, "--kv-cache-dtype fp8", "--kv-cache-dtype fp8_e4m3"),
    "dynamic-fp8": (
        DENSE,
        "--quantization fp8_per_tensor --kv-cache-dtype fp8",
        "--quantization fp8 --kv-cache-dtype fp8_e4m3 --attention-backend fa3",
    ),
    "bf16-stable": (
        DENSE,
        "--dtype bfloat16 --kv-cache-dtype fp8",
        "--dtype bfloat16 --kv-cache-dtype fp8_e4m3",
    ),
    "aggressive-moe": (W4AFP8, "--kv-cache-dtype fp8", "--kv-cache-dtype fp8_e4m3"),
}


def test_every_preset_has_its_row() -> None:
    """A new one comes with its arguments."""
    assert set(ARGV) == {path.stem for path in PRESETS.glob("*.yaml")}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("name", "facts", "vllm", "sglang"), [(n, *row) for n, row in ARGV.items()], ids=list(ARGV)
)
def test_a_preset_on_an_h100(name: str, facts: ModelFacts, vllm: str, sglang: str, engine: str) -> None:
    """By its own arguments, which the comment of the preset shows too."""
    text = (PRESETS / f"{name}.yaml").read_text()
    words = " ".join(f"{FIELDS[field]}={value}" for field, value in yaml.safe_load(text).items())
    expected = vllm if engine == "vllm" else sglang
    for version in versions(engine):
        mapped = ask(engine, words, facts=facts, version=version)
        assert mapped.reasons == ()
        assert " ".join(arguments.command_line(mapped.args, load_flags(engine, version))) == expected
    assert expected in text
