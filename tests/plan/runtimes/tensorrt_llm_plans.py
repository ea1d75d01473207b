"""Plans and mapped arguments of TensorRT-LLM, for its tests."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from autotune.plan.facts import ModelFacts
from autotune.plan.resolve import resolve
from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.protocol import Mapped
from autotune.records import Inventory, Plan
from autotune.schema import Config, config_from
from tests.contracts.runtime import DENSE, gpus, setup

OLD, NEW = "1.2.1", "1.3.0rc24"
VERSIONS = (OLD, NEW)
BASE: dict[str, Any] = {
    "runtime": {"kind": "tensorrt_llm", "image": "img"},
    "model": {"path": "org/model"},
    "workload": {"loads": [8], "input_tokens": 128, "output_tokens": 64},
    "benchmark": {"kind": "native"},
    "deploy": {"kind": "process"},
    "gpus": {"kind": "declared"},
    "search": {"kind": "grid"},
    "tracking": {"kind": "local"},
    "objective": {"metric": "total_tokens_per_s_per_gpu", "direction": "maximize"},
}


def config(version: str, *changes: str) -> Config:
    """The base configuration of a version with dotted changes."""
    dotted = [f"runtime.version={version}", *changes]
    return config_from(OmegaConf.merge(OmegaConf.create(BASE), OmegaConf.from_dotlist(dotted)))


def plan(version: str, *changes: str, inventory: Inventory | None = None) -> Plan:
    """The plan of the base configuration with dotted changes, on eight H100."""
    return resolve(config(version, *changes), inventory or gpus())


def mapped(
    *changes: str,
    facts: ModelFacts = DENSE,
    version: str = NEW,
    capability: float | None = 9.0,
    name: str = "H100",
) -> Mapped:
    """What dotted changes become for one model on one kind of GPU."""
    inventory = gpus(capability=capability, model=name)
    asked = setup(
        config(version, *changes), engine="tensorrt_llm", version=version, facts=facts, inventory=inventory
    )
    return RUNTIMES["tensorrt_llm"].mapped(asked)
