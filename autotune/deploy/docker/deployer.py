"""Starts engines in containers of the local Docker daemon."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, DockerException
from docker.types import DeviceRequest, Ulimit

from autotune import daemon, process_table
from autotune.deploy.docker import image as images
from autotune.deploy.docker.complaints import failure_of
from autotune.deploy.docker.container import (
    INSIDE,
    Identity,
    compile_cache,
    host,
    hub_cache,
    is_local,
    limits,
    name_of,
    specification,
)
from autotune.deploy.docker.image import Image
from autotune.deploy.docker.operations import remove, write_files
from autotune.deploy.docker.remover import SURE_S, leave, removal
from autotune.deploy.docker.server import ContainerServer
from autotune.deploy.elsewhere import ForeignServer, url_problems
from autotune.deploy.process import port_problems
from autotune.deploy.program import unused_problems
from autotune.deploy.protocol import Order, Server
from autotune.deploy.readiness import new_log
from autotune.errors import TrialError
from autotune.records import Candidate, Plan
from autotune.schema import Config, Pull

if TYPE_CHECKING:
    from docker import DockerClient

NAMES = 3  # attempts at a name that nobody has


class DockerDeployer:
    """Runs `plan.argv` in the plan's image, or measures `deploy.url` where that is set."""

    stand_in = False
    recorded = False

    def __init__(self) -> None:
        self._problems_of: dict[str, list[str]] = {}

    def problems(self, candidate: Candidate, config: Config, plan: Plan) -> list[str]:
        """Return what is missing: the daemon, the image, the model folder, the port, the URL."""
        unused = unused_problems(config, "only deploy=process starts a program of this host")
        if config.deploy.url is not None:
            return [*url_problems(config.deploy.url), *unused]
        if plan.image not in self._problems_of:
            self._problems_of[plan.image] = _image_problems(plan, config)
        own = [*_model_problems(config), *port_problems(config), *_limit_problems(config)]
        return [*self._problems_of[plan.image], *own, *unused]

    def start(self, order: Order) -> Server:
        """Create the container, give it its files, and start it.

        Raises: TrialError, or Interrupted while an image is pulled; nothing of a container is left then, or
        the order's `left` has it.
        """
        if order.config.deploy.url is not None:
            return ForeignServer(order)
        try:
            client = daemon.connect(order.config.deploy.daemon_timeout_s)
        except (DockerException, OSError) as error:
            raise failure_of(error, "starting the engine") from error
        try:
            found = images.fetch(
                client, order.plan.image, order.config.deploy.pull, tell=order.tell, cancelled=order.cancelled
            )
            return _run(client, order, found)
        except BaseException:
            client.close()
            raise


def _run(client: DockerClient, order: Order, image: Image) -> Server:
    """Return a container that was started.

    Raises: TrialError; the container is gone then, or left.
    """
    name, container_id = _create(client, order, image)
    try:
        write_files(client, container_id, order.plan.files, str(INSIDE))
        client.api.start(container_id)
        return ContainerServer(order, client, container_id, image)
    except BaseException as error:
        _forget(client, order, name)
        if isinstance(error, (DockerException, OSError)):
            raise failure_of(error, "starting the container") from error
        raise


def _create(client: DockerClient, order: Order, image: Image) -> tuple[str, str]:
    """Return name and id of a container; by its id the image is the one that was found.

    Raises: TrialError; the container is gone then, or left, also one whose making was not heard of.
    """
    for left in reversed(range(NAMES)):
        identity = Identity(
            name=name_of(order, uuid.uuid4().hex[:6]),
            owner=process_table.identity(os.getpid()),
            host=host(),
            now=datetime.now(timezone.utc),
            image_id=image.id,
        )
        _make_folders(order, identity)
        try:
            made = client.containers.create(image.id, **arguments(specification(order, identity)))
        except (DockerException, OSError) as error:
            taken = isinstance(error, APIError) and error.status_code == 409
            if left and taken:
                continue
            if not taken:
                _forget(client, order, identity.name, unheard=None if isinstance(error, APIError) else error)
            raise failure_of(error, "creating the container") from error
        return identity.name, str(made.id)
    raise TrialError("infrastructure", "no name for the container was free")


def _forget(client: DockerClient, order: Order, name: str, *, unheard: Exception | None = None) -> None:
    """Remove what there may be of a container, now or as soon as it can be.

    One whose making was `unheard` of may be made yet, after it was not found.
    """
    try:
        if remove(client, name) or unheard is None:
            return
    except (DockerException, OSError) as error:
        unheard = unheard or error
    leave(order, name, removal(name, sure_s=SURE_S), error=unheard)


def arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a specification with docker-py's own types in the places of plain data."""
    options = dict(options)
    devices = options.pop("device_ids", None)
    if devices:
        options["device_requests"] = [DeviceRequest(device_ids=devices, capabilities=[["gpu"]])]
    options["ports"] = {inner: tuple(outer) for inner, outer in options["ports"].items()}
    options["ulimits"] = [
        Ulimit(name=name, soft=limit, hard=limit) for name, limit in options["ulimits"].items()
    ]
    return options


def _make_folders(order: Order, identity: Identity) -> None:
    """Make what would else be made by the daemon, for root: the caches; and the trial's own folder.

    Raises: TrialError `infrastructure`.
    """
    folders = [order.folder]
    if not is_local(order.config):
        folders.append(hub_cache(order.config, order.env))
    if order.config.deploy.compile_cache:
        folders.append(compile_cache(order, identity))
    for folder in folders:
        _make(folder)
    new_log(order.folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrialError(
            "infrastructure",
            f"{folder} cannot be made: {error.strerror}",
            advice="check deploy.hub_cache, HF_HOME, and AUTOTUNE_CACHE for what is compiled",
        ) from error


def _image_problems(plan: Plan, config: Config) -> list[str]:
    pull = config.deploy.pull
    try:
        with daemon.client(config.deploy.daemon_timeout_s) as client:
            found = images.find(client, plan.image)
            machine = str(client.info().get("Architecture", ""))
    except (DockerException, OSError) as error:
        instead = "or choose deploy=process (a local program) or deploy=simulated"
        return [f"deploy=docker: {daemon.silence(error)}; {instead}"]
    if found is None:
        pulling = f"docker pull {plan.image}, or deploy.pull=missing"
        return [] if pull is not Pull.never else [f"image {plan.image} is not on this host: {pulling}"]
    other = images.foreign(found, machine)
    if other is not None and pull is not Pull.always:
        return [f"image {plan.image} is for {other}, this host is {machine}: set runtime.image to one for it"]
    return []


def _limit_problems(config: Config) -> list[str]:
    try:
        limits(config)
    except ValueError as error:
        return [str(error)]
    return []


def _model_problems(config: Config) -> list[str]:
    path = config.model.path
    if path.startswith((".", "~")):
        return [f"model.path={path}: give an absolute path, which the container has too, or a hub name"]
    if is_local(config) and not Path(path).is_dir():
        made = "; sh scripts/real-engine makes it" if Path(path).name == "tiny" else ""
        return [f"model.path={path}: no such folder: give a folder or a hub name{made}"]
    return []
