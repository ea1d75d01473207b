"""The pool of a sweep: what its configuration and this host say about leasing GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from autotune.gpus.affinity import cores_for, physical_cores
from autotune.gpus.busy import why_busy
from autotune.gpus.containers import ContainerGpus
from autotune.gpus.locks import GpuLocks
from autotune.gpus.nvml import read_statuses
from autotune.gpus.pool import GpuPool
from autotune.gpus.terms import Cores, Surroundings, Terms
from autotune.records import Gpu, Inventory, InventoryKind
from autotune.schema import Config

LOCK_DIR = Path("/tmp/autotune-gpus")  # noqa: S108  (one place that every user of the host can write)
"""Locks of detected GPUs, for the whole host; those of declared ones lie in the sweep's folder."""


def pool_for(config: Config, inventory: Inventory, folder: Path, tell: Callable[[str], None]) -> GpuPool:
    """Return the pool of a sweep in `folder`; `tell` gets what its user should know."""
    alone = config.launcher.exclusive or config.deploy.url is not None or config.deploy.port is not None
    terms = Terms(
        max_parallel=1 if alone else config.launcher.max_parallel,
        wait=config.gpus.wait_for_free,
        settle_s=config.gpus.settle_timeout_s,
    )
    if inventory.kind is not InventoryKind.DETECTED:
        around = Surroundings(tell=tell)
        return GpuPool(inventory, locks=GpuLocks(folder / "locks"), terms=terms, around=around)
    around = Surroundings(
        status=read_statuses,
        busy=partial(why_busy, min_free_fraction=config.gpus.min_free_fraction, ours=()),
        held=ContainerGpus(tell=tell),
        cores=_cores(config, inventory),
        tell=tell,
    )
    return GpuPool(inventory, locks=GpuLocks(LOCK_DIR), terms=terms, around=around)


def _cores(config: Config, inventory: Inventory) -> Callable[[Sequence[Gpu]], Cores]:
    """Which cores go with GPUs: none in particular where the user or the system does not want it."""
    if not config.launcher.pin_cpus or not hasattr(os, "sched_getaffinity"):
        return lambda _gpus: ((), ())
    allowed = os.sched_getaffinity(0)
    return partial(
        cores_for,
        inventory=inventory,
        allowed=allowed,
        client_cores=config.launcher.client_cores,
        core_of=physical_cores(allowed),
    )
