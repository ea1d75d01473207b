"""What is done to containers beside creating them: files put in, ended and removed."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import APIError, NotFound
from requests.exceptions import ReadTimeout

if TYPE_CHECKING:
    from docker import DockerClient


def end(
    client: DockerClient,
    container_id: str,
    grace_s: float,
    *,
    keep: Callable[[Iterator[bytes]], None] | None = None,
) -> None:
    """End a container and remove it, also one that never started; one that is gone is fine.

    `keep` gets its whole log before that is gone.

    Raises: DockerException, OSError.
    """
    with contextlib.suppress(NotFound):
        try:
            client.api.stop(container_id, timeout=max(int(grace_s), 1))
        except NotFound:
            raise
        except (APIError, ReadTimeout):  # SIGKILL comes with the removal
            pass
        if keep is not None:
            with contextlib.suppress(APIError):  # a log driver that cannot be read: what was followed stays
                keep(client.api.logs(container_id, stream=True))
        try:
            client.api.remove_container(container_id, force=True, v=True)
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
