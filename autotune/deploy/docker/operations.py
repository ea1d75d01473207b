"""What is done to containers beside creating them: files put in, ended and removed."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import APIError, NotFound

if TYPE_CHECKING:
    from docker import DockerClient

CONFLICT = 409
REMOVAL_S = 20.0  # of layers on a slow disk
POLL_S = 0.2


def end(client: DockerClient, container_id: str, grace_s: float) -> None:
    """Ask a container to end, SIGKILL coming `grace_s` after SIGTERM; one that is gone is fine.

    Raises: DockerException, OSError where the daemon does not answer.
    """
    with contextlib.suppress(APIError):  # gone, or it cannot be ended: the removal tells
        client.api.stop(container_id, timeout=max(int(grace_s), 1))


def remove(client: DockerClient, container: str) -> bool:
    """Remove a container by id or name, also one that runs or never started; return whether there was one.

    Raises: DockerException, OSError if it is not gone then.
    """
    try:
        client.api.remove_container(container, force=True, v=True)
    except NotFound:
        return False
    except APIError as error:
        if error.status_code != CONFLICT or not _goes(client, container):
            raise
    return True


def _goes(client: DockerClient, container: str) -> bool:
    """Whether a container that somebody else removes already is gone in time."""
    deadline = time.monotonic() + REMOVAL_S
    while time.monotonic() < deadline:
        try:
            client.api.inspect_container(container)
        except NotFound:
            return True
        time.sleep(POLL_S)
    return False


def write_files(client: DockerClient, container_id: str, files: Mapping[str, str], place: str) -> None:
    """Put text files into a container that was created, in the folder `place`.

    Raises: DockerException, OSError.
    """
    if not files:
        return
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        folder = tarfile.TarInfo(Path(place).name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        for name, text in files.items():
            content = text.encode()
            member = tarfile.TarInfo(f"{folder.name}/{name}")
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    client.api.put_archive(container_id, str(Path(place).parent), packed.getvalue())
