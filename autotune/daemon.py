"""The Docker daemon of this host: where it is, and a client for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import DockerClient

SOCKET = Path("/var/run/docker.sock")
TIMEOUT_S = 30  # for one answer; a daemon that starts eight containers at once is slow


def where() -> str:
    """Return the daemon's address: DOCKER_HOST, else Docker's own socket."""
    return os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}"


def expected() -> bool:
    """Whether this host seems to have a daemon: named in the environment, or with its socket in place."""
    return "DOCKER_HOST" in os.environ or SOCKET.exists()


def connect(timeout_s: float = TIMEOUT_S) -> DockerClient:
    """Return a client of the daemon, which answered; the caller closes it.

    It waits `timeout_s` for each answer, and longer only between two pieces of a log that it follows.

    Raises: DockerException, OSError (those of requests are OSErrors).
    """
    from docker import DockerClient
    from docker.errors import DockerException

    if where().startswith("unix://") and not Path(where().removeprefix("unix://")).exists():
        raise DockerException(f"there is no {where()}")  # the SDK would leak a socket
    return DockerClient.from_env(timeout=timeout_s)  # type: ignore[arg-type]  # fractions are fine


@contextmanager
def client(timeout_s: float = TIMEOUT_S) -> Iterator[DockerClient]:
    """Give a client for a few questions.

    Raises: DockerException, OSError.
    """
    opened = connect(timeout_s)
    try:
        yield opened
    finally:
        opened.close()


def hangs(error: Exception) -> bool:
    """Whether an error means that the daemon took a question and did not answer in time."""
    return "timed out" in str(error)  # the word of urllib3, whatever wraps it


def is_away(error: Exception) -> bool:
    """Whether an error means that nobody listens where the daemon should be; a late answer is none."""
    from docker.errors import DockerException
    from requests.exceptions import ConnectionError as NoConnection

    return (isinstance(error, NoConnection) or type(error) is DockerException) and not hangs(error)


def trouble(error: Exception) -> tuple[str, str]:
    """Return why the daemon could not be asked, and what to do."""
    if "Permission denied" in str(error):
        return f"the Docker daemon at {where()} refuses this user", "join the group docker, or use sudo"
    if hangs(error):
        told = f"the Docker daemon at {where()} hangs: it takes requests and does not answer in time"
        return told, "look at its log (journalctl -u docker) and restart it; its host may be overloaded"
    return f"no Docker daemon answers at {where()}", "start it, or set DOCKER_HOST"


def silence(error: Exception) -> str:
    """Return why the daemon could not be asked, and what to do, in a sentence."""
    return ": ".join(trouble(error))
