"""Goes on ending what the daemon did not end at once, until it is known to be gone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from docker.errors import DockerException

from autotune import daemon
from autotune.deploy.docker.complaints import failure_of
from autotune.deploy.docker.operations import remove
from autotune.deploy.protocol import Order
from autotune.gpus.remains import Remains

if TYPE_CHECKING:
    from docker import DockerClient

AGAIN_S = 1.0  # between two attempts at the beginning; twice as long each time
LONGEST_S = 15.0
SURE_S = 5.0  # a container whose making was not heard of may yet be made, but not so late after an answer

Attempt = Callable[["DockerClient"], bool]
"""Tries to end something, and returns whether it is gone. Raises: DockerException, OSError."""


def leave(order: Order, name: str, attempt: Attempt, *, error: Exception) -> None:
    """Tell that a container may run on because of `error`, and go on with `attempt` in a thread."""
    told = failure_of(error, f"container {name} could not be removed and may still run")
    order.tell(
        f"{told.message}; {told.advice}; it is removed as soon as it can be; by hand: docker rm -f {name}"
    )
    gone = threading.Event()
    args = (attempt, gone, order.config.deploy.daemon_timeout_s)
    threading.Thread(target=_go_on, args=args, name=f"remove-{name[:12]}", daemon=True).start()
    order.left(Remains(what=f"container {name}", gone=gone.is_set))


def removal(name: str, *, sure_s: float = 0.0) -> Attempt:
    """Return the attempt at removing a container that the daemon must not know for `sure_s` then."""
    unknown_since_s: list[float] = []

    def attempt(client: DockerClient) -> bool:
        if remove(client, name):
            return True
        unknown_since_s.append(time.monotonic())
        return time.monotonic() - unknown_since_s[0] >= sure_s

    return attempt


def _go_on(attempt: Attempt, gone: threading.Event, timeout_s: float) -> None:
    pause_s = AGAIN_S
    while not gone.is_set():
        with contextlib.suppress(DockerException, OSError), daemon.client(timeout_s) as client:
            if attempt(client):
                gone.set()
                return
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_S)
