"""What is done to containers beside creating them: files put in, ended and removed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import APIError, NotFound
from requests.exceptions import ReadTimeout

if TYPE_CHECKING:
    from docker import DockerClient


def end(client: DockerClient, container_id: str, grace_s: float) -> None:
    """Ask a container to end, SIGKILL coming `grace_s` after SIGTERM; one that is gone is fine.

    Raises: DockerException, OSError.
    """
    try:
        client.api.stop(container_id, timeout=max(int(grace_s), 1))
    except (APIError, ReadTimeout):  # gone, or slow: SIGKILL comes with the removal
        return


def remove(client: DockerClient, container: str) -> None:
    """Remove a container by id or name, also one that runs or never started; one that is gone is fine.

    Raises: DockerException, OSError.
    """
    try:
        client.api.remove_container(container, force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # somebody else removes it already
            raise


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
