"""Containers of trials on this host, found by their labels, whoever started them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from docker.errors import DockerException

from autotune import daemon
from autotune.deploy.docker.container import HOST, OWNER, STARTED, SWEEP, TRIAL, host
from autotune.deploy.docker.operations import end
from autotune.deploy.docker.operations import remove as remove_container


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a trial, running or not; `trial` is the trial's folder, `owner` its controller."""

    id: str
    name: str
    trial: Path
    owner: str
    since: str


def labelled() -> list[Container]:
    """Return the containers of all sweeps of this host: controllers elsewhere may use the same daemon.

    Raises: DockerException, OSError where no daemon answers.
    """
    with daemon.client() as client:
        found = client.api.containers(all=True, filters={"label": [TRIAL, f"{HOST}={host()}"]})
    return [
        Container(
            id=each["Id"],
            name=(each.get("Names") or [f"/{each['Id'][:12]}"])[0].lstrip("/"),
            trial=Path(each["Labels"][TRIAL]),
            owner=each["Labels"].get(OWNER, ""),
            since=each["Labels"].get(STARTED, ""),
        )
        for each in found
    ]


def remove(containers: Sequence[Container], grace_s: float) -> list[Container]:
    """End and remove containers, SIGKILL coming `grace_s` after SIGTERM; return those still there."""
    if not containers:
        return []
    with contextlib.suppress(DockerException, OSError), daemon.client() as client:
        for each in containers:
            with contextlib.suppress(DockerException, OSError):
                end(client, each.id, grace_s)
            with contextlib.suppress(DockerException, OSError):
                remove_container(client, each.id)
        there = {each["Id"] for each in client.api.containers(all=True, filters={"label": SWEEP})}
        return [each for each in containers if each.id in there]
    return list(containers)
