"""The configuration of Hydra's `autotune` launcher and sweeper.

The name begins with `_` because Hydra executes every other module here outside `sys.modules`, where
dataclasses cannot resolve their annotations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore


@dataclass
class GpuLauncherConf:
    """How many trials run side by side is the ordinary node `launcher`."""

    _target_: str = "hydra_plugins.autotune_launchers.gpu_launcher.GpuLauncher"


@dataclass
class StreamingSweeperConf:
    """How the space is explored is the ordinary node `search`."""

    _target_: str = "hydra_plugins.autotune_launchers.sweeper.StreamingSweeper"
    params: dict[str, Any] = field(default_factory=dict)  # overrides that an experiment preset sweeps


def register() -> None:
    """Make `hydra/launcher=autotune` and `hydra/sweeper=autotune` known."""
    store = ConfigStore.instance()
    store.store(group="hydra/launcher", name="autotune", node=GpuLauncherConf, provider="autotune")
    store.store(group="hydra/sweeper", name="autotune", node=StreamingSweeperConf, provider="autotune")
