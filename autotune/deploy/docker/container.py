"""What a container is created with: a pure function of the order, which golden files show."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from autotune.deploy.protocol import Order
from autotune.gpus.containers import LABEL as GPUS
from autotune.places import cache_dir
from autotune.records import InventoryKind
from autotune.schema import Config
from autotune.secrecy import PROXIES

PORT = 8000  # of the engine inside; outside the daemon chooses a free one
INSIDE = PurePath("/autotune")  # where files of a trial, the hub cache and compile caches are inside

TRIAL = "autotune.trial"
"""Label: the trial's folder, absolute."""
SWEEP = "autotune.sweep"
"""Label: the sweep's folder, absolute."""
OWNER = "autotune.owner"
"""Label: the controller, as `process_table.identity` gives it."""
HOST = "autotune.host"
"""Label: the host of the controller, on which paths and process ids mean something."""
STARTED = "autotune.started"
"""Label: when the container was created, UTC."""
STAND_IN = "autotune.simulated"
"""Label of an image that carries a stand-in engine."""

PASSED = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")

# Where engines and their libraries keep what they compile. Source: VLLM_CACHE_ROOT, engine-facts section 4;
# the others are the variables of PyTorch's inductor, Triton and FlashInfer, as public deployments set them.
COMPILE_CACHES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells one container from all others: its name, who started it and when."""

    name: str
    owner: str
    host: str
    now: datetime
    image_id: str


def host() -> str:
    """Return the name of this host; in a container that of the container."""
    return platform.node()


def specification(order: Order, identity: Identity) -> dict[str, Any]:
    """Return the arguments of `containers.create` in docker-py, beside the image, as plain data.

    GPUs are named one by one: a number of them would always mean the first ones. They are renumbered from
    0 inside.
    """
    config, lease = order.config, order.lease
    words = [inside(order, word) for word in order.plan.argv]
    options: dict[str, Any] = {
        "name": identity.name,
        "entrypoint": words[:1],
        "command": words[1:],
        "environment": environment(order),
        "labels": labels(order, identity),
        "ports": {f"{PORT}/tcp": ["127.0.0.1", config.deploy.port]},
        "volumes": volumes(order, identity),
        "ipc_mode": config.runtime.ipc,
        "init": True,  # reaps what an engine's children leave, and passes SIGTERM on
        "cap_add": list(config.deploy.cap_add),
        "ulimits": limits(config),
    }
    if config.runtime.ipc != "host":
        options["shm_size"] = int(config.runtime.shm_gib * 2**30)
    if config.deploy.memory_gib is not None:
        options["mem_limit"] = int(config.deploy.memory_gib * 2**30)
    if lease.cpus:
        options["cpuset_cpus"] = ",".join(map(str, lease.cpus))
    if device_ids(order):
        options["device_ids"] = device_ids(order)
    return options


def limits(config: Config) -> dict[str, int]:
    """Return `deploy.ulimits` by name.

    Raises: ValueError for one that is not NAME:LIMIT.
    """
    found = {}
    for text in config.deploy.ulimits:
        name, _, limit = text.partition(":")
        if not name or not limit.removeprefix("-").isdigit():
            raise ValueError(f"deploy.ulimits: {text}: must be NAME:LIMIT, such as memlock:-1 (unlimited)")
        found[name] = int(limit)
    return found


def device_ids(order: Order) -> list[str]:
    """Return what names the leased GPUs to the daemon: UUIDs; those of declared GPUs are none, so indices."""
    lease = order.lease
    if lease.kind is InventoryKind.DETECTED:
        return [gpu.uuid for gpu in lease.gpus]
    return [str(gpu.index) for gpu in lease.gpus] if lease.kind is InventoryKind.DECLARED else []


def inside(order: Order, word: str) -> str:
    """Return a word of the plan's command as it is inside."""
    if word in order.plan.files:
        return str(INSIDE / word)
    return word.replace("{port}", str(PORT))


def environment(order: Order) -> dict[str, str]:
    """Return the engine's environment: caches, tokens and proxies of this host, then the plan's.

    A variable that the image does not know of is not inherited.
    """
    passed = {name: order.env[name] for name in (*PASSED, *PROXIES) if name in order.env}
    caches = {"HF_HOME": str(INSIDE / "hub")}
    if order.config.deploy.compile_cache:
        caches |= {name: str(INSIDE / "compiled" / folder) for name, folder in COMPILE_CACHES.items()}
    count = len(device_ids(order))
    visible = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(count)))} if count > 1 else {}
    return {**caches, **passed, **order.plan.env, **visible}


def labels(order: Order, identity: Identity) -> dict[str, str]:
    """Return what finds the container again, and tells which GPUs it holds."""
    folder = order.folder.resolve()
    detected = order.lease.kind is InventoryKind.DETECTED
    return {
        SWEEP: str(folder.parent),
        TRIAL: str(folder),
        OWNER: identity.owner,
        HOST: identity.host,
        STARTED: identity.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        GPUS: ",".join(gpu.uuid for gpu in order.lease.gpus) if detected else "",
    }


def volumes(order: Order, identity: Identity) -> dict[str, dict[str, str]]:
    """Return folders of this host by where they are inside; read-only unless the engine writes there."""
    config = order.config
    found: dict[str, dict[str, str]] = {}
    if is_local(config):
        found |= {source: {"bind": place, "mode": "ro"} for place, source in model_folders(config).items()}
    else:
        offline = environment(order).get("HF_HUB_OFFLINE") == "1"
        found[str(hub_cache(config, order.env))] = {
            "bind": str(INSIDE / "hub"),
            "mode": "ro" if offline else "rw",
        }
    if config.deploy.compile_cache:
        found[str(compile_cache(order, identity))] = {"bind": str(INSIDE / "compiled"), "mode": "rw"}
    return found


def is_local(config: Config) -> bool:
    """Whether the model is a folder of this host, and no name in a hub."""
    return PurePath(config.model.path).is_absolute()


def model_folders(config: Config) -> dict[str, str]:
    """Return by place inside what must be there for a model: its folder, and where its links lead.

    A folder of the hub's cache has links to the blobs beside it.
    """
    path = Path(config.model.path)
    places = {os.path.normpath(path): str(path.resolve())}
    for link in sorted(each for each in path.rglob("*") if each.is_symlink()):
        target = Path(os.path.normpath(link.parent / link.readlink()))
        if link.exists() and not target.is_relative_to(path):
            places[str(target.parent)] = str(link.resolve().parent)
    return places


def hub_cache(config: Config, env: Mapping[str, str]) -> Path:
    """Return this host's folder of models from a hub: `deploy.hub_cache`, HF_HOME, or the usual one."""
    chosen = config.deploy.hub_cache or env.get("HF_HOME") or "~/.cache/huggingface"
    return Path(chosen).expanduser().absolute()


def compile_cache(order: Order, identity: Identity) -> Path:
    """Return the folder for what engines compile: one for each image and kind of GPU."""
    gpus = order.lease.gpus
    kind = _word(gpus[0].model if gpus and order.lease.kind is not InventoryKind.CPU else "cpu")
    engine = f"{order.plan.runtime}-{order.plan.runtime_version}-{identity.image_id[-12:]}"
    return cache_dir() / "compiled" / engine / kind


def name_of(order: Order, suffix: str) -> str:
    """Return a name for `docker ps`: sweep, trial, and a suffix that makes it unique."""
    folder = order.folder.resolve()
    return f"autotune-{_word(folder.parent.name)}-{_word(folder.name)}-{suffix}"


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")[:60] or "x"
