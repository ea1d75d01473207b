"""Inventories: declared, CPU slots, and NVML through the unmodified nvidia-ml-py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autotune.errors import ConfigError
from autotune.gpus.inventory import take_inventory
from autotune.records import InventoryKind
from autotune.schema import GpusConfig, GpuSpecConfig

SPEC = GpuSpecConfig(
    tflops_16bit=1, memory_gib=80, memory_gb_per_s=1, link_gb_per_s=1, compute_capability=9.0
)

PROGRAM = """
import json, sys
from autotune.errors import ConfigError
from autotune.gpus.inventory import take_inventory
from autotune.schema import GpusConfig
try:
    inventory = take_inventory(GpusConfig(kind="nvml", ids=json.loads(sys.argv[1])))
except ConfigError as error:
    print(json.dumps({"problems": error.problems}))
else:
    rows = [[g.uuid, g.index, g.model, g.memory_gib, g.compute_capability] for g in inventory.gpus]
    print(json.dumps({"kind": inventory.kind.value, "gpus": rows}))
"""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-in driver library."""
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("nvml_standin.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def detect(driver: Path, ids: list[str] | None = None, **env: str) -> dict[str, Any]:
    """What a process sees that has this driver."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(ids)],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(driver),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "NVML_GPUS": "3",
            **env,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_detected_gpus(driver: Path) -> None:
    """UUID, index in the driver's order, model, memory and compute capability of each."""
    rows = [[f"GPU-{index}", index, "NVIDIA H100 80GB HBM3", 80.0, 9.0] for index in range(3)]
    assert detect(driver) == {"kind": "detected", "gpus": rows}


def test_memory_that_the_driver_does_not_tell(driver: Path) -> None:
    """One call that is not supported does not hide the GPU."""
    found = detect(driver, NVML_FAILS="memory", NVML_ERROR="3")
    assert [row[3] for row in found["gpus"]] == [None, None, None]


def test_a_compute_capability_that_the_driver_does_not_tell(driver: Path) -> None:
    """It is unknown then, and the GPU can still be used."""
    found = detect(driver, NVML_FAILS="capability", NVML_ERROR="9")
    assert [row[3:] for row in found["gpus"]] == [[80.0, None]] * 3


@pytest.mark.parametrize("ids", [["2", "0"], ["GPU-2", "GPU-0"]], ids=["indices", "uuids"])
def test_ids_restrict_and_order(ids: list[str], driver: Path) -> None:
    """`gpus.ids` takes indices or UUIDs."""
    assert [row[0] for row in detect(driver, ids)["gpus"]] == ["GPU-2", "GPU-0"]


@pytest.mark.parametrize(
    ("ids", "env", "words"),
    [
        pytest.param(["7"], {}, "gpus.ids: no GPU 7; found 0, 1, 2, GPU-0", id="unknown id"),
        pytest.param(None, {"NVML_GPUS": "0"}, "lists no GPU: choose gpus=cpu", id="no GPU"),
        pytest.param(None, {"NVML_FAILS": "init", "NVML_ERROR": "9"}, "no NVIDIA driver answers (Driver Not Loaded)", id="driver not loaded"),
        pytest.param(None, {"NVML_FAILS": "count", "NVML_ERROR": "9"}, "failed while listing GPUs", id="driver fails"),
    ],
)  # fmt: skip
def test_what_is_missing_is_told(
    ids: list[str] | None, env: dict[str, str], words: str, driver: Path
) -> None:
    """GPUs are never guessed."""
    [problem] = detect(driver, ids, **env)["problems"]
    assert words in problem


def test_a_declared_inventory_has_its_specification() -> None:
    """Every GPU carries the data-sheet figures and a node."""
    inventory = take_inventory(GpusConfig(kind="declared", model="H100", count=8, spec=SPEC))
    assert (inventory.kind, len(inventory.gpus), inventory.model) == (InventoryKind.DECLARED, 8, "H100")
    assert len({gpu.uuid for gpu in inventory.gpus}) == 8
    assert all(gpu.spec is not None and gpu.node for gpu in inventory.gpus)
    assert {gpu.compute_capability for gpu in inventory.gpus} == {9.0}


def test_cpu_slots() -> None:
    """One slot unless more are asked for."""
    assert [len(take_inventory(GpusConfig(kind="cpu", count=n)).gpus) for n in (None, 3)] == [1, 3]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param(GpusConfig(kind="tpu"), "gpus.kind=tpu: must be one of nvml, declared, cpu", id="kind"),
        pytest.param(GpusConfig(kind="declared", model="H100"), "must give model, count and spec", id="spec"),
    ],
)
def test_a_wrong_inventory(config: GpusConfig, words: str) -> None:
    """The preset is at fault, and the message says where."""
    with pytest.raises(ConfigError, match=words):
        take_inventory(config)
