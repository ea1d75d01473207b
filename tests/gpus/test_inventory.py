"""Inventories: declared, CPU slots, and NVML through the unmodified nvidia-ml-py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autotune.errors import ConfigError
from autotune.gpus.inventory import take_inventory
from autotune.records import Inventory, InventoryKind
from autotune.schema import GpusConfig, GpuSpecConfig
from tests.standins.nvml.driver import StandInDriver, StandInGpu, all_pairs, build, uuid_of

SPEC = GpuSpecConfig(
    tflops_16bit=1, memory_gib=80, memory_gb_per_s=1, link_gb_per_s=1, compute_capability=9.0
)
NVML = GpusConfig(kind="nvml")

PROGRAM = """
import dataclasses, json
from autotune.gpus.inventory import take_inventory
from autotune.gpus.nvml import read_statuses
from autotune.schema import GpusConfig
inventory = take_inventory(GpusConfig(kind="nvml"), {})
statuses = read_statuses(gpu.uuid for gpu in inventory.gpus)
print(json.dumps([[dataclasses.asdict(g), dataclasses.asdict(statuses[g.uuid])] for g in inventory.gpus]))
"""


def seen_by_a_process(env: dict[str, str]) -> list[list[dict[str, Any]]]:
    """The facts and the status of each GPU, as a process finds them that starts with this environment."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": root, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return found


def test_detected_gpus(nvml: StandInDriver) -> None:
    """All that the driver lists, in its order, as a process finds them that loads the library by its name."""
    nvml.tell([StandInGpu()] * 3, links=all_pairs([0, 1, 2]))
    found = seen_by_a_process(nvml.env)
    assert [gpu["uuid"] for gpu, _ in found] == [uuid_of(0), uuid_of(1), uuid_of(2)]
    assert [(gpu["memory_gib"], gpu["compute_capability"], gpu["unknown"]) for gpu, _ in found] == [
        (80, 9, [])
    ] * 3
    assert take_inventory(NVML, {}).kind is InventoryKind.DETECTED


def test_a_driver_without_some_functions(nvml: StandInDriver, tmp_path: Path) -> None:
    """A symbol that the library lacks is one more fact that is unknown."""
    nvml.tell([StandInGpu()])
    old = {**nvml.env, "LD_LIBRARY_PATH": str(build(tmp_path, "-DOLD_DRIVER"))}
    [[gpu, status]] = seen_by_a_process(old)
    assert gpu["unknown"] == ["MIG mode: Function Not Found", "NUMA node: Function Not Found"]
    assert (gpu["mig"], gpu["numa"], gpu["memory_gib"]) == (None, None, 80)
    assert (status["processes"], status["free_fraction"], status["lost"]) == (None, 1.0, False)


def test_the_environment_and_the_ids_restrict(nvml: StandInDriver) -> None:
    """`CUDA_VISIBLE_DEVICES` first, `gpus.ids` among what it shows; links count among what is left."""
    nvml.tell([StandInGpu()] * 4, links={(0, 1): 0, (1, 2): 0})
    inventory = take_inventory(GpusConfig(kind="nvml", ids=["2", "0"]), {"CUDA_VISIBLE_DEVICES": "0,2,3"})
    assert [gpu.index for gpu in inventory.gpus] == [2, 0]
    assert [gpu.island for gpu in inventory.gpus] == [None, None]
    assert inventory.notes == (f"CUDA_VISIBLE_DEVICES=0,2,3 hides GPU 1 ({uuid_of(1)})",)


def refused(nvml: StandInDriver, gpus: list[StandInGpu], **errors: int) -> str:
    """What is said of a driver that has no GPU to lease."""
    nvml.tell(gpus, errors={(function, "*"): code for function, code in errors.items()})
    with pytest.raises(ConfigError) as caught:
        take_inventory(NVML, {})
    return str(caught.value)


