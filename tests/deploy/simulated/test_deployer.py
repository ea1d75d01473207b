"""What the simulated deployer refuses before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autotune.deploy.simulated.deployer import SimulatedDeployer
from autotune.records import Candidate, Plan, Readiness
from autotune.schema import Config, GpusConfig, GpuSpecConfig, ModelConfig, StoredConfig

MODELS = Path(__file__).parents[3] / "conf" / "model"
SPEC = GpuSpecConfig(tflops_16bit=1, memory_gib=80, memory_gb_per_s=1, link_gb_per_s=1)
PLAN = Plan(
    runtime="vllm",
    runtime_version="0.33.0",
    argv=(),
    env={},
    files={},
    gpus=1,
    world_size=1,
    image="",
    readiness=Readiness(path="/health"),
    served_model="m",
    signature="0",
)


def problems(model: ModelConfig) -> list[str]:
    """What the deployer says of a candidate with this model on declared GPUs."""
    config = Config(model=model, gpus=GpusConfig(kind="declared", spec=SPEC))
    return SimulatedDeployer().problems(Candidate(overrides=(), choices={}, config={}), config, PLAN)


def preset(name: str) -> ModelConfig:
    """The model preset."""
    content = yaml.safe_load((MODELS / f"{name}.yaml").read_text())
    return ModelConfig(**{**content, "stored": StoredConfig(**content["stored"])})


@pytest.mark.parametrize(
    ("name", "beyond"),
    [
        ("mixtral_8x7b", "8 experts"),
        ("gpt_oss_20b", "32 experts, mxfp4 weights"),
        ("deepseek_v3", "256 experts, one latent for all KV heads (MLA), fp8 weights"),
    ],
)
def test_models_beyond_the_cost_model_are_refused(name: str, beyond: str) -> None:
    """One problem names all that it has no figures for; missing facts of its shape are no second one."""
    model = preset(name)
    assert problems(model) == [
        "deploy=simulated: the cost model knows dense models with 16-bit weights only; "
        f"{model.path} has {beyond}: choose another, such as model=llama3_1_8b"
    ]


@pytest.mark.parametrize("name", ["llama3_1_8b", "llama3_3_70b", "qwen3_32b", "mistral_small_24b"])
def test_dense_models_with_16_bit_weights_are_simulated(name: str) -> None:
    """So are models of which it is unknown how they are stored."""
    assert problems(preset(name)) == []
    unknown = preset(name)
    unknown.stored = StoredConfig()
    assert problems(unknown) == []


def test_missing_facts_are_named() -> None:
    """A model of unknown shape cannot be simulated."""
    assert problems(ModelConfig(path="m"))[0].startswith("deploy=simulated needs model.params, model.layers")
