"""What containers are created with, as golden files show it.

`python -m tests.deploy.docker.arguments` writes them anew, for reading.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from autotune.compose import hydra_on
from autotune.deploy.docker.container import Identity, specification
from autotune.deploy.protocol import Order
from autotune.plan.resolve import resolve
from autotune.records import InventoryKind, Lease
from autotune.schema import config_from
from autotune.survey import survey

FOLDER = Path(__file__).parent / "golden"
CASES = {
    "vllm-tp2-hub": ["runtime=vllm", "parallel=tp2"],
    "sglang-tp1-local": ["runtime=sglang", "model.path={model}"],
    "tensorrt_llm-options": ["runtime=tensorrt_llm", "runtime.args.kv_cache_config.tokens_per_block=64"],
    "vllm-limits": [
        "runtime=vllm",
        "runtime.ipc=host",
        "runtime.env.VLLM_CACHE_ROOT=/elsewhere",
        "deploy.port=8123",
        "deploy.memory_gib=64",
        "deploy.ulimits=[memlock:-1,stack:67108864]",
        "deploy.cap_add=[SYS_NICE]",
        "deploy.compile_cache=false",
        "deploy.hub_cache=/models",
    ],
}


def golden(name: str, folder: Path) -> str:
    """Return the specification of a case as text; paths of this machine are named."""
    model = _model(folder)
    order = order_of(
        [word.replace("{model}", str(model)) for word in CASES[name]], folder / "sweep" / "trial-3"
    )
    now = datetime(2026, 11, 25, tzinfo=timezone.utc)
    identity = Identity(
        name="autotune-sweep-trial-3-0a1b2c",
        owner="4711.99",
        host="node-1",
        now=now,
        image_id="sha256:0123456789ab",
    )
    text = json.dumps(specification(order, identity), indent=1)
    places = {str(folder): "FOLDER", os.environ["AUTOTUNE_CACHE"]: "CACHE", str(Path.home()): "HOME"}
    for path, word in places.items():
        text = text.replace(path, word)
    return text + "\n"


def order_of(words: Sequence[str], folder: Path) -> Order:
    """An order for detected GPUs, with a token and a proxy in its environment."""
    common = ["deploy=docker", "gpus=h100_8x", "workload=tiny"]
    with hydra_on(None) as hydra:
        asked = survey(hydra, [*common, *words], multirun=False)
    entry = asked.entries[0]
    config = config_from(entry.candidate.config)
    plan = resolve(config, asked.inventory)
    gpus = tuple(replace(gpu, uuid=f"GPU-{n}") for n, gpu in enumerate(asked.inventory.gpus[: plan.gpus], 4))
    lease = Lease(trial=3, kind=InventoryKind.DETECTED, node="n", gpus=gpus, cpus=(0, 1, 2))
    return Order(
        candidate=entry.candidate,
        config=config,
        plan=plan,
        lease=lease,
        folder=folder,
        env={"HF_TOKEN": "hf_planted", "https_proxy": "http://proxy:3128", "PATH": "/usr/bin", "LANG": "C"},
        cancelled=threading.Event(),
    )


def _model(folder: Path) -> Path:
    """A model's folder as the hub's cache has it: links to blobs beside it."""
    cache = folder / "models--org--m"
    snapshot = cache / "snapshots" / "1"
    if not snapshot.exists():
        snapshot.mkdir(parents=True)
        (cache / "blobs").mkdir()
        (cache / "blobs" / "ab").touch()
        (snapshot / "model.safetensors").symlink_to("../../blobs/ab")
    return snapshot


def main() -> None:
    """Write the golden files."""
    os.environ["AUTOTUNE_CACHE"] = "/cache-of-tests"
    FOLDER.mkdir(exist_ok=True)
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            (FOLDER / f"{name}.json").write_text(golden(name, Path(folder)))


if __name__ == "__main__":
    main()