@pytest.mark.usefixtures("nvml")
def test_no_driver() -> None:
    """GPUs are never guessed; the library is there, but no driver behind it."""
    words = re.escape("gpus=nvml: no NVIDIA driver answers (Driver Not Loaded): choose gpus=cpu")
    with pytest.raises(ConfigError, match=words):
        take_inventory(NVML, {})


def test_no_gpu_to_lease(nvml: StandInDriver) -> None:
    """Each way to have none has its message."""
    assert "the NVIDIA driver lists no GPU: choose gpus=cpu" in refused(nvml, [])
    assert "no NVIDIA driver answers (RM has detected an NVML/RM version mismatch.)" in refused(
        nvml, [StandInGpu()], nvmlInitWithFlags=18
    )
    assert "failed while listing GPUs (Unknown Error): see that nvidia-smi works" in refused(
        nvml, [StandInGpu()], nvmlDeviceGetCount_v2=999
    )
    lines = refused(nvml, [StandInGpu(mig=True), StandInGpu(lost=True)]).splitlines()
    assert lines[0].startswith(
        f"gpus=nvml: no GPU can be leased: GPU 0 ({uuid_of(0)}) is left out: it is in MIG mode"
    )
    assert lines[1].startswith(
        "gpus=nvml: no GPU can be leased: GPU 1 is left out: the driver answers 'GPU is lost'"
    )


def declared(*, count: int = 8, island: int | None = None) -> Inventory:
    """An inventory of H100s."""
    return take_inventory(
        GpusConfig(kind="declared", model="H100", count=count, island=island, spec=SPEC), {}
    )


def test_a_declared_inventory_has_its_specification() -> None:
    """Every GPU carries the data-sheet figures and a node."""
    inventory = declared()
    assert (inventory.kind, len(inventory.gpus), inventory.model) == (InventoryKind.DECLARED, 8, "H100")
    assert len({gpu.uuid for gpu in inventory.gpus}) == 8
    assert all(gpu.spec is not None and gpu.node for gpu in inventory.gpus)
    assert {gpu.compute_capability for gpu in inventory.gpus} == {9.0}


@pytest.mark.parametrize(
    ("count", "island", "sizes"),
    [
        pytest.param(8, None, [8], id="all of them"),
        pytest.param(8, 4, [4, 4], id="two islands"),
        pytest.param(8, 3, [3, 3, 2], id="a smaller last one"),
        pytest.param(3, 2, [2], id="the last one alone"),
        pytest.param(4, 1, [], id="no NVLink"),
        pytest.param(4, 16, [4], id="larger than the host"),
        pytest.param(1, None, [], id="one GPU"),
    ],
)
def test_islands_of_a_declared_inventory(count: int, island: int | None, sizes: list[int]) -> None:
    """`gpus.island` GPUs in a row share NVLink; one alone has none."""
    names = [gpu.island for gpu in declared(count=count, island=island).gpus]
    assert [names.count(name) for name in dict.fromkeys(names) if name is not None] == sizes
    assert names[: sum(sizes)] == sorted(name for name in names if name is not None)


def test_cpu_slots() -> None:
    """One slot unless more are asked for."""
    counts = [len(take_inventory(GpusConfig(kind="cpu", count=n), {}).gpus) for n in (None, 3)]
    assert counts == [1, 3]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param(GpusConfig(kind="tpu"), "gpus.kind=tpu: must be one of nvml, declared, cpu", id="kind"),
        pytest.param(GpusConfig(kind="declared", model="H100"), "must give model, count and spec", id="spec"),
        pytest.param(GpusConfig(kind="declared", model="H100", count=8, island=0, spec=SPEC), "gpus.island=0: must be at least 1", id="island"),
    ],
)  # fmt: skip
def test_a_wrong_inventory(config: GpusConfig, words: str) -> None:
    """The preset is at fault, and the message says where."""
    with pytest.raises(ConfigError, match=words):
        take_inventory(config, {})
