"""The registry of deployers: `deploy.kind` names a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from autotune.errors import ConfigError

if TYPE_CHECKING:
    from autotune.deploy.protocol import Deployer


def _docker() -> Deployer:
    from autotune.deploy.docker.deployer import DockerDeployer

    return DockerDeployer()


def _process() -> Deployer:
    from autotune.deploy.process import ProcessDeployer

    return ProcessDeployer()


def _simulated() -> Deployer:
    from autotune.deploy.simulated.deployer import SimulatedDeployer

    return SimulatedDeployer()


def _replay() -> Deployer:
    from autotune.deploy.replay import ReplayDeployer

    return ReplayDeployer()


DEPLOYERS: Mapping[str, Callable[[], Deployer]] = {
    "docker": _docker,
    "process": _process,
    "simulated": _simulated,
    "replay": _replay,
}


def create_deployer(kind: str) -> Deployer:
    """Return the deployer of that name.

    Raises: ConfigError naming the known ones.
    """
    if kind not in DEPLOYERS:
        raise ConfigError([f"deploy={kind}: not available; choose {', '.join(DEPLOYERS)}"])
    return DEPLOYERS[kind]()
